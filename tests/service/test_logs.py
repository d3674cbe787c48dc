"""One event is one line, whatever a peer sends (S23), and cheap."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config.read import read_text
from tlsgate.service.lines import FIELD_LIMIT, Stamp, clean
from tlsgate.service.logs import REFUSALS_A_SECOND, Journal, Log, Observer, output_of
from tlsgate.service.sink import Sink

#: What a peer may put into a name, a token, a banner or a path.
NASTY = (
    "a\nb",
    "a\r\nb",
    "\x1b]0;title\x07",
    '"quoted"',
    "\u2028\u2029\x85\x0b\x0c",
    "{peer.__class__}",
    "%s%n",
    "\udcff\ud800",
    "\u202eevil",
    "\x00",
    "x" * 100_000,
    'a=b "c"',
    "\\",
    "ü€😀",
    "",
)


class Kept:
    """A sink that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        """Keep *line*."""
        self.lines.append(line)

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.lines)


def log(style: str = "text", severity: str = "info") -> tuple[Any, Log]:
    """A log and what it kept."""
    kept: Any = Kept()
    return kept, Log(kept, style, severity)


ENTRY: dict[str, object] = {
    "time": 1.5,
    "event": "connection.end",
    "listener": "web",
    "peer": "192.0.2.1:4711",
    "route": "echo",
    "identity": None,
    "alpn": b"demo",
    "to_target": 3,
    "to_client": 4,
    "seconds": 0.25,
    "cause": "client ended",
}


class JournalTests(SynchronousTestCase):
    """Tests for `Journal`."""

    def test_text(self) -> None:
        """A text line has the time, the level, the event and what is known, in order."""
        kept, where = log()
        Journal(where)(ENTRY)
        self.assertEqual(
            kept.text,
            "1970-01-01T00:00:01.500Z info connection.end listener=web peer=192.0.2.1:4711 "
            'route=echo alpn=demo to_target=3 to_client=4 seconds=0.250 cause="client ended"\n',
        )

    def test_json(self) -> None:
        """A JSON line has the same."""
        kept, where = log("json")
        Journal(where)(ENTRY)
        self.assertEqual(
            json.loads(kept.text),
            {
                "time": "1970-01-01T00:00:01.500Z",
                "level": "info",
                "event": "connection.end",
                "listener": "web",
                "peer": "192.0.2.1:4711",
                "route": "echo",
                "alpn": "demo",
                "to_target": 3,
                "to_client": 4,
                "seconds": 0.25,
                "cause": "client ended",
            },
        )

    def test_s23_peer_text_never_breaks_a_line(self) -> None:
        """Line count is event count, no control byte comes through, fields are cut."""
        for style in ("text", "json"):
            kept, where = log(style)
            journal = Journal(where)
            for nasty in NASTY:
                journal({**ENTRY, "sni": nasty, "alpn": nasty.encode("utf-8", "replace")})
            lines = kept.text.splitlines()
            self.assertEqual(len(lines), len(NASTY))
            self.assertEqual(len(kept.lines), len(NASTY))
            for line in lines:
                self.assertTrue(line.isprintable(), line)
                self.assertLess(len(line), 10 * FIELD_LIMIT)
                if style == "json":
                    json.loads(line)

    def test_other_style_from_now_on(self) -> None:
        """A reload may change the style; nothing of the old one is left."""
        kept, where = log("text")
        journal = Journal(where)
        journal(ENTRY)
        where.json = True
        journal(ENTRY)
        where.json = False
        journal(ENTRY)
        self.assertEqual(json.loads(kept.lines[1])["cause"], "client ended")
        self.assertEqual(kept.lines[2], kept.lines[0])

    def test_fault_is_the_level(self) -> None:
        """Whose fault it is decides the level, and severity what is written."""
        kept, where = log(severity="warn")
        journal = Journal(where)
        for fault in ("client", "target", "operator", "gate", None):
            journal({**ENTRY, "fault": fault})
        self.assertEqual([line.split()[1] for line in kept.lines], ["warn", "error", "critical"])

    def test_refusals_are_limited(self) -> None:
        """A flood of refusals is some lines and a count."""
        now = [100.0]
        kept, where = log()
        journal = Journal(where, lambda: now[0])
        refused = {**ENTRY, "event": "connection.refused", "fault": "client"}
        for _ in range(REFUSALS_A_SECOND + 50):
            journal(refused)
        self.assertEqual(len(kept.lines), REFUSALS_A_SECOND)
        journal(ENTRY)
        now[0] = 101.0
        journal(refused)
        self.assertIn("connections.unwritten refused=50", kept.lines[-2])
        self.assertEqual(len(kept.lines), REFUSALS_A_SECOND + 3)

    def test_memory_is_bounded(self) -> None:
        """Ever new names do not pile up."""
        _, where = log()
        journal = Journal(where)
        for number in range(10_000):
            journal({**ENTRY, "sni": f"{number}.example.com"})
            journal({**ENTRY, "sni": f"{number}" * 200})
        self.assertLess(len(journal._text._shown), 5_000)


