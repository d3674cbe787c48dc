"""A store that forgets with its process: for tests, and the measure of what a store does."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

from twisted.logger import Logger
from zope.interface import implementer

from tlsgate.core.keeping import (
    ABSENT,
    ANY,
    PAGE,
    Change,
    Check,
    Event,
    Item,
    Put,
)
from tlsgate.errors import Compacted, Conflict
from tlsgate.interfaces import IStore, IWatch
from tlsgate.store.bounds import check

#: Events that a late watch can still be told.
_REMEMBERED = 10_000


@implementer(IWatch)
class _Watch:
    """One watcher and what it has not been told yet."""

    _log = Logger()

    def __init__(
        self, store: MemoryStore, prefix: str, heard: Callable[[Sequence[Event]], None]
    ) -> None:
        self._store = store
        self._prefix = prefix
        self._heard = heard
        self._waiting: list[Event] = []

    def tell(self, events: Sequence[Event]) -> None:
        """Pass on what is under the prefix, after the call that caused it."""
        mine = [event for event in events if event.key.startswith(self._prefix)]
        if mine and not self._waiting:
            self._store.later(self._flush)
        self._waiting += mine

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting and self in self._store.watches:
            try:
                self._heard(waiting)
            except Exception:
                self._log.failure("a watch of {prefix} failed", prefix=self._prefix)

    def stop(self) -> None:
        if self in self._store.watches:
            self._store.watches.remove(self)


@implementer(IStore)
class MemoryStore:
    """Keeps items in a dictionary.

    Args:
        now: seconds since the epoch.
        later: calls a function soon and not now, such as `callLater` of a clock with 0
            seconds; None: `turn` has to be called.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.time,
        later: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        self._now = now
        self._items: dict[str, Item] = {}
        self._revision = 0
        self._events: deque[Event] = deque()
        self._floor = 0  # of the events after this revision none is missing
        self._calls: list[Callable[[], None]] = []
        self.later = self._calls.append if later is None else later
        self.watches: list[_Watch] = []

    def turn(self) -> None:
        """Tell watchers what has happened."""
        calls, self._calls[:] = list(self._calls), []
        for call in calls:
            call()

    async def get(self, key: str) -> Item | None:
        self._expire()
        return self._items.get(key)

    async def scan(self, prefix: str, after: str = "", limit: int = PAGE) -> Sequence[Item]:
        self._expire()
        found = sorted(key for key in self._items if key.startswith(prefix) and key > after)
        return [self._items[key] for key in found[: max(0, min(limit, PAGE))]]

    async def commit(self, changes: Sequence[Change]) -> int:
        check(changes)
        self._expire()
        for change in changes:
            item = self._items.get(change.key)
            there = ABSENT if item is None else item.revision
            if change.expects not in (ANY, there):
                raise Conflict(change.key)
        self._revision += 1
        events = []
        for change in changes:
            if isinstance(change, Check):
                continue
            item = None
            if isinstance(change, Put):
                item = Item(
                    key=change.key,
                    value=change.value,
                    revision=self._revision,
                    expires=change.expires,
                )
                self._items[change.key] = item
            elif self._items.pop(change.key, None) is None:
                continue
            events.append(Event(change.key, item, self._revision))
        self._publish(events)
        return self._revision

    def watch(
        self, prefix: str, since: int | None, heard: Callable[[Sequence[Event]], None]
    ) -> IWatch:
        past: list[Event] = []
        if since is not None:
            if not self._floor <= since <= self._revision:
                raise Compacted(since)
            past = [event for event in self._events if event.revision > since]
        watch = _Watch(self, prefix, heard)
        self.watches.append(watch)
        watch.tell(past)
        return watch

    async def revision(self) -> int:
        self._expire()
        return self._revision

    def _expire(self) -> None:
        now = self._now()
        over = [i for i in self._items.values() if i.expires is not None and i.expires <= now]
        if over:
            self._revision += 1
            for item in over:
                del self._items[item.key]
            self._publish([Event(item.key, None, self._revision) for item in over])

    def _publish(self, events: Sequence[Event]) -> None:
        self._events.extend(events)
        while len(self._events) > _REMEMBERED:
            # Whole revisions only: a watch hears all of one, or is refused.
            self._floor = self._events[0].revision
            while self._events and self._events[0].revision == self._floor:
                self._events.popleft()
        for watch in list(self.watches):
            watch.tell(events)
