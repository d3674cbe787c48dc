"""Lines reach their file, in order and whole, and nobody ever waits for a reader."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.service.sink import LIMIT_BYTES, RETRY_SECONDS, Sink


class SinkCase(SynchronousTestCase):
    """Sinks in a folder of their own."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = self.folder / "log" / "lines.log"
        self.clock = Clock()

    def sink(self) -> Sink:
        """A sink to the file, by the clock."""
        sink = Sink(str(self.path), self.clock.callLater)
        self.addCleanup(sink.close)
        return sink


class FileTests(SinkCase):
    """Sinks to a file."""

    def test_a_turn_is_one_write(self) -> None:
        """What comes in one turn is kept until its end; a single flush is asked for."""
        sink = self.sink()
        for line in ("one\n", "two\n"):
            sink.write(line)
        self.assertEqual(self.path.read_text(), "")
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(0)
        self.assertEqual(self.path.read_text(), "one\ntwo\n")

    def test_at_once_without_a_clock(self) -> None:
        """Before the reactor runs, and after it, a line is written when it comes."""
        sink = Sink(str(self.path))
        sink.write("early\n")
        self.assertEqual(self.path.read_text(), "early\n")
        sink.run_by(self.clock.callLater)
        sink.write("kept\n")
        self.assertEqual(self.path.read_text(), "early\n")
        sink.run_by(None)
        self.assertEqual(self.path.read_text(), "early\nkept\n")
        sink.close()

    def test_reopen_follows_the_name(self) -> None:
        """After a rename lines go to the old file until `reopen`, then to a new one."""
        sink = self.sink()
        moved = self.folder / "moved.log"
        sink.write("one\n")
        self.clock.advance(0)
        self.path.rename(moved)
        sink.write("two\n")
        sink.reopen()
        sink.write("three\n")
        self.clock.advance(0)
        self.assertEqual(moved.read_text(), "one\ntwo\n")
        self.assertEqual(self.path.read_text(), "three\n")

    def test_appends(self) -> None:
        """Two sinks to one file lose nothing of each other."""
        one, two = self.sink(), self.sink()
        for sink, line in ((one, "a\n"), (two, "b\n"), (one, "c\n")):
            sink.write(line)
            sink.flush()
        self.assertEqual(self.path.read_text(), "a\nb\nc\n")

    def test_surrogates_do_not_fail(self) -> None:
        """Text that has no UTF-8 form is escaped and written."""
        sink = self.sink()
        sink.write("\udc80\n")
        sink.flush()
        self.assertEqual(self.path.read_text(), "\\udc80\n")


class PipeTests(SinkCase):
    """Sinks to something that may be full."""

    def setUp(self) -> None:
        super().setUp()
        reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        os.set_blocking(reader, False)
        self.reader = reader
        self.path.parent.mkdir()
        os.symlink(f"/proc/self/fd/{writer}", self.path)
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)

    def read(self) -> bytes:
        """All that the pipe holds."""
        try:
            return os.read(self.reader, 1 << 20)
        except BlockingIOError:
            return b""

    def test_a_full_pipe_is_not_waited_for(self) -> None:
        """What does not fit comes when the reader has made room, whole and in order."""
        sink = self.sink()
        lines = [f"{number:0100}\n" for number in range(100)]
        for line in lines:
            sink.write(line)
        self.clock.advance(0)
        got = b""
        for _ in range(10):
            got += self.read()
            self.clock.advance(RETRY_SECONDS)
        self.assertEqual(got.decode(), "".join(lines))
        self.assertEqual(sink.lost, 0)

    def test_what_is_lost_is_told(self) -> None:
        """A reader that takes nothing costs lines, never memory; the count is told later."""
        sink = self.sink()
        line = "x" * 1023 + "\n"
        for _ in range(LIMIT_BYTES // 1024 + 100):
            sink.write(line)
            sink.flush()
        self.assertGreater(sink.lost, 50)
        got = b""
        for _ in range(LIMIT_BYTES // 2048):
            got += self.read()
            self.clock.advance(RETRY_SECONDS)
        sink.write("after\n")
        sink.flush()
        for _ in range(10):
            got += self.read()
            self.clock.advance(RETRY_SECONDS)
        told = got.decode().splitlines()
        said = f"{sink.lost} log lines were lost: {self.path} took none"
        self.assertEqual(told.count(said), 1)
        self.assertEqual(told[-1], "after")
        self.assertEqual({len(one) for one in told[:-1] if one != said}, {1023})

    def test_a_reader_that_is_gone(self) -> None:
        """A broken pipe is no error of ours."""
        sink = self.sink()
        os.dup2(os.open("/dev/null", os.O_RDONLY), self.reader)
        sink.write("nobody hears\n")
        sink.flush()
