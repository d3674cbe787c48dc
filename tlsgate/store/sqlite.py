"""The store of one auth service: SQLite in a folder that it has for itself.

1. `SqliteStore` takes the folder's lock, opens the database, brings its tables up to date and
   holds every row against its checksum; what is damaged is set aside and named;
2. each call becomes a job for the one thread that touches SQLite (`line`); jobs that wait
   together share a transaction, and so its fsync;
3. after the COMMIT the revision is written to the mark, and only then the answers leave, by
   `from_thread`, in order with what watches are to hear;
4. a job that SQLite refuses ends the transaction; each of its jobs is then tried alone, so
   that each has its own verdict;
5. `stop` serves what waits, joins the thread and gives the folder back.
"""

from __future__ import annotations

import contextlib
import errno
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from tlsgate.core.keeping import PAGE, Change, Event, Item
from tlsgate.errors import Compacted, GateError, StoreFailed
from tlsgate.interfaces import IStore, IWatch
from tlsgate.store import backup, opening
from tlsgate.store.bounds import check
from tlsgate.store.faults import Fault, Kind
from tlsgate.store.line import AtOnce, Line
from tlsgate.store.schema import MIGRATIONS
from tlsgate.store.tables import Tables

#: Changes of keys below are made even when the disk is full, as long as the ballast lasts.
URGENT: Final = "locks/"

#: How often the thread looks for expired items and for a mark to sync, while there may be any.
_IDLE_SECONDS: Final = 1.0

Answer = Callable[[], None]


@define(eq=False)
class _Job:
    """Something to do in the thread, and who waits for it.

    Attributes:
        run: gives the result and the events that it caused; called again when the first
            transaction failed.
        changes: what it writes; None: nothing.
        apart: True: it needs the connection outside of a transaction.
        opens: the watch that begins to hear at this place in the line.
        left: whether its answer is on its way.
    """

    run: Callable[[float], tuple[Any, Sequence[Event]]]
    changes: Sequence[Change] | None = None
    apart: bool = False
    opens: _Watch | None = None
    left: bool = False
    waiting: Deferred[Any] = field(factory=Deferred)

    @property
    def urgent(self) -> bool:
        """Whether it may use the ballast."""
        return any(change.key.startswith(URGENT) for change in self.changes or ())


@frozen
class _Told:
    """What became of a job; without one, of a sweep."""

    job: _Job | None
    result: Any = None
    error: Exception | None = None
    events: Sequence[Event] = ()


@implementer(IWatch)
class _Watch:
    """One watcher."""

    def __init__(
        self, store: SqliteStore, prefix: str, heard: Callable[[Sequence[Event]], None]
    ) -> None:
        self.prefix = prefix
        self.heard = heard
        self.stopped = False
        self._store = store

    def stop(self) -> None:
        self.stopped = True
        self._store.forget(self)


