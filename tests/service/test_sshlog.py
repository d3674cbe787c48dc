"""Tests for `tlsgate.service.sshlog`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet.error import ProcessDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.core.test_sshdlines import ALICE, LINE
from tlsgate.service.sshlog import LOOK_SECONDS, Journal, LogFile, Logins
from tlsgate.service.telling import GATHER_SECONDS

PATH = "/v1/agent/events"
TOLD = {
    "login": "root",
    "address": "127.0.0.1",
    "port": 47886,
    "key": ALICE.key,
    "name": "alice",
    "serial": "42",
    "ca": ALICE.ca,
}


class LoginsTests(SynchronousTestCase):
    """Tests for `Logins`."""

    def setUp(self) -> None:
        """An auth service that takes everything."""
        self.clock = Clock()
        self.bodies: list[Any] = []
        self.logins = Logins(self.tell, lambda: frozenset({ALICE.ca}), self.clock)

    async def tell(self, method: str, path: str, body: Mapping[str, Any]) -> tuple[int, Any]:
        """Take all of it."""
        self.assertEqual((method, path), ("POST", PATH))
        self.bodies.append(body)
        return 200, {"taken": 1000}

    def test_told(self) -> None:
        """A login is told soon, as it was."""
        self.logins.take(LINE, 0.0)
        self.assertEqual(self.bodies, [])
        self.clock.advance(GATHER_SECONDS)
        self.assertEqual(self.bodies, [{"sshd_accepts": [{**TOLD, "at": 0.0}], "lost": 0}])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_not_ours(self) -> None:
        """Other messages, and other authorities, are nobody's business."""
        self.logins.take("Connection closed", 0.0)
        self.logins.take(LINE.replace(ALICE.ca, ALICE.key), 0.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped(self) -> None:
        """Nothing is told after the end."""
        self.logins.take(LINE, 0.0)
        self.logins.stop()
        self.logins.take(LINE, 0.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class LogFileTests(SynchronousTestCase):
    """Tests for `LogFile`."""

    def setUp(self) -> None:
        """A log with a line of yesterday."""
        self.path = Path(self.mktemp())
        self.path.write_text(f"{LINE}\n")
        self.clock = Clock()
        self.taken: list[tuple[str, float]] = []
        self.file = LogFile(
            self.path, lambda *said: self.taken.append(said), self.clock, self.clock.seconds
        )
        self.file.start()
        self.addCleanup(self.file.stop)

    def write(self, text: str) -> None:
        """Append to the log."""
        with self.path.open("a") as to:
            to.write(text)

    def look(self) -> list[str]:
        """What is seen now."""
        self.taken.clear()
        self.clock.advance(LOOK_SECONDS)
        return [message for message, _ in self.taken]

    def test_followed(self) -> None:
        """New lines are told when they are whole; others are not sshd's."""
        self.assertEqual(self.look(), [])
        self.write(f"Nov 22 13:31:12 db1 sshd[7]: {LINE}\nother\n{LINE[:20]}")
        self.assertEqual(self.look(), [LINE])
        self.write(f"{LINE[20:]}\r\n")
        self.assertEqual(self.look(), [LINE])
        self.assertEqual(self.taken[0][1], 3 * LOOK_SECONDS)

    def test_renamed(self) -> None:
        """After a rotation the old file's end and the new file are read."""
        self.write(f"{LINE}\n")
        os.rename(self.path, f"{self.path}.1")
        self.assertEqual(self.look(), [LINE])
        self.path.write_text(f"{LINE}\n{LINE}\n")
        self.assertEqual(self.look(), [])
        self.assertEqual(self.look(), [LINE, LINE])

    def test_truncated(self) -> None:
        """A file that was emptied is read from its begin."""
        self.write("x" * 100)
        self.look()
        self.path.write_text("")
        self.look()
        self.write(f"{LINE}\n")
        self.assertEqual(self.look(), [LINE])

    def test_long_lines(self) -> None:
        """A line without end costs no memory, and hides no later one."""
        for _ in range(3):
            self.write("x" * 300_000)
            self.look()
        self.look()
        self.write(f"\n{LINE}\n")
        self.look()
        self.write(f"{LINE}\n")
        found = self.taken + [(one, 0.0) for _ in range(8) for one in self.look()]
        self.assertIn(LINE, [message for message, _ in found])

    def test_no_file(self) -> None:
        """What is no file is waited for."""
        self.path.unlink()
        self.path.mkdir()
        self.assertEqual(self.look(), [])
        self.assertEqual(self.look(), [])
        self.path.rmdir()
        self.look()
        self.path.write_text(f"{LINE}\n")
        self.assertEqual(self.look() + self.look(), [LINE])


class FakeProcess:
    """A process that was begun."""

    def __init__(self) -> None:
        self.signals: list[str] = []

    def signalProcess(self, name: str) -> None:
        """Remember it."""
        self.signals.append(name)


class FakeReactor(Clock):
    """Begins no process."""

    def __init__(self) -> None:
        super().__init__()
        self.spawned: list[tuple[Any, ...]] = []

    def spawnProcess(self, protocol: Any, *words: Any, **more: Any) -> None:
        """Remember it."""
        self.spawned.append(words)
        protocol.transport = FakeProcess()


class JournalTests(SynchronousTestCase):
    """Tests for `Journal`."""

    def setUp(self) -> None:
        """A journal that is followed."""
        self.reactor = FakeReactor()
        self.taken: list[tuple[str, float]] = []
        self.journal = Journal(self.reactor, lambda *said: self.taken.append(said))
        self.journal.start()

    def entry(self, message: object) -> bytes:
        """As journalctl writes it."""
        entry = {"MESSAGE": message, "__REALTIME_TIMESTAMP": "1500000", "__CURSOR": "s=1"}
        return json.dumps(entry).encode() + b"\n"

    def test_entries(self) -> None:
        """Each message is told, however the pipe cuts it; only root's are asked for."""
        self.assertEqual(self.reactor.spawned[0][1].count("_UID=0"), 2)
        wire = self.entry("one") + self.entry("two")
        for place in range(0, len(wire), 7):
            self.journal.outReceived(wire[place : place + 7])
        self.journal.errReceived(b"a complaint")
        self.assertEqual(self.taken, [("one", 1.5), ("two", 1.5)])

    def test_odd_entries(self) -> None:
        """What is no entry, has bytes for a message, or is too long, is passed over."""
        for line in (b"no JSON\n", b"[]\n", b"{}\n", b"\xff\n", self.entry([65, 66])):
            self.journal.outReceived(line)
        self.journal.outReceived(b"x" * 70_000)
        self.journal.outReceived(b"x" * 70_000 + b"\n" + self.entry("after"))
        self.assertEqual(self.taken, [("after", 1.5)])

    def test_again(self) -> None:
        """It is begun again when it ends, after growing waits."""
        for seconds in (1.0, 2.0, 4.0):
            self.journal.processEnded(Failure(ProcessDone(0)))
            before = len(self.reactor.spawned)
            self.reactor.advance(seconds - 0.1)
            self.assertEqual(len(self.reactor.spawned), before)
            self.reactor.advance(0.1)
            self.assertEqual(len(self.reactor.spawned), before + 1)

    def test_stopped(self) -> None:
        """Its end is asked for, and it is not begun again."""
        process: Any = self.journal.transport
        self.journal.stop()
        self.assertEqual(process.signals, ["TERM"])
        self.journal.processEnded(Failure(ProcessDone(0)))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_stopped_while_waiting(self) -> None:
        """The same between two."""
        self.journal.processEnded(Failure(ProcessDone(0)))
        self.journal.stop()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
