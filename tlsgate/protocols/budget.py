"""What a client of HTTP/2 may cost without asking for anything (S32).

Resets, pings, settings, empty data, one-byte windows, frames for streams that are over: each
makes work here, and a client of good will sends few of them.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

#: So many in so many seconds.
FRAMES = 400
SECONDS = 10.0


class Budget:
    """One connection's."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._spent = 0
        self._since = clock.seconds()

    def spend(self, frames: int = 1) -> bool:
        """Count *frames* without a use; False: they are more than there may be."""
        now = self._clock.seconds()
        if now - self._since > SECONDS:
            self._spent, self._since = 0, now
        self._spent += frames
        return self._spent <= FRAMES
