"""What is left on listeners that a reload has taken away: it may go on for a while.

1. `follow` is told of each exchange of gates. A listener that serves no more has its
   `drain_seconds` from then on; one that comes back keeps its connections.
2. Meanwhile a connection that only waits for its client's next wish is ended. Tunnels are
   not: their agents are told to dial elsewhere, and drain them by themselves.
3. What is left then is cut, with the cause `listener_closed`.
4. A listener that has moved to another address goes on: of what came by the old one only the
   idle are ended, and nothing is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from tlsgate.errors import ListenerClosed

if TYPE_CHECKING:
    from tlsgate.net.connection import Connection
    from tlsgate.net.gate import Gate

#: A listener's name, and its endpoint.
_Place = tuple[str, str]
_ANY: Final = ""
#: How often somebody looks for what rests.
_LOOK_SECONDS: Final = 1.0


class Closings:
    """See the module.

    Args:
        reactor: for its clock.
        live: every connection of the process.
        end: ends one, for the given cause.
    """

    def __init__(
        self,
        reactor: Any,
        live: Callable[[], Iterable[Connection]],
        end: Callable[[Connection, str], None],
    ) -> None:
        self._reactor = reactor
        self._live = live
        self._end = end
        #: Until when each listener at each address is looked at, in seconds of the reactor; and
        #: whether what is left then is cut.
        self._limits: dict[_Place, tuple[float, bool]] = {}
        self._look_due: Any = None

    def follow(self, before: Gate, after: Gate) -> None:
        """*after* takes the place of *before*."""
        for name, entrance in after.entrances.items():
            if entrance.closed is None:
                self._limits.pop((name, _ANY), None)
                self._limits.pop((name, entrance.listener.endpoint), None)
        refusing = {
            entrance.listener.endpoint
            for entrance in after.entrances.values()
            if entrance.closed is not None
        }
        for name, entrance in before.entrances.items():
            if entrance.closed is not None:
                continue
            there = after.entrances.get(name)
            cuts = there is None or there.closed is not None
            if cuts or entrance.listener.endpoint in refusing:
                limit = self._reactor.seconds() + entrance.listener.timeouts.drain_seconds
                self._limits[name, _ANY if cuts else entrance.listener.endpoint] = limit, cuts
        if self._limits and self._look_due is None:
            self._look_due = self._reactor.callLater(_LOOK_SECONDS, self._look)

    def stop(self) -> None:
        """The process ends, and what is open has another limit."""
        self._limits.clear()
        if self._look_due is not None and self._look_due.active():
            self._look_due.cancel()
        self._look_due = None

    def _look(self) -> None:
        self._look_due = None
        now = self._reactor.seconds()
        left = set()
        for one in list(self._live()):
            place = (one.listener, _ANY)
            if place not in self._limits:
                place = (one.listener, one.entrance.listener.endpoint)
            limit, cuts = self._limits.get(place, (None, False))
            if limit is None or one.entrance.closed is not None:
                continue
            served = one.served if one.stage == "serving" else None
            if (served is not None and served.resting()) or (now >= limit and cuts):
                self._end(one, ListenerClosed.reason)
            elif now < limit:
                left.add(place)
        self._limits = {place: limit for place, limit in self._limits.items() if place in left}
        if self._limits:
            soonest = min(limit for limit, _ in self._limits.values()) - now
            wait = min(_LOOK_SECONDS, max(soonest, 0.0))
            self._look_due = self._reactor.callLater(wait, self._look)
