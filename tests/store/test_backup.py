"""Tests for `tlsgate.store.backup`."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.keeping import Put
from tlsgate.errors import Compacted, StoreFailed
from tlsgate.store.backup import AFTER_RESTORE, Backup, inspect, restore
from tlsgate.store.sqlite import SqliteStore


class _PowerGone(BaseException):
    """A process ends here."""


class BackupTests(SynchronousTestCase):
    """Copies, and the way back."""

    def setUp(self) -> None:
        self.top = Path(self.mktemp())
        self.top.mkdir()
        self.folder = self.top / "store"
        self.copy = self.top / "copy"

    def store(self) -> SqliteStore:
        """A store on the folder."""
        store = SqliteStore(self.folder, now=lambda: 1e9)
        self.addCleanup(store.stop)
        return store

    def run_now(self, coroutine: Any) -> Any:
        """The result of *coroutine*."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def put(self, store: SqliteStore, *keys: str) -> None:
        """One commit for each key."""
        for key in keys:
            self.run_now(store.commit([Put(key, key.encode())]))

    def keys(self, store: SqliteStore) -> list[str]:
        """What is there."""
        return [item.key for item in self.run_now(store.scan(""))]

    def backed_up(self) -> SqliteStore:
        """A store with a copy of a and b, that has c too."""
        store = self.store()
        self.put(store, "a", "b")
        self.run_now(store.backup(self.copy))
        self.put(store, "c")
        return store

    def test_backup(self) -> None:
        """A copy is one file for its owner, with its revision; an older one is replaced."""
        store = self.store()
        for revision, key in enumerate("ab", 1):
            self.put(store, key)
            made = self.run_now(store.backup(self.copy))
            self.assertEqual(made, Backup(self.copy, revision, self.copy.stat().st_size))
            self.assertEqual(inspect(self.copy), made)
        self.assertEqual(self.copy.stat().st_mode & 0o777, 0o600)
        self.assertEqual(sorted(path.name for path in self.top.iterdir()), ["copy", "store"])

    def test_cannot_be_written(self) -> None:
        """What the disk says is said, and nothing is left behind."""
        store = self.store()
        for path, why in (
            (self.top / "none" / "copy", "No such file or directory"),
            (self.folder, "Is a directory"),
        ):
            coroutine = store.backup(path)
            failure = self.failureResultOf(Deferred.fromCoroutine(coroutine), StoreFailed)
            self.assertIn(f"no backup was made: {path}: {why}", str(failure.value))
        self.assertEqual([path.name for path in self.top.iterdir()], ["store"])

    def test_restore(self) -> None:
        """The store is as the copy was; what was there is set aside, and watches begin anew."""
        self.backed_up().stop()
        found = restore(self.folder, self.copy, now=lambda: 1e9)
        self.assertEqual((found.path, found.revision), (self.copy, 2))
        store = self.store()
        self.assertEqual(self.keys(store), ["a", "b"])
        self.assertEqual(self.run_now(store.get("b")).revision, 2)
        self.assertEqual(self.run_now(store.revision()), 2 + AFTER_RESTORE)
        for since in (0, 2, 3):
            self.assertRaises(Compacted, store.watch, "", since, lambda events: None)
        self.assertTrue((self.folder / "store.db.replaced-20010909T014640Z").exists())
        modes = {path.stat().st_mode & 0o777 for path in self.folder.iterdir()}
        self.assertEqual(modes, {0o600})

    def test_restore_of_the_damaged(self) -> None:
        """A store that was set aside comes back with a copy; a new folder is made for one."""
        self.backed_up().stop()
        (self.folder / "mark").write_bytes(b"")
        self.assertRaises(StoreFailed, self.store)
        restore(self.folder, self.copy)
        self.assertEqual(self.keys(self.store()), ["a", "b"])
        restore(self.top / "new", self.copy)
        self.folder = self.top / "new"
        self.assertEqual(self.keys(self.store()), ["a", "b"])

    def test_restore_that_dies(self) -> None:
        """Interrupted anywhere the store does not open half restored; done again it does."""
        self.backed_up().stop()
        for place in ("noted", "set aside", "placed", "marked"):

            def die(name: str, place: str = place) -> None:
                if name == place:
                    raise _PowerGone

            self.assertRaises(_PowerGone, restore, self.folder, self.copy, lambda: 1e9, die)
            error = self.assertRaises(StoreFailed, self.store)
            self.assertIn("restoring a backup was interrupted; restore it again", str(error))
            restore(self.folder, self.copy)
            store = self.store()
            self.assertEqual(self.keys(store), ["a", "b"])
            store.stop()

    def test_restore_into_one_that_is_open(self) -> None:
        """A store that a process has is left alone."""
        store = self.backed_up()
        error = self.assertRaises(StoreFailed, restore, self.folder, self.copy)
        self.assertIn("is in use by another process", str(error))
        self.assertEqual(self.keys(store), ["a", "b", "c"])

    def test_bad_copies(self) -> None:
        """A copy that is damaged, foreign or newer is refused before anything is touched."""
        self.backed_up().stop()
        for statement, why in (
            ("UPDATE items SET value = x'00'", "the item 'a' is not what was written"),
            ("DROP TABLE items", "no such table"),
            ("UPDATE schema SET version = 99", "was written by a newer tlsgate (schema 99)"),
            ("DROP TABLE schema", "it has no tables of a store"),
        ):
            bad = self.top / "bad"
            bad.write_bytes(self.copy.read_bytes())
            database = sqlite3.connect(bad)
            database.execute(statement)
            database.commit()
            database.close()
            error = self.assertRaises(StoreFailed, restore, self.folder, bad)
            self.assertIn(why, str(error))
        bad.write_bytes(b"no database" * 100)
        for path, why in ((bad, "file is not a database"), (self.top / "none", "No such file")):
            self.assertIn(why, str(self.assertRaises(StoreFailed, restore, self.folder, path)))
        self.assertEqual(self.keys(self.store()), ["a", "b", "c"])
