"""The audit trail: one JSON line an event in DATA/log/events.log, rotated by day and size.

1. `emit` makes the line, with a code where `auth.events` has one, and the sink writes it at
   the end of the reactor's turn. Each event has an identifier of its own: a line may come
   twice when a full disk took a part of it, and a reader can tell (at least once).
2. A second later, or when somebody waits in `kept`, the file is fsynced in a thread; all
   who wait share one fsync.
3. The first event of a day (UTC), and a file that has grown too long, rotate it. Several
   workers write to one file: each line is appended whole, the first one that sees that the
   file is over renames it under a lock, and the others notice and follow.
4. When the disk takes nothing, lines wait, bounded, and then are lost and counted. A strict
   trail says so to whoever is about to do what could not be recorded (`kept`, `refuses`).
"""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from tlsgate.auth.events import EVENTS, code_of
from tlsgate.errors import AuditFailed
from tlsgate.interfaces import IAudit
from tlsgate.service.lines import Stamp, json_form
from tlsgate.service.sink import Later, Sink

#: Where the trail is, below the data directory.
EVENTS_LOG = "log/events.log"
#: A file that has grown to this is renamed to events-<time>-<pid>.log.
ROTATE_BYTES = 64 << 20
#: How often the file's size and identity are looked at.
LOOK_SECONDS = 5.0
#: How long an event may be on its way to the disk when nobody waits for it.
SYNC_SECONDS = 1.0

_DAY = 86400

#: Runs a function elsewhere: `deferToThread`.
InThread = Callable[..., Awaitable[Any]]


@implementer(IAudit)
class AuditLog:
    """Appends events to the trail.

    Args:
        data_dir: the data directory; its log folder is made.
        later: a clock's `callLater`, None before the reactor runs.
        now: seconds since the epoch.
        strict: True: `kept` fails while events cannot be written.
        in_thread: what runs fsync off the reactor; None: here and now.
    """

    def __init__(
        self,
        data_dir: Path,
        later: Later | None = None,
        now: Callable[[], float] = time.time,
        *,
        strict: bool = False,
        in_thread: InThread | None = None,
    ) -> None:
        self.path = data_dir / EVENTS_LOG
        self.strict = strict
        self.sink = Sink(str(self.path), later, lost_line=self._lost, again=True)
        self._in_thread = in_thread
        self._later = later
        self._now = now
        self._stamp = Stamp()
        self._looked = now()
        self._day = 0  # of the last event; the first one looks at the file
        # One part of the identifier says who wrote, the other counts: cheaper than a new
        # random one each time, and as unique.
        self._prefix = uuid.uuid4().hex[:20]
        self._count = 0
        self._synced = 0  # events that are on the disk
        self._syncing: list[Deferred[None]] | None = None
        self._sync_asked = False
        self._sync_failed = False

    def run_by(self, later: Later | None, in_thread: InThread | None = None) -> None:
        """Write at the end of *later*'s turns from now on, and fsync by *in_thread*."""
        self._later, self._in_thread = later, in_thread
        self._sync_asked = False
        self.sink.run_by(later)

    def emit(self, event: str, fields: Mapping[str, object]) -> None:
        now = self._now()
        if int(now) // _DAY != self._day or now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._day = int(now) // _DAY
            self.look()
        self.sink.write(self._line(event, fields, now))
        self._ask()

    def _ask(self) -> None:
        """Have a sync begin soon, unless one is going to."""
        if self._later is not None and not self._sync_asked:
            self._sync_asked = True
            self._later(SYNC_SECONDS, self._sync_soon)

    def _line(self, event: str, fields: Mapping[str, object], now: float) -> str:
        self._count += 1
        uid = f"{self._prefix}{self._count:012x}"
        code = EVENTS.get(event)
        if code is not None and fields.get("success") is False:
            code = code_of(event, success=False)
        coded = "" if code is None else f'"code":"{code}",'
        return (
            f'{{"event":"{event}",{coded}"time":"{self._stamp(now)}","uid":"{uid}"'
            f"{json_form(fields)}}}\n"
        )

    def _lost(self, count: int) -> str:
        return self._line("audit.lost", {"success": False, "events": count}, self._now())

    # -- on the disk ----------------------------------------------------------------

    @property
    def refuses(self) -> bool:
        """Whether nothing new should begin, because it could not be recorded."""
        return self.strict and (self.sink.waits or self._sync_failed)

    async def kept(self) -> None:
        """Return when all events so far are on the disk.

        Raises:
            AuditFailed: they are not, and the trail is strict.
        """
        if self._synced < self._count or self._sync_failed or self.sink.waits:
            await self._sync()
        if self.refuses:
            raise AuditFailed

    def _sync_soon(self) -> None:
        self._sync_asked = False
        if self._synced < self._count:
            Deferred.fromCoroutine(self._sync())

    async def _sync(self) -> None:
        """Wait for a sync that begins after now; never fails."""
        while self._syncing is not None:  # one is under way; it may have begun too early
            turn: Deferred[None] = Deferred()
            self._syncing.append(turn)
            await turn
            if self._synced >= self._count:
                return
        self._syncing = []
        count = self._count
        try:
            self.sink.flush()
            copy = self.sink.copy_of_file()
            if self._in_thread is None:
                _sync_and_close(copy)
            else:
                await self._in_thread(_sync_and_close, copy)
            self._sync_failed = False
            if self.sink.waits:
                self._ask()
            else:
                self._synced = count
        except OSError:
            self._sync_failed = True
            self._ask()
        finally:
            waiting, self._syncing = self._syncing, None
            for one in waiting:
                one.callback(None)

    # -- rotation -------------------------------------------------------------------

    def look(self) -> None:
        """Rotate the file when it is over; follow when somebody else did."""
        self.sink.flush()
        try:
            found = os.stat(self.path)
            if self._is_over(found):
                self._rotate()
                self.sink.reopen()
            elif not self.sink.writes_to(found):
                self.sink.reopen()
        except FileNotFoundError:
            with suppress(OSError):
                self.sink.reopen()
        except OSError:
            return  # a disk that is full or gone: the next look tries again

    def _is_over(self, found: os.stat_result) -> bool:
        """Whether a file is too long, or its last event is of another day."""
        if found.st_size >= ROTATE_BYTES:
            return True
        return found.st_size > 0 and int(found.st_mtime) // _DAY < int(self._now()) // _DAY

    def _rotate(self) -> None:
        with open(self.path.with_name(".events.lock"), "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._is_over(os.stat(self.path)):
                when = time.strftime("%Y%m%dT%H%M%S", time.gmtime(self._now()))
                name = f"events-{when}-{os.getpid()}-{self._count:x}.log"
                os.rename(self.path, self.path.with_name(name))


def _sync_and_close(file: int) -> None:
    if file < 0:
        return
    try:
        os.fsync(file)
    finally:
        os.close(file)


def in_no_thread(call: Callable[..., Any], *args: object) -> Awaitable[Any]:
    """Run *call* here and now; stands in for `deferToThread`."""
    return succeed(call(*args))
