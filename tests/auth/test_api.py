"""The API as a whole: who may come, how it refuses, and that it never breaks.

One file, since most of it is the same walk over every verb.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.auth.cluster import ADDRESS, NAME, PASSWORD, PEM, Cluster
from tlsgate.auth import answers
from tlsgate.auth.api import BUG, STATUS, TABLE, Api, Ask, find, refusal
from tlsgate.auth.calls import Verb
from tlsgate.auth.principal import Principal, gateway, nobody
from tlsgate.auth.rights import rights_of
from tlsgate.core.claims import Claims
from tlsgate.errors import (
    AuditFailed,
    BadHello,
    BadResource,
    Forbidden,
    GateError,
    Locked,
    LockedOut,
    LoginFailed,
    NoSuch,
    StoreFailed,
)


def everybody(cluster: Cluster) -> dict[str, Principal]:
    """One who asks of every kind: each preset's user, both sides, nobody."""
    return {
        "access": cluster.user("alice", "access"),
        "editor": cluster.user("edgar", "editor"),
        "auditor": cluster.user("aud", "auditor"),
        "local": cluster.local,
        "gateway": cluster.gateway,
        "node": Principal(
            kind="host",
            name="n1",
            claims=Claims(cluster=NAME, kind="host", name="n1", system_roles=("node",)),
        ),
        "nobody": nobody(ADDRESS),
    }


class FindTests(SynchronousTestCase):
    """Paths and methods."""

    def setUp(self) -> None:
        self.cluster = Cluster(self)

    def test_paths(self) -> None:
        """What is not there is 404; a wrong method is told the right ones."""
        self.assertEqual(self.cluster.ask(self.cluster.local, "GET", "/v1/nothing").status, 404)
        self.assertEqual(self.cluster.ask(self.cluster.local, "GET", "").status, 404)
        reply = self.cluster.ask(self.cluster.local, "POST", "/v1/resources/role/x")
        self.assertEqual((reply.status, reply.headers["allow"]), (405, "DELETE, GET, PUT"))

    def test_names_are_decoded(self) -> None:
        """A name in a path is percent-encoded; one that cannot be read is refused."""
        _, names = find(Ask(method="GET", path="/v1/resources/user/a%40b"))
        self.assertEqual(names, {"kind": "user", "name": "a@b"})
        for path in ("/v1/resources/user/%ff", "/v1/" + "x" * 600):
            self.assertEqual(self.cluster.ask(self.cluster.local, "GET", path).status, 400)
        for path in ("/v1/resources/user/a%2Fb", "/v1/resources/user/", "/v1/resources/user/%00"):
            self.assertEqual(self.cluster.ask(self.cluster.local, "GET", path).status, 404)

    def test_every_verb_has_its_words(self) -> None:
        """No two verbs share a name, or a path and method; each answer has a schema."""
        self.assertEqual(len({verb.name for verb in TABLE}), len(TABLE))
        self.assertEqual(len({(verb.method, verb.path) for verb in TABLE}), len(TABLE))
        for verb in TABLE:
            self.assertTrue(hasattr(answers, verb.reply), verb.name)
            self.assertTrue(verb.changes or verb.method == "GET" or verb.name in _READERS)


#: They change nothing that an audit trail would tell of.
_READERS = {
    "gateway.app_check",
    "web.targets",
    "explain",
    "web.check",
    "agent.heartbeat",
    "gateway.agents",
    "gateway.report",
    "web.migration",
}


class RefusalTests(SynchronousTestCase):
    """Errors as answers."""

    def test_statuses(self) -> None:
        """Each error has the status of the contract, its word, its fault, its sentence."""
        for error, status in (
            (LoginFailed(), 401),
            (Forbidden("bob", "update role", "no role"), 403),
            (Locked("bob", ""), 403),
            (NoSuch("user", "x"), 404),
            (StoreFailed("no space"), 503),
            (AuditFailed(), 503),
            (BadHello("x", "y"), 400),
        ):
            reply = refusal(error)
            self.assertEqual(reply.status, status)
            self.assertEqual(
                reply.body,
                {
                    "error": {
                        "reason": error.reason,
                        "fault": error.fault.value,
                        "message": str(error),
                    }
                },
            )

    def test_problems(self) -> None:
        """A bad resource is told with every place."""
        body = refusal(BadResource([("spec.x", "no"), ("", "all of it")])).body
        self.assertEqual(
            body["error"]["problems"],
            [{"path": "spec.x", "message": "no"}, {"path": "", "message": "all of it"}],
        )

    def test_when_to_come_again(self) -> None:
        """Whoever is locked out hears for how long."""
        self.assertEqual(refusal(LockedOut(12.3)).headers, {"retry-after": "12"})
        self.assertEqual(refusal(LockedOut(0.1)).status, 429)

    def test_a_fault_of_ours_tells_nothing(self) -> None:
        """An error that is our bug has the constant words."""
        self.assertEqual(refusal(GateError()).body, BUG)
        self.assertNotIn(500, STATUS.values())


