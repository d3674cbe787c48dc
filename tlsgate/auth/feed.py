"""What watchers have in common: one look at the store for all of them, one snapshot, one line.

Thousands of agents watch, and all of them come back at once when a gateway is killed (R07);
each heartbeat that is kept is a change of the store as well. So:

1. One watch of the store sorts out what is no watcher's business.
2. A snapshot is made once, and given to everybody until something in it changes.
3. A line about a change is made once, by whoever tells it first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred
from zope.interface import implementer

from tlsgate.core.keeping import Event
from tlsgate.interfaces import IStore, IWatch

Line = Mapping[str, Any]
#: Makes a snapshot at a revision, with users or without.
Make = Callable[[int, bool], Awaitable[Line]]
Heard = Callable[[Sequence[Event]], None]

#: Snapshots of others that a watcher waits for before it makes its own.
_WAITS: Final = 4


@implementer(IWatch)
@define(eq=False)
class Following:
    """One who hears what has changed.

    Attributes:
        generation: of the feed when this one came.
    """

    _feed: Feed
    heard: Heard
    generation: int

    def stop(self) -> None:
        """See `IWatch.stop`."""
        self._feed.leave(self)


@define(eq=False)
class _Making:
    """A snapshot that is being made, and who waits for it."""

    generation: int
    waiting: list[Deferred[tuple[int, Line] | None]] = field(factory=list)


class Feed:
    """See the module.

    Args:
        make: makes a snapshot.
        matters: whether a change is any watcher's business.
    """

    def __init__(self, store: IStore, make: Make, matters: Callable[[Event], bool]) -> None:
        self._store = store
        self._make = make
        self._matters = matters
        self._watch: IWatch | None = None
        self._followers: dict[Following, None] = {}
        #: Counts what has changed of snapshots.
        self._generation = 0
        self._made: dict[bool, tuple[int, Line]] = {}
        self._making: dict[bool, _Making] = {}
        self._line: tuple[Event, Line | None] | None = None
        #: Of the newest change that all followers have heard.
        self.revision = 0

    def follow(self, heard: Heard) -> Following:
        """Tell *heard* of each change from now on that matters, never from within this call."""
        if self._watch is None:
            self._watch = self._store.watch("", None, self._changed)
        following = Following(self, heard, self._generation)
        self._followers[following] = None
        return following

    def leave(self, following: Following) -> None:
        """Tell it nothing more; may be called again."""
        self._followers.pop(following, None)
        if not self._followers and self._watch is not None:
            self._watch.stop()
            self._watch = None
            self._forget()

    async def snapshot(self, following: Following, people: bool) -> tuple[int, Line]:
        """A snapshot and its revision, after which *following* has heard all that matters.

        Args:
            people: with users.
        """
        for _ in range(_WAITS):
            if (made := self._made.get(people)) is not None:
                return made
            making = self._making.get(people)
            if making is None:
                break
            waiting: Deferred[tuple[int, Line] | None] = Deferred()
            making.waiting.append(waiting)
            found = await waiting
            # One that was begun before a change that this follower has not heard is too old.
            if found is not None and making.generation >= following.generation:
                return found
        return await self._make_one(people)

    async def _make_one(self, people: bool) -> tuple[int, Line]:
        making = _Making(self._generation)
        self._making.setdefault(people, making)
        found = None
        try:
            revision = await self._store.revision()
            found = revision, await self._make(revision, people)
            if making.generation == self._generation and self._watch is not None:
                self._made[people] = found
            return found
        finally:
            if self._making.get(people) is making:
                del self._making[people]
            for waiting in making.waiting:
                waiting.callback(found)

    def line(self, event: Event, make: Callable[[], Line | None]) -> Line | None:
        """What is told of *event*: made by the first who asks, and the same for all."""
        if self._line is None or self._line[0] is not event:
            self._line = (event, make())
        return self._line[1]

    def _changed(self, events: Sequence[Event]) -> None:
        mine = [event for event in events if self._matters(event)]
        if mine:
            self._forget()
            for following in list(self._followers):
                if following in self._followers:
                    following.heard(mine)
        self.revision = max(self.revision, max(event.revision for event in events))

    def _forget(self) -> None:
        self._generation += 1
        self._made.clear()
        self._line = None