class ObserverTests(SynchronousTestCase):
    """Tests for `Observer`."""

    def test_one_line_an_event(self) -> None:
        """Formats are filled with what is cleaned and cut, in both styles."""
        for style in ("text", "json"):
            kept, where = log(style)
            logger = Logger("tlsgate.test", observer=Observer(where))
            for nasty in NASTY:
                logger.info("name {name}", name=nasty)
            lines = kept.text.splitlines()
            self.assertEqual(len(lines), len(NASTY))
            for line in lines:
                self.assertTrue(line.isprintable(), line)
                self.assertLess(len(line), 10 * FIELD_LIMIT)
            if style == "json":
                self.assertEqual(json.loads(lines[5])["message"], "name {peer.__class__}")

    def test_a_failure_is_one_line_too(self) -> None:
        """A traceback stands behind the message, with its line breaks escaped."""
        try:
            raise ValueError("two\nlines")
        except ValueError:
            failure = Failure()
        for style in ("text", "json"):
            kept, where = log(style)
            Logger("tlsgate.test", observer=Observer(where)).failure("it broke", failure)
            self.assertEqual(len(kept.text.splitlines()), 1)
            self.assertIn("ValueError", kept.text)
            self.assertIn("critical", kept.text)

    def test_severity(self) -> None:
        """What is below the severity is not written; Twisted's own chatter is `debug`."""
        kept, where = log(severity="info")
        observer = Observer(where)
        Logger("tlsgate.x", observer=observer).debug("no")
        Logger("twisted.x", observer=observer).info("no")
        Logger("twisted.x", observer=observer).warn("yes")
        Logger("tlsgate.x", observer=observer).emit(LogLevel.info, "yes")
        self.assertEqual(len(kept.lines), 2)

    def test_a_broken_format_is_still_a_line(self) -> None:
        """An event that cannot be formatted says so, on one line."""
        kept, where = log()
        Logger("tlsgate.x", observer=Observer(where)).info("{missing}")
        self.assertEqual(len(kept.text.splitlines()), 1)


class LogTests(SynchronousTestCase):
    """Tests for `Log`."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def settings(self, output: str, style: str = "text") -> Any:
        """Settings that log there."""
        text = (
            f"teleport: {{data_dir: {self.folder}, log: {{output: {output}, severity: WARN, "
            f"format: {{output: {style}}}}}}}\nproxy_service: {{public_addr: [gw.test]}}\n"
        )
        return read_text(text)

    def test_follows(self) -> None:
        """A reload may move the log; its old file is closed, and the turns of the clock stay."""
        one, two = self.folder / "one.log", self.folder / "two.log"
        where = Log(Sink(str(one)))
        clock = Clock()
        where.run_by(clock.callLater)
        where.sink.write("first\n")
        where.follow(self.settings(str(two), "json"))
        self.assertEqual((where.json, where.least), (True, 2))
        where.sink.write("second\n")
        self.assertEqual((one.read_text(), two.read_text()), ("first\n", ""))
        clock.advance(0)
        self.assertEqual(two.read_text(), "second\n")
        where.sink.close()

    def test_stays_where_it_can_write(self) -> None:
        """A file that cannot be opened is told of in the old one."""
        one = self.folder / "one.log"
        where = Log(Sink(str(one)))
        where.follow(self.settings("/proc/none/x.log"))
        where.sink.write("still here\n")
        self.assertEqual(one.read_text(), "still here\n")
        where.sink.close()

    def test_background(self) -> None:
        """In the background there is no stderr; a file of the data directory takes its place."""
        settings = self.settings("stderr")
        self.assertEqual(output_of(settings, False), "stderr")
        self.assertEqual(output_of(settings, True), str(self.folder / "log" / "tlsgate.log"))


class CleanTests(SynchronousTestCase):
    """Tests for `clean` and `Stamp`."""

    def test_keeps_what_is_printable(self) -> None:
        """Letters of any script stay; the rest is escaped."""
        self.assertEqual(clean("ü€😀 x"), "ü€😀 x")
        self.assertEqual(clean("a\n\x1b\u2028\udcff"), "a\\n\\x1b\\u2028\\udcff")

    def test_cuts(self) -> None:
        """A cut field ends with a sign that it was cut."""
        self.assertEqual(clean("abcdef", 3), "abc…")

    def test_stamps(self) -> None:
        """Milliseconds are cut, not rounded up into the next second."""
        stamp = Stamp()
        self.assertEqual(stamp(0.9999), "1970-01-01T00:00:00.999Z")
        self.assertEqual(stamp(86400.0), "1970-01-02T00:00:00.000Z")
