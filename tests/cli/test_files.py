"""Tests for `cli.files`: whole files, for their owner only."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.cli.files import make_folder, read_some, write_private


class WriteTests(SynchronousTestCase):
    """Tests for `write_private` and `make_folder`."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()

    def test_modes(self) -> None:
        """Files are 0600 and new folders 0700, whatever the umask allows."""
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        file = self.folder / "a" / "b"
        write_private(file, b"secret")
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (file, file.parent, self.folder)]
        self.assertEqual(modes, [0o600, 0o700, 0o700])

    def test_replaced_as_a_whole(self) -> None:
        """The new content takes the old one's place, and nothing is left beside it."""
        file = self.folder / "file"
        write_private(file, b"long and old")
        file.chmod(0o644)
        write_private(file, b"new")
        self.assertEqual(file.read_bytes(), b"new")
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        self.assertEqual(os.listdir(self.folder), ["file"])

    def test_failed(self) -> None:
        """What cannot be put in its place leaves no half behind."""
        make_folder(self.folder / "file")
        self.assertRaises(OSError, write_private, self.folder / "file", b"x")
        self.assertEqual(os.listdir(self.folder), ["file"])


class ReadTests(SynchronousTestCase):
    """Tests for `read_some`."""

    def test_limit(self) -> None:
        """A file of the limit is read, one byte more is refused; none is None."""
        file = Path(self.mktemp())
        self.assertIsNone(read_some(file, 3))
        file.write_bytes(b"abc")
        self.assertEqual(read_some(file, 3), "abc")
        self.assertRaises(ValueError, read_some, file, 2)
        file.write_bytes(b"\xff")
        self.assertRaises(ValueError, read_some, file, 3)