class AdmissionTests(SynchronousTestCase):
    """Who may ask at all."""

    def setUp(self) -> None:
        self.cluster = Cluster(self)
        self.alice = self.cluster.user("alice", "editor")

    def refused(self, principal: Principal, path: str = "/v1/me", words: str = "") -> None:
        """Assert that *principal* is refused with *words*."""
        reply = self.cluster.ask(principal, "GET", path)
        self.assertEqual(reply.status, 403, reply.body)
        self.assertIn(words, reply.body["error"]["message"])

    def test_nobody(self) -> None:
        """Without a certificate there is nothing but what is for anyone."""
        for verb in TABLE:
            path = verb.path.replace("{kind}", "role").replace("{name}", "x")
            reply = self.cluster.ask(nobody(ADDRESS), verb.method, path.replace("{type}", "user"))
            if verb.who == "anyone":
                self.assertNotEqual(reply.status, 403, verb.name)
            else:
                self.assertEqual(reply.status, 403, verb.name)
                self.assertIn("needs a certificate", reply.body["error"]["message"])

    def test_doors_of_others(self) -> None:
        """Users are no gateways, agents neither, gateways no users; only local is local."""
        everyone = everybody(Cluster(self))
        del everyone["local"], everyone["nobody"]
        others = {
            "user": ("gateway", "node"),
            "gateway": ("access", "editor", "auditor", "node"),
            "host": ("access", "editor", "auditor"),
            "local": tuple(everyone),
        }
        cluster = Cluster(self)
        for verb in TABLE:
            path = verb.path.replace("{kind}", "role").replace("{name}", "x")
            for who in others.get(verb.who, ()):
                reply = cluster.ask(everyone[who], verb.method, path)
                self.assertEqual(reply.status, 403, (verb.name, who))

    def test_a_user_who_is_gone(self) -> None:
        """A certificate opens nothing when its user was removed."""
        self.cluster.ask(self.cluster.local, "DELETE", "/v1/resources/user/alice", force="1")
        self.refused(self.alice, words="no such user any more")

    def test_a_role_that_is_gone(self) -> None:
        """A role that the user has lost counts no more, whatever the certificate says."""
        self.cluster.user("root", "editor")
        self.assertEqual(self.cluster.ask(self.alice, "GET", "/v1/resources/user").status, 200)
        self.cluster.run(self.cluster.parts.users.update("alice", roles=["access"]))
        self.refused(self.alice, "/v1/resources/user", "alice may not list user")

    def test_roles_that_the_certificate_has_not(self) -> None:
        """Nor does one that the user has and the certificate does not say."""
        self.refused(self.cluster.holder("alice", "access"), "/v1/resources/user")

    def test_locked(self) -> None:
        """A lock on the user, a role, the certificate or a host ends it at once."""
        for target, who in (
            ({"user": "alice"}, self.alice),
            ({"role": "editor"}, self.alice),
            ({"certificate": "a1"}, self.alice),
            ({"agent": "gw1"}, self.cluster.gateway),
        ):
            path = "/v1/me"
            self.assertEqual(self.cluster.ask(who, "GET", path).status, 200)
            body = {"target": target, "message": "ask Bob"}
            made = self.cluster.ask(self.cluster.local, "POST", "/v1/locks", body)
            reply = self.cluster.ask(who, "GET", path)
            self.assertEqual((reply.status, reply.body["error"]["reason"]), (403, "locked"))
            self.assertIn("ask Bob", reply.body["error"]["message"])
            name = made.body["metadata"]["name"]
            self.cluster.ask(self.cluster.local, "DELETE", f"/v1/resources/lock/{name}")

    def test_certificates_that_are_not_good_for_it(self) -> None:
        """Of another cluster, from another address, over, or for one service only (S55)."""
        self.refused(gateway("other.example.com", "gw"), words="another cluster")
        pinned = self.cluster.holder("alice", "editor", pinned_address="192.0.2.99")
        self.refused(pinned, words="good from 192.0.2.99 only")
        narrow = self.cluster.holder("alice", "editor", routes={"db": "orders"})
        self.refused(narrow, words="one service only")
        late = self.cluster.holder("alice", "editor")
        self.cluster.clock.advance(7200)
        self.refused(late, words="has ended")

    def test_rights(self) -> None:
        """The admin socket may do everything, a host nothing that is a user's."""
        rights = self.cluster.run(rights_of(self.cluster.gateway, self.cluster.parts))
        self.assertRaises(Forbidden, rights.require, "role", "read")
        rights = self.cluster.run(rights_of(self.cluster.local, self.cluster.parts))
        rights.require("anything", "whatever")

    def test_denials_are_audited(self) -> None:
        """Who tries what no role allows is in the trail, with why."""
        bob = self.cluster.user("bob", "access")
        self.cluster.audit.take()
        self.cluster.ask(bob, "DELETE", "/v1/resources/user/alice")
        (event, fields) = self.cluster.audit.events[0]
        self.assertEqual((event, fields["user"], fields["success"]), ("api.denied", "bob", False))
        self.assertEqual(fields["verb"], "resources.delete")
        self.assertEqual(fields["addr.remote"], ADDRESS)


