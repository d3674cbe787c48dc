"""How fast agents are let in, so that a storm of them starves nobody who logs in.

1. Who comes too early waits its turn, since a refusal would only cost another handshake; who
   would have to wait too long is told to try later.
2. What one agent says is bounded over all of its connections: a MiB of JSON takes as long to
   be read as some thousand clients to be let in, and an agent may say what it likes.
"""

from __future__ import annotations

from typing import Final

#: So many a second, and so many at once after a pause. Some 2,000 come back within 10 s.
RATE: Final = 200.0
#: The longest that somebody waits.
LONGEST_SECONDS: Final = 8.0

#: What one agent may say in a period: its inventory twice, at the longest.
PERIOD_SECONDS: Final = 15.0
PERIOD_BYTES: Final = 2 << 20
#: A control connection counts for so much besides: it takes a turn from others.
CONTROL_BYTES: Final = 64 << 10


class Budget:
    """Turns, at a steady rate.

    Args:
        rate: turns a second; as many may be taken at once after a second's pause.
        longest_seconds: to wait for one.
    """

    __slots__ = ("_longest", "_next", "_period", "_said", "rate")

    def __init__(self, rate: float = RATE, longest_seconds: float = LONGEST_SECONDS) -> None:
        self.rate = rate
        self._longest = longest_seconds
        self._next = float("-inf")
        self._period = float("-inf")
        #: By agent, in this period; those that are silent are in none.
        self._said: dict[str, int] = {}

    def turn(self, now: float) -> float | None:
        """Take a turn; gives the seconds until it comes. None: too late, and none is taken."""
        at = max(self._next, now - 1.0)
        wait = max(0.0, at - now)
        if wait > self._longest:
            return None
        self._next = at + 1.0 / self.rate
        return wait

    def spend(self, now: float, agent: str, size: int) -> bool:
        """Count *size* bytes of what *agent* says; False: that is too much."""
        if now - self._period >= PERIOD_SECONDS:
            self._period = now
            self._said.clear()
        said = self._said.get(agent, 0) + size
        self._said[agent] = said
        return said <= PERIOD_BYTES
