"""Tests for `tlsgate.auth.seal` and `tlsgate.tls.secretfile`."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.auth.seal import KEY_FILE, Seal
from tlsgate.errors import BadSeal
from tlsgate.tls.secretfile import create_secret, replace_secret

PLACE = "secrets/authorities/user/0"


class SealTests(SynchronousTestCase):
    """Tests for `Seal`."""

    def setUp(self) -> None:
        """A data directory."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.file = self.folder / KEY_FILE

    def test_opens_what_it_closed(self) -> None:
        """A secret comes back, also after a restart, and is nowhere in what is kept."""
        kept = Seal.open(self.folder).close(b"canary", PLACE)
        self.assertNotIn(b"canary", kept)
        self.assertEqual(Seal.open(self.folder).reveal(kept, PLACE), b"canary")

    def test_never_the_same_twice(self) -> None:
        """Two sealings of one secret tell nobody that they are equal."""
        seal = Seal.open(self.folder)
        self.assertNotEqual(seal.close(b"x", PLACE), seal.close(b"x", PLACE))

    def test_bound_to_its_place(self) -> None:
        """What was moved to another key of the store does not open there."""
        seal = Seal.open(self.folder)
        with self.assertRaises(BadSeal):
            seal.reveal(seal.close(b"x", PLACE), PLACE + "1")

    def test_each_bit_counts(self) -> None:
        """A changed, shortened or lengthened value is refused as a whole."""
        seal = Seal.open(self.folder)
        kept = seal.close(b"secret", PLACE)
        changed = [
            kept[:place] + bytes((kept[place] ^ 1,)) + kept[place + 1 :]
            for place in range(len(kept))
        ]
        for bad in (*changed, b"", kept[:-1], kept[:20], kept + b"\0"):
            with self.assertRaises(BadSeal):
                seal.reveal(bad, PLACE)

    def test_another_key_file(self) -> None:
        """The sentence names the file, which is what has to be put back."""
        kept = Seal.open(self.folder).close(b"x", PLACE)
        self.file.unlink()
        with self.assertRaises(BadSeal) as caught:
            Seal.open(self.folder).reveal(kept, PLACE)
        self.assertIn(f"{self.file} is not the key file", str(caught.exception))

    def test_missing(self) -> None:
        """Where sealed keys are there already, no new file is made."""
        with self.assertRaises(BadSeal) as caught:
            Seal.open(self.folder, fresh=False)
        self.assertIn("is missing; put it back", str(caught.exception))
        self.assertFalse(self.file.exists())
        with self.assertRaises(BadSeal):
            Seal.open(self.folder / "not there")

    def test_mode(self) -> None:
        """The file is its owner's alone, whatever the umask; one open to others is refused."""
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        Seal.open(self.folder)
        self.assertEqual(self.file.stat().st_mode & 0o777, 0o600)
        self.file.chmod(0o640)
        with self.assertRaises(BadSeal) as caught:
            Seal.open(self.folder)
        self.assertIn("chmod it to 0600", str(caught.exception))

    def test_no_key_in_it(self) -> None:
        """A file that holds something else is refused, and not quoted."""
        for content in (b"", b"canary", b"00" * 31, b"00" * 33, b"\xff" * 64, b"zz" * 32):
            self.file.unlink(missing_ok=True)
            create_secret(self.file, content)
            with self.assertRaises(BadSeal) as caught:
                Seal.open(self.folder)
            self.assertNotIn("canary", str(caught.exception))

    def test_two_at_once(self) -> None:
        """Of two processes that start together, both go on with one key."""
        first = Seal.open(self.folder)
        with self.assertRaises(FileExistsError):
            create_secret(self.file, b"another")
        self.assertEqual(Seal.open(self.folder).reveal(first.close(b"x", PLACE), PLACE), b"x")

    def test_silent(self) -> None:
        """No key is in a repr."""
        seal = Seal.open(self.folder)
        self.assertNotIn(self.file.read_text().strip(), repr(seal))
        self.assertNotIn("AESGCM", repr(seal))


class SecretFileTests(SynchronousTestCase):
    """Tests for `secretfile`."""

    def setUp(self) -> None:
        """An empty folder."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.file = self.folder / "key"

    def test_replace(self) -> None:
        """The content is new and whole, the mode narrow, and nothing is left beside it."""
        self.file.write_bytes(b"old")
        self.file.chmod(0o644)
        replace_secret(self.file, b"new")
        self.assertEqual(self.file.read_bytes(), b"new")
        self.assertEqual(self.file.stat().st_mode & 0o777, 0o600)
        self.assertEqual(os.listdir(self.folder), ["key"])

    def test_a_failure_leaves_what_was_there(self) -> None:
        """A full disk or a folder in the way costs nothing."""

        def full(_descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        self.file.write_bytes(b"old")
        self.patch(os, "fsync", full)
        for write in (replace_secret, create_secret):
            with self.assertRaises(OSError):
                write(self.file, b"new")
        self.assertEqual(self.file.read_bytes(), b"old")
        self.assertEqual(os.listdir(self.folder), ["key"])

    def test_a_folder_in_the_way(self) -> None:
        """It stays, and so does nothing of ours."""
        self.file.mkdir()
        with self.assertRaises(OSError):
            replace_secret(self.file, b"new")
        self.assertEqual(os.listdir(self.folder), ["key"])

    def test_follows_no_link(self) -> None:
        """A link is replaced, what it points to is left alone."""
        other = self.folder / "other"
        other.write_bytes(b"other")
        self.file.symlink_to(other)
        replace_secret(self.file, b"new")
        self.assertEqual(other.read_bytes(), b"other")
        self.assertFalse(self.file.is_symlink())