@implementer(IStore)
class SqliteStore:
    """Keeps items in SQLite.

    Making one blocks until the database is open and checked (a second for 100 MB).

    Args:
        folder: made when it is not there; of this process alone.
        now: seconds since the epoch; called in the thread.
        from_thread: calls a function in the reactor's thread, soon: `callFromThread`. None:
            there is no thread, a call is served before it returns and watches hear in `turn`.
        events: how many are kept for late watches, and `events_bytes` of keys and values.
        migrations: of `schema`; others in tests only.
        at: called in the thread with the name of each place where a crash is tested.

    Raises:
        StoreFailed: another process has the folder; it was written by a newer version; it is
            damaged; the disk says no.
    """

    _log = Logger()

    def __init__(
        self,
        folder: Path,
        *,
        now: Callable[[], float] = time.time,
        from_thread: Callable[[Answer], object] | None = None,
        events: int = 10_000,
        events_bytes: int = 64 << 20,
        migrations: Sequence[Sequence[str]] = MIGRATIONS,
        at: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._now = now
        self._from_thread = from_thread
        self._at = at
        self._watches: list[_Watch] = []
        self._calls: list[Answer] = []
        #: Guards the two below: what watches that are on their way still need.
        self._guard = threading.Lock()
        self._floor = 0
        self._needed: dict[_Watch, int] = {}
        #: Why nothing can be written any more.
        self._broken: str | None = None
        self._copying = False
        self._opened = opening.Opened.open(folder, now=now, migrations=migrations, at=at)
        try:
            self._tables = Tables(
                self._opened.connection,
                events=events,
                events_bytes=events_bytes,
                spare=self._spare,
                make_room=self._opened.make_room,
                at=at,
            )
        except BaseException:
            self._opened.close()
            raise
        self._floor = self._tables.state.floor
        self._revision = self._tables.state.revision
        self._line: Line[_Job] | AtOnce[_Job]
        self._line = AtOnce(self._serve) if from_thread is None else Line(self._serve, self._idle)
        self._line.start()

    # -- in the reactor's thread ------------------------------------------------------

    async def get(self, key: str) -> Item | None:
        item: Item | None = await self._put(_Job(lambda now: (self._tables.get(key, now), ())))
        return item

    async def scan(self, prefix: str, after: str = "", limit: int = PAGE) -> Sequence[Item]:
        items: Sequence[Item] = await self._put(
            _Job(lambda now: (self._tables.scan(prefix, after, limit, now), ()))
        )
        return items

    async def commit(self, changes: Sequence[Change]) -> int:
        changes = tuple(changes)
        check(changes)

        def run(now: float) -> tuple[int, Sequence[Event]]:
            events = self._tables.apply(changes, now)
            return self._tables.state.revision, events

        revision: int = await self._put(_Job(run, changes=changes))
        return revision

    async def revision(self) -> int:
        revision: int = await self._put(_Job(lambda now: (self._tables.state.revision, ())))
        return revision

    def watch(
        self, prefix: str, since: int | None, heard: Callable[[Sequence[Event]], None]
    ) -> IWatch:
        watch = _Watch(self, prefix, heard)
        with self._guard:
            # "Now" is now, not when the thread comes to it: an item may expire in between.
            after = self._revision if since is None else since
            if not self._floor <= after <= self._revision:
                raise Compacted(after)
            self._needed[watch] = after

        def run(now: float) -> tuple[None, Sequence[Event]]:
            return None, self._tables.since(prefix, after)

        job = _Job(run, opens=watch)
        if not self._line.put(job):
            raise StoreFailed("it is closed")
        job.waiting.addErrback(
            lambda f: self._log.failure("a watch of {prefix} does not hear", f, prefix=prefix)
        )
        return watch

    async def backup(self, path: Path) -> backup.Backup:
        """Copy the store to *path*, whole and checked, while others go on committing.

        Returns:
            its revision: all commits up to it are there.

        Raises:
            StoreFailed: the disk of *path* says no, or another backup is being made.
        """

        def meanwhile() -> None:
            if jobs := self._line.take():
                self._serve(jobs)

        def run(now: float) -> tuple[backup.Backup, Sequence[Event]]:
            if self._copying:
                raise StoreFailed("another backup is being made")
            self._copying = True
            try:
                return backup.copy(self._opened.connection, path, meanwhile), ()
            finally:
                self._copying = False

        made: backup.Backup = await self._put(_Job(run, apart=True))
        return made

    def turn(self) -> None:
        """Tell watches what has happened; only without a thread."""
        calls, self._calls[:] = list(self._calls), []
        for call in calls:
            call()

    def stop(self) -> None:
        """Serve what waits, then close; blocks for as long, and may be called again."""
        self._line.stop()
        self._opened.close()

    def forget(self, watch: _Watch) -> None:
        """Let *watch* hear nothing more."""
        if watch in self._watches:
            self._watches.remove(watch)

    def _put(self, job: _Job) -> Deferred[Any]:
        if not self._line.put(job):
            job.waiting.errback(StoreFailed("it is closed"))
        return job.waiting

    def _answer(self, told: Sequence[_Told]) -> None:
        for one in told:
            if one.job is not None:
                if one.error is None:
                    one.job.waiting.callback(one.result)
                else:
                    one.job.waiting.errback(one.error)

    def _tell(self, told: Sequence[_Told]) -> None:
        """Let watches hear in the order in which things happened."""
        for one in told:
            self._tell_one(one)

    def _tell_one(self, one: _Told) -> None:
        watch = None if one.job is None else one.job.opens
        if watch is not None:
            if one.error is None and not watch.stopped:
                self._watches.append(watch)
                self._hear(watch, one.events)
            return
        if one.events:
            for watch in list(self._watches):
                mine = [event for event in one.events if event.key.startswith(watch.prefix)]
                self._hear(watch, mine)

    def _hear(self, watch: _Watch, events: Sequence[Event]) -> None:
        if events and not watch.stopped:
            try:
                watch.heard(events)
            except Exception:
                self._log.failure("a watch of {prefix} failed", prefix=watch.prefix)

    # -- in the store's thread --------------------------------------------------------

    def _idle(self) -> float | None:
        busy = self._tables.ending() or self._opened.folder.mark.unsynced
        return _IDLE_SECONDS if busy else None

    def _serve(self, jobs: Sequence[_Job]) -> None:
        """Serve *jobs*; whatever happens, each is answered and the thread goes on."""
        try:
            self._serve_all(jobs)
        except Exception as e:
            self._log.failure("a bug in the store")
            failed = [_Told(job, error=e) for job in jobs if not job.left]
            self._leave(failed)

    def _serve_all(self, jobs: Sequence[_Job]) -> None:
        """Serve *jobs* in order; those between two that stand apart, together."""
        if not jobs:
            with contextlib.suppress(OSError):
                self._opened.folder.mark.sync()
            self._tables.tidy()
        together: list[_Job] = []
        for job in jobs:
            if job.apart:
                self._serve_together(together)
                together = []
                self._leave([self._guarded(job, self._now())])
            else:
                together.append(job)
        if together or not jobs:
            self._serve_together(together)

    def _serve_together(self, jobs: Sequence[_Job]) -> None:
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

    def _leave(self, told: Sequence[_Told]) -> None:
        """Let answers go: what they tell of is on the disk."""
        if self._tables.state.revision != self._revision:
            try:
                self._opened.folder.mark.write(self._tables.state.revision)
            except OSError as e:  # it is durable all the same; only nobody would miss it
                self._log.error("the mark was not written: {why}", why=e)
            self._at("marked")
            self._revision = self._tables.state.revision
        with self._guard:
            for one in told:
                if one.job is not None:
                    one.job.left = True
                    if one.job.opens is not None:
                        self._needed.pop(one.job.opens, None)
        if not told:
            return
        # Apart, so that who is answered may still stop a watch that would hear of it.
        if self._from_thread is not None:
            self._from_thread(lambda: self._answer(told))
            self._from_thread(lambda: self._tell(told))
        else:
            self._calls.append(lambda: self._tell(told))
            self._answer(told)
        self._at("answered")

    def _sweep(self, now: float) -> _Told:
        return _Told(None, events=self._tables.sweep(now))

    def _one(self, job: _Job, now: float) -> _Told:
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
            return _Told(job, error=e)
        return _Told(job, result, None, events)

    def _guarded(self, job: _Job, now: float) -> _Told:
        """Serve *job*; whatever goes wrong is its answer."""
        try:
            return self._one(job, now)
        except (sqlite3.Error, OSError) as e:
            self._note(e)
            return _Told(job, error=self._failed(e))

    def _alone(self, job: _Job, now: float) -> _Told:
        """Serve *job* in a transaction of its own, with what a full disk still has."""
        if job.changes is None:
            return self._guarded(job, now)
        failed: _Told | None = None
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
                failed = _Told(job, error=self._failed(e))
                if not _full(e):
                    break
        assert failed is not None
        return failed

    def _may_write(self, job: _Job) -> None:
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

    def _spare(self, revision: int) -> int:
        """Up to where events may be forgotten, when *revision* is wished."""
        with self._guard:
            allowed = min([revision, self._revision, *self._needed.values()])
            self._floor = max(self._floor, allowed)
            return self._floor


#: Stands for the sweep where a job is served alone.
_SWEEP: Final = _Job(lambda now: (None, ()), changes=())


def _full(error: Exception) -> bool:
    if isinstance(error, sqlite3.Error):
        return Fault.of(error).kind is Kind.FULL
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
