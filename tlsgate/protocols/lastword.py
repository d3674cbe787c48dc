"""A server whose only answer is a refusal, for clients that speak first.

Some clients read nothing before they have asked, or read only an answer to what they asked
(MongoDB's drivers, HTTP libraries). So the refusal waits for the first request; then it
goes out, and the connection closes.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocolFactory, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

#: Gives the last word once the head of a request is there, None before.
Reply = Callable[[bytes], bytes | None]

#: A request whose head is longer is answered as it is.
HEAD_LIMIT_BYTES = 16384


@implementer(IProtocolFactory)
class LastWord:
    """A factory for one connection that ends with *reply*."""

    def __init__(self, reply: Reply, clock: IReactorTime, seconds: float) -> None:
        self._reply = reply
        self._clock = clock
        self._seconds = seconds

    def doStart(self) -> None:
        """Nothing to start."""

    def doStop(self) -> None:
        """Nothing to stop."""

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """Make the connection's protocol."""
        return _Listener(self._reply, self._clock, self._seconds)


class _Listener(Protocol):
    def __init__(self, reply: Reply, clock: IReactorTime, seconds: float) -> None:
        self._reply = reply
        self._clock = clock
        self._seconds = seconds
        self._head = b""
        self._done = False
        self._late: IDelayedCall | None = None

    def connectionMade(self) -> None:
        self._late = self._clock.callLater(self._seconds, self._give_up)

    def dataReceived(self, data: bytes) -> None:
        if self._done:
            return
        self._head += data
        answer = self._reply(self._head)
        if answer is None and len(self._head) >= HEAD_LIMIT_BYTES:
            answer = b""
        if answer is not None:
            self._done = True
            assert self.transport is not None
            self.transport.write(answer)
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._late is not None and self._late.active():
            self._late.cancel()

    def _give_up(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()
