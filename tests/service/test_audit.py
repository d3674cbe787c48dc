"""The audit trail: JSON lines, rotated, followed by every process that writes to it."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.service.test_logs import NASTY
from tlsgate.interfaces import IAudit
from tlsgate.service import audit
from tlsgate.service.audit import AuditLog


class AuditTests(SynchronousTestCase):
    """Tests for `AuditLog`."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.now = 1000.0

    def trail(self) -> AuditLog:
        """A trail that writes at once."""
        trail = AuditLog(self.folder, now=lambda: self.now)
        self.addCleanup(trail.sink.close)
        return trail

    def lines(self, name: str = "events.log") -> list[dict[str, Any]]:
        """What a file holds."""
        return [json.loads(line) for line in (self.folder / "log" / name).open()]

    def test_an_event(self) -> None:
        """An event has a time, a number of its own and its fields; unknown ones are left out."""
        trail = self.trail()
        verifyObject(IAudit, trail)
        trail.emit("connection.end", {"route": "echo", "identity": None, "to_target": 3})
        trail.emit("connection.end", {})
        one, two = self.lines()
        self.assertNotEqual(one.pop("uid"), two.pop("uid"))
        self.assertEqual(
            one,
            {
                "event": "connection.end",
                "time": "1970-01-01T00:16:40.000Z",
                "route": "echo",
                "to_target": 3,
            },
        )

    def test_peer_text(self) -> None:
        """Whatever a field holds, an event is one line of JSON."""
        trail = self.trail()
        for nasty in NASTY:
            trail.emit("x", {"sni": nasty})
        raw = (self.folder / "log" / "events.log").read_bytes()
        self.assertEqual(raw.count(b"\n"), len(NASTY))
        self.assertNotIn(b"\x1b", raw)
        self.assertEqual(len(self.lines()), len(NASTY))

    def test_rotates_and_others_follow(self) -> None:
        """A long file is renamed by one writer; the other goes on in the new one."""
        self.patch(audit, "ROTATE_BYTES", 100)
        one, two = self.trail(), self.trail()
        two.emit("first", {"x": "y" * 100})
        self.now += 10
        one.emit("second", {})
        self.assertEqual([line["event"] for line in self.lines()], ["second"])
        two.emit("third", {})
        self.assertEqual([line["event"] for line in self.lines()], ["second", "third"])
        old = [path.name for path in (self.folder / "log").glob("events-*.log")]
        self.assertEqual(len(old), 1)
        self.assertEqual([line["event"] for line in self.lines(old[0])], ["first"])

    def test_a_removed_file_comes_back(self) -> None:
        """Somebody else may rename or remove the file."""
        trail = self.trail()
        trail.emit("one", {})
        (self.folder / "log" / "events.log").unlink()
        self.now += 10
        trail.emit("two", {})
        self.assertEqual([line["event"] for line in self.lines()], ["two"])
