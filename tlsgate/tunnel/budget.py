"""How fast agents are let in, so that a storm of them starves nobody who logs in.

Who comes too early waits its turn, since a refusal would only cost another handshake; who
would have to wait too long is told to try later.
"""

from __future__ import annotations

from typing import Final

#: So many a second, and so many at once after a pause. Some 2,000 come back within 10 s.
RATE: Final = 200.0
#: The longest that somebody waits.
LONGEST_SECONDS: Final = 8.0


class Budget:
    """Turns, at a steady rate.

    Args:
        rate: turns a second; as many may be taken at once after a second's pause.
        longest_seconds: to wait for one.
    """

    __slots__ = ("_longest", "_next", "rate")

    def __init__(self, rate: float = RATE, longest_seconds: float = LONGEST_SECONDS) -> None:
        self.rate = rate
        self._longest = longest_seconds
        self._next = float("-inf")

    def turn(self, now: float) -> float | None:
        """Take a turn; gives the seconds until it comes. None: too late, and none is taken."""
        at = max(self._next, now - 1.0)
        wait = max(0.0, at - now)
        if wait > self._longest:
            return None
        self._next = at + 1.0 / self.rate
        return wait
