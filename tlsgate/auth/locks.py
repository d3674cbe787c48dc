"""Locks: who is shut out, kept in a cache that every change reaches at once.

1. `Locks.start` reads all locks and watches from that revision on, so none is missed.
2. Each change in the store goes into the table and is told to `on_change`'s callbacks: a
   gateway then asks `matches` for its live connections (S52).
3. A watch that has fallen too far behind begins again at 1.

A lock names a target by one or more of user, role, agent, certificate and login; where it
names several, all have to fit ("alice as root").
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from attrs import frozen
from twisted.logger import Logger

from tlsgate.auth.opaque import moment, pack, unpack
from tlsgate.core.claims import Claims
from tlsgate.core.keeping import ABSENT, PAGE, Delete, Event, Put
from tlsgate.core.roles import Person
from tlsgate.errors import BadResource, Compacted, Conflict, NoSuch, StoreFailed
from tlsgate.interfaces import IStore, IWatch

#: What a lock can name, from the most to the least telling; a lock is filed under the first.
TARGETS: Final = ("certificate", "user", "agent", "login", "role")

_PREFIX = "locks/"
_LONGEST_TARGET = 256
_LONGEST_MESSAGE = 1024

#: Readings of all locks that a flood of changes may overtake.
_TRIES = 8

#: More locks than anybody sets by hand; one more is refused, not forgotten.
LOCKS: Final = 10_000


@frozen(kw_only=True)
class Lock:
    """One lock.

    Attributes:
        id: a UUID.
        target: keys of `TARGETS` to names; a certificate is the serial number in hex, or
            "sha256:" and the digest of its DER in hex.
        expires: seconds since the epoch; None: until it is removed.
    """

    id: str
    target: Mapping[str, str]
    message: str = ""
    expires: float | None = None
    created_by: str = ""
    created: float | None = None

    def __str__(self) -> str:
        """How logs call it."""
        return f"lock {self.id} on " + ", ".join(f"{k} {v}" for k, v in self.target.items())


def as_resource(lock: Lock) -> dict[str, Any]:
    """Write *lock* as the resource that lists show and the store keeps."""
    metadata: dict[str, Any] = {"name": lock.id}
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
    return Lock(
        id=name,
        target=_target(_mapping(spec.get("target"))),
        message=str(spec.get("message") or "")[:_LONGEST_MESSAGE],
        expires=min(ends, default=None),
        created=None if created is None else _seconds("spec.created_at", str(created)),
        created_by=str(spec.get("created_by") or "")[:_LONGEST_TARGET],
    )


class LockTable:
    """The locks in force, filed so that a look-up costs the same with one or ten thousand.

    Args:
        now: seconds since the epoch.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._all: dict[str, Lock] = {}
        self._filed: dict[tuple[str, str], dict[str, Lock]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Lock]:
        return iter([self._all[name] for name in sorted(self._all)])

    def put(self, lock: Lock) -> None:
        """Take *lock*, in place of one with its id."""
        self.drop(lock.id)
        self._all[lock.id] = lock
        self._filed.setdefault(_file(lock), {})[lock.id] = lock

    def drop(self, name: str) -> None:
        """Forget the lock with this id, if it is there."""
        lock = self._all.pop(name, None)
        if lock is not None:
            place = self._filed[_file(lock)]
            del place[name]
            if not place:
                del self._filed[_file(lock)]

    def matches(
        self,
        who: Person | Claims,
        *,
        serial: int | None = None,
        fingerprint: str | None = None,
        login: str | None = None,
    ) -> Lock | None:
        """Give the lock that shuts *who* out, or None; of several the least by its id.

        Args:
            who: a person, or what a certificate says of a user or a host.
            serial: of the certificate that is shown.
            fingerprint: SHA-256 of its DER, in hex.
            login: the account on the target that is asked for.
        """
        facts = _facts(who, serial, fingerprint, login)
        now = self._now()
        found = [
            lock
            for fact in facts
            for lock in self._filed.get(fact, {}).values()
            if (lock.expires is None or lock.expires > now)
            and all((kind, value) in facts for kind, value in lock.target.items())
        ]
        return min(found, key=lambda lock: lock.id, default=None)


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
        self.table = LockTable(now)
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
        table, after = LockTable(self._now), ""
        while True:
            page = await self._store.scan(_PREFIX, after, PAGE)
            for item in page:
                self._take(table, item.key, item.value)
            if len(page) < PAGE:
                return table
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
        serial: int | None = None,
        *,
        fingerprint: str | None = None,
        login: str | None = None,
    ) -> Lock | None:
        """Give the lock that shuts *who* out, or None; see `LockTable.matches`."""
        return self.table.matches(who, serial=serial, fingerprint=fingerprint, login=login)

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
        if len(message) > _LONGEST_MESSAGE:
            raise BadResource([("spec.message", f"at most {_LONGEST_MESSAGE} characters")])
        if ttl_seconds is not None and not 1 <= ttl_seconds <= 10 * 366 * 86400:
            raise BadResource([("spec.expires", "a lock holds one second to ten years")])
        if len(self.table) >= LOCKS:
            raise BadResource([("", f"there are {LOCKS} locks; remove some first")])
        now = self._now()
        lock = Lock(
            id=str(uuid.uuid4()),
            target=_target(target),
            message=message,
            expires=None if ttl_seconds is None else now + ttl_seconds,
            created=now,
            created_by=created_by[:_LONGEST_TARGET],
        )
        key = _PREFIX + lock.id
        await self._store.commit([Put(key, pack(as_resource(lock)), ABSENT, lock.expires)])
        return lock

    async def remove(self, name: str) -> None:
        """Lift a lock.

        Raises:
            NoSuch: there is none with this id.
        """
        item = await self._store.get(_PREFIX + name[:_LONGEST_TARGET])
        try:
            if item is None:
                raise NoSuch("lock", name[:_LONGEST_TARGET])
            await self._store.commit([Delete(item.key, item.revision)])
        except Conflict:
            raise NoSuch("lock", name) from None

    def _heard(self, events: Sequence[Event]) -> None:
        for event in events:
            self.revision = max(self.revision, event.revision)
            if event.item is None:
                self.table.drop(event.key.removeprefix(_PREFIX))
            else:
                self._take(self.table, event.key, event.item.value)
        self._tell()

    def _take(self, table: LockTable, key: str, value: bytes) -> None:
        try:
            lock = read_lock(key.removeprefix(_PREFIX), unpack(key, value))
        except (BadResource, StoreFailed) as e:
            # The API writes none such. Whom it was meant to shut out, nobody can know.
            self._log.critical("{key} cannot be read, nobody is locked by it: {e}", key=key, e=e)
            table.drop(key.removeprefix(_PREFIX))
            return
        table.put(lock)

    def _tell(self) -> None:
        for callback in list(self._callbacks.values()):
            try:
                callback()
            except Exception:  # the others must hear of it nevertheless
                self._log.failure("a change of locks was not taken up")


