"""Tests for `tlsgate.core.locks`."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.claims import Claims
from tlsgate.core.locks import (
    LONGEST_MESSAGE,
    Fact,
    Lock,
    LockTable,
    agent_name,
    certificate_name,
    facts_of,
    lock_of,
    target_of,
)
from tlsgate.core.roles import Person
from tlsgate.errors import BadResource

ALICE = Person("alice", ("access", "editor"), {})
CLAIMS = Claims(cluster="c", kind="user", name="alice", roles=("access",))
HOST = Claims(cluster="c", kind="host", name="alice", system_roles=("node",))
PRINT = "ab" * 32


def lock(name: str = "1", expires: float | None = None, **target: str) -> Lock:
    """A lock on *target*."""
    return Lock(name=name, target=target, expires=expires)


class LockTests(SynchronousTestCase):
    """Tests for `Lock` and `facts_of`."""

    def test_whom_each_target_means(self) -> None:
        """A user, a role's holders, an agent, a certificate, a login; nobody else."""
        cases: tuple[tuple[dict[str, str], Person | Claims, dict[str, Any], bool], ...] = (
            ({"user": "alice"}, ALICE, {}, True),
            ({"user": "alice"}, CLAIMS, {}, True),
            ({"user": "alice"}, HOST, {}, False),
            ({"user": "Alice"}, ALICE, {}, False),
            ({"role": "editor"}, ALICE, {}, True),
            ({"role": "editor"}, CLAIMS, {}, False),
            ({"role": "node"}, HOST, {}, False),
            ({"agent": "alice"}, HOST, {}, True),
            ({"agent": "alice"}, ALICE, {}, False),
            ({"agent": agent_name("Alice", HOST.system_roles[0], HOST.cluster)}, HOST, {}, True),
            ({"agent": agent_name("alice", "kube", HOST.cluster)}, HOST, {}, False),
            ({"certificate": "1f"}, ALICE, {"serial": 31}, True),
            ({"certificate": "1f"}, HOST, {"serial": 31}, True),
            ({"certificate": "1f"}, ALICE, {"serial": 1}, False),
            ({"certificate": "1f"}, ALICE, {}, False),
            ({"certificate": f"sha256:{PRINT}"}, ALICE, {"fingerprint": PRINT.upper()}, True),
            ({"certificate": f"sha256:{PRINT}"}, HOST, {"fingerprint": f"sha256:{PRINT}"}, True),
            ({"certificate": f"sha256:{PRINT}"}, ALICE, {"fingerprint": ""}, False),
            ({"login": "root"}, ALICE, {"login": "root"}, True),
            ({"login": "root"}, ALICE, {"login": "toor"}, False),
            ({"login": "root"}, ALICE, {}, False),
        )
        for target, who, more, want in cases:
            facts = facts_of(who, **more)
            one = Lock(name="1", target=target)
            self.assertEqual(one.on(facts), want, (target, who, more))
            found = LockTable([one]).matches(facts, 0.0)
            self.assertEqual(found is not None, want, (target, who, more))

    def test_a_target_of_several_words_means_all_of_them(self) -> None:
        """Alice as root is locked; alice as herself and root by others are not."""
        one = lock(user="alice", login="root")
        for facts, want in (
            (facts_of(ALICE, login="root"), True),
            (facts_of(ALICE, login="alice"), False),
            (facts_of(ALICE), False),
            (facts_of(Person("bob", (), {}), login="root"), False),
        ):
            self.assertEqual(one.on(facts), want, facts)

    def test_end(self) -> None:
        """From its end on a lock holds nobody."""
        one = lock(user="alice", expires=10.0)
        self.assertEqual([one.in_force(now) for now in (9.9, 10.0)], [True, False])
        self.assertTrue(lock(user="alice").in_force(1e12))

    def test_text(self) -> None:
        """Logs name the lock and whom it is on."""
        one = lock("l", user="alice", login="root")
        self.assertEqual(str(one), "lock l on user alice, login root")

    def test_a_value(self) -> None:
        """A target is kept as it was given, and two locks that say the same are equal."""
        target = {"user": "alice"}
        one = Lock(name="1", target=target)
        target["user"] = "bob"
        self.assertEqual(one, lock(user="alice"))
        self.assertEqual(hash(one), hash(lock(user="alice")))


