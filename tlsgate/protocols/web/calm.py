"""HTTP/2 clients of the web protocol that make work and ask for nothing (S32).

The stock connection bounds resets alone, and an event for a stream that it has answered already
is a KeyError there: the request, its answer and the client's reset may all be of one read.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any, Final

from h2 import events
from h2.connection import H2Connection
from twisted.internet.interfaces import IReactorTime

from tlsgate.protocols.budget import Budget

#: A window that opens by less is no help.
_STEP: Final = 512
#: Of an answer to a ping, to settings, or to what is for a stream that is over.
_REPLY: Final = 13

_USEFUL: Final = (events.RequestReceived, events.StreamEnded, events.ConnectionTerminated)


class Calm:
    """Counts what one client sends without a use.

    Args:
        clock: the reactor.
        streams: those that have no whole answer yet.
    """

    def __init__(self, clock: IReactorTime, streams: Container[int]) -> None:
        self._budget = Budget(clock)
        self._streams = streams

    def bears(self, found: list[events.Event], said: int) -> bool:
        """Whether the client may go on, who has caused these events and *said* bytes of replies."""
        useless = sum(not self._is_of_use(event) for event in found)
        return self._budget.spend(max(useless, said // _REPLY))

    def _is_of_use(self, event: Any) -> bool:
        if isinstance(event, events.DataReceived):
            return bool(event.data)
        if isinstance(event, events.WindowUpdated):
            return bool(event.delta >= _STEP)
        return isinstance(event, _USEFUL)

    def is_over(self, event: Any) -> bool:
        """Whether *event* is about a stream that has its whole answer."""
        return event.stream_id not in self._streams


def acknowledge(connection: H2Connection, event: Any) -> None:
    """Open the connection's window again for data that nobody waits for."""
    connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
