"""The audit trail: JSON lines, rotated, followed by every process that writes to it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.service.test_logs import NASTY
from tlsgate.errors import AuditFailed
from tlsgate.interfaces import IAudit
from tlsgate.service import audit, sink
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
                "code": "TGC00I",
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

    def test_a_day_a_file(self) -> None:
        """The first event of a day begins a new file, by whichever writer."""
        self.now = time.time()
        one, two = self.trail(), self.trail()
        one.emit("first", {})
        two.emit("second", {})
        self.now += 86400
        two.emit("third", {})
        os.utime(two.path, (self.now, self.now))  # as the clock of this test has it
        one.emit("fourth", {})
        self.assertEqual([line["event"] for line in self.lines()], ["third", "fourth"])
        (old,) = (self.folder / "log").glob("events-*.log")
        self.assertEqual([line["event"] for line in self.lines(old.name)], ["first", "second"])

    def test_what_failed_has_another_code(self) -> None:
        """A refused login can be told from one that went well by its code alone."""
        trail = self.trail()
        trail.emit("user.login", {"user": "alice", "success": True})
        trail.emit("user.login", {"user": "alice", "success": False})
        self.assertEqual([line["code"] for line in self.lines()], ["T1000I", "T1000W"])

    def test_kept(self) -> None:
        """Who waits gets on after an fsync that began after his event; many share one."""
        calls: list[Deferred[None]] = []

        def in_thread(call: Callable[..., object], file: int) -> Deferred[None]:
            os.close(file)
            calls.append(Deferred())
            return calls[-1]

        trail = self.trail()
        trail.run_by(None, in_thread)
        trail.emit("one", {})
        first = Deferred.fromCoroutine(trail.kept())
        self.assertEqual(len(calls), 1)
        trail.emit("two", {})
        later = [Deferred.fromCoroutine(trail.kept()) for _ in range(5)]
        self.assertEqual(len(calls), 1)
        calls[0].callback(None)
        self.successResultOf(first)
        for one in later:
            self.assertNoResult(one)
        self.assertEqual(len(calls), 2)
        calls[1].callback(None)
        for one in later:
            self.successResultOf(one)
        self.successResultOf(Deferred.fromCoroutine(trail.kept()))
        self.assertEqual(len(calls), 2)

    def test_synced_soon(self) -> None:
        """Events that nobody waits for are on the disk a second later, in one fsync."""
        clock = Clock()
        synced: list[int] = []

        def in_thread(call: Callable[..., object], file: int) -> Deferred[None]:
            call(file)
            synced.append(file)
            return succeed(None)

        trail = self.trail()
        trail.run_by(clock.callLater, in_thread)
        for _ in range(100):
            trail.emit("x", {})
        clock.advance(0)
        self.assertEqual(synced, [])
        clock.advance(audit.SYNC_SECONDS)
        self.assertEqual(len(synced), 1)
        clock.advance(audit.SYNC_SECONDS)
        self.assertEqual(len(synced), 1)

    def test_a_full_disk(self) -> None:
        """R18: strict refuses and best effort goes on; both write it all when there is room."""
        full = True
        write = os.write

        def wrote(file: int, wire: bytes) -> int:
            if full and wire.startswith((b"{", b"\n{")):
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(file, wire)

        self.patch(os, "write", wrote)
        for strict in (True, False):
            full = True
            trail = self.trail()
            trail.strict = strict
            trail.emit("user.login", {})
            kept = Deferred.fromCoroutine(trail.kept())
            if strict:
                self.failureResultOf(kept, AuditFailed)
            else:
                self.successResultOf(kept)
            self.assertEqual(trail.refuses, strict)
            full = False
            self.successResultOf(Deferred.fromCoroutine(trail.kept()))
            self.assertFalse(trail.refuses)
        self.assertEqual([line["event"] for line in self.lines()], ["user.login"] * 2)

    def test_a_disk_that_comes_back(self) -> None:
        """R18: a strict trail refuses no longer than its disk does, though nothing happens."""
        clock = Clock()
        broken = True

        def in_thread(call: Callable[..., object], file: int) -> Deferred[None]:
            if broken:
                os.close(file)
                return fail(OSError(errno.EIO, "Input/output error"))
            call(file)
            return succeed(None)

        trail = self.trail()
        trail.strict = True
        trail.run_by(clock.callLater, in_thread)
        trail.emit("x", {})
        clock.pump([0, audit.SYNC_SECONDS])
        self.assertTrue(trail.refuses)
        clock.pump([audit.SYNC_SECONDS] * 3)
        self.assertTrue(trail.refuses)
        broken = False
        clock.pump([audit.SYNC_SECONDS] * 2)
        self.assertFalse(trail.refuses)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_a_line_that_was_cut(self) -> None:
        """Of a line that a full disk took in part, the whole comes again on a line of its own."""
        left = [40]
        write = os.write

        def wrote(file: int, wire: bytes) -> int:
            sent = write(file, wire[: left[0]]) if left[0] else 0
            left[0] -= sent
            return sent

        self.patch(os, "write", wrote)
        one, two = self.trail(), self.trail()
        one.emit("one", {})
        left[0] = 1 << 20
        two.emit("two", {})
        self.successResultOf(Deferred.fromCoroutine(one.kept()))
        raw = (self.folder / "log" / "events.log").read_text().splitlines()
        found = []
        for line in raw:
            with contextlib.suppress(ValueError):
                found.append(json.loads(line)["event"])
        self.assertIn("one", found)

    def test_what_is_lost_is_an_event(self) -> None:
        """When the disk takes nothing for too long, the trail says how much is missing."""
        self.patch(sink, "LIMIT_BYTES", 1000)
        full = True
        write = os.write

        def wrote(file: int, wire: bytes) -> int:
            if full:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(file, wire)

        self.patch(os, "write", wrote)
        trail = self.trail()
        for _ in range(30):
            trail.emit("x", {})
        full = False
        trail.emit("y", {})
        trail.emit("z", {})
        lost = [line for line in self.lines() if line["event"] == "audit.lost"]
        self.assertEqual(sum(line["events"] for line in lost), trail.sink.lost)
        self.assertEqual(
            len([line for line in self.lines() if line["event"] == "x"]) + trail.sink.lost, 30
        )

    def test_a_removed_file_comes_back(self) -> None:
        """Somebody else may rename or remove the file."""
        trail = self.trail()
        trail.emit("one", {})
        (self.folder / "log" / "events.log").unlink()
        self.now += 10
        trail.emit("two", {})
        self.assertEqual([line["event"] for line in self.lines()], ["two"])
