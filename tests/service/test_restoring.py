"""Tests for `tlsgate.service.restoring`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.auth.seal import Seal
from tlsgate.core.keeping import Put
from tlsgate.errors import BadSeal, StoreFailed
from tlsgate.service.auth import STORE
from tlsgate.service.restoring import restore
from tlsgate.store.sqlite import SqliteStore


class RestoreTests(SynchronousTestCase):
    """Tests for `restore`."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.copy = self.folder / "copy.db"
        Seal.open(self.folder)

    def run_now(self, coroutine: Any) -> Any:
        """The result of a coroutine that does not wait."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def store(self) -> SqliteStore:
        """The store of the folder, open."""
        store = SqliteStore(self.folder / STORE)
        self.addCleanup(store.stop)
        return store

    def test_there_and_back(self) -> None:
        """What the copy has is there again, and what came after it is not."""
        store = self.store()
        self.run_now(store.commit([Put("a", b"1")]))
        made = self.run_now(store.backup(self.copy))
        self.run_now(store.commit([Put("a", b"2"), Put("b", b"1")]))
        self.assertRaises(StoreFailed, restore, self.folder, self.copy)
        store.stop()
        said = restore(self.folder, self.copy)
        self.assertEqual((said["file"], said["bytes"]), (str(self.copy), made.size_bytes))
        items = self.run_now(self.store().scan(""))
        self.assertEqual([(item.key, item.value) for item in items], [("a", b"1")])

    def test_damaged(self) -> None:
        """A damaged copy changes nothing."""
        store = self.store()
        self.run_now(store.commit([Put("a", b"1")]))
        store.stop()
        self.copy.write_bytes(b"not a database at all" * 500)
        self.assertRaises(StoreFailed, restore, self.folder, self.copy)
        self.assertEqual(len(self.run_now(self.store().scan(""))), 1)

    def test_without_the_key(self) -> None:
        """Without the key file the copy would be of no use, and that is said before."""
        (self.folder / "auth.key").unlink()
        self.assertRaises(BadSeal, restore, self.folder, self.copy)
