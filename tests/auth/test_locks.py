"""Tests for `tlsgate.auth.locks`."""

from __future__ import annotations

import itertools
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.auth.people import AuthTestCase
from tlsgate.auth import locks as locks_module
from tlsgate.auth.locks import TARGETS, Lock, Locks, LockTable, as_resource, read_lock
from tlsgate.core.claims import Claims
from tlsgate.core.keeping import Put
from tlsgate.core.roles import Person
from tlsgate.errors import BadResource, Compacted, NoSuch

ALICE = Person("alice", ("access", "editor"), {})
CLAIMS = Claims(cluster="example.com", kind="user", name="alice", roles=("access",))
HOST = Claims(cluster="example.com", kind="host", name="alice", system_roles=("node",))
PRINT = "ab" * 32


class LockTableTests(AuthTestCase):
    """Tests for `LockTable`."""

    def setUp(self) -> None:
        super().setUp()
        self.table = LockTable(self.now)

    def locked(self, target: dict[str, str], who: Any = ALICE, **more: Any) -> bool:
        self.table = LockTable(self.now)
        self.table.put(Lock(id="1", target=target))
        return self.table.matches(who, **more) is not None

    def test_whom_each_target_means(self) -> None:
        """A user, a role's holders, an agent, a certificate, a login; nobody else."""
        for target, who, more, want in (
            ({"user": "alice"}, ALICE, {}, True),
            ({"user": "alice"}, CLAIMS, {}, True),
            ({"user": "alice"}, HOST, {}, False),
            ({"user": "Alice"}, ALICE, {}, False),
            ({"role": "editor"}, ALICE, {}, True),
            ({"role": "editor"}, CLAIMS, {}, False),
            ({"role": "node"}, HOST, {}, False),
            ({"agent": "alice"}, HOST, {}, True),
            ({"agent": "alice"}, ALICE, {}, False),
            ({"certificate": "1f"}, ALICE, {"serial": 31}, True),
            ({"certificate": "1f"}, HOST, {"serial": 31}, True),
            ({"certificate": "1f"}, ALICE, {"serial": 1}, False),
            ({"certificate": "1f"}, ALICE, {}, False),
            ({"certificate": f"sha256:{PRINT}"}, ALICE, {"fingerprint": PRINT.upper()}, True),
            ({"certificate": f"sha256:{PRINT}"}, ALICE, {"fingerprint": f"sha256:{PRINT}"}, True),
            ({"login": "root"}, ALICE, {"login": "root"}, True),
            ({"login": "root"}, ALICE, {"login": "toor"}, False),
            ({"login": "root"}, ALICE, {}, False),
        ):
            self.assertEqual(self.locked(target, who, **more), want, (target, who, more))

    def test_a_target_of_several_words_means_all_of_them(self) -> None:
        """Alice as root is locked; alice as herself and root by others are not."""
        target = {"user": "alice", "login": "root"}
        bob = Person("bob", (), {})
        self.assertTrue(self.locked(target, ALICE, login="root"))
        self.assertFalse(self.locked(target, ALICE, login="alice"))
        self.assertFalse(self.locked(target, ALICE))
        self.assertFalse(self.locked(target, bob, login="root"))

    def test_a_lock_ends(self) -> None:
        """From its end on it holds nobody, whether the store has told or not."""
        self.table.put(Lock(id="1", target={"user": "alice"}, expires=self.seconds + 10))
        self.assertIsNotNone(self.table.matches(ALICE))
        self.seconds += 10
        self.assertIsNone(self.table.matches(ALICE))

    @given(
        st.permutations(
            [
                Lock(id="1", target={"role": "editor"}, message="r"),
                Lock(id="2", target={"user": "alice"}, message="u"),
                Lock(id="3", target={"user": "alice", "login": "x"}),
                Lock(id="4", target={"user": "bob"}),
                Lock(id="0", target={"user": "alice"}, expires=1.0),
            ]
        ),
        st.sets(st.sampled_from("01234")),
    )
    def test_order_never_matters(self, order: list[Lock], dropped: set[str]) -> None:
        """The same locks give the same answer however they came and went."""
        table = LockTable(lambda: 100.0)
        for lock in order:
            table.put(lock)
        for name in sorted(dropped):
            table.drop(name)
            table.drop(name)
        left = [name for name in "12" if name not in dropped]
        found = table.matches(ALICE)
        self.assertEqual(found.id if found else None, left[0] if left else None)
        self.assertEqual([lock.id for lock in table], sorted(set("01234") - dropped))
        for name in "01234":
            table.drop(name)
        self.assertEqual((len(table), table._filed), (0, {}))

    def test_a_lock_put_again_replaces_itself(self) -> None:
        """A change of the target frees whom it meant before."""
        self.table.put(Lock(id="1", target={"user": "alice"}))
        self.table.put(Lock(id="1", target={"user": "bob"}))
        self.assertIsNone(self.table.matches(ALICE))
        self.assertEqual(len(self.table), 1)


