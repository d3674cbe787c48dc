"""Who depends on which port, by the ledger; and the words for it.

1. `breaks` names who would be cut off if ports closed now, `not_known` what it cannot know.
2. `people` says it in a line for each.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final

from tlsgate.core.ledger import Row
from tlsgate.core.migration import SEPARATE_PORTS, Snapshot

#: Of a program of ours: "tgsh/1.2.3", "tlsgate 1.2.3", and an agent's bare "1.2.3".
_OURS: Final = re.compile(r"((?:tgsh|tlsgate)[/_ -]?)?v?(\d{1,6})\.\d{1,6}\.\d{1,6}")
_OPENSSH: Final = re.compile(r"(?:SSH-[\d.]+-)?OpenSSH", re.IGNORECASE)
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def breaks(snapshot: Snapshot, close: Collection[str]) -> tuple[Row, ...]:
    """Who would be cut off or turned away if the listeners *close* closed now.

    They are connected there, or were within the snapshot's `quiet_seconds`. Addresses that
    have shown no identity are nobody. An agent counts while it is connected: it asks anew
    where to dial each time.
    """
    since = snapshot.now - snapshot.quiet_seconds
    found = [
        row
        for row in snapshot.ledger
        if row.use.listener in close
        and row.use.kind != "unknown"
        and (row.open > 0 or (row.use.kind != "agent" and row.last >= since))
    ]
    return tuple(sorted(found, key=lambda row: row.use))


def old_ways(snapshot: Snapshot) -> tuple[Row, ...]:
    """Users, not agents, that are or were lately on separate ports."""
    rows = breaks(snapshot, SEPARATE_PORTS)
    return tuple(row for row in rows if row.use.kind == "user")


def not_known(snapshot: Snapshot) -> tuple[str, ...]:
    """Of which gateways nobody knows who is connected, a sentence each."""
    away = (f"gateway {one} is away: who uses it is not known" for one in snapshot.away)
    return (*away, *snapshot.problems)


def people(rows: Iterable[Row], now: float) -> tuple[str, ...]:
    """A line for each of *rows*: who, by which port, with what, and when."""
    return tuple(
        f"{row.use.kind} {row.use.name} by {row.use.listener}"
        f"{f' ({row.use.version})' if row.use.version else ''}: "
        + (f"{row.open} open now" if row.open else f"{ago(now - row.last)} ago")
        for row in rows
    )


def ago(seconds: float) -> str:
    """A time span in one unit: "5 s", "3 min", "2 h", "9 d"."""
    for unit, word in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {word}"
    return f"{max(0.0, seconds):.0f} s"


def major_of(version: str, *, bare: bool = True) -> int | None:
    """The major release of a program of ours; None: it is another one, or unknown.

    Args:
        bare: it may be a number without a name, which users' programs call themselves, too.
    """
    found = _OURS.match(version)
    return None if found is None or not (bare or found[1]) else int(found[2])


def count_of(number: int, one: str, many: str = "") -> str:
    """A number and its noun."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def each(words: Iterable[str]) -> tuple[str, ...]:
    """Each word once, in its order."""
    return tuple(dict.fromkeys(words))


def is_openssh(row: Row) -> bool:
    """Whether the client has called itself OpenSSH."""
    return _OPENSSH.match(row.use.version) is not None
