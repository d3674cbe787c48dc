"""Tests for `tlsgate.store.opening`, `.folder`, `.schema` and `.faults`."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.keeping import Put
from tlsgate.errors import StoreFailed
from tlsgate.store.faults import Fault, Kind
from tlsgate.store.folder import LOG_BYTES, Folder
from tlsgate.store.opening import Opened
from tlsgate.store.schema import MIGRATIONS
from tlsgate.store.sqlite import SqliteStore


class OpeningCase(SynchronousTestCase):
    """A folder, with a store that has ended or not."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())

    def store(self) -> SqliteStore:
        """A store on the folder."""
        store = SqliteStore(self.folder, now=lambda: 1e9)
        self.addCleanup(store.stop)
        return store

    def put(self, store: SqliteStore, *keys: str) -> None:
        """One commit for each key."""
        for key in keys:
            coroutine = store.commit([Put(key, key.encode())])
            self.successResultOf(Deferred.fromCoroutine(coroutine))

    def keys(self, store: SqliteStore) -> list[str]:
        """What is there."""
        items = self.successResultOf(Deferred.fromCoroutine(store.scan("")))
        return [item.key for item in items]

    def filled(self) -> None:
        """Leave a store with three items, closed."""
        store = self.store()
        self.put(store, "a", "b", "c")
        store.stop()

    def change(self, statement: str) -> None:
        """Change the closed database behind the store's back."""
        database = sqlite3.connect(self.folder / "store.db")
        database.execute(statement)
        database.commit()
        database.close()

    def refused(self) -> str:
        """Why the store does not open."""
        return str(self.assertRaises(StoreFailed, self.store))


class OpeningTests(OpeningCase):
    """How a store begins and ends."""

    def test_modes(self) -> None:
        """All is for the owner only, whatever the umask, the log included."""
        self.addCleanup(os.umask, os.umask(0))
        self.folder.mkdir(mode=0o755)
        store = self.store()
        self.put(store, "a")
        modes = {path.name: path.stat().st_mode & 0o777 for path in self.folder.iterdir()}
        self.assertEqual(modes, dict.fromkeys(("lock", "mark", "store.db", "store.db-wal"), 0o600))
        self.assertEqual(self.folder.stat().st_mode & 0o777, 0o700)
        store.stop()
        modes = {path.name: path.stat().st_mode & 0o777 for path in self.folder.iterdir()}
        self.assertEqual(modes, dict.fromkeys(("lock", "mark", "store.db", "reserve"), 0o600))

    def test_again(self) -> None:
        """What was written is there the next time, with its revision."""
        self.filled()
        store = self.store()
        self.assertEqual(self.keys(store), ["a", "b", "c"])
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(store.revision())), 3)
        self.put(store, "d")
        store.stop()
        store.stop()
        self.assertEqual(self.keys(self.store()), ["a", "b", "c", "d"])

    def test_closed(self) -> None:
        """A store that was stopped says so."""
        store = self.store()
        store.stop()
        failure = self.failureResultOf(Deferred.fromCoroutine(store.get("a")), StoreFailed)
        self.assertEqual(str(failure.value), "the store failed: it is closed")

    def test_one_opener(self) -> None:
        """A second opener is told who has it, in the same process too; later it may."""
        store = self.store()
        self.assertIn(f"is in use by another process ({os.getpid()})", self.refused())
        store.stop()
        self.store()

    def test_log_keeps_its_space(self) -> None:
        """The log's space outlives the log: as a reserve while the store is closed."""
        store = self.store()
        self.assertGreaterEqual((self.folder / "store.db-wal").stat().st_size, LOG_BYTES)
        inode = (self.folder / "store.db-wal").stat().st_ino
        store.stop()
        self.assertEqual((self.folder / "reserve").stat().st_ino, inode)
        self.store()
        self.assertEqual((self.folder / "store.db-wal").stat().st_ino, inode)
        self.assertFalse((self.folder / "reserve").exists())

    def test_log_and_reserve_after_a_crash(self) -> None:
        """Killed between the two names of the log, the log counts."""
        live = self.folder
        store = self.store()
        self.put(store, "a")
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        for name in ("store.db", "store.db-wal", "mark"):
            (self.folder / name).write_bytes((live / name).read_bytes())
        os.link(self.folder / "store.db-wal", self.folder / "reserve")
        self.assertEqual(self.keys(self.store()), ["a"])

    def test_newer(self) -> None:
        """Tables of a newer version are refused with what to do, and left alone."""
        self.filled()
        newer = len(MIGRATIONS) + 1
        self.change(f"UPDATE schema SET version = {newer}")
        self.assertIn(f"was written by a newer tlsgate (schema {newer}, ", self.refused())
        self.change(f"UPDATE schema SET version = {len(MIGRATIONS)}")
        self.assertEqual(self.keys(self.store()), ["a", "b", "c"])

    def test_no_folder_above(self) -> None:
        """What the disk says is said."""
        self.folder = self.folder / "x" / "y"
        self.assertIn("No such file or directory", self.refused())

    def test_migrated_by_steps(self) -> None:
        """Each step is taken once, with a name for each statement."""
        self.filled()
        names: list[str] = []
        steps = [*MIGRATIONS, ("CREATE TABLE more (a)",), ("INSERT INTO more VALUES (1)",)]
        for _ in range(2):
            Opened.open(self.folder, now=lambda: 1e9, migrations=steps, at=names.append).close()
        first = len(MIGRATIONS)
        self.assertEqual(
            names,
            [
                f"migrate {step} {at}"
                for step in (first, first + 1)
                for at in ("0", "commit", "done")
            ],
        )


