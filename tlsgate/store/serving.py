"""Serving the jobs of a store: what its thread does, transaction by transaction.

Jobs that wait together share a transaction, and so its fsync. One that SQLite refuses ends the
transaction; each of its jobs is then tried alone, so that each has its own verdict, with what
a full disk still has.
"""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from tlsgate.core.keeping import Change, Event
from tlsgate.errors import GateError, StoreFailed
from tlsgate.store.faults import Fault, Kind
from tlsgate.store.opening import Opened
from tlsgate.store.tables import Tables

#: Changes of keys below are made even when the disk is full, as long as the ballast lasts.
URGENT: Final = "locks/"

#: How often the thread looks for expired items and for a mark to sync, while there may be any.
_IDLE_SECONDS: Final = 1.0


@define(eq=False)
class Job:
    """Something to do in the thread, and who waits for it.

    Attributes:
        run: gives the result and the events that it caused; called again when the first
            transaction failed.
        changes: what it writes; None: nothing.
        apart: True: it needs the connection outside of a transaction.
        opens: the watch that begins to hear at this place in the line; None: none.
        left: whether its answer is on its way.
    """

    run: Callable[[float], tuple[Any, Sequence[Event]]]
    changes: Sequence[Change] | None = None
    apart: bool = False
    opens: object = None
    left: bool = False
    waiting: Deferred[Any] = field(factory=Deferred)

    @property
    def urgent(self) -> bool:
        """Whether it may use the ballast."""
        return any(change.key.startswith(URGENT) for change in self.changes or ())


@frozen
class Told:
    """What became of a job; without one, of a sweep."""

    job: Job | None
    result: Any = None
    error: Exception | None = None
    events: Sequence[Event] = ()


class Serving:
    """What serves jobs; all of it in one thread.

    Args:
        now: seconds since the epoch.
        answer: called with what became of jobs, in order, and the newest revision, once it is
            durable.
        at: called with the name of each place where a crash is tested.
    """

    _log = Logger()

    def __init__(
        self,
        opened: Opened,
        tables: Tables,
        *,
        now: Callable[[], float],
        answer: Callable[[Sequence[Told], int], None],
        at: Callable[[str], None],
    ) -> None:
        self._opened = opened
        self._tables = tables
        self._now = now
        self._answer = answer
        self._at = at
        self._marked = tables.state.revision
        #: Why nothing can be written any more.
        self._broken: str | None = None

    def idle(self) -> float | None:
        """After how many seconds without a job `serve` is to be called with none."""
        busy = self._tables.ending() or self._opened.folder.mark.unsynced
        return _IDLE_SECONDS if busy else None

    def serve(self, jobs: Sequence[Job]) -> None:
        """Serve *jobs*; whatever happens, each is answered and the thread goes on."""
        try:
            self._serve_all(jobs)
        except Exception as e:
            self._log.failure("a bug in the store")
            failed = [Told(job, error=e) for job in jobs if not job.left]
            self._leave(failed)

    def _serve_all(self, jobs: Sequence[Job]) -> None:
        """Serve *jobs* in order; those between two that stand apart, together."""
        if not jobs:
            with contextlib.suppress(OSError):
                self._opened.folder.mark.sync()
            self._tables.tidy()
        together: list[Job] = []
        for job in jobs:
            if job.apart:
                self._serve_together(together)
                together = []
                self._leave([self._guarded(job, self._now())])
            else:
                together.append(job)
        if together or not jobs:
            self._serve_together(together)

    def _serve_together(self, jobs: Sequence[Job]) -> None:
        now = self._now()
        sweeps = self._tables.due(now) and self._broken is None
        if not sweeps and all(job.changes is None for job in jobs):
            self._leave([self._guarded(job, now) for job in jobs])
            return
        try:
            with self._tables.transaction():
                told = [self._sweep(now)] if sweeps else []
                told += [self._one(job, now) for job in jobs]
        except (sqlite3.Error, OSError) as e:
            self._note(e)
            told = [self._alone(_SWEEP, now)] if sweeps else []
            told += [self._alone(job, now) for job in jobs]
        self._leave(told)

    def _leave(self, told: Sequence[Told]) -> None:
        """Let answers go: what they tell of is on the disk."""
        revision = self._tables.state.revision
        if revision != self._marked:
            try:
                self._opened.folder.mark.write(revision)
            except OSError as e:  # it is durable all the same; only nobody would miss it
                self._log.error("the mark was not written: {why}", why=e)
            self._at("marked")
            self._marked = revision
        for one in told:
            if one.job is not None:
                one.job.left = True
        self._answer(told, revision)
        if told:
            self._at("answered")

    def _sweep(self, now: float) -> Told:
        return Told(None, events=self._tables.sweep(now))

    def _one(self, job: Job, now: float) -> Told:
        """Serve *job*; an error of SQLite ends the transaction, any other is its own."""
        if job is _SWEEP:
            return self._sweep(now)
        try:
            if job.changes is not None:
                self._may_write(job)
            result, events = job.run(now)
        except (sqlite3.Error, OSError):
            raise
        except Exception as e:
            return Told(job, error=e)
        return Told(job, result, None, events)

    def _guarded(self, job: Job, now: float) -> Told:
        """Serve *job*; whatever goes wrong is its answer."""
        try:
            return self._one(job, now)
        except (sqlite3.Error, OSError) as e:
            self._note(e)
            return Told(job, error=self._failed(e))

    def _alone(self, job: Job, now: float) -> Told:
        """Serve *job* in a transaction of its own, with what a full disk still has."""
        if job.changes is None:
            return self._guarded(job, now)
        failed: Told | None = None
        for attempt in ("as it is", "empty the log", "drop the ballast"):
            if attempt == "drop the ballast" and not job.urgent:
                break
            try:
                if failed is not None:
                    self._tables.checkpoint()
                with self._tables.transaction():
                    if attempt == "drop the ballast":
                        self._tables.drop_ballast()
                    return self._one(job, now)
            except (sqlite3.Error, OSError) as e:
                self._note(e)
                failed = Told(job, error=self._failed(e))
                if not _full(e):
                    break
        assert failed is not None
        return failed

    def _may_write(self, job: Job) -> None:
        if self._broken is not None:
            raise StoreFailed(self._broken)
        # What was set aside for locks is not for others; they put it back when there is space.
        if not (self._tables.ballast or job.urgent):
            self._tables.take_ballast()

    def _failed(self, error: Exception) -> GateError:
        where = self._opened.folder.path
        if isinstance(error, sqlite3.Error):
            return StoreFailed(f"{where}: {Fault.of(error)}")
        if _full(error):
            return StoreFailed(f"{where}: the disk is full: {Kind.FULL.value}")
        return StoreFailed(f"{where}: {error}")

    def _note(self, error: Exception) -> None:
        """Write nothing more after an error that leaves in doubt what is written."""
        if isinstance(error, sqlite3.Error):
            fault = Fault.of(error)
            if fault.kind in (Kind.DAMAGED, Kind.UNSURE) and self._broken is None:
                self._broken = f"{self._opened.folder.path}: {fault}"
                self._log.critical("the store writes nothing more: {why}", why=self._broken)


#: Stands for the sweep where a job is served alone.
_SWEEP: Final = Job(lambda now: (None, ()), changes=())


def _full(error: Exception) -> bool:
    if isinstance(error, sqlite3.Error):
        return Fault.of(error).kind is Kind.FULL
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
