"""Locks: who is shut out, kept in a cache that every change reaches at once.

1. `Locks.start` reads all locks and watches from that revision on, so none is missed.
2. Each change in the store goes into the table and is told to `on_change`'s callbacks: a
   gateway then asks `matches` for its live connections (S52).
3. A watch that has fallen too far behind begins again at 1.

What a lock is, and whom it means, says `core.locks`; a gateway asks the same of its own copy.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from attrs import evolve
from twisted.logger import Logger

from tlsgate.auth.opaque import moment, pack, unpack
from tlsgate.core.claims import Claims
from tlsgate.core.keeping import ABSENT, PAGE, Delete, Event, Put
from tlsgate.core.locks import (
    LONGEST_MESSAGE,
    LONGEST_WORD,
    Lock,
    LockTable,
    facts_of,
    lock_of,
    target_of,
)
from tlsgate.core.roles import Person
from tlsgate.errors import BadResource, Compacted, Conflict, NoSuch, StoreFailed
from tlsgate.interfaces import IStore, IWatch

_PREFIX = "locks/"

#: Readings of all locks that a flood of changes may overtake.
_TRIES = 8

#: More locks than anybody sets by hand; one more is refused, not forgotten.
LOCKS: Final = 10_000


def as_resource(lock: Lock) -> dict[str, Any]:
    """Write *lock* as the resource that lists show and the store keeps."""
    metadata: dict[str, Any] = {"name": lock.name}
    spec: dict[str, Any] = {"target": dict(lock.target), "message": lock.message}
    if lock.expires is not None:
        metadata["expires"] = spec["expires"] = moment(lock.expires)
    if lock.created is not None:
        spec["created_at"] = moment(lock.created)
    if lock.created_by:
        spec["created_by"] = lock.created_by
    return {"kind": "lock", "version": "v2", "metadata": metadata, "spec": spec}


def read_lock(name: str, resource: Mapping[str, Any]) -> Lock:
    """Read a lock's resource.

    Raises:
        BadResource: it names no target that we know, or its end is no time.
    """
    spec, metadata = (_mapping(resource.get(part)) for part in ("spec", "metadata"))
    ends = [
        _seconds(f"{part}.expires", str(where["expires"]))
        for part, where in (("spec", spec), ("metadata", metadata))
        if where.get("expires") is not None
    ]
    created = spec.get("created_at")
    return evolve(
        lock_of({"metadata": {"name": name}, "spec": {**spec, "expires": None}}),
        expires=min(ends, default=None),
        created=None if created is None else _seconds("spec.created_at", str(created)),
    )


class Locks:
    """The locks of a cluster, in its store and in this process's memory.

    Args:
        now: seconds since the epoch.
    """

    _log = Logger()

    def __init__(self, store: IStore, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now
        self._watch: IWatch | None = None
        self._callbacks: dict[object, Callable[[], None]] = {}
        self.table = LockTable()
        #: Of the newest change that the table has.
        self.revision = 0

    async def start(self) -> None:
        """Read all locks and hear of every change from now on.

        Raises:
            StoreFailed: so much changes that reading never catches up.
        """
        self.stop()
        for _ in range(_TRIES):
            revision = await self._store.revision()
            table = await self._read()
            try:
                self._watch = self._store.watch(_PREFIX, revision, self._heard)
            except Compacted:  # more changes while we read than the store remembers
                continue
            self.table, self.revision = table, max(self.revision, revision)
            self._tell()
            return
        raise StoreFailed("the locks change faster than they can be read; nothing was changed")

    async def _read(self) -> LockTable:
        found: list[Lock] = []
        after = ""
        while True:
            page = await self._store.scan(_PREFIX, after, PAGE)
            for item in page:
                if (lock := self._read_one(item.key, item.value)) is not None:
                    found.append(lock)
            if len(page) < PAGE:
                return LockTable(found)
            after = page[-1].key

    def stop(self) -> None:
        """Hear no more; may be called again."""
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def on_change(self, callback: Callable[[], None]) -> Callable[[], object]:
        """Call *callback* after each change; give what ends that."""
        mine = object()
        self._callbacks[mine] = callback
        return partial(self._callbacks.pop, mine, None)

    def matches(
        self,
        who: Person | Claims,
        *,
        serial: int | None = None,
        fingerprint: str | None = None,
        login: str | None = None,
    ) -> Lock | None:
        """Give the lock that shuts *who* out, or None; see `core.locks.facts_of`."""
        facts = facts_of(who, serial=serial, fingerprint=fingerprint, login=login)
        return self.table.matches(facts, self._now())

    def all(self) -> Sequence[Lock]:
        """Every lock, by id."""
        return list(self.table)

    async def add(
        self,
        target: Mapping[str, str],
        *,
        ttl_seconds: float | None = None,
        message: str = "",
        created_by: str = "",
    ) -> Lock:
        """Set a lock.

        Raises:
            BadResource: the target, the message or the life cannot be taken.
        """
        if len(message) > LONGEST_MESSAGE:
            raise BadResource([("spec.message", f"at most {LONGEST_MESSAGE} characters")])
        if ttl_seconds is not None and not 1 <= ttl_seconds <= 10 * 366 * 86400:
            raise BadResource([("spec.expires", "a lock holds one second to ten years")])
        if len(self.table) >= LOCKS:
            raise BadResource([("", f"there are {LOCKS} locks; remove some first")])
        now = self._now()
        lock = Lock(
            name=str(uuid.uuid4()),
            target=target_of(target),
            message=message,
            expires=None if ttl_seconds is None else now + ttl_seconds,
            created=now,
            created_by=created_by[:LONGEST_WORD],
        )
        key = _PREFIX + lock.name
        await self._store.commit([Put(key, pack(as_resource(lock)), ABSENT, lock.expires)])
        return lock

    async def remove(self, name: str) -> None:
        """Lift a lock.

        Raises:
            NoSuch: there is none with this id.
        """
        item = await self._store.get(_PREFIX + name[:LONGEST_WORD])
        try:
            if item is None:
                raise NoSuch("lock", name[:LONGEST_WORD])
            await self._store.commit([Delete(item.key, item.revision)])
        except Conflict:
            raise NoSuch("lock", name) from None

    def _heard(self, events: Sequence[Event]) -> None:
        for event in events:
            self.revision = max(self.revision, event.revision)
            name = event.key.removeprefix(_PREFIX)
            lock = None if event.item is None else self._read_one(event.key, event.item.value)
            self.table = self.table.drop(name) if lock is None else self.table.put(lock)
        self._tell()

    def _read_one(self, key: str, value: bytes) -> Lock | None:
        try:
            return read_lock(key.removeprefix(_PREFIX), unpack(key, value))
        except (BadResource, StoreFailed) as e:
            # The API writes none such. Whom it was meant to shut out, nobody can know.
            self._log.critical("{key} cannot be read, nobody is locked by it: {e}", key=key, e=e)
            return None

    def _tell(self) -> None:
        for callback in list(self._callbacks.values()):
            try:
                callback()
            except Exception:  # the others must hear of it nevertheless
                self._log.failure("a change of locks was not taken up")


def _mapping(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _seconds(path: str, text: str) -> float:
    try:
        moment = datetime.fromisoformat(text[:64])
    except ValueError:
        raise BadResource([(path, "an RFC 3339 time")]) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
