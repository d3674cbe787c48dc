"""One daemon a data directory, and nothing that a dead one leaves is in the way."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.errors import DataDirTaken
from tlsgate.service.claim import Claim


class ClaimTests(SynchronousTestCase):
    """Tests for `Claim`."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp()) / "data"
        self.addCleanup(shutil.rmtree, self.folder.parent)
        self.file = self.folder / "tlsgate.pid"

    def test_life(self) -> None:
        """The directory is made, the file has our number, and goes with us."""
        claim = Claim.take(self.folder)
        claim.sign()
        self.assertEqual(self.file.read_text(), f"{os.getpid()}\n")
        self.assertEqual(self.folder.stat().st_mode & 0o777, 0o700)
        claim.give_up()
        self.assertEqual(os.listdir(self.folder), [])
        claim.give_up()

    def test_taken(self) -> None:
        """A second claim names the holder, and changes nothing."""
        claim = Claim.take(self.folder)
        claim.sign()
        error = self.assertRaises(DataDirTaken, Claim.take, self.folder)
        self.assertEqual((error.file, error.pid), (str(self.file), os.getpid()))
        self.assertIn(str(os.getpid()), str(error))
        claim.give_up()
        Claim.take(self.folder).give_up()

    def test_a_stale_number_is_nothing(self) -> None:
        """A file without its holder's lock is free, even if the number lives."""
        self.folder.mkdir()
        self.file.write_text(f"{os.getpid()}\n")
        claim = Claim.take(self.folder)
        claim.sign()
        claim.give_up()
        self.assertFalse(self.file.exists())

    def test_handed_on(self) -> None:
        """Who inherits the descriptor holds it when the first one lets go, and signs."""
        first = Claim.take(self.folder)
        first.sign()
        heir = Claim.inherit(self.folder, os.dup(first.file))
        first.let_go()
        self.assertRaises(DataDirTaken, Claim.take, self.folder)
        heir.sign()
        heir.give_up()
        self.assertFalse(self.file.exists())

    def test_another_directory(self) -> None:
        """An heir whose file names another directory claims that one."""
        first = Claim.take(self.folder)
        other = self.folder.parent / "other"
        heir = Claim.inherit(other, os.dup(first.file))
        self.assertEqual(heir.path, other / "tlsgate.pid")
        heir.give_up()
        first.give_up()

    def test_the_file_of_a_successor_stays(self) -> None:
        """Whoever has signed since keeps the file."""
        claim = Claim.take(self.folder)
        self.file.write_text("1\n")
        claim.give_up()
        self.assertTrue(self.file.exists())