def serial_text(serial: int) -> str:
    """How a lock names a certificate by its serial number: hex without leading zeros."""
    return f"{serial:x}"


def _file(lock: Lock) -> tuple[str, str]:
    kind = next(kind for kind in TARGETS if kind in lock.target)
    return kind, lock.target[kind]


def _facts(
    who: Person | Claims, serial: int | None, fingerprint: str | None, login: str | None
) -> frozenset[tuple[str, str]]:
    """Everything that a target may name of who asks."""
    host = isinstance(who, Claims) and who.kind == "host"
    facts = {("agent" if host else "user", who.name)}
    if not host:
        facts.update(("role", role) for role in who.roles)
    if serial is not None:
        facts.add(("certificate", serial_text(serial)))
    if fingerprint is not None:
        facts.add(("certificate", "sha256:" + fingerprint.lower().removeprefix("sha256:")))
    if login is not None:
        facts.add(("login", login))
    return frozenset(facts)


def _mapping(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _target(raw: Mapping[Any, Any]) -> dict[str, str]:
    """Take a target as people write it.

    Raises:
        BadResource: with every problem.
    """
    problems: list[tuple[str, str]] = []
    target: dict[str, str] = {}
    for kind, value in raw.items():
        path = f"spec.target.{str(kind)[:64]}"
        if kind not in TARGETS:
            problems.append((path, f"a lock names one of {', '.join(TARGETS)}"))
        elif not isinstance(value, str) or not 0 < len(value) <= _LONGEST_TARGET:
            problems.append((path, f"text of 1 to {_LONGEST_TARGET} characters"))
        elif kind == "certificate":
            target[kind] = _certificate(value, path, problems)
        else:
            target[kind] = value
    if not raw:
        problems.append(("spec.target", f"names nobody; give one of {', '.join(TARGETS)}"))
    if problems:
        raise BadResource(problems)
    return target


def _certificate(value: str, path: str, problems: list[tuple[str, str]]) -> str:
    """A serial number or a fingerprint in the one way that we compare it."""
    text = value.strip().lower().replace(":", "").removeprefix("0x")
    fingerprint = text.startswith("sha256")
    digits = text.removeprefix("sha256")
    try:
        number = int(digits, 16) if digits.isalnum() else -1
    except ValueError:
        number = -1
    if number < 0 or len(digits) > 64 or (fingerprint and len(digits) != 64):
        problems.append((path, "a serial number in hex, or sha256: and 64 hex digits"))
        return ""
    return f"sha256:{digits}" if fingerprint else serial_text(number)


def _seconds(path: str, text: str) -> float:
    try:
        moment = datetime.fromisoformat(text[:64])
    except ValueError:
        raise BadResource([(path, "an RFC 3339 time")]) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