class DamageTests(OpeningCase):
    """What is found, and what becomes of it."""

    def damaged(self, why: str) -> None:
        """The store is refused for *why*, stays so, and nothing is thrown away."""
        before = self.folder / "store.db"
        content = before.read_bytes() if before.exists() else None
        text = self.refused()
        self.assertIn(why, text)
        aside = self.folder / "store.db.damaged-20010909T014640Z"
        self.assertIn(f"was set aside as {aside.name}", text)
        self.assertIn("restore a backup", text)
        if content is not None:
            self.assertEqual(aside.read_bytes()[: len(content)], content)
        self.assertIn(text, self.refused())
        self.assertFalse(before.exists())

    def test_changed_behind_its_back(self) -> None:
        """A row that SQLite finds in order, but nobody wrote, is found."""
        for statement, why in (
            ("UPDATE items SET value = 'x' WHERE key = x'61'", "the item 'a' is not what"),
            ("UPDATE items SET value = x'00' WHERE key = x'61'", "the item 'a' is not what"),
            ("UPDATE items SET expires = 1 WHERE key = x'61'", "the item 'a' is not what"),
            ("DELETE FROM items WHERE key = x'62'", "3 items were written, 2 are there"),
            ("UPDATE events SET value = NULL WHERE revision = 2", "the event 2/0 is not what"),
            ("DELETE FROM events WHERE revision = 2", "3 events were written, 2 are there"),
            ("UPDATE state SET revision = 99", "the state is not what was written"),
            ("DELETE FROM state", "the state is not what was written"),
            ("DROP TABLE items", "no such table: items"),
            ("DELETE FROM schema", "the version of the tables is not what"),
            ("DROP TABLE schema", "the tables are gone"),
        ):
            self.folder = Path(self.mktemp())
            self.filled()
            self.change(statement)
            self.damaged(why)

    def test_no_database(self) -> None:
        """A file that is gone, empty, or something else is no new beginning."""
        for content, why in (
            (None, "the file is gone"),
            (b"", "the tables are gone"),
            (b"something else" * 1000, "file is not a database"),
        ):
            self.folder = Path(self.mktemp())
            self.filled()
            (self.folder / "store.db").unlink()
            if content is not None:
                (self.folder / "store.db").write_bytes(content)
            self.damaged(why)

    def test_older_database(self) -> None:
        """A whole database from before what was acknowledged is found by the mark."""
        self.filled()
        old = (self.folder / "store.db").read_bytes()
        store = self.store()
        self.put(store, "d")
        store.stop()
        (self.folder / "store.db").write_bytes(old)
        self.damaged("it ends at revision 3, and commits up to 4 were acknowledged")

    def test_damaged_mark(self) -> None:
        """A mark that nobody wrote is found."""
        for raw in (b"", b"x" * 16, b"x" * 15):
            self.folder = Path(self.mktemp())
            self.filled()
            (self.folder / "mark").write_bytes(raw)
            self.damaged("the mark of the newest revision is damaged")

    def test_beginning_anew(self) -> None:
        """Who removes the note gets an empty store; what was damaged stays aside."""
        self.filled()
        (self.folder / "mark").write_bytes(b"")
        self.damaged("the mark")
        (self.folder / "damaged").unlink()
        self.assertEqual(self.keys(self.store()), [])
        self.assertTrue((self.folder / "store.db.damaged-20010909T014640Z").exists())

    def test_names_do_not_clash(self) -> None:
        """What is set aside in the same second gets a name of its own."""
        folder = Folder(self.folder)
        self.addCleanup(folder.close)
        names = []
        for _ in range(3):
            folder.create()
            names.append(folder.set_aside("damaged", 1e9))
        self.assertEqual(names[1:], [f"{names[0]}-2", f"{names[0]}-3"])

    def test_damaged_while_it_is_open(self) -> None:
        """A row that goes bad is never given out."""
        store = self.store()
        self.put(store, "a", "b")
        store._opened.connection.execute("UPDATE items SET value = x'00' WHERE key = x'61'")
        store._opened.connection.execute("UPDATE events SET value = x'00' WHERE revision = 1")
        for coroutine in (store.get("a"), store.scan("")):
            failure = self.failureResultOf(Deferred.fromCoroutine(coroutine), StoreFailed)
            self.assertIn("the item 'a' is not what was written", str(failure.value))
        heard: list[object] = []
        store.watch("", 0, heard.append)
        store.turn()
        self.assertEqual(heard, [])
        self.assertEqual(len(self.flushLoggedErrors(StoreFailed)), 1)


class FaultTests(SynchronousTestCase):
    """What SQLite says."""

    def test_kinds(self) -> None:
        """Codes and their extensions are told apart by what can be done."""
        for code, kind in (
            (sqlite3.SQLITE_FULL, Kind.FULL),
            (sqlite3.SQLITE_CORRUPT_VTAB, Kind.DAMAGED),
            (sqlite3.SQLITE_NOTADB, Kind.DAMAGED),
            (sqlite3.SQLITE_IOERR_FSYNC, Kind.UNSURE),
            (sqlite3.SQLITE_READONLY, Kind.OTHER),
        ):
            error = sqlite3.OperationalError("words")
            error.sqlite_errorcode = code
            error.sqlite_errorname = "SQLITE_X"
            self.assertEqual(Fault.of(error), Fault(kind, "words (SQLITE_X)"))
        self.assertEqual(Fault.of(sqlite3.Error("words")), Fault(Kind.OTHER, "words"))
        self.assertEqual(str(Fault(Kind.OTHER, "words")), "words: nothing was changed")
