"""How many connections may be here, from where, and how fast they may come.

Addresses are counted until a connection is authenticated; many users and agents share
one address afterwards.
"""

from __future__ import annotations

from collections.abc import Callable

from tlsgate.config.settings import Limits
from tlsgate.errors import TooMany

#: A source may spend this many seconds' worth of handshakes at once: a fleet behind one
#: address comes back together.
_BURST_SECONDS = 4

#: Sources that are remembered; the oldest are forgotten first.
_SOURCES = 65_536


class Census:
    """Who is here; one for a listener, one for the whole process.

    Args:
        limits: read at every admission, so that a reload counts at once.
        now: seconds of a monotonic clock.
    """

    __slots__ = ("_buckets", "_now", "anonymous", "by_source", "connections", "limits")

    def __init__(self, limits: Limits, now: Callable[[], float]) -> None:
        self.limits = limits
        self._now = now
        self.connections = 0
        self.anonymous = 0
        self.by_source: dict[str, int] = {}
        self._buckets: dict[str, tuple[float, float]] = {}

    def arrive(self) -> None:
        """Count one more connection that is not authenticated yet.

        Raises:
            TooMany: and nothing is counted.
        """
        limits = self.limits
        if self.connections >= limits.connections:
            raise TooMany("connections", limits.connections)
        if self.anonymous >= limits.unauthenticated:
            raise TooMany("unauthenticated", limits.unauthenticated)
        self.connections += 1
        self.anonymous += 1

    def name(self, source: str) -> None:
        """Count an arrived connection for *source*, once its address is known for sure.

        Raises:
            TooMany: it is not counted for the source, and must still `leave`.
        """
        limits = self.limits
        here = self.by_source.get(source, 0)
        if here >= limits.unauthenticated_per_address:
            raise TooMany("unauthenticated_per_address", limits.unauthenticated_per_address)
        self._spend(source, float(limits.handshakes_per_second_per_address))
        self.by_source[source] = here + 1

    def known(self, source: str | None) -> None:
        """The connection is authenticated; its address counts no more."""
        self.anonymous -= 1
        if source is not None:
            left = self.by_source[source] - 1
            if left:
                self.by_source[source] = left
            else:
                del self.by_source[source]

    def leave(self) -> None:
        """The connection has ended; `known` came before."""
        self.connections -= 1

    def _spend(self, source: str, rate: float) -> None:
        now = self._now()
        buckets = self._buckets
        left, since = buckets.pop(source, (rate * _BURST_SECONDS, now))
        left = min(left + (now - since) * rate, rate * _BURST_SECONDS)
        enough = left >= 1.0
        buckets[source] = (left - 1.0 if enough else left, now)
        if len(buckets) > _SOURCES:
            del buckets[next(iter(buckets))]
        if not enough:
            raise TooMany("handshakes_per_second_per_address", rate)
