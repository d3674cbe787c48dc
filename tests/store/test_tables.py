"""Tests for `tlsgate.store.tables`."""

from __future__ import annotations

import errno
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.keeping import Check, Delete, Put
from tlsgate.errors import Conflict
from tlsgate.store import schema
from tlsgate.store.tables import Tables


class TablesTests(SynchronousTestCase):
    """Rows, and what is remembered of them."""

    def setUp(self) -> None:
        self.connection = schema.connect(Path(self.mktemp()))
        self.addCleanup(self.connection.close)
        schema.set_up(self.connection)
        schema.migrate(self.connection, schema.MIGRATIONS, lambda name: None)
        self.needed = 1 << 60
        self.space = 1 << 60
        self.tables = self.opened()

    def opened(self) -> Tables:
        """The tables as a process finds them."""
        return Tables(
            self.connection,
            events=10,
            events_bytes=1000,
            spare=lambda revision: min(revision, self.needed),
            make_room=self.make_room,
            at=lambda name: None,
        )

    def make_room(self, pages: int, page_bytes: int) -> None:
        """Have as much as `space`."""
        if pages * page_bytes > self.space:
            raise OSError(errno.ENOSPC, "full")

    def commit(self, *changes: Put | Delete | Check, now: float = 0.0) -> None:
        """Apply in a transaction, and hold what is there against its sums."""
        with self.tables.transaction():
            self.tables.apply(changes, now)
        self.assertIsNone(schema.flaw(self.connection))
        self.assertEqual(schema.read_state(self.connection), self.tables.state)

    def test_sums(self) -> None:
        """Whatever is done, the sums are those of the rows."""
        self.commit(Put("a", b"1"), Put("b", b"1", expires=5.0))
        self.commit(Put("a", b"2"), Delete("none"), Check("b", 1))
        self.commit(Delete("b"), Put("c", b"3", expires=7))
        with self.tables.transaction():
            self.tables.sweep(8.0)
        self.assertIsNone(schema.flaw(self.connection))
        self.assertEqual((self.tables.state.items, self.tables.state.events), (1, 6))
        self.assertEqual(self.opened().state, self.tables.state)

    def test_undone(self) -> None:
        """A transaction that fails leaves rows, sums and ends as they were."""
        self.commit(Put("a", b"1", expires=5.0))
        before = self.tables.state.row()

        def fail() -> None:
            with self.tables.transaction():
                self.tables.apply([Put("b", b"1")], 1.0)
                self.tables.sweep(6.0)
                self.tables.take_ballast()
                raise Conflict("b")

        self.assertRaises(Conflict, fail)
        self.assertEqual(self.tables.state.row(), before)
        self.assertFalse(self.tables.ballast)
        self.assertTrue(self.tables.due(6.0))
        self.assertIsNone(schema.flaw(self.connection))

    def test_forgets_the_oldest(self) -> None:
        """A tenth more than is kept, by count or by bytes, and the oldest revisions go."""
        for number in range(12):
            self.commit(Put("k", b"%d" % number))
        self.assertEqual((self.tables.state.floor, self.tables.state.events), (2, 10))
        self.commit(Put("k", bytes(600)))
        self.commit(Put("k", bytes(600)))
        self.assertEqual((self.tables.state.floor, self.tables.state.events), (13, 1))
        events = self.tables.since("", 13)
        self.assertEqual([event.revision for event in events], [14])

    def test_forgets_nothing_that_is_needed(self) -> None:
        """What a watch on its way needs stays until it has it."""
        self.needed = 3
        for _ in range(20):
            self.commit(Put("k", b""))
        self.assertEqual((self.tables.state.floor, self.tables.state.events), (3, 17))
        self.needed = 1 << 60
        self.commit(Put("k", b""))
        self.assertEqual((self.tables.state.floor, self.tables.state.events), (11, 10))

    def test_no_room(self) -> None:
        """A commit for which the file has no room is undone; the ballast is such room."""
        with self.tables.transaction():
            self.tables.take_ballast()
        (pages,) = self.connection.execute("PRAGMA page_count").fetchone()
        self.space = pages * 4096
        big = Put("a", bytes(9000))
        self.assertRaises(OSError, self.commit, big)
        self.assertEqual(self.tables.scan("", "", 10, 0.0), [])
        with self.tables.transaction():
            self.tables.drop_ballast()
            self.tables.apply([big], 0.0)
        self.assertEqual(len(self.tables.scan("", "", 10, 0.0)), 1)
        self.assertFalse(self.opened().ballast)

    def test_ends_are_forgotten(self) -> None:
        """An item that is written again and again is not remembered by each of its ends."""
        for number in range(40):
            with self.tables.transaction():
                for _ in range(30):
                    self.tables.apply([Put("k", b"", expires=100.0 + number)], 0.0)
        self.assertGreater(len(self.tables._ends), 1000)
        self.tables.tidy()
        self.assertEqual(len(self.tables._ends), 1)
        self.assertTrue(self.tables.ending())
        self.assertFalse(self.tables.due(138.0))
        self.assertTrue(self.tables.due(139.0))

    def test_a_crowd_expires(self) -> None:
        """Many ends at once are told in several revisions, none of them twice."""
        with self.tables.transaction():
            for number in range(25):
                changes = [Put(f"{number}/{n}", b"", expires=5.0) for n in range(100)]
                self.tables.apply(changes, 0.0)
        told = []
        while self.tables.due(5.0):
            with self.tables.transaction():
                told.append(self.tables.sweep(5.0))
        self.assertEqual([len(events) for events in told], [1000, 1000, 500])
        self.assertEqual(len({event.key for events in told for event in events}), 2500)
        self.assertEqual(self.tables.state.items, 0)
