"""How many connections each listener had, minute by minute: what the console draws.

A minute has who was there when it began and who came in it. Bounded: a day, and so many
listeners.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from tlsgate.core.ledger import Row

#: What is remembered, in minutes.
MINUTES: Final = 24 * 60
#: Listeners of one minute.
LISTENERS: Final = 64
_SECONDS: Final = 60.0

#: By listener: how many came in the minute, and how many were there at its end.
Minute = dict[str, tuple[int, int]]


def minute_of(now: float) -> int:
    """The minute of a moment, counted from the epoch."""
    return int(now // _SECONDS)


class Usage:
    """See the module."""

    def __init__(self) -> None:
        self._minutes: dict[int, Minute] = {}

    def note(self, rows: Iterable[Row], there: Mapping[str, int], now: float) -> None:
        """Add what one report tells.

        Args:
            rows: whose counts are new.
            there: open connections now, of all processes, by listener.
        """
        number = minute_of(now)
        minute = self._minutes.setdefault(number, {})
        for row in rows:
            if row.count > 0:
                self._put(minute, row.use.listener, row.count, None)
        # Who has gone has left: a listener that is not named has nobody.
        for name in {*there, *minute}:
            self._put(minute, name, 0, there.get(name, 0))
        # What is to come was counted by a clock that was ahead.
        for old in [one for one in self._minutes if not number - MINUTES < one <= number]:
            del self._minutes[old]

    def series(self, minutes: int, now: float) -> dict[str, list[int]]:
        """By listener, connections of each of the last *minutes*, the newest last."""
        last = minute_of(now)
        numbers = range(last - minutes + 1, last + 1)
        shown = [self._minutes.get(one, {}) for one in numbers]
        names = sorted({name for minute in shown for name in minute})
        found: dict[str, list[int]] = {}
        for name in names:
            before = self._minutes.get(last - minutes, {}).get(name, (0, 0))[1]
            points = []
            for minute in shown:
                came, there = minute.get(name, (0, 0))
                points.append(before + came if minute else 0)
                before = there
            found[name] = points
        return found

    def told(self, hour: int) -> dict[str, Any]:
        """One hour in JSON types, to be kept."""
        begin = hour * 60
        return {
            str(number): {name: list(pair) for name, pair in self._minutes[number].items()}
            for number in range(begin, begin + 60)
            if number in self._minutes
        }

    def take(self, said: Mapping[str, Any]) -> None:
        """Read what `told` gave; what cannot be read is left out."""
        for number, minute in said.items():
            try:
                read = {str(name): (int(a), int(b)) for name, (a, b) in minute.items()}
                self._minutes[int(number)] = read
            except (ValueError, TypeError, AttributeError):
                continue

    # -- inside --

    def _put(self, minute: Minute, name: str, came: int, there: int | None) -> None:
        if name not in minute and len(minute) >= LISTENERS:
            return
        before, was = minute.get(name, (0, 0))
        minute[name] = (before + came, was if there is None else there)