class ReadLockTests(AuthTestCase):
    """Locks as resources."""

    def test_there_and_back(self) -> None:
        """A lock is the same after the store and the API."""
        for lock in (
            Lock(id="1", target={"user": "alice"}),
            Lock(
                id="2",
                target=dict.fromkeys(TARGETS, "ab"),
                message="m",
                expires=1.5,
                created_by="bob",
                created=0.0,
            ),
        ):
            resource = json.loads(json.dumps(as_resource(lock)))
            self.assertEqual(read_lock(lock.id, resource), lock)

    def test_an_end_may_stand_in_two_places(self) -> None:
        """A lock ends by its spec or by its metadata, whichever is first."""
        lock = Lock(id="2", target={"user": "alice"}, message="m", expires=5.0)
        for where, want in (({"metadata": {"expires": "1970-01-01T00:00:03Z"}}, 3.0), ({}, 5.0)):
            self.assertEqual(read_lock("2", {**as_resource(lock), **where}).expires, want)

    def test_certificates_as_people_write_them(self) -> None:
        """Serial numbers as openssl shows them, fingerprints in either case."""
        for text, want in (
            ("1F", "1f"),
            ("0x1f", "1f"),
            ("00:1F", "1f"),
            ("0", "0"),
            ("SHA256:" + PRINT.upper(), f"sha256:{PRINT}"),
            ("sha256:" + ":".join(["ab"] * 32), f"sha256:{PRINT}"),
        ):
            lock = read_lock("1", {"spec": {"target": {"certificate": text}}})
            self.assertEqual(lock.target, {"certificate": want})
        for text in ("", "xyz", "-1", "sha256:ab", "1" * 65, " ", "1_0", "sha256:", "\ud800"):
            resource = {"spec": {"target": {"certificate": text}}}
            self.assertRaises(BadResource, read_lock, "1", resource)

    def test_what_is_no_lock(self) -> None:
        """No target, an unknown one, one that is no text, an end that is no time."""
        specs: tuple[Any, ...] = (
            None,
            [],
            {},
            {"target": {}},
            {"target": []},
            {"target": {"node": "x"}},
            {"target": {"user": ""}},
            {"target": {"user": 7}},
            {"target": {"user": "x" * 257}},
            {"target": {"user": "x"}, "expires": "tomorrow"},
            {"target": {"user": "x"}, "created_at": 7},
        )
        for spec in specs:
            self.assertRaises(BadResource, read_lock, "1", {"spec": spec})


