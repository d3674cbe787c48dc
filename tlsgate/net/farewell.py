"""The last word to somebody who came with TLS to a closed port: after the first request.

Clients of HTTP take an answer that comes before their request for a fault of the wire, and never
show it. So the request's head is read, within bounds, and then the refusal goes out. And a first
packet that is about a session from before the port closed, such as PostgreSQL's cancel request,
is given to its protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from tlsgate.core.outcome import More
from tlsgate.core.sniff import Opening, sniff
from tlsgate.interfaces import IGateProtocol

#: A request whose head is longer is answered as it is.
HEAD_LIMIT_BYTES: Final = 16384
_HTTP: Final = b"http/1.1"


def openings_of(protocol: IGateProtocol) -> tuple[Opening, ...]:
    """The first packets of a protocol that are heard on its closed port, too."""
    return tuple(one for one in protocol.openings if one.when_closed)


def is_http(protocol: IGateProtocol, token: bytes | None) -> bool:
    """Whether a client of a protocol's own port speaks HTTP, by the negotiated *token*."""
    spec = protocol.listener
    return token == _HTTP or (token is None and spec is not None and spec.alpn == (_HTTP,))


class Farewell(Protocol):
    """Reads one request and has the refusal said.

    Args:
        openings: as `openings_of` gives them; with none, the head of an HTTP request is read.
        clock: the reactor; seconds: how long is waited for the request.
        say: says the refusal, and closes.
        build: makes the protocol for one of the openings; None: it takes none now.
    """

    def __init__(
        self,
        openings: Sequence[Opening],
        clock: Any,
        seconds: float,
        say: Callable[[], None],
        build: Callable[[], IProtocol | None],
    ) -> None:
        self._openings = openings
        self._clock = clock
        self._seconds = seconds
        self._say = say
        self._build = build
        self._head = b""
        self._late: IDelayedCall | None = None
        self._inner: IProtocol | None = None

    def connectionMade(self) -> None:
        """Twisted calls this."""
        self._late = self._clock.callLater(self._seconds, self._over)

    def dataReceived(self, data: bytes) -> None:
        """Twisted calls this."""
        if self._inner is not None:
            self._inner.dataReceived(data)
        elif self._late is not None:
            self._head += data
            if len(self._head) >= HEAD_LIMIT_BYTES:
                self._over()
            else:
                self._look()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Twisted calls this."""
        self._forget()
        if self._inner is not None:
            self._inner.connectionLost(reason)

    # -- inside --

    def _look(self) -> None:
        if not self._openings:
            if b"\r\n\r\n" in self._head:
                self._over()
            return
        found = sniff(self._head, self._openings)
        if isinstance(found, More):
            return
        inner = None if found is None else self._build()
        if inner is None:
            self._over()
            return
        self._inner, head = inner, self._head
        self._forget()
        assert self.transport is not None
        inner.makeConnection(self.transport)
        inner.dataReceived(head)

    def _over(self) -> None:
        self._forget()
        self._say()

    def _forget(self) -> None:
        late, self._late, self._head = self._late, None, b""
        if late is not None and late.active():
            late.cancel()
