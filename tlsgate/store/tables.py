"""What is in the tables, by key and by revision; used by one thread at a time.

Everything that writes is within `transaction`. A commit checks all that it expects before it
writes, so one that is refused has changed nothing and its neighbours in the same transaction
stand; an error of SQLite itself ends the transaction as a whole.
"""

from __future__ import annotations

import contextlib
import copy
import heapq
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from tlsgate.core.keeping import ABSENT, ANY, PAGE, Change, Check, Event, Item, Put
from tlsgate.errors import Conflict, StoreFailed
from tlsgate.store import schema
from tlsgate.store.schema import State, added, checksum

#: Expired items of one revision at most, so that a crowd of them does not hold the others.
_SWEPT: Final = 1000

#: What is set aside; some 60 locks.
BALLAST_BYTES: Final = 64 * 1024

_Row = tuple[int, float | None, int]  # revision, expires, checksum


class Tables:
    """The rows of one connection.

    Args:
        events: how many are kept for late watches; `events_bytes`: of keys and values.
        spare: asked before events up to a revision are forgotten; gives the revision up to
            which they may be.
        make_room: called before a COMMIT with the pages that the database then has, and their
            bytes; raises OSError when the disk has no space for them.
        at: called with the name of each place where a crash is tested.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        events: int,
        events_bytes: int,
        spare: Callable[[int], int],
        make_room: Callable[[int, int], None],
        at: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._events = events
        self._events_bytes = events_bytes
        self._spare = spare
        self._make_room = make_room
        self._at = at
        state = schema.read_state(connection)
        if state is None:
            raise StoreFailed("the state is not what was written")
        self.state: State = state
        (self._page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        #: Whether there is space within the file that ordinary commits do not touch.
        self.ballast = bool(connection.execute("SELECT count(*) FROM ballast").fetchone()[0])
        self._ends: list[tuple[float, bytes]] = []
        self._swept: list[tuple[float, bytes]] = []
        self._note_ends()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """What is done within is durable when it ends well; else undone."""
        before, ballast = copy.copy(self.state), self.ballast
        self._swept = []
        try:
            with schema.transaction(self._connection):
                self._at("begun")
                yield
                if self.state != before or self.ballast != ballast:
                    self._trim()
                    schema.write_state(self._connection, self.state)
                    (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
                    self._make_room(pages, self._page_bytes)
                self._at("applied")
        except BaseException:
            self.state, self.ballast = before, ballast
            for end in self._swept:
                heapq.heappush(self._ends, end)
            raise
        self._at("committed")

    def tidy(self) -> None:
        """Forget the ends of items that have been written again since; between transactions."""
        if len(self._ends) > 2 * self.state.items + 1000:
            self._note_ends()

    def checkpoint(self) -> None:
        """Move the log's content into the database, so that the log begins anew."""
        self._connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()

    def take_ballast(self) -> None:
        """Set space aside within the file; within a transaction that changes something."""
        self._connection.execute("INSERT INTO ballast VALUES (zeroblob(?))", (BALLAST_BYTES,))
        self.ballast = True

    def drop_ballast(self) -> None:
        """Let this transaction, and those after it, have what was set aside."""
        self._connection.execute("DELETE FROM ballast")
        self.ballast = False

    def due(self, now: float) -> bool:
        """Whether `sweep` has something to do."""
        return bool(self._ends) and self._ends[0][0] <= now

    def ending(self) -> bool:
        """Whether anything will ever expire."""
        return bool(self._ends)

    def get(self, key: str, now: float) -> Item | None:
        """The item of *key*, unless it has expired."""
        row = self._connection.execute(
            "SELECT key, value, revision, expires, checksum FROM items "
            "WHERE key = ? AND (expires IS NULL OR expires > ?)",
            (_bytes(key), now),
        ).fetchone()
        return None if row is None else _item(*row)

    def scan(self, prefix: str, after: str, limit: int, now: float) -> list[Item]:
        """Items by key."""
        rows = self._connection.execute(
            "SELECT key, value, revision, expires, checksum FROM items "
            "WHERE key >= ? AND key < ? AND key > ? AND (expires IS NULL OR expires > ?) "
            "ORDER BY key LIMIT ?",
            (*_range(prefix), _bytes(after), now, max(0, min(limit, PAGE))),
        )
        return [_item(*row) for row in rows]

    def since(self, prefix: str, revision: int) -> list[Event]:
        """Events after *revision*, in order."""
        rows = self._connection.execute(
            "SELECT key, value, revision, ordinal, expires, checksum FROM events "
            "WHERE revision > ? AND key >= ? AND key < ? ORDER BY revision, ordinal",
            (revision, *_range(prefix)),
        )
        return [_event(*row) for row in rows]

    def apply(self, changes: Sequence[Change], now: float) -> list[Event]:
        """Make *changes* as one revision.

        Raises:
            Conflict: one is not as expected; nothing was written.
        """
        there: dict[str, _Row | None] = {}
        for change in changes:
            row = there[change.key] = self._row(_bytes(change.key))
            current = ABSENT if row is None or _over(row[1], now) else row[0]
            if change.expects not in (ANY, current):
                raise Conflict(change.key)
        self.state.revision += 1
        events: list[Event] = []
        for change in changes:
            if isinstance(change, Check):
                continue
            row = there[change.key]
            item = None
            if isinstance(change, Put):
                item = self._put(change, row)
            elif row is not None:
                self._remove(_bytes(change.key), row)
            else:
                continue
            events.append(self._note(Event(change.key, item, self.state.revision), len(events)))
        return events

    def sweep(self, now: float) -> list[Event]:
        """Remove what has expired, as one revision; `due` says whether there is more."""
        events: list[Event] = []
        while self.due(now) and len(events) < _SWEPT:
            end = heapq.heappop(self._ends)
            self._swept.append(end)
            row = self._row(end[1])
            # The key may have been written again since this end was noted.
            if row is None or not _over(row[1], now):
                continue
            if not events:
                self.state.revision += 1
            self._remove(end[1], row)
            event = Event(end[1].decode(), None, self.state.revision)
            events.append(self._note(event, len(events)))
        return events

    def _note_ends(self) -> None:
        self._ends = self._connection.execute(
            "SELECT expires, key FROM items WHERE expires IS NOT NULL"
        ).fetchall()
        heapq.heapify(self._ends)

    def _row(self, key: bytes) -> _Row | None:
        row: _Row | None = self._connection.execute(
            "SELECT revision, expires, checksum FROM items WHERE key = ?", (key,)
        ).fetchone()
        return row

    def _put(self, change: Put, row: _Row | None) -> Item:
        state, key = self.state, _bytes(change.key)
        expires = None if change.expires is None else float(change.expires)
        number = checksum(key, change.value, state.revision, expires)
        self._connection.execute(
            "INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?, ?)",
            (key, change.value, state.revision, expires, number),
        )
        if row is None:
            state.items += 1
        state.items_sum = added(state.items_sum, number - (row[2] if row else 0))
        if expires is not None:
            heapq.heappush(self._ends, (expires, key))
        return Item(key=change.key, value=change.value, revision=state.revision, expires=expires)

    def _remove(self, key: bytes, row: _Row) -> None:
        self._connection.execute("DELETE FROM items WHERE key = ?", (key,))
        self.state.items -= 1
        self.state.items_sum = added(self.state.items_sum, -row[2])

    def _note(self, event: Event, ordinal: int) -> Event:
        state, key, item = self.state, _bytes(event.key), event.item
        value, expires = (None, None) if item is None else (item.value, item.expires)
        number = checksum(key, value, event.revision, ordinal, expires)
        self._connection.execute(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)",
            (event.revision, ordinal, key, value, expires, number),
        )
        state.events += 1
        state.events_sum = added(state.events_sum, number)
        state.events_bytes += len(key) + len(value or b"")
        return event

    def _trim(self) -> None:
        """Forget the oldest revisions when there are a tenth more events than are kept."""
        state = self.state
        count, size = state.events, state.events_bytes
        if count <= self._events * 1.1 and size <= self._events_bytes * 1.1:
            return
        goal = state.floor
        oldest: list[tuple[int, int, int]] = []
        for revision, length, number in self._connection.execute(
            "SELECT revision, length(key) + coalesce(length(value), 0), checksum FROM events "
            "ORDER BY revision, ordinal"
        ):
            if count <= self._events and size <= self._events_bytes and revision > goal:
                break  # whole revisions only: a watch hears all of one, or is refused
            goal = revision
            oldest.append((revision, length, number))
            count, size = count - 1, size - length
        state.floor = self._spare(goal)
        for revision, length, number in oldest:
            if revision <= state.floor:
                state.events -= 1
                state.events_sum = added(state.events_sum, -number)
                state.events_bytes -= length
        self._connection.execute("DELETE FROM events WHERE revision <= ?", (state.floor,))


