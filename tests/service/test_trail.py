"""The audit trail, read back."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.errors import BadAsk
from tlsgate.service import trail
from tlsgate.service.audit import AuditLog, in_no_thread
from tlsgate.service.trail import Trail

BEGIN = 1_700_000_000.0


class TrailTests(SynchronousTestCase):
    """Tests for `Trail`."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.trail = Trail(self.folder, in_no_thread)
        self.now = BEGIN
        self.log = AuditLog(self.folder, now=lambda: self.now)
        self.addCleanup(self.log.sink.close)

    def write(self, count: int, name: str = "") -> None:
        """Write *count* events, a second apart; then, with *name*, rotate."""
        for _ in range(count):
            self.now += 1
            self.log.emit("user.login" if self.now % 2 else "cert.create", {"n": int(self.now)})
        if name:
            path = self.folder / "log" / "events.log"
            os.utime(path, (self.now, self.now))
            path.rename(path.with_name(name))
            self.log.sink.reopen()

    def read(self, **more: Any) -> tuple[list[int], str | None]:
        """One page: the events' numbers, and where the next one begins."""
        asked: dict[str, Any] = {
            "since": None,
            "until": None,
            "event": "",
            "limit": 1000,
            "after": "",
        }
        events, place = self.successResultOf(
            Deferred.fromCoroutine(self.trail.read(**{**asked, **more}))
        )
        return [event["n"] - int(BEGIN) for event in events], place

    def test_everything(self) -> None:
        """All files are read, the oldest first."""
        self.write(3, "events-20231114T000000-1-3.log")
        self.write(2, "events-20231115T000000-1-5.log")
        self.write(2)
        self.assertEqual(self.read(), ([1, 2, 3, 4, 5, 6, 7], None))

    def test_between(self) -> None:
        """From the first time on, up to the second; an old file is not even opened."""
        self.write(200, "events-20231114T000000-1-3.log")
        self.write(5)
        (self.folder / "log" / "events-20231114T000000-1-3.log").chmod(0o600)
        found, _ = self.read(since=BEGIN + 198, until=BEGIN + 202)
        self.assertEqual(found, [198, 199, 200, 201])
        found, _ = self.read(since=BEGIN + 203)
        self.assertEqual(found, [203, 204, 205])
        self.assertEqual(self.read(until=BEGIN), ([], None))

    def test_by_name(self) -> None:
        """A name is that event; with a star it is a family."""
        self.write(6)
        self.assertEqual(self.read(event="user.login")[0], [1, 3, 5])
        self.assertEqual(self.read(event="cert.*")[0], [2, 4, 6])
        self.assertEqual(self.read(event="user")[0], [])

    def test_pages(self) -> None:
        """Pages follow one another without a gap, even when the file is renamed between."""
        self.write(5)
        found, place = self.read(limit=2)
        self.assertEqual(found, [1, 2])
        assert place is not None
        self.write(1, "events-20231114T000000-1-3.log")
        self.write(2)
        found, place = self.read(limit=5, after=place)
        self.assertEqual(found, [3, 4, 5, 6, 7])
        assert place is not None
        self.assertEqual(self.read(after=place), ([8], None))

    def test_a_page_reads_so_much(self) -> None:
        """A rare event costs several pages, never one endless one."""
        self.patch(trail, "PAGE_BYTES", 500)
        self.patch(trail._Page, "__init__", _with_left(trail._Page.__init__, 500))
        self.write(40)
        pages, place = 0, ""
        found: list[int] = []
        while pages < 100:
            events, following = self.read(event="user.login", since=BEGIN + 39, after=place)
            found += events
            pages += 1
            if following is None:
                break
            place = following
        self.assertEqual(found, [39])
        self.assertGreater(pages, 5)

    def test_a_long_file_is_searched(self) -> None:
        """Of a long file only the part around the time is read."""
        path = self.folder / "log" / "events.log"
        stamp = trail._stamp
        with path.open("w") as out:
            for n in range(20_000):
                line = {"event": "x", "time": stamp(BEGIN + n), "n": int(BEGIN) + n}
                out.write(json.dumps(line) + "\n")
        reads: list[int] = []
        real = trail._lines

        def lines(source: Any, start: int) -> Any:
            reads.append(start)
            return real(source, start)

        self.patch(trail, "_lines", lines)
        self.assertEqual(self.read(since=BEGIN + 19_998)[0], [19_998, 19_999])
        self.assertGreater(reads[0], path.stat().st_size // 2)
        self.assertEqual(self.read(since=BEGIN + 10_000, limit=1)[0], [10_000])

    def test_other_lines(self) -> None:
        """What is no event of ours is passed over: half a line, a long one, another value."""
        self.write(1)
        path = self.folder / "log" / "events.log"
        with path.open("ab") as out:
            out.write(b'{"event":"x"\n[1]\n\xff\n' + b"y" * 100_000 + b"\n")
        self.write(1)
        with path.open("ab") as out:
            out.write(b'{"event":"half')
        self.assertEqual(self.read(), ([1, 2], None))

    def test_no_such_place(self) -> None:
        """A place that no page has given is refused with what to do."""
        self.write(1)
        for after in ("x", "1-", "fffffffffff-0", "-1-0"):
            self.failureResultOf(
                Deferred.fromCoroutine(
                    self.trail.read(since=None, until=None, event="", limit=1, after=after)
                ),
                BadAsk,
            )


def _with_left(init: Any, left: int) -> Any:
    def made(self: Any, *args: Any) -> None:
        init(self, *args)
        self.left = left

    return made