class TrailTests(SynchronousTestCase):
    """No change without a trail."""

    def test_nothing_is_changed_without(self) -> None:
        """R18: while a strict trail cannot be written, readers are served and nobody changes."""
        full = False

        async def kept() -> None:
            if full:
                raise AuditFailed

        cluster = Cluster(self, audit_kept=kept, audit_refuses=lambda: full)
        alice = cluster.user("alice", "editor")
        full = True
        before = cluster.run(cluster.store.revision())
        body = {"name": "bob", "roles": ["access"]}
        reply = cluster.ask(alice, "POST", "/v1/users", body)
        self.assertEqual((reply.status, reply.body["error"]["reason"]), (503, "audit_failed"))
        self.assertEqual(cluster.run(cluster.store.revision()), before)
        self.assertEqual(cluster.ask(alice, "GET", "/v1/me").status, 200)
        full = False
        self.assertEqual(cluster.ask(alice, "POST", "/v1/users", body).status, 200)


class BugTests(SynchronousTestCase):
    """What is our own fault."""

    def test_a_bug(self) -> None:
        """An exception that is not ours is logged, and answered in words that tell nothing."""
        cluster = Cluster(self)

        async def broken(_: object) -> Any:
            raise RuntimeError("secret")

        from tlsgate.auth import api

        verb = Verb(
            name="broken",
            method="GET",
            path="/v1/broken",
            who="anyone",
            summary="Break.",
            answer=broken,
            reply="Anything",
        )
        self.patch(api, "TABLE", (verb,))
        reply = cluster.ask(nobody(), "GET", "/v1/broken")
        self.assertEqual((reply.status, reply.body), (500, BUG))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_a_fault_of_the_store(self) -> None:
        """A disk that is full is no bug: who asks is told to come again."""
        cluster = Cluster(self)

        async def full(_: object) -> int:
            raise StoreFailed("no space left")

        self.patch(cluster.store, "commit", full)
        body = {"types": ["node"]}
        self.assertEqual(cluster.ask(cluster.local, "POST", "/v1/tokens", body).status, 503)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=40)
    | st.sampled_from(["alice", "editor", "role", "user", "ssh://root@db1", PEM, "*", "v7"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=10)
            | st.sampled_from(["kind", "version", "metadata", "spec", "name", "roles", "target"]),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)
WORDS = st.text(max_size=20) | st.sampled_from(
    ["alice", "role", "user", "lock", "token", "networking", "cap", "ca", "host", "access"]
)