def _bytes(key: str) -> bytes:
    # Half a surrogate pair is in no key, but may be asked for.
    return key.encode("utf-8", "surrogatepass")


def _over(expires: float | None, now: float) -> bool:
    return expires is not None and expires <= now


def _range(prefix: str) -> tuple[bytes, bytes]:
    """The first key that may begin with *prefix*, and the first after all that do."""
    first = _bytes(prefix)
    # UTF-8 has no byte 0xff: the last byte has a successor, and nothing comes after 0xff.
    return first, first[:-1] + bytes([first[-1] + 1]) if first else b"\xff"


def _item(key: bytes, value: bytes, revision: int, expires: float | None, number: int) -> Item:
    if checksum(key, value, revision, expires) != number:
        raise StoreFailed(f"the item {schema.name(key)} is not what was written")
    return Item(key=key.decode(), value=value, revision=revision, expires=expires)


def _event(
    key: bytes,
    value: bytes | None,
    revision: int,
    ordinal: int,
    expires: float | None,
    number: int,
) -> Event:
    if checksum(key, value, revision, ordinal, expires) != number:
        raise StoreFailed(f"the event {revision}/{ordinal} is not what was written")
    item = None
    if value is not None:
        item = Item(key=key.decode(), value=value, revision=revision, expires=expires)
    return Event(key.decode(), item, revision)
