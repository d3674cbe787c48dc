"""Tests for `tlsgate.auth.tokens`."""

from __future__ import annotations

import json
from typing import Any

from tests.auth.people import AuthTestCase
from tlsgate.auth.opaque import new_secret
from tlsgate.auth.tokens import MOST_USES, TokenGrant, Tokens, static_token
from tlsgate.core.keeping import Delete
from tlsgate.errors import BadResource, BadToken, NoSuch

KEY, OTHER = b"one public key", b"another public key"


class TokensTests(AuthTestCase):
    """Tests for `Tokens`."""

    def setUp(self) -> None:
        super().setUp()
        self.tokens = Tokens(self.store, self.now)

    def use(self, secret: str, key: bytes = KEY, kind: str = "node") -> TokenGrant:
        return self.run_now(self.tokens.use(secret, key, kind))

    def refused(self, secret: str, key: bytes = KEY, kind: str = "node") -> str:
        return str(self.fails(BadToken, self.tokens.use(secret, key, kind)))

    def test_a_token_lets_in_what_it_is_for(self) -> None:
        """Half an hour, one use, the types and labels that were asked for."""
        token = self.run_now(self.tokens.add(["node", "db"], labels={"env": "prod"}))
        self.assertEqual((token.expires, token.uses), (self.seconds + 1800, 1))
        self.refused(token.secret, kind="app")
        self.assertEqual(
            self.use(token.secret, kind="db"),
            TokenGrant(id=token.id, types=("db",), labels={"env": "prod"}),
        )

    def test_several_types_at_once(self) -> None:
        """One use lets one host in as all that it is for, and as nothing where one is missing."""
        token = self.run_now(self.tokens.add(["node", "db", "app"]))
        for types in ((), ("node", "kube"), ("node", "mainframe")):
            self.fails(BadToken, self.tokens.use(token.secret, KEY, *types))
        grant = self.run_now(self.tokens.use(token.secret, KEY, "node", "app"))
        self.assertEqual(grant.types, ("node", "app"))
        self.refused(token.secret, b"another key")

    def test_lists_show_the_id_and_nothing_that_lets_in(self) -> None:
        """The secret stands nowhere in the store, in no repr, and is no part of the resource."""
        token = self.run_now(self.tokens.add(["proxy"], uses="unlimited", labels={"a": "b"}))
        resource: Any = self.run_now(self.store.get(f"tokens/{token.id}"))
        self.assertEqual(
            json.loads(resource.value),
            {
                "kind": "token",
                "version": "v2",
                "metadata": {"name": token.id, "expires": "2027-01-15T08:30:15Z"},
                "spec": {
                    "join_method": "token",
                    "types": ["gateway"],
                    "uses": "unlimited",
                    "used": 0,
                    "labels": {"a": "b"},
                },
            },
        )
        kept = b"".join(item.value for item in self.run_now(self.store.scan("")))
        secret = token.secret.partition(".")[2]
        self.assertEqual(len(secret), 43)
        self.assertNotIn(secret.encode(), kept)
        self.assertNotIn(secret, repr(token))

    def test_a_token_is_a_resource_that_tells_its_uses(self) -> None:
        """`used` counts keys, not joins, and goes with the use in one commit."""
        token = self.run_now(self.tokens.add(["node", "app"], uses=3))
        for key in (KEY, OTHER, KEY):
            self.use(token.secret, key)
        item: Any = self.run_now(self.store.get(f"tokens/{token.id}"))
        self.assertEqual(item.expires, token.expires)
        self.assertEqual(
            json.loads(item.value)["spec"],
            {"types": ["app", "node"], "uses": 3, "used": 2, "join_method": "token"},
        )

    def test_the_same_key_may_come_again_until_the_end(self) -> None:
        """An agent that lost the answer asks again; another key is not let in by that."""
        token = self.run_now(self.tokens.add(["node"]))
        self.assertFalse(self.use(token.secret).again)
        for _ in range(3):
            self.assertTrue(self.use(token.secret).again)
            self.refused(token.secret, OTHER)
        self.seconds += 1800
        self.refused(token.secret)

    def test_one_token_in_two_hundred_hands(self) -> None:
        """All at the same time, each with a key of its own: one joins (S42)."""
        for uses in (1, 3):
            token = self.run_now(self.tokens.add(["node"], uses=uses))
            asked = [
                self.begin(self.tokens.use(token.secret, b"key %d" % number, "node"))
                for number in range(200)
            ]
            results = [self.successResultOf(each.addErrback(lambda f: f.value)) for each in asked]
            self.assertEqual(sum(isinstance(each, TokenGrant) for each in results), uses)
            self.assertEqual(sum(isinstance(each, BadToken) for each in results), 200 - uses)

    def test_two_that_have_read_before_either_has_written(self) -> None:
        """The commit decides, not the reading: who comes second reads again."""
        token = self.run_now(self.tokens.add(["node"]))
        commit, first = self.store.commit, [True]

        async def slow(changes: Any) -> int:
            if first.pop() if first else False:
                self.assertFalse(self.use(token.secret, OTHER).again)
            return await commit(changes)

        self.patch(self.store, "commit", slow)
        self.refused(token.secret)
        self.patch(self.store, "commit", commit)
        self.assertTrue(self.use(token.secret, OTHER).again)

    def test_unlimited_keeps_nothing_of_who_came(self) -> None:
        """A token for a fleet does not grow with it."""
        token = self.run_now(self.tokens.add(["node"], uses="unlimited"))
        before = self.run_now(self.store.revision())
        for number in range(20):
            self.assertFalse(self.use(token.secret, b"key %d" % number).again)
        self.assertEqual(self.run_now(self.store.revision()), before)

    def test_every_refusal_has_the_same_words(self) -> None:
        """Unknown, wrong, used up, removed, over, for something else, no token at all."""
        used, over, removed, half = (self.run_now(self.tokens.add(["node"])) for _ in range(4))
        self.use(used.secret)
        self.run_now(self.tokens.remove(removed.id))
        self.run_now(self.store.commit([Delete(f"tokens/{half.id}")]))
        right = self.run_now(self.tokens.add(["node"], ttl_seconds=9000))
        self.seconds += 1799
        words = {
            self.refused(text)
            for text in (
                used.secret.replace(".", ".", 1)[:-1] + ("A" if used.secret[-1] != "A" else "B"),
                f"{right.id}.{new_secret()}",
                f"{'0' * 16}.{new_secret()}",
                removed.secret,
                half.secret,
                right.id,
                "",
                "../users/alice",
                "\ud800" * 60,
                "x" * 10**6,
            )
        }
        words.add(self.refused(used.secret, OTHER))
        words.add(self.refused(right.secret, kind="db"))
        words.add(self.refused(right.secret, kind="auth"))
        self.seconds += 1
        words.add(self.refused(over.secret))
        self.assertEqual(words, {"this join token is not valid, or no longer: ask for a new one"})

    def test_bad_asks_are_refused_with_every_problem(self) -> None:
        """Types, life, uses and labels are bounded."""
        error = self.fails(
            BadResource,
            self.tokens.add(["auth"], ttl_seconds=0, uses=0, labels={"": "x"}),
        )
        self.assertEqual(
            [path for path, _ in error.problems], ["ttl_seconds", "uses", "labels", "types"]
        )
        bads: tuple[dict[str, Any], ...] = (
            {"types": []},
            {"types": ["node"], "ttl_seconds": float("nan")},
            {"types": ["node"], "ttl_seconds": 31 * 86400.0},
            {"types": ["node"], "uses": MOST_USES + 1},
            {"types": ["node"], "labels": {"x": "y" * 257}},
        )
        for bad in bads:
            self.fails(BadResource, self.tokens.add(**bad))
        self.run_now(self.tokens.add(["node"], uses=MOST_USES))

    def test_a_removed_token_is_gone(self) -> None:
        """Its secret half goes with it, and a second removal says that there is none."""
        token = self.run_now(self.tokens.add(["node"]))
        self.run_now(self.tokens.remove(token.id))
        keys = [item.key for item in self.run_now(self.store.scan(""))]
        self.assertEqual([key for key in keys if "tokens/" in key], [])
        self.fails(NoSuch, self.tokens.remove(token.id))