class FuzzTests(SynchronousTestCase):
    """Whatever is asked, there is an answer that is no 500."""

    @settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.data_too_large])
    @given(st.data())
    def test_any_json(self, data: st.DataObject) -> None:
        """Each verb with JSON near to what it takes: answered, never failed, in JSON."""
        cluster, everyone = self.house()
        verb = data.draw(st.sampled_from(TABLE))
        body = data.draw(JSON | bodies_near(verb))
        path = verb.path
        for word in verb.words:
            if word.startswith("{"):
                from urllib.parse import quote

                path = path.replace(word, quote(data.draw(WORDS), safe=""))
        query = data.draw(
            st.dictionaries(
                st.sampled_from(["force", "confirm", "limit", "after", "since", "type", "event"]),
                st.text(max_size=10) | st.sampled_from(["1", "0", "-1", "1e99", "user"]),
                max_size=2,
            )
        )
        who = data.draw(st.sampled_from(sorted(everyone)))
        ask = Ask(method=verb.method, path=path, query=query, body=body)
        reply = cluster.run(cluster.api.call(everyone[who], ask))
        self.assertNotEqual(reply.status, 500, (verb.name, body))
        self.assertEqual(self.flushLoggedErrors(), [])
        json.dumps(reply.body, allow_nan=False).encode()
        if reply.status == 200:
            getattr(answers, verb.reply).model_validate(
                reply.body if not verb.stream else {"kind": "alive"}
            )
        else:
            answers.Refusal.model_validate(reply.body)

    def house(self) -> tuple[Cluster, dict[str, Principal]]:
        """The same cluster for all examples: what they do to it is a part of the next."""
        if not hasattr(self, "_house"):
            cluster = Cluster(self)
            self._house = cluster, everybody(cluster)
        return self._house


def bodies_near(verb: Verb) -> st.SearchStrategy[Any]:
    """Objects with the verb's own names, and values of any kind."""
    if verb.body is None or not verb.body.model_fields:
        return st.none()
    return st.fixed_dictionaries(
        {},
        optional={name: _LIKELY.get(name, JSON) | JSON for name in verb.body.model_fields},
    )


_LIKELY: dict[str, st.SearchStrategy[Any]] = {
    "tls_public_key": st.just(PEM),
    "user": st.sampled_from(["alice", "edgar", "nobody"]),
    "name": st.sampled_from(["alice", "bob", "n-1"]),
    "password": st.just(PASSWORD),
    "roles": st.just(["access"]),
    "types": st.just(["node"]),
    "type": st.just("node"),
    "names": st.just(["auth.gate.example.com"]),
    "target": st.sampled_from(["ssh://root@db1", "db://a@b/c"]) | st.just({"user": "bob"}),
    "phase": st.sampled_from(["init", "update_clients", "standby", "rollback"]),
    "address": st.just(ADDRESS),
    "ttl_seconds": st.sampled_from([None, 1, 60, 3600]),
}


class SizeTests(SynchronousTestCase):
    """S56: nothing of any size is kept that has no business here."""

    def test_long_strings(self) -> None:
        """10 MiB in any field of any verb: refused, and nothing has changed."""
        cluster = Cluster(self)
        everyone = everybody(cluster)
        long = "x" * (10 << 20)
        before = cluster.run(cluster.store.revision())
        for verb in TABLE:
            who = {"gateway": "gateway", "host": "gateway", "anyone": "nobody"}.get(
                verb.who, "local"
            )
            path = verb.path.replace("{kind}", "role").replace("{name}", "x")
            path = path.replace("{type}", "user")
            for name in verb.body.model_fields if verb.body is not None else ("spec",):
                body = {**_WHOLE.get(verb.name, {}), name: long}
                reply = cluster.ask(everyone[who], verb.method, path, body)
                self.assertEqual(reply.status, 400, (verb.name, name))
                self.assertLess(len(json.dumps(reply.body)), 20_000)
        for kind, spec in (
            ("user", {"roles": [long]}),
            ("user", {"roles": ["access"], "traits": {"logins": [long]}}),
            ("user", {"roles": ["access"], "traits": {long: ["x"]}}),
            ("role", {"allow": {"logins": [long]}}),
            ("role", {"allow": {long: []}}),
            ("lock", {"target": {"user": long}}),
            ("lock", {"target": {"user": "bob"}, "message": long}),
        ):
            body = {"kind": kind, "version": "v2" if kind != "role" else "v7"}
            body = {**body, "metadata": {"name": "x"}, "spec": spec}
            reply = cluster.ask(cluster.local, "PUT", f"/v1/resources/{kind}/x", body)
            self.assertEqual(reply.status, 400, (kind, [*spec]))
            self.assertLess(len(json.dumps(reply.body)), 20_000)
        self.assertEqual(cluster.run(cluster.store.revision()), before)

    def test_many_problems(self) -> None:
        """A body full of mistakes is answered with some of them, briefly."""
        cluster = Cluster(self)
        body = {f"{'y' * 100}{number}": 1 for number in range(10_000)}
        reply = cluster.ask(cluster.local, "POST", "/v1/tokens", body)
        self.assertEqual(reply.status, 400)
        self.assertLessEqual(len(reply.body["error"]["problems"]), 20)
        self.assertLess(len(json.dumps(reply.body)), 10_000)