class LocksTests(AuthTestCase):
    """Tests for `Locks`."""

    def setUp(self) -> None:
        super().setUp()
        self.heard = 0
        self.run_now(self.locks.start())
        self.locks.on_change(self.hear)

    def hear(self) -> None:
        self.heard += 1

    def add(self, **more: Any) -> Lock:
        lock = self.run_now(self.locks.add({"user": "alice"}, **more))
        self.store.turn()
        return lock

    def test_a_lock_counts_with_the_next_turn(self) -> None:
        """Whoever holds connections is told, and finds the lock."""
        lock = self.add(message="call us", created_by="local:0", ttl_seconds=60)
        self.assertEqual(self.heard, 1)
        self.assertEqual(self.locks.matches(CLAIMS, 7), lock)
        self.assertEqual(self.locks.all(), [lock])
        self.assertEqual(lock.expires, self.seconds + 60)
        self.assertEqual(str(lock), f"lock {lock.id} on user alice")
        self.assertEqual(self.locks.revision, self.run_now(self.store.revision()))

    def test_a_lock_that_is_lifted_or_over_is_told_too(self) -> None:
        """The table is empty again, and those who wait are told."""
        one, _two = self.add(), self.add(ttl_seconds=60)
        self.run_now(self.locks.remove(one.id))
        self.store.turn()
        self.seconds += 60
        self.run_now(self.store.revision())
        self.store.turn()
        self.assertEqual((self.heard, list(self.locks.all())), (4, []))
        for name in (one.id, "", "x" * 10**4):
            self.fails(NoSuch, self.locks.remove(name))

    def test_what_was_set_before_the_start_counts(self) -> None:
        """More locks than one page are read, and a process that starts has them all."""
        puts = [
            Put(
                f"locks/{n:04}",
                json.dumps(as_resource(Lock(id="", target={"user": f"u{n}"}))).encode(),
            )
            for n in range(1100)
        ]
        for batch in range(0, 1100, 100):
            self.run_now(self.store.commit(puts[batch : batch + 100]))
        late = Locks(self.store, self.now)
        self.run_now(late.start())
        self.assertEqual(len(late.all()), 1100)
        self.assertIsNotNone(late.matches(Person("u1099", (), {})))

    def test_no_lock_is_missed_between_reading_and_watching(self) -> None:
        """What is set while the table is read is heard afterwards."""
        scan = self.store.scan

        async def slow(*args: Any) -> Any:
            found = await scan(*args)
            self.store.scan = scan  # type: ignore[method-assign]
            await self.locks.add({"user": "alice"})
            return found

        self.store.scan = slow  # type: ignore[method-assign, assignment]
        late = Locks(self.store, self.now)
        self.run_now(late.start())
        self.store.turn()
        self.assertIsNotNone(late.matches(ALICE))

    def test_a_watch_that_came_too_late_begins_again(self) -> None:
        """Where the store has forgotten the changes in between, everything is read anew."""
        watch, refusals = self.store.watch, [2]

        def forgetful(prefix: str, since: int | None, heard: Any) -> Any:
            if refusals[0]:
                refusals[0] -= 1
                raise Compacted(since or 0)
            return watch(prefix, since, heard)

        self.store.watch = forgetful  # type: ignore[method-assign]
        late = Locks(self.store, self.now)
        self.run_now(late.start())
        self.add()
        self.assertIsNotNone(late.matches(ALICE))

    def test_a_start_again_watches_once(self) -> None:
        """Nothing is heard twice, and nothing after the stop."""
        self.run_now(self.locks.start())
        self.heard = 0
        self.add()
        self.assertEqual(self.heard, 1)
        self.locks.stop()
        self.locks.stop()
        self.add()
        self.assertEqual((self.heard, len(self.store.watches)), (1, 0))

    def test_who_no_longer_listens_is_not_called(self) -> None:
        """The answer of `on_change` ends it, twice without harm."""
        end = self.locks.on_change(self.hear)
        end()
        end()
        self.heard = 0
        self.add()
        self.assertEqual(self.heard, 1)

    def test_one_who_fails_does_not_keep_the_others_from_hearing(self) -> None:
        """A callback's failure is logged, and the next one is called."""

        def broken() -> None:
            raise RuntimeError("no lock for you")

        self.locks = Locks(self.store, self.now)
        self.run_now(self.locks.start())
        self.locks.on_change(broken)
        self.locks.on_change(self.hear)
        self.heard = 0
        self.add()
        self.assertEqual(self.heard, 1 + 1)  # the one of setUp's, and this one's
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_a_lock_that_cannot_be_read_breaks_nothing(self) -> None:
        """The others count, before and after it."""
        self.run_now(self.store.commit([Put("locks/a", b"no JSON"), Put("locks/b", b"{}")]))
        self.add()
        self.assertIsNotNone(self.locks.matches(ALICE))
        self.assertEqual(len(self.locks.all()), 1)
        late = Locks(self.store, self.now)
        self.run_now(late.start())
        self.assertEqual(len(late.all()), 1)

    def test_bad_locks_are_refused(self) -> None:
        """Nobody, too long a message, a life that is none, one lock too many."""
        for target, more in (
            ({}, {}),
            ({"users": "x"}, {}),
            ({"user": "x"}, {"message": "m" * 1025}),
            ({"user": "x"}, {"ttl_seconds": 0}),
            ({"user": "x"}, {"ttl_seconds": float("nan")}),
        ):
            self.fails(BadResource, self.locks.add(target, **more))
        self.patch(locks_module, "LOCKS", 2)
        for _ in itertools.repeat(None, 2):
            self.add()
        self.fails(BadResource, self.locks.add({"user": "x"}))
