"""Old files of the audit trail go, where the settings say for how many days they are kept.

1. Every ten minutes the folder is looked at, in a thread.
2. Renamed files whose last change is older go, the oldest first, a few at a time: a clock
   that has jumped ahead takes a few files, not all of them, before somebody sees it.
3. What went is an event of the trail.

The file that is written now never goes.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from tlsgate.config.settings import Settings
from tlsgate.interfaces import IAudit
from tlsgate.service.audit import EVENTS_LOG, InThread
from tlsgate.service.process import Process

#: Between two looks.
LOOK_SECONDS: Final = 600.0
#: What one look deletes at most: 1152 files, 72 GiB, a day.
MOST_FILES: Final = 8

_DAY: Final = 86400
_NAME: Final = re.compile(r"events-\d{8}T\d{6}-[\w-]+\.log\Z")


_log = Logger()


@frozen
class Gone:
    """What one look has deleted."""

    files: int
    bytes: int


def delete(folder: Path, before: float, most: int = MOST_FILES) -> Gone:
    """Delete the oldest files of the trail that nobody has written since *before*.

    Args:
        before: seconds since the epoch.
        most: how many at most.
    """
    old: list[tuple[float, int, str]] = []
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if _NAME.match(entry.name) and entry.is_file(follow_symlinks=False):
                found = entry.stat(follow_symlinks=False)
                if found.st_mtime < before:
                    old.append((found.st_mtime, found.st_size, entry.path))
    gone = Gone(0, 0)
    for _, size, path in sorted(old)[:most]:
        with suppress(FileNotFoundError):  # somebody was quicker
            os.unlink(path)
            gone = Gone(gone.files + 1, gone.bytes + size)
    return gone


class Expiry:
    """Looks after the trail of one data directory.

    Args:
        data_dir: the data directory.
        audit: where it is told.
        clock: Twisted's reactor.
        in_thread: what deletes off the reactor.
        days: for how long files are kept, now; None: for ever.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        data_dir: Path,
        audit: IAudit,
        clock: Any,
        in_thread: InThread,
        days: Callable[[], int | None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._folder = (data_dir / EVENTS_LOG).parent
        self._audit = audit
        self._clock = clock
        self._in_thread = in_thread
        self._days = days
        self._now = now

    def start(self) -> None:
        """Look for the first time soon."""
        self._clock.callLater(LOOK_SECONDS, self._turn)

    def _turn(self) -> None:
        looking = Deferred.fromCoroutine(self._look())
        looking.addErrback(_say)
        looking.addCallback(lambda _: self.start())

    async def _look(self) -> None:
        days = self._days()
        if days is None:
            return
        gone = await self._in_thread(delete, self._folder, self._now() - days * _DAY)
        if gone.files:
            told = {"success": True, "files": gone.files, "bytes": gone.bytes, "days": days}
            self._audit.emit("audit.expire", told)


def _say(failure: Failure) -> None:
    _log.warn("old files of the audit trail cannot be deleted: {error}", error=failure.value)


def begin(process: Process, settings: Callable[[], Settings]) -> None:
    """Look after the trail of *process*, by the *settings* of each time."""
    expiry = Expiry(
        settings().data_dir,
        process.audit,
        process.reactor,
        process.in_thread,
        lambda: settings().audit_keep_days,
    )
    expiry.start()
