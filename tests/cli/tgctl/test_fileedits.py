"""Tests for `tlsgate.cli.tgctl.fileedits`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.commandline import TableDoor
from tlsgate.cli.tgctl.fileedits import OwnFile, edits, own_file, put_in_force
from tlsgate.errors import BadSettings, ReloadRefused
from tlsgate.errors.closing import FileChanged

TEXT = "version: v1 # the format\n"


class EditsTests(SynchronousTestCase):
    """What changes in files, and whose they are."""

    def setUp(self) -> None:
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        self.file = folder / "gate.yaml"
        self.file.write_text(TEXT)
        status = {"host": "gw1", "file": str(self.file)}
        self.door = TableDoor({"POST /v1/reload": {}, "GET /v1/status": status})
        self.own = OwnFile("gw1", self.file)

    def change(
        self, file: str | None = None, value: str = "v2", host: str = "gw1"
    ) -> dict[str, Any]:
        """As the API says it."""
        changes = [{"path": ["version"], "value": value}]
        return {"host": host, "file": file or str(self.file), "changes": changes}

    def test_whose(self) -> None:
        """Only the file of the daemon that was asked is edited here, and once."""
        found = edits([self.change(), self.change("/etc/b.yaml"), self.change()], self.own)
        self.assertEqual([one.is_here for one in found], [True, False, False])
        self.assertFalse(edits([self.change()], None)[0].is_here)
        self.assertEqual(own_file(self.door), self.own)

    def test_several_values(self) -> None:
        """What clients are told may be several addresses."""
        changes = [{"path": ["proxy_service", "ssh_public_addr"], "value": ["a:1", "b:2"]}]
        told = {"host": "gw1", "file": str(self.file), "changes": changes}
        (here,) = edits([told], self.own)
        self.assertIn("+  ssh_public_addr: [a:1, b:2]", "\n".join(here.lines()))
        (there,) = edits([{**told, "host": "gw2"}], self.own)
        self.assertIn("  proxy_service.ssh_public_addr: [a:1, b:2]", list(there.lines()))

    def test_the_same_name_elsewhere(self) -> None:
        """Another host's changes are not made in our file because it is called the same."""
        found = edits([self.change(host="gw2"), self.change()], self.own)
        self.assertEqual([one.is_here for one in found], [False, True])
        self.assertFalse(edits([self.change(host="gw2")], self.own)[0].is_here)

    def test_an_older_daemon(self) -> None:
        """One that does not say whose host it is has no file edited."""
        self.door.answers = {"GET /v1/status": {"file": str(self.file)}}
        self.assertFalse(edits([self.change()], own_file(self.door))[0].is_here)

    def test_unreadable(self) -> None:
        """A file that is gone, or no text, is said with its name."""
        self.file.write_bytes(b"\xff")
        with self.assertRaises(BadSettings):
            edits([self.change()], self.own)
        self.file.unlink()
        with self.assertRaises(BadSettings) as caught:
            edits([self.change()], self.own)
        self.assertIn("No such file", str(caught.exception))

    def test_put_in_force(self) -> None:
        """The file is written, then read by the daemon; nothing to write is read all the same."""
        (one,) = edits([self.change()], self.own)
        said = put_in_force(one, self.door, force=False)
        self.assertEqual(self.file.read_text(), TEXT.replace("v1", "v2"))
        self.assertIn("the old one is", said[0])
        (again,) = edits([self.change()], self.own)
        self.assertEqual(put_in_force(again, self.door, force=True), ["reloaded"])
        self.assertEqual(self.door.asked[-1], ("POST /v1/reload", {"force": "1"}))

    def test_refused(self) -> None:
        """What the daemon does not take is not left on the disk for its next start."""
        self.door.answers = {"POST /v1/reload": ReloadRefused(["no"])}
        (one,) = edits([self.change()], self.own)
        with self.assertRaises(ReloadRefused):
            put_in_force(one, self.door, force=False)
        self.assertEqual([path.name for path in self.file.parent.iterdir()], ["gate.yaml"])
        self.assertEqual(self.file.read_text(), TEXT)

    def test_refused_behind_a_link(self) -> None:
        """A file that is a link is put back where it points to, and stays a link."""
        link = self.file.with_name("link.yaml")
        link.symlink_to(self.file)
        self.door.answers = {"POST /v1/reload": ReloadRefused(["no"])}
        (one,) = edits([self.change(str(link))], OwnFile("gw1", link))
        with self.assertRaises(ReloadRefused):
            put_in_force(one, self.door, force=False)
        self.assertTrue(link.is_symlink())
        self.assertEqual(self.file.read_text(), TEXT)

    def test_refused_and_changed(self) -> None:
        """What somebody else has written while the daemon read ours is not put back."""
        (one,) = edits([self.change()], self.own)

        def reload(*_: object) -> ReloadRefused:
            self.file.write_text("version: v3\n")
            return ReloadRefused(["no"])

        self.door.answers = {"POST /v1/reload": reload}
        with self.assertRaises(ReloadRefused):
            put_in_force(one, self.door, force=False)
        self.assertEqual(self.file.read_text(), "version: v3\n")

    def test_changed_meanwhile(self) -> None:
        """Somebody else's change is not overwritten."""
        (one,) = edits([self.change()], self.own)
        self.file.write_text("version: v3\n")
        with self.assertRaises(FileChanged):
            put_in_force(one, self.door, force=False)
        self.assertEqual(self.door.asked, [])