_WHOLE: dict[str, dict[str, Any]] = {
    "login": {"user": "alice", "password": PASSWORD, "tls_public_key": PEM},
    "users.create": {"name": "bob", "roles": ["access"]},
    "tokens.create": {"types": ["node"]},
    "locks.create": {"target": {"user": "bob"}},
    "sign": {"user": "alice", "tls_public_key": PEM},
}


class SecretTests(SynchronousTestCase):
    """S53: what is secret in the store is in no answer."""

    def test_dump_everything_as_everybody(self) -> None:
        """No resource, as no role and not as local, shows a key, a hash or a seed."""
        cluster = Cluster(self)
        everyone = everybody(cluster)
        token = cluster.ask(cluster.local, "POST", "/v1/tokens", {"types": ["node"]}).body
        cluster.ask(cluster.local, "POST", "/v1/locks", {"target": {"user": "mallory"}})
        cluster.ask(cluster.local, "POST", "/v1/authorities/host/rotate", {"phase": "init"})
        kept = cluster.run(cluster.store.scan("secrets/"))
        self.assertGreater(len(kept), 8)
        secrets = [token["secret"], token["secret"].partition(".")[2], "PRIVATE KEY", "$argon2"]
        for item in kept:
            secrets += _texts(item.value)
        secrets += cluster.secrets.values()
        seen = 0
        for who in everyone.values():
            for dumped in self.dump(cluster, who):
                seen += 1
                for secret in secrets:
                    self.assertNotIn(secret, dumped)
        self.assertGreater(seen, 50)

    def dump(self, cluster: Cluster, who: Principal) -> list[str]:
        """Every answer that *who* gets to a GET, as text."""
        found = []
        for kind in ("user", "role", "token", "lock", "networking", "cap", "ca"):
            reply = cluster.ask(who, "GET", f"/v1/resources/{kind}")
            found.append(json.dumps(reply.body))
            for item in reply.body.get("items", []):
                name = item["metadata"]["name"]
                reply = cluster.ask(who, "GET", f"/v1/resources/{kind}/{name}")
                found.append(json.dumps(reply.body))
        for path in ("/v1/me", "/v1/me/mfa", "/v1/cluster", "/v1/authorities", "/v1/cas"):
            found.append(json.dumps(cluster.ask(who, "GET", path).body))
        lines: list[str] = []
        watch = cluster.api.watch(who, None, lambda line: lines.append(json.dumps(line)))
        cluster.turn()
        watch.stop()
        return [*found, *lines]


def _texts(value: bytes) -> list[str]:
    """Every text in a kept secret that is long enough to be one."""
    try:
        whole = json.loads(value)
    except ValueError:
        return []
    found = []
    waiting = [whole]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, str) and len(one) >= 24:
            found.append(one)
    return found


class ConstructionTests(SynchronousTestCase):
    """What other parts rely on."""

    def test_the_api_needs_its_parts_only(self) -> None:
        """An `Api` is made from `Parts`, and asks for nothing else."""
        cluster = Cluster(self)
        self.assertIs(Api(cluster.parts).parts, cluster.parts)

    def test_its_end(self) -> None:
        """Who wants to hear of it does, once; who has taken that back does not."""
        api = Api(Cluster(self).parts)
        heard: list[str] = []
        api.on_end(lambda: heard.append("one"))
        api.on_end(lambda: heard.append("other"))()
        api.end()
        api.end()
        self.assertEqual(heard, ["one"])