class StaticTokenTests(AuthTestCase):
    """Tokens that stand in the configuration file."""

    def test_they_let_in_for_ever_and_are_warned_of(self) -> None:
        """Any key, any number of times; the warning says what to do instead."""
        static = [static_token("node,app:a long enough secret"), static_token("proxy:short")]
        tokens = Tokens(self.store, self.now, static)
        self.seconds += 1e9
        for key in (KEY, OTHER):
            grant = self.run_now(tokens.use("a long enough secret", key, "app"))
            self.assertEqual(grant, TokenGrant(id="static-1", types=("app",), static=True))
        self.assertEqual(self.run_now(tokens.use("short", KEY, "gateway")).id, "static-2")
        self.fails(BadToken, tokens.use("short", KEY, "node"))
        self.assertEqual(len(tokens.warnings), 2)
        self.assertIn("tgctl tokens add", tokens.warnings[0])
        self.assertNotIn("long enough", repr(static) + repr(tokens.warnings))
        self.assertEqual(Tokens(self.store, self.now).warnings, [])

    def test_what_is_no_static_token(self) -> None:
        """A type and a secret are needed."""
        for text in ("", "secret", ":secret", "node:", "auth:secret", "node,nothing:secret"):
            self.assertRaises(BadResource, static_token, text)
