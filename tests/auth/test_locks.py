"""Tests for `tlsgate.auth.locks`."""

from __future__ import annotations

import itertools
import json
from typing import Any

from tests.auth.people import AuthTestCase
from tlsgate.auth import locks as locks_module
from tlsgate.auth.locks import Locks, as_resource, read_lock
from tlsgate.core.claims import Claims
from tlsgate.core.keeping import Put
from tlsgate.core.locks import TARGETS, Lock
from tlsgate.core.roles import Person
from tlsgate.errors import BadResource, Compacted, NoSuch

ALICE = Person("alice", ("access", "editor"), {})
CLAIMS = Claims(cluster="example.com", kind="user", name="alice", roles=("access",))


class ReadLockTests(AuthTestCase):
    """Locks as resources."""

    def test_there_and_back(self) -> None:
        """A lock is the same after the store and the API."""
        for lock in (
            Lock(name="1", target={"user": "alice"}),
            Lock(
                name="2",
                target=dict.fromkeys(TARGETS, "ab"),
                message="m",
                expires=1.5,
                created_by="bob",
                created=0.0,
            ),
        ):
            resource = json.loads(json.dumps(as_resource(lock)))
            self.assertEqual(read_lock(lock.name, resource), lock)

    def test_an_end_may_stand_in_two_places(self) -> None:
        """A lock ends by its spec or by its metadata, whichever is first."""
        lock = Lock(name="2", target={"user": "alice"}, message="m", expires=5.0)
        for where, want in (({"metadata": {"expires": "1970-01-01T00:00:03Z"}}, 3.0), ({}, 5.0)):
            self.assertEqual(read_lock("2", {**as_resource(lock), **where}).expires, want)

    def test_what_is_no_lock(self) -> None:
        """No target, an unknown one, one that is no text, an end that is no time."""
        specs: tuple[Any, ...] = (
            None,
            [],
            {},
            {"target": {}},
            {"target": {"node": "x"}},
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
        self.assertEqual(self.locks.matches(CLAIMS, serial=7), lock)
        self.assertEqual(self.locks.all(), [lock])
        self.assertEqual(lock.expires, self.seconds + 60)
        self.assertEqual(str(lock), f"lock {lock.name} on user alice")
        self.assertEqual(self.locks.revision, self.run_now(self.store.revision()))

    def test_a_lock_that_is_lifted_or_over_is_told_too(self) -> None:
        """The table is empty again, and those who wait are told."""
        one, _two = self.add(), self.add(ttl_seconds=60)
        self.run_now(self.locks.remove(one.name))
        self.store.turn()
        self.seconds += 60
        self.run_now(self.store.revision())
        self.store.turn()
        self.assertEqual((self.heard, list(self.locks.all())), (4, []))
        for name in (one.name, "", "x" * 10**4):
            self.fails(NoSuch, self.locks.remove(name))

    def test_what_was_set_before_the_start_counts(self) -> None:
        """More locks than one page are read, and a process that starts has them all."""
        puts = [
            Put(
                f"locks/{n:04}",
                json.dumps(as_resource(Lock(name="", target={"user": f"u{n}"}))).encode(),
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
