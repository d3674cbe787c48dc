"""Tests for `tlsgate.store.sqlite` and `.serving`."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.store.conformance import StoreTests
from tests.store.pump import Pump
from tlsgate.core.keeping import ABSENT, Event, Item, Put
from tlsgate.errors import Conflict, StoreFailed
from tlsgate.store.serving import URGENT
from tlsgate.store.sqlite import SqliteStore


class AtOnceTests(StoreTests, SynchronousTestCase):
    """Without a thread it is a store."""

    def setUp(self) -> None:
        self.seconds = 1000.0
        self.store = SqliteStore(Path(self.mktemp()), now=lambda: self.seconds)
        self.addCleanup(self.store.stop)

    def run_now(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        result = self.successResultOf(
            Deferred.fromCoroutine(coroutine).addErrback(lambda f: f.value)
        )
        if isinstance(result, Exception):
            raise result
        return result

    def turn(self) -> None:
        self.store.turn()


class ThreadTests(StoreTests, SynchronousTestCase):
    """With its thread it is the same; the test plays the reactor."""

    def setUp(self) -> None:
        self.seconds = 1000.0
        self.pump = Pump()
        self.store = SqliteStore(
            Path(self.mktemp()), now=lambda: self.seconds, from_thread=self.pump.put
        )
        self.addCleanup(self.store.stop)

    def run_now(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.pump.run(coroutine)

    def turn(self) -> None:
        # Watches are told after the answers of one transaction, before those of the next.
        self.run_now(self.store.revision())
        self.run_now(self.store.revision())

    def test_swept_while_nobody_asks(self) -> None:
        """What has expired is told to watches without a call that would notice."""
        self.commit(Put("a", b"1", expires=self.seconds + 10))
        events = self.heard("")
        self.turn()
        self.seconds += 11
        self.pump.until(lambda: events)
        self.assertEqual([(event.key, event.item) for event in events], [("a", None)])


class Faults:
    """Raises what is next in line at a named place."""

    def __init__(self) -> None:
        self.next: dict[str, list[Exception]] = {}
        self.seen: list[str] = []

    def at(self, name: str) -> None:
        """Come by *name*."""
        self.seen.append(name)
        if self.next.get(name):
            raise self.next[name].pop(0)


def _sqlite(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("said")
    error.sqlite_errorcode = code
    error.sqlite_errorname = "SQLITE_X"
    return error


class TogetherTests(SynchronousTestCase):
    """Commits that wait together."""

    def setUp(self) -> None:
        self.pump = Pump()
        self.faults = Faults()
        self.folder = Path(self.mktemp())
        self.store = SqliteStore(
            self.folder, now=lambda: 1000.0, from_thread=self.pump.put, at=self.faults.at
        )
        self.addCleanup(self.store.stop)
        self.pump.run(self.store.commit([Put("first", b"", ABSENT)]))
        self.faults.seen.clear()

    def together(self, *coroutines: Coroutine[Any, Any, Any]) -> list[Any]:
        """Begin *coroutines*, and give their results."""
        waiting = [self.pump.start(coroutine) for coroutine in coroutines]
        self.pump.until(lambda: all(waiting))
        return [result.value if isinstance(result, Failure) else result for (result,) in waiting]

    def put(self, key: str, expects: int = ABSENT) -> Coroutine[Any, Any, int]:
        """One commit."""
        return self.store.commit([Put(key, key.encode(), expects)])

    def test_one_sync_for_many(self) -> None:
        """Commits that wait share a transaction, and each has its own verdict."""
        results = self.together(*(self.put(f"k{n % 150}") for n in range(200)))
        self.assertEqual([r for r in results if isinstance(r, int)], list(range(2, 152)))
        refused = [r for r in results if isinstance(r, Conflict)]
        self.assertEqual([error.key for error in refused], [f"k{n}" for n in range(50)])
        self.assertLess(self.faults.seen.count("committed"), 100)

    def test_a_read_sees_the_commit_before_it(self) -> None:
        """Who asks after a commit, without waiting for it, sees it."""
        revision, item = self.together(self.put("a"), self.store.get("a"))
        self.assertEqual(item, Item(key="a", value=b"a", revision=revision))

    def test_failed_together_tried_alone(self) -> None:
        """A transaction that fails is undone; each of its commits is then tried alone."""
        self.faults.next["applied"] = [_sqlite(sqlite3.SQLITE_READONLY)]
        results = self.together(self.put("a"), self.put("b"), self.put("a"))
        self.assertEqual(results[:2], [2, 3])
        self.assertIsInstance(results[2], Conflict)

    def test_alone_and_failed(self) -> None:
        """What fails alone too is refused with the words of SQLite, the others stand."""
        self.faults.next["applied"] = [_sqlite(sqlite3.SQLITE_READONLY)] * 2
        results = self.together(self.put("a"), self.put("b"))
        self.assertEqual(
            [str(r) for r in results],
            [f"the store failed: {self.folder}: said (SQLITE_X): nothing was changed", "2"],
        )

    def test_full_and_free_again(self) -> None:
        """A full disk refuses a commit; the next one is made as if nothing had been."""
        full = OSError(errno.ENOSPC, "No space left on device")
        self.faults.next["applied"] = [full] * 3
        results = self.together(self.put("a"))
        self.assertEqual(
            str(results[0]),
            f"the store failed: {self.folder}: the disk is full: "
            "free some space; nothing was changed",
        )
        self.assertEqual(self.together(self.put("a")), [2])

    def test_a_lock_on_a_full_disk(self) -> None:
        """A lock is made from what was set aside, which the next commit puts back."""
        full = OSError(errno.ENOSPC, "No space left on device")
        self.faults.next["applied"] = [full] * 3
        self.assertEqual(self.together(self.put(f"{URGENT}1")), [2])
        self.assertFalse(self.store._tables.ballast)
        self.assertEqual(self.together(self.put("a")), [3])
        self.assertTrue(self.store._tables.ballast)

    def test_in_doubt(self) -> None:
        """After a failed fsync nothing more is written, and the sentence says so."""
        self.faults.next["applied"] = [_sqlite(sqlite3.SQLITE_IOERR_FSYNC)] * 2
        said = (
            f"the store failed: {self.folder}: said (SQLITE_X): "
            "whether the last commits were kept is known after a restart"
        )
        self.assertEqual([str(r) for r in self.together(self.put("a"))], [said])
        self.assertEqual([str(r) for r in self.together(self.put("b"))], [said])
        item, nothing = self.together(self.store.get("first"), self.store.get("a"))
        self.assertEqual((item.key, nothing), ("first", None))

    def test_a_bug_leaves_nobody_waiting(self) -> None:
        """An error that nobody expected is the answer of those who wait; the thread goes on."""
        self.faults.next["begun"] = [ZeroDivisionError("a bug")]
        results = self.together(self.put("a"))
        self.assertIsInstance(results[0], ZeroDivisionError)
        self.assertEqual(self.together(self.put("a")), [2])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_stop_answers_what_waits(self) -> None:
        """What was asked before the end is answered, what comes later is refused."""
        waiting = self.pump.start(self.put("a"))
        self.store.stop()
        self.pump.until(lambda: waiting)
        self.assertEqual(waiting, [2])
        late = self.pump.start(self.put("b"))
        self.assertIsInstance(late[0].value, StoreFailed)
        self.assertRaises(StoreFailed, self.store.watch, "", None, lambda events: None)

    def test_watch_in_the_midst(self) -> None:
        """A watch that begins among commits hears each after its own beginning once."""
        heard: list[Event] = []
        before = self.pump.start(self.put("a"))
        watch = self.store.watch("", 1, heard.extend)
        after = self.pump.start(self.put("b"))
        self.pump.until(lambda: before and after and len(heard) > 1)
        watch.stop()
        self.assertEqual([(event.key, event.revision) for event in heard], [("a", 2), ("b", 3)])
