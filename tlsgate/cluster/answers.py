"""Bodies of answers that were asked for: whole within a bound, or passed on as they come."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import Request
from twisted.web.iweb import UNKNOWN_LENGTH, IResponse


def read_whole(
    response: IResponse, limit_bytes: int, too_long: Callable[[], Exception]
) -> Deferred[bytes]:
    """Read a body to its end.

    Args:
        response: nothing of its body has been read.
        limit_bytes: of a longer one no more than that is ever in memory.
        too_long: what it then fails with.
    """
    whole = _Whole(limit_bytes, too_long)
    response.deliverBody(whole)
    if response.length is not UNKNOWN_LENGTH and response.length > limit_bytes:
        whole.fail(Failure(too_long()))
    return whole.done


class _Whole(Protocol):
    def __init__(self, limit_bytes: int, too_long: Callable[[], Exception]) -> None:
        self.done: Deferred[bytes] = Deferred(lambda _: self._leave())
        self._limit_bytes = limit_bytes
        self._too_long = too_long
        self._pieces: list[bytes] = []
        self._size_bytes = 0

    def dataReceived(self, data: bytes) -> None:
        """Twisted calls this with a piece of the body."""
        self._size_bytes += len(data)
        if self._size_bytes > self._limit_bytes:
            self.fail(Failure(self._too_long()))
        elif not self.done.called:
            self._pieces.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Twisted calls this at the end of the body."""
        self.transport = None
        if self.done.called:
            return
        if reason.check(ResponseDone):
            self.done.callback(b"".join(self._pieces))
        else:
            self.fail(reason)

    def fail(self, failure: Failure) -> None:
        """Read no more."""
        self._leave()
        if not self.done.called:
            self.done.errback(failure)

    def _leave(self) -> None:
        self._pieces.clear()
        leave(self)


class Passing(Protocol):
    """Writes a body that may never end to somebody who has asked, as it comes.

    Args:
        request: of who has asked, with code and headers; it is finished when the body ends.
            None: they are gone, and so the connection is closed.
    """

    def __init__(self, request: Request | None) -> None:
        self._request = request
        if request is not None:
            request.notifyFinish().addErrback(self._gone)

    def connectionMade(self) -> None:
        """Twisted calls this before the first piece."""
        if self._request is None:
            leave(self)
        else:
            self._request.registerProducer(self.transport, True)

    def dataReceived(self, data: bytes) -> None:
        """Twisted calls this with a piece of the body."""
        if self._request is not None:
            self._request.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Twisted calls this at the end of the body."""
        self.transport = None
        request, self._request = self._request, None
        if request is not None:
            request.unregisterProducer()
            request.finish()

    def _gone(self, _: Failure) -> None:
        self._request = None
        leave(self)


def leave(protocol: Protocol) -> None:
    """Close the connection of a body that is not wanted."""
    transport = protocol.transport
    if transport is not None:
        transport.loseConnection()
