"""Tests for `tlsgate.service.expiry`: old files of the audit trail go."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tlsgate.interfaces import IAudit
from tlsgate.service.audit import in_no_thread
from tlsgate.service.expiry import LOOK_SECONDS, MOST_FILES, Expiry, Gone, delete

DAY = 86400.0


@implementer(IAudit)
class Told:
    """Keeps events."""

    refuses = False

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []

    def emit(self, event: str, fields: Mapping[str, object]) -> None:
        self.events.append((event, dict(fields)))

    async def kept(self) -> None:
        """Nothing waits."""


class FolderCase(SynchronousTestCase):
    """A trail with files of several days."""

    def setUp(self) -> None:
        self.data_dir = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.data_dir)
        self.folder = self.data_dir / "log"
        self.folder.mkdir()

    def file(self, name: str, day: float, size: int = 10) -> None:
        """One whose last change was on *day*."""
        path = self.folder / name
        path.write_bytes(b"x" * size)
        os.utime(path, (day * DAY, day * DAY))

    def left(self) -> list[str]:
        """What is there."""
        return sorted(one.name for one in self.folder.iterdir())


class DeleteTests(FolderCase):
    """Tests for `delete`."""

    def test_old_files_of_the_trail(self) -> None:
        """What is older goes; the file in use, newer ones and files of others stay."""
        for name in ("events.log", "tlsgate.log", "events-mine.log", ".events.lock"):
            self.file(name, 1)
        self.file("events-19700102T000000-7-1.log", 1, size=30)
        self.file("events-19700110T000000-7-2.log", 9)
        (self.folder / "events-19700102T000000-7-3.log").symlink_to("tlsgate.log")
        self.assertEqual(delete(self.folder, 5 * DAY), Gone(1, 30))
        self.assertEqual(
            self.left(),
            [
                ".events.lock",
                "events-19700102T000000-7-3.log",
                "events-19700110T000000-7-2.log",
                "events-mine.log",
                "events.log",
                "tlsgate.log",
            ],
        )

    def test_a_few_at_a_time(self) -> None:
        """The oldest go first, and no more than a few: a clock may have jumped ahead."""
        for day in range(20):
            self.file(f"events-19700101T0000{day:02d}-7-1.log", day)
        self.assertEqual(delete(self.folder, 1e9).files, MOST_FILES)
        self.assertEqual(self.left()[0], f"events-19700101T0000{MOST_FILES:02d}-7-1.log")

    def test_no_folder(self) -> None:
        """A trail that has not begun has nothing old."""
        self.assertEqual(delete(self.folder / "none", 1e9), Gone(0, 0))


class ExpiryTests(FolderCase):
    """Tests for `Expiry`."""

    def setUp(self) -> None:
        super().setUp()
        self.clock, self.told = Clock(), Told()
        self.days: int | None = 30
        Expiry(
            self.data_dir,
            self.told,
            self.clock,
            in_no_thread,
            lambda: self.days,
            lambda: 100 * DAY,
        ).start()

    def test_told_and_again(self) -> None:
        """Each look tells what went; nothing gone, nothing told; a reload's days count."""
        self.file("events-19700102T000000-7-1.log", 69)
        self.file("events-19700103T000000-7-1.log", 71)
        self.clock.advance(LOOK_SECONDS)
        self.clock.advance(LOOK_SECONDS)
        told = {"success": True, "files": 1, "bytes": 10, "days": 30}
        self.assertEqual(self.told.events, [("audit.expire", told)])
        self.days = 28
        self.clock.advance(LOOK_SECONDS)
        self.assertEqual((len(self.told.events), self.left()), (2, []))

    def test_for_ever(self) -> None:
        """Without a number of days nothing goes, however old."""
        self.days = None
        self.file("events-19700102T000000-7-1.log", 1)
        self.clock.advance(LOOK_SECONDS)
        self.assertEqual((self.told.events, len(self.left())), ([], 1))

    def test_cannot(self) -> None:
        """A folder that cannot be read is a line in the log, and is tried again."""
        self.file("events-19700102T000000-7-1.log", 1)
        self.folder.rename(self.data_dir / "elsewhere")
        self.folder.write_bytes(b"")
        self.clock.advance(LOOK_SECONDS)
        self.folder.unlink()
        (self.data_dir / "elsewhere").rename(self.folder)
        self.clock.advance(LOOK_SECONDS)
        self.assertEqual((len(self.told.events), self.left()), (1, []))
