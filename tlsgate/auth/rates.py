"""How much each of many may tell: a bucket each, which fills with time."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

#: So many are remembered; who is forgotten begins anew.
NAMES: Final = 10_000


class Rates:
    """Buckets by name.

    Args:
        most: what one may take at once.
        a_second: what comes back.
    """

    def __init__(self, most: int, a_second: float) -> None:
        self._most = most
        self._a_second = a_second
        #: Name to what is left, and when that was so; who asked last is last.
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, wanted: int, now: float) -> int:
        """Take up to *wanted*; gives how much *name* gets."""
        left, then = self._left.pop(name, (float(self._most), now))
        left = min(self._most, left + max(0.0, now - then) * self._a_second)
        given = min(wanted, int(left))
        self._left[name] = (left - given, now)
        if len(self._left) > NAMES:
            self._left.popitem(last=False)
        return given
