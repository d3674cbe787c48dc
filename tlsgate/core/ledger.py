"""Who uses which listener, and how: the rows of the ledger, and how several books become one.

1. A process notes in its `Book` who comes and goes. `Book.news` gives what nobody has been told
   yet, in small parts: counts as what is new, connections that are open as how many there are.
2. The auth service's accounts (`core.accounts`) add the counts of all processes, and the open
   connections of those that live. A part that is told twice is known by its number, and counts
   once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

from attrs import define, evolve, field, frozen

from tlsgate.core.access import Identity
from tlsgate.errors import BadBytes

#: Rows of one part.
PART: Final = 50
#: What a process remembers while nobody takes it.
BOOK: Final = 20_000
#: How often it is told anew that somebody is connected still.
STAY_SECONDS: Final = 3600.0
#: Of a version; what is longer is cut.
VERSION_CHARACTERS: Final = 64

#: A person, a program of the cluster's own, an address.
Kind = Literal["user", "agent", "unknown"]
#: raw: no TLS, on a protocol's own port. tls-alpn, tls: with or without a token that was
#: confirmed. plain-ssh: SSH without TLS on a port that others share.
Transport = Literal["raw", "tls-alpn", "tls", "plain-ssh"]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
TRANSPORTS: Final[tuple[Transport, ...]] = get_args(Transport)

#: How browsers name themselves, from those that name others too to those that do not.
_BROWSERS: Final = ("Edg/", "OPR/", "Firefox/", "HeadlessChrome/", "Chrome/", "Safari/")


@frozen(order=True, cache_hash=True)
class Use:
    """One way of using the cluster; what a row is about."""

    kind: Kind
    name: str  #: the identity's; of "unknown" the address, without a port
    listener: str
    transport: Transport
    version: str = ""  #: of the client, in its own words; "": not known


@frozen(kw_only=True)
class Row:
    """What is known of one use.

    Attributes:
        first, last: when somebody was seen so, in seconds since the epoch.
        count: connections; in a part that is told, those that are new.
        open: connections now.
    """

    use: Use
    first: float
    last: float
    count: int
    open: int = 0


@frozen
class Part:
    """What a process tells at once.

    Attributes:
        number: counts from 1; the same for the same rows.
        more: whether there is more to tell.
    """

    number: int
    rows: tuple[Row, ...]
    more: bool


def who(identity: Identity | None, address: str) -> tuple[Kind, str]:
    """Kind and name of who holds a connection."""
    if identity is None:
        return "unknown", address
    claims = identity.claims
    if claims is None:
        return "user", identity.name
    return ("user" if claims.kind == "user" else "agent"), claims.name


def version_of(said: str) -> str:
    """What a client says of itself, as a row has it: printable, and of bounded length."""
    return "".join(one for one in said if one.isprintable()).strip()[:VERSION_CHARACTERS]


def program_of(user_agent: str) -> str:
    """The program that a User-Agent header names, with its version.

    Browsers name half a dozen others beside themselves (RFC 9110 section 10.1.5): the newest
    name that is theirs alone counts.
    """
    words = user_agent[:512].split()
    if not words or not words[0].startswith("Mozilla/"):
        return words[0] if words else ""
    for name in _BROWSERS:
        for word in words:
            if word.startswith(name):
                return word
    return words[0]


def application_of(name: str) -> str:
    """The program that a database's client names as its application.

    What follows a dash is of one window or session (pgAdmin's "pgAdmin 4 - CONN:1234567"):
    each would be another program.
    """
    return name.partition(" - ")[0]


def told(row: Row) -> dict[str, Any]:
    """*row* in JSON types."""
    use = row.use
    return {
        "kind": use.kind,
        "name": use.name,
        "listener": use.listener,
        "transport": use.transport,
        "version": use.version,
        "first": row.first,
        "last": row.last,
        "count": row.count,
        "open": row.open,
    }


def read_row(said: Mapping[str, Any]) -> Row:
    """Read what `told` gave.

    Raises:
        BadBytes: it is something else.
    """
    try:
        kind, transport = said["kind"], said["transport"]
        if kind not in KINDS or transport not in TRANSPORTS:
            raise BadBytes("ledger", "a row of another version")
        names = [str(said[key]) for key in ("name", "listener", "version")]
        use = Use(kind, names[0], names[1], transport, names[2])
        return Row(
            use=use,
            first=float(said["first"]),
            last=float(said["last"]),
            count=int(said["count"]),
            open=int(said["open"]),
        )
    except (KeyError, TypeError, ValueError) as e:
        raise BadBytes("ledger", "no row") from e


@define
class _Entry:
    """A use as this process knows it."""

    first: float
    last: float
    count: int = 0  #: that nobody was told
    open: int = 0


class Book:
    """What one process has seen.

    Attributes:
        totals: connections since the process began, by (listener, transport).
        active: of them, those that are open.
        lost: rows that were dropped before anybody was told.
    """

    def __init__(self, most: int = BOOK) -> None:
        self._most = most
        self._entries: dict[Use, _Entry] = {}
        self._untold: dict[Use, None] = {}
        self._part: tuple[int, tuple[Row, ...]] | None = None
        self._number = 0
        self.totals: dict[tuple[str, str], int] = {}
        self.active: dict[tuple[str, str], int] = {}
        self.lost = 0

    def opened(self, use: Use, now: float) -> None:
        """Somebody has come."""
        way = (use.listener, use.transport)
        self.totals[way] = self.totals.get(way, 0) + 1
        self.active[way] = self.active.get(way, 0) + 1
        entry = self._entry(use, now)
        entry.count += 1
        entry.open += 1

    def closed(self, use: Use, now: float) -> None:
        """Who was `opened` has gone."""
        self.active[use.listener, use.transport] -= 1
        self._entry(use, now).open -= 1

    def known(self, before: Use, after: Use, now: float) -> None:
        """It turns out that the connection of *before* is one of *after*."""
        for use, step in ((before, -1), (after, 1)):
            entry = self._entry(use, now)
            entry.count += step
            entry.open += step

    def stayed(self, now: float) -> None:
        """Whoever is connected is seen now: he was there should this process die."""
        for use, entry in self._entries.items():
            if entry.open and now - entry.last >= STAY_SECONDS:
                entry.last = now
                self._untold[use] = None

    def news(self) -> Part:
        """What to tell next; the same rows again until they are `accepted`."""
        if self._part is None:
            rows = [self._taken(use) for use in list(self._untold)[:PART]]
            self._number += 1
            self._part = self._number, tuple(rows)
        number, kept = self._part
        fresh = [evolve(row, open=self._open(row.use)) for row in kept]
        return Part(number, tuple(fresh), bool(self._untold))

    def accepted(self) -> None:
        """The last `news` are known to who keeps the accounts."""
        _, rows = self._part or (0, ())
        self._part = None
        for row in rows:
            entry = self._entries.get(row.use)
            if entry is not None and row.use not in self._untold and not entry.open:
                del self._entries[row.use]

    def forgotten(self) -> None:
        """Who keeps the accounts does not know this process: tell all that is open again."""
        for use, entry in self._entries.items():
            if entry.open:
                self._untold[use] = None

    # -- inside --

    def _entry(self, use: Use, now: float) -> _Entry:
        entry = self._entries.get(use)
        if entry is None:
            self._make_room()
            entry = self._entries[use] = _Entry(now, now)
        entry.last = max(entry.last, now)
        self._untold[use] = None
        return entry

    def _make_room(self) -> None:
        """Drop what nobody was told and nobody is connected by, where there is too much."""
        if len(self._entries) < self._most:
            return
        idle = next((use for use in self._untold if not self._entries[use].open), None)
        if idle is not None:
            del self._entries[idle], self._untold[idle]
            self.lost += 1

    def _open(self, use: Use) -> int:
        entry = self._entries.get(use)
        return 0 if entry is None else entry.open

    def _taken(self, use: Use) -> Row:
        """The row of *use* for a part, after which it has no news."""
        entry = self._entries[use]
        row = Row(use=use, first=entry.first, last=entry.last, count=entry.count, open=entry.open)
        entry.count = 0
        del self._untold[use]
        return row


@frozen(kw_only=True)
class Wish:
    """Which rows somebody wants to see; what is empty does not choose."""

    listener: str = ""
    kind: str = ""
    transport: str = ""
    name: str = ""
    since: float = field(default=0.0)  #: last seen then or later, or connected

    def fits(self, row: Row) -> bool:
        """Whether *row* is one of them."""
        use = row.use
        pairs = (
            (self.listener, use.listener),
            (self.kind, use.kind),
            (self.transport, use.transport),
            (self.name, use.name),
        )
        return (not self.since or row.last >= self.since or row.open > 0) and all(
            wanted in ("", there) for wanted, there in pairs
        )