class LockTableTests(SynchronousTestCase):
    """Tests for `LockTable`."""

    def found(self, table: LockTable, facts: frozenset[Fact], now: float = 0.0) -> str | None:
        """The name of the lock that holds."""
        one = table.matches(facts, now)
        return None if one is None else one.name

    @given(
        st.permutations(
            [
                lock("1", role="editor"),
                lock("2", user="alice"),
                lock("3", user="alice", login="x"),
                lock("4", user="bob"),
                lock("0", user="alice", expires=1.0),
            ]
        ),
        st.sets(st.sampled_from("01234")),
    )
    def test_order_never_matters(self, order: list[Lock], dropped: set[str]) -> None:
        """The same locks give the same answer however they came and went."""
        table = LockTable()
        for one in order:
            table = table.put(one)
        self.assertEqual(table, LockTable(order))
        for name in sorted(dropped):
            table = table.drop(name).drop(name)
        left = [name for name in "12" if name not in dropped]
        self.assertEqual(self.found(table, facts_of(ALICE), 100.0), left[0] if left else None)
        self.assertEqual([one.name for one in table], sorted(set("01234") - dropped))
        self.assertEqual(len(table), 5 - len(dropped))
        for name in "01234":
            table = table.drop(name)
        self.assertEqual((len(table), table), (0, LockTable()))
        self.assertIsNone(self.found(table, facts_of(ALICE, login="x")))

    def test_an_earlier_table_stays_as_it_is(self) -> None:
        """A change gives another table; who holds the old one sees no half of it."""
        before = LockTable([lock("1", user="alice"), lock("2", user="alice")])
        before.drop("1"), before.put(lock("2", user="bob")), before.put(lock("0", user="alice"))
        self.assertEqual([one.name for one in before], ["1", "2"])
        self.assertEqual(self.found(before, facts_of(ALICE)), "1")
        self.assertEqual(self.found(before.drop("1"), facts_of(ALICE)), "2")

    def test_a_lock_put_again_replaces_itself(self) -> None:
        """A change of the target frees whom it meant before."""
        table = LockTable([lock("1", user="alice")]).put(lock("1", user="bob"))
        self.assertIsNone(self.found(table, facts_of(ALICE)))
        self.assertEqual(len(table), 1)

    def test_equal(self) -> None:
        """Tables are equal by their locks; nothing else is a table."""
        self.assertEqual(LockTable([lock("1", user="a")]), LockTable([lock("1", user="a")]))
        self.assertNotEqual(LockTable([lock("1", user="a")]), LockTable([lock("1", user="b")]))
        self.assertNotEqual(LockTable(), {})

    def test_only_what_may_match_is_looked_at(self) -> None:
        """Ten thousand locks on others cost nothing (a look-up goes by what is asked of)."""
        table = LockTable(lock(f"l{n}", user=f"u{n}") for n in range(10_000))
        looked: list[str] = []

        def on(one: Lock, facts: frozenset[Fact]) -> bool:
            looked.append(one.name)
            return False

        self.patch(Lock, "on", on)
        self.assertIsNone(table.matches(facts_of(Person("u77", ("access",), {})), 0.0))
        self.assertEqual(looked, ["l77"])


class ReadTests(SynchronousTestCase):
    """Tests for `certificate_name`, `target_of` and `lock_of`."""

    def test_certificates_as_people_write_them(self) -> None:
        """Serial numbers as openssl shows them, fingerprints in either case."""
        for text, want in (
            ("1F", "1f"),
            ("0x1f", "1f"),
            ("00:1F", "1f"),
            (" 1f\n", "1f"),
            ("0", "0"),
            ("f" * 40, "f" * 40),
            ("SHA256:" + PRINT.upper(), f"sha256:{PRINT}"),
            ("sha256:" + ":".join(["ab"] * 32), f"sha256:{PRINT}"),
        ):
            self.assertEqual(certificate_name(text), want, text)
            self.assertEqual(target_of({"certificate": text}), {"certificate": want})
        for text in ("", "xyz", "-1", "sha256:ab", "1" * 65, " ", "1_0", "sha256:", "\ud800", "٣"):
            self.assertIsNone(certificate_name(text), text)
            self.assertRaises(BadResource, target_of, {"certificate": text})

    def test_problems(self) -> None:
        """Every problem of a target is told, with its place."""
        error = self.assertRaises(
            BadResource,
            target_of,
            {"user": "", "role": 7, "agent": "x" * 257, "node": "x", "certificate": "zz"},
        )
        self.assertEqual(
            [path for path, _ in error.problems],
            [f"spec.target.{word}" for word in ("user", "role", "agent", "node", "certificate")],
        )
        error = self.assertRaises(BadResource, target_of, {})
        self.assertEqual([path for path, _ in error.problems], ["spec.target"])

    def test_resource(self) -> None:
        """A line of the watch is read whole, and bounded."""
        spec = {
            "target": {"user": "alice", "login": "root"},
            "expires": 5,
            "message": "away" * 1000,
            "created_by": "local:0",
        }
        self.assertEqual(
            lock_of({"metadata": {"name": "l1"}, "spec": spec}),
            Lock(
                name="l1",
                target={"user": "alice", "login": "root"},
                expires=5,
                message=("away" * 1000)[:LONGEST_MESSAGE],
                created_by="local:0",
            ),
        )

    def test_what_is_no_lock(self) -> None:
        """Nothing in the place of a lock is taken for one that holds nobody."""
        good = {"target": {"user": "a"}}
        ends: list[Any] = ["2030-01-01T00:00:00Z", True, float("nan"), float("inf"), -1, []]
        specs: list[Any] = [None, [], "x", {}, {"target": None}, {"target": []}, {"target": {}}]
        for spec in itertools.chain(specs, ({**good, "expires": end} for end in ends)):
            self.assertRaises(BadResource, lock_of, {"spec": spec})
        self.assertEqual(lock_of({"spec": good}), lock("", user="a"))
