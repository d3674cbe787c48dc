"""Waits that grow with failed logins, kept in the store so that a restart forgives nothing.

1. `admit` counts an attempt as under way, or raises `LockedOut` before any hash is made.
2. The login is checked.
3. `failed` counts it in the store; `passed` gives what a success forgives; `done` ends 1.

Three ladders hold an attempt, and the longest wait counts:

- **pair**, of one user name from one network (an IPv4 address, an IPv6 /64): five tries are
  free, then 5 s, doubling up to 20 minutes. This is the one that a user meets.
- **address**, of one network whatever the name: against trying one password on many names.
- **user**, of one name from anywhere that this user has never logged in from: against one
  name tried from many places.

So nobody can lock somebody else out for ever: a network from which the user has logged in
lately is not held by the user's ladder, only by its own pair; every wait has an end that an
attempt made meanwhile does not move, for it is refused without being looked at; and an
operator's reset begins a new epoch of the user, whose counters start at nothing. What
remains: who shares the victim's network can hold the victim's pair there, not elsewhere.

Names that no user has are counted in the very same way, so a wait tells nothing. The table
has a fixed size: a keyed hash, which nobody outside can work out, names the slot of each
counter, and a full slot loses, of those not just counted, the one with the fewest failures.
To make it forget one wait, somebody has to earn longer ones in all the rest of the slot.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections import Counter
from collections.abc import Callable, Set
from typing import Any, Final, Literal

from attrs import frozen

from tlsgate.auth.opaque import pack, unpack
from tlsgate.auth.reads import read_all
from tlsgate.core.keeping import ABSENT, Put
from tlsgate.errors import Conflict, LockedOut, Unreachable
from tlsgate.interfaces import IStore

#: 32 Ki counters of some 60 bytes: 2 MiB when an attack has filled it.
SLOTS: Final = 4096
PER_SLOT: Final = 8

#: Commits that may be overtaken before we give up; each one overtaken is one that got through.
_TRIES: Final = 32

_KEY = "secrets/lockout"


@frozen(kw_only=True)
class Ladder:
    """How long one counter makes its next attempt wait.

    Attributes:
        free: failures that cost nothing.
        first_seconds: the wait after one more; it doubles with each further one.
        cap_seconds: the longest wait.
        forget_seconds: after the last failure everything is forgotten.
    """

    free: int
    first_seconds: float
    cap_seconds: float
    forget_seconds: float

    def wait_seconds(self, failures: int) -> float:
        """The wait that the last of *failures* has earned."""
        over = failures - self.free
        if over < 0:
            return 0.0
        return min(self.cap_seconds, self.first_seconds * 2.0 ** min(over, 32))


@frozen(kw_only=True)
class Ladders:
    """The three; see the module."""

    pair: Ladder = Ladder(free=5, first_seconds=5, cap_seconds=1200, forget_seconds=4 * 3600)
    address: Ladder = Ladder(free=64, first_seconds=5, cap_seconds=600, forget_seconds=3600)
    user: Ladder = Ladder(free=20, first_seconds=5, cap_seconds=900, forget_seconds=24 * 3600)

    @property
    def longest_seconds(self) -> float:
        """After this without a failure, nothing is left of a counter."""
        return max(self.pair.forget_seconds, self.address.forget_seconds, self.user.forget_seconds)


@frozen
class _Counter:
    """One counter: its name in the table, and its ladder."""

    kind: Literal["pair", "address", "user"]
    name: str
    ladder: Ladder

    @property
    def slot(self) -> str:
        return f"lockout/{int(self.name[:8], 16) % SLOTS:03x}"


@frozen
class Attempt:
    """An attempt that was let in and is under way.

    Attributes:
        tainted: there were failures before it.
    """

    counters: tuple[_Counter, ...]
    tainted: bool = True


def network(address: str | None) -> str:
    """What of *address* is counted: an IPv4 address, an IPv6 /64, or one word for the rest.

    One subscriber has a /64 to choose addresses from.
    """
    try:
        parsed = ipaddress.ip_address((address or "")[:64].partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)


class Lockout:
    """Counts failed logins and lets the next one wait.

    Args:
        now: seconds since the epoch.
    """

    def __init__(
        self, store: IStore, now: Callable[[], float], ladders: Ladders | None = None
    ) -> None:
        self.ladders = Ladders() if ladders is None else ladders
        self._store = store
        self._now = now
        self._key: bytes | None = None
        #: Attempts under way in this process, or many at once would all be the first.
        self._under_way: Counter[str] = Counter()

    async def admit(
        self, user: str, address: str | None, *, familiar: bool = False, epoch: str = ""
    ) -> Attempt:
        """Let an attempt in; the caller ends it with `done`.

        Args:
            user: the name as given, of a user or not, already bounded.
            familiar: the user has logged in from this network lately.
            epoch: another one has counters of its own; see the module.

        Raises:
            LockedOut: with the seconds after which another attempt is looked at.
        """
        counters = await self._counters(user, address, familiar, epoch)
        tables = await self._tables(counters)
        waits = [self._wait(each, tables[each.slot][0]) for each in counters]
        if max(waits) > 0:
            raise LockedOut(max(waits))
        self._under_way.update(each.name for each in counters)
        return Attempt(counters, any(each.name in tables[each.slot][0] for each in counters))

    def done(self, attempt: Attempt) -> None:
        """An attempt has ended, in whichever way."""
        for each in attempt.counters:
            self._under_way[each.name] -= 1
            if self._under_way[each.name] <= 0:
                del self._under_way[each.name]

    async def failed(self, attempt: Attempt) -> float:
        """Count a failure; give the wait that the next attempt has to expect.

        Raises:
            Unreachable: too many others count at the same time; the login fails all the same.
        """
        waits: list[float] = []

        def count(each: _Counter, table: dict[str, list[float]]) -> None:
            failures = self._failures(each, table) + 1
            table[each.name] = [failures, self._now()]
            waits.append(each.ladder.wait_seconds(failures))

        for _ in range(_TRIES):
            waits.clear()
            if await self._change(attempt.counters, count):
                return max(waits)
        raise Unreachable("the count of failed logins", "too many logins at once")

    async def passed(self, attempt: Attempt) -> None:
        """Forget what a success makes good: the failures of the pair and the user.

        The address keeps its count, or one good account would buy many tries on others.
        """

        def drop(each: _Counter, table: dict[str, list[float]]) -> None:
            table.pop(each.name, None)

        if not attempt.tainted:
            return
        counters = tuple(each for each in attempt.counters if each.kind != "address")
        for _ in range(_TRIES):
            if await self._change(counters, drop):
                return

    async def _change(
        self, counters: tuple[_Counter, ...], change: Callable[[_Counter, dict[str, Any]], None]
    ) -> bool:
        """Change some counters in one commit; False when somebody else was faster."""
        changes = []
        now = self._now()
        for slot, (table, revision) in (await self._tables(counters)).items():
            before = dict(table)
            mine = [each for each in counters if each.slot == slot]
            for each in mine:
                change(each, table)
            if table != before:
                kept = _fitting(table, {each.name for each in mine})
                changes.append(Put(slot, pack(kept), revision, now + self.ladders.longest_seconds))
        try:
            if changes:
                await self._store.commit(changes)
        except Conflict:
            return False
        return True

    async def _tables(
        self, counters: tuple[_Counter, ...]
    ) -> dict[str, tuple[dict[str, list[float]], int]]:
        """The slots of *counters*: what in them still counts, and their revisions."""
        slots = sorted({each.slot for each in counters})
        oldest = self._now() - self.ladders.longest_seconds
        tables = {}
        for slot, item in zip(slots, await read_all(self._store, slots), strict=True):
            table = {} if item is None else unpack(slot, item.value)
            late = {name: entry for name, entry in table.items() if entry[1] > oldest}
            tables[slot] = late, ABSENT if item is None else item.revision
        return tables

    def _failures(self, counter: _Counter, table: dict[str, list[float]]) -> int:
        failures, last = table.get(counter.name, (0, 0.0))
        return 0 if last <= self._now() - counter.ladder.forget_seconds else int(failures)

    def _wait(self, counter: _Counter, table: dict[str, list[float]]) -> float:
        """Seconds until an attempt under this counter is looked at; 0: now."""
        failures = self._failures(counter, table)
        wait = counter.ladder.wait_seconds(failures)
        if wait:
            passed = self._now() - table[counter.name][1]
            # A clock that was put back would make the wait longer than it was.
            wait = max(0.0, wait - passed) if passed >= 0 else 0.0
        room = max(1, counter.ladder.free - failures)
        if not wait and self._under_way[counter.name] >= room:
            wait = 1.0
        return wait

    async def _counters(
        self, user: str, address: str | None, familiar: bool, epoch: str
    ) -> tuple[_Counter, ...]:
        place, ladders = network(address), self.ladders
        pair = _Counter("pair", await self._name("pair", epoch, place, user), ladders.pair)
        anyone = _Counter("address", await self._name("address", place), ladders.address)
        if familiar:
            return pair, anyone
        return pair, anyone, _Counter("user", await self._name("user", epoch, user), ladders.user)

    async def _name(self, *words: str) -> str:
        if self._key is None:
            self._key = await self._make_key()
        text = "\0".join(words).encode("utf-8", "surrogatepass")
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()[:24]

    async def _make_key(self) -> bytes:
        """The key of the table's hash, made once in a cluster's life."""
        for _ in range(_TRIES):
            item = await self._store.get(_KEY)
            if item is not None:
                return item.value
            try:
                await self._store.commit([Put(_KEY, secrets.token_bytes(32), ABSENT)])
            except Conflict:
                continue
        raise Unreachable("the count of failed logins", "its key cannot be made")


def _fitting(table: dict[str, list[float]], mine: Set[str]) -> dict[str, list[float]]:
    """What of *table* fits its slot: those just counted, then those with the most failures."""

    def rank(entry: tuple[str, list[float]]) -> tuple[bool, float, float]:
        name, (failures, last) = entry
        return name in mine, failures, last

    return dict(sorted(table.items(), key=rank, reverse=True)[:PER_SLOT])
