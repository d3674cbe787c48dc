"""The audit trail: one JSON line an event in DATA/log/events.log, rotated by size.

Several workers write to one file: each line is appended whole, the first one that sees the
file too long renames it under a lock, and the others notice and follow.
"""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from zope.interface import implementer

from tlsgate.interfaces import IAudit
from tlsgate.service.lines import Stamp, json_form
from tlsgate.service.sink import Later, Sink

#: Where the trail is, below the data directory.
EVENTS_LOG = "log/events.log"
#: A file that has grown to this is renamed to events-<time>.log.
ROTATE_BYTES = 64 << 20
#: How often the file's size and identity are looked at.
LOOK_SECONDS = 5.0


@implementer(IAudit)
class AuditLog:
    """Appends events to the trail.

    Args:
        data_dir: the data directory; its log folder is made.
        later: a clock's `callLater`, None before the reactor runs.
        now: seconds since the epoch.
    """

    def __init__(
        self, data_dir: Path, later: Later | None = None, now: Callable[[], float] = time.time
    ) -> None:
        self.path = data_dir / EVENTS_LOG
        self.sink = Sink(str(self.path), later)
        self._now = now
        self._stamp = Stamp()
        self._looked = now()
        # One part of the identifier says who wrote, the other counts: cheaper than a new
        # random one each time, and as unique.
        self._prefix = uuid.uuid4().hex[:20]
        self._count = 0

    def emit(self, event: str, fields: Mapping[str, object]) -> None:
        now = self._now()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self.look()
        self._count += 1
        uid = f"{self._prefix}{self._count:012x}"
        self.sink.write(
            f'{{"event":"{event}","time":"{self._stamp(now)}","uid":"{uid}"{json_form(fields)}}}\n'
        )

    def look(self) -> None:
        """Rotate the file when it is too long; follow when somebody else did."""
        self.sink.flush()
        try:
            found = os.stat(self.path)
            if found.st_size >= ROTATE_BYTES:
                self._rotate()
                self.sink.reopen()
            elif not self.sink.writes_to(found):
                self.sink.reopen()
        except FileNotFoundError:
            self.sink.reopen()
        except OSError:
            return  # a disk that is full or gone: the next look tries again

    def _rotate(self) -> None:
        with open(self.path.with_name(".events.lock"), "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.stat(self.path).st_size >= ROTATE_BYTES:
                when = time.strftime("%Y%m%dT%H%M%S", time.gmtime(self._now()))
                os.rename(self.path, self.path.with_name(f"events-{when}-{os.getpid()}.log"))
