"""The store of one auth service: SQLite in a folder that it has for itself.

1. `SqliteStore` takes the folder's lock, opens the database, brings its tables up to date and
   holds every row against its checksum; what is damaged is set aside and named;
2. each call becomes a job for the one thread that touches SQLite (`line`, `serving`); jobs
   that wait together share a transaction, and so its fsync;
3. after the COMMIT the revision is written to the mark, and only then the answers leave, by
   `from_thread`, in order with what watches are to hear;
4. a job that SQLite refuses ends the transaction; each of its jobs is then tried alone, so
   that each has its own verdict;
5. `stop` serves what waits, joins the thread and gives the folder back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from tlsgate.core.keeping import PAGE, Change, Event, Item
from tlsgate.errors import Compacted, StoreFailed
from tlsgate.interfaces import IStore, IWatch
from tlsgate.store import backup, opening
from tlsgate.store.bounds import check
from tlsgate.store.line import AtOnce, Line
from tlsgate.store.schema import MIGRATIONS
from tlsgate.store.serving import Job, Serving, Told
from tlsgate.store.tables import Tables

Answer = Callable[[], None]


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
        self._from_thread = from_thread
        self._watches: list[_Watch] = []
        self._calls: list[Answer] = []
        #: Guards the two below: what watches that are on their way still need.
        self._guard = threading.Lock()
        self._floor = 0
        self._needed: dict[_Watch, int] = {}
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
        self._serving = Serving(self._opened, self._tables, now=now, answer=self._leave, at=at)
        serve = self._serving.serve
        self._line: Line[Job] | AtOnce[Job]
        self._line = AtOnce(serve) if from_thread is None else Line(serve, self._serving.idle)
        self._line.start()

    # -- in the reactor's thread ------------------------------------------------------

    async def get(self, key: str) -> Item | None:
        item: Item | None = await self._put(Job(lambda now: (self._tables.get(key, now), ())))
        return item

    async def scan(self, prefix: str, after: str = "", limit: int = PAGE) -> Sequence[Item]:
        items: Sequence[Item] = await self._put(
            Job(lambda now: (self._tables.scan(prefix, after, limit, now), ()))
        )
        return items

    async def commit(self, changes: Sequence[Change]) -> int:
        changes = tuple(changes)
        check(changes)

        def run(now: float) -> tuple[int, Sequence[Event]]:
            events = self._tables.apply(changes, now)
            return self._tables.state.revision, events

        revision: int = await self._put(Job(run, changes=changes))
        return revision

    async def revision(self) -> int:
        revision: int = await self._put(Job(lambda now: (self._tables.state.revision, ())))
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

        job = Job(run, opens=watch)
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
                self._serving.serve(jobs)

        def run(now: float) -> tuple[backup.Backup, Sequence[Event]]:
            if self._copying:
                raise StoreFailed("another backup is being made")
            self._copying = True
            try:
                return backup.copy(self._opened.connection, path, meanwhile), ()
            finally:
                self._copying = False

        made: backup.Backup = await self._put(Job(run, apart=True))
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

    def _put(self, job: Job) -> Deferred[Any]:
        if not self._line.put(job):
            job.waiting.errback(StoreFailed("it is closed"))
        return job.waiting

    def _answer(self, told: Sequence[Told]) -> None:
        for one in told:
            if one.job is not None:
                if one.error is None:
                    one.job.waiting.callback(one.result)
                else:
                    one.job.waiting.errback(one.error)

    def _tell(self, told: Sequence[Told]) -> None:
        """Let watches hear in the order in which things happened."""
        for one in told:
            self._tell_one(one)

    def _tell_one(self, one: Told) -> None:
        watch = None if one.job is None else one.job.opens
        if isinstance(watch, _Watch):
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

    def _leave(self, told: Sequence[Told], revision: int) -> None:
        """Let answers go to the reactor's thread."""
        self._revision = revision
        with self._guard:
            for one in told:
                if one.job is not None and isinstance(one.job.opens, _Watch):
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

    def _spare(self, revision: int) -> int:
        """Up to where events may be forgotten, when *revision* is wished."""
        with self._guard:
            allowed = min([revision, self._revision, *self._needed.values()])
            self._floor = max(self._floor, allowed)
            return self._floor
