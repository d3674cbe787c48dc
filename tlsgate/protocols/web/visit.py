"""One connection to the web protocol, and the requests on it.

1. `Visit.buildProtocol` makes the HTTP/1.1 or HTTP/2 channel that the confirmed token names.
2. A clock starts: a whole request has to be there within `opening_seconds`, so that a
   header that drips in, byte by byte, does not hold the connection.
3. Each request, not just the first, is checked: its Host has to be of the class of the
   connection's server name, or the answer is 421 (RFC 9110 section 15.5.20, S05).
4. Only then the resource tree of the shared site is asked.

The factory does not provide `IProtocolNegotiationFactory`: Twisted would add tokens to a
context that is finished, and the dispatcher alone decides on tokens.
"""

from __future__ import annotations

import io
from typing import Any

from h2.errors import ErrorCodes
from h2.exceptions import H2Error
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IProtocol,
    IProtocolFactory,
)
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web._http2 import (  # the only place; `twisted.web.http` hides it too
    _END_STREAM_SENTINEL,
    H2Connection,
)
from twisted.web.server import Request
from zope.interface import implementer

from tlsgate.core.ledger import program_of
from tlsgate.errors import BadBytes
from tlsgate.interfaces import IRouteContext
from tlsgate.protocols.web import answers
from tlsgate.protocols.web.calm import Calm, acknowledge
from tlsgate.protocols.web.host import asked_for

#: A connection without a request is closed after so long.
IDLE_SECONDS = 75.0
#: A longer body ends the connection: logins and the like are far shorter.
BODY_LIMIT_BYTES = 65536


class GateRequest(Request):
    """A request that knows its connection, and is refused when it is for another host."""

    visit: Visit
    _body_bytes = 0

    def gotLength(self, length: int | None) -> None:
        """Keep a body in memory, which is bounded: the stock file takes gigabytes."""
        self.content = io.BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Keep body bytes; too many of them end the connection."""
        self._body_bytes += len(data)
        if self._body_bytes > BODY_LIMIT_BYTES:
            self.visit.hang_up()
        else:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes | None, version: bytes) -> None:
        """Take a request without a path too: HTTP/2 has one, CONNECT (RFC 9113 section 8.5)."""
        super().requestReceived(command, b"*" if path is None else path, version)

    def process(self) -> None:
        """Check what the request is for, then let the site answer it."""
        self.visit.request_is_whole()
        self.setHeader(b"Server", b"tlsgate")
        context = self.visit.context
        if said := self.requestHeaders.getRawHeaders(b"user-agent"):
            context.came_by(program_of(said[0].decode("ascii", "replace")))
        hosts = self.requestHeaders.getRawHeaders(b"host") or []
        try:
            name, self.uri = asked_for(self.uri, hosts, self.clientproto)
        except BadBytes:
            answers.refuse(self, 400)
            return
        if context.claims(name) != context.claims(context.server_name):
            answers.refuse(self, 421)
            return
        self.path = self.uri.partition(b"?")[0]
        if self.path == b"*":
            answers.refuse(self, 405)
            return
        super().process()

    def render(self, resrc: Any) -> None:
        """Say who we are, in the place where the stock request names itself."""
        self.setHeader(b"Server", b"tlsgate")
        super().render(resrc)

    def processingFailed(self, reason: Failure) -> None:
        """Answer a bug of ours with constant text; the log has the rest."""
        if reason.check(H2Error):  # the stream or the connection ended in the same breath
            self.visit.hang_up()
            return
        self.visit.log.failure("a page failed", failure=reason)
        if self.startedWriting:
            self.visit.hang_up()
        else:
            answers.refuse(self, 500)


@implementer(IProtocolFactory)
class Visit:
    """The factory of one connection, and what is known of it.

    Attributes:
        context: route, identity and addresses of the connection.
        site: the shared `site.GateSite`.
    """

    log = Logger()

    def __init__(self, site: Any, context: IRouteContext) -> None:
        self.site = site
        self.context = context
        self._channel: Any = None
        self._patience: IDelayedCall | None = None

    def doStart(self) -> None:
        """Nothing starts with a connection."""

    def doStop(self) -> None:
        """Nothing stops with it."""

    def buildProtocol(self, addr: IAddress | None) -> IProtocol | None:
        """Make the channel for the token that the handshake confirmed."""
        clock = self.context.clock
        if self.context.choice.token == b"h2":
            self._channel = _Http2(self, reactor=clock)
        else:
            self._channel = _Http1(self)
        channel = self._channel
        channel.requestFactory = self._request
        channel.site = channel.factory = self.site
        channel.callLater = clock.callLater
        channel.timeOut = IDLE_SECONDS
        return channel  # type: ignore[no-any-return]

    def _request(self, channel: Any, queued: object = False) -> GateRequest:
        request = GateRequest(channel, queued=queued)
        request.visit = self
        return request

    def expect_request(self) -> None:
        """Start to wait for a whole request, unless that wait is on."""
        if self._patience is None:
            context = self.context
            seconds = context.settings.waits(context.listener).opening_seconds
            self._patience = self.context.clock.callLater(seconds, self._lose_patience)

    def request_is_whole(self) -> None:
        """Stop waiting."""
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _lose_patience(self) -> None:
        self._patience = None
        self.hang_up()

    def hang_up(self) -> None:
        """End the connection at once; its peer does not keep to the rules."""
        channel = self._channel
        transport = channel.transport
        if transport is None:
            return
        if isinstance(channel, _Http2):
            # Whoever is under way here still has streams that are gone with the connection.
            channel.is_over = True
            self.context.clock.callLater(0, transport.abortConnection)
        else:
            transport.abortConnection()


@implementer(IHalfCloseableProtocol)
class _Http1(http.HTTPChannel):
    """HTTP/1.1, with a deadline on each request and an end to pipelining.

    The stock channel answers all requests that have come in one piece, whether or not
    the client takes the answers: 16 KiB of requests would become megabytes of output.
    Here a full transport stops the parser as well as the reads.
    """

    def __init__(self, visit: Visit) -> None:
        super().__init__()
        self._visit = visit
        self._read_ended = False

    def connectionMade(self) -> None:
        self._visit.expect_request()
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        self._visit.expect_request()
        super().dataReceived(data)

    def readConnectionLost(self) -> None:
        """The client asks no more; it still gets what it has asked for."""
        self._read_ended = True
        if not self.paused:
            self.loseConnection()

    def writeConnectionLost(self) -> None:
        """We never end our direction alone."""

    def pauseProducing(self) -> None:
        super().pauseProducing()
        self.paused = True  # LineReceiver's: what it has buffered waits
        transport: Any = self.transport
        transport.pauseProducing()

    def resumeProducing(self) -> None:
        self.paused = False
        super().resumeProducing()
        super().dataReceived(b"")  # on with what waited
        if self._read_ended and not self.paused:
            self.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._visit.request_is_whole()
        super().connectionLost(reason)


@implementer(IHalfCloseableProtocol)
class _Http2(H2Connection):
    """HTTP/2, with a deadline on the first request.

    Later ones have none of their own: frames that belong to no request (PING, WINDOW_UPDATE)
    are normal between them, and the idle timer ends a connection without any.

    The stock connection lets h2's errors out when a stream or the connection ends in the
    same bytes that ask for something, and then never sends again. Here they end it.

    It also asks itself again in every turn of the reactor, and counts that as activity, while
    a client that has asked for something opens no window for the answer: that client would
    have a core for itself, for ever. Here such streams wait for the window.

    What is sent without a use has a budget (`calm`).
    """

    def __init__(self, visit: Visit, reactor: Any) -> None:
        super().__init__(reactor=reactor)
        self._visit = visit
        self._producing = False
        self.is_over = False  #: it is aborted in the next turn
        self._calm = Calm(reactor, self.streams)
        connection: Any = self.conn
        self._receive = connection.receive_data
        connection.receive_data = self._received  # its caller acts upon the events

    def connectionMade(self) -> None:
        self._visit.expect_request()
        super().connectionMade()
        transport: Any = self.transport
        transport.registerProducer(self, True)  # so that a full transport pauses streams
        self._producing = True

    def dataReceived(self, data: bytes) -> None:
        if self.is_over:
            return
        try:
            super().dataReceived(data)
            self._wake()
        except H2Error:
            self._visit.hang_up()

    def _received(self, data: bytes) -> list[Any]:
        found: list[Any] = self._receive(data)
        said = self.conn.data_to_send()
        transport: Any = self.transport
        if self._calm.bears(found, len(said)):
            if said:
                transport.write(said)
            return found
        self.conn.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
        transport.write(said + self.conn.data_to_send())
        self._visit.hang_up()
        return []

    def _requestDataReceived(self, event: Any) -> None:
        if not self._calm.is_over(event):
            super()._requestDataReceived(event)
            return
        acknowledge(self.conn, event)

    def _requestEnded(self, event: Any) -> None:
        if not self._calm.is_over(event):
            super()._requestEnded(event)

    def _requestAborted(self, event: Any) -> None:
        if not self._calm.is_over(event):
            super()._requestAborted(event)

    def _sendPrioritisedData(self, *args: object) -> None:
        try:
            for stream, queue in self._outboundStreamQueues.items():
                if queue and not self._may_send(stream, queue[0]):
                    self.priority.block(stream)
            super()._sendPrioritisedData(*args)
        except H2Error:
            self._visit.hang_up()

    def _may_send(self, stream: int, first: object) -> bool:
        """Whether the client takes what is first in the queue; an end needs no window."""
        return first is _END_STREAM_SENTINEL or self.conn.local_flow_control_window(stream) > 0

    def _wake(self) -> None:
        """Send on where the client has opened a window, for a stream or for all."""
        waiting = self._sendingDeferred
        if waiting is None:
            return
        ready = [
            stream
            for stream, queue in self._outboundStreamQueues.items()
            if queue and self._may_send(stream, queue[0])
        ]
        for stream in ready:
            self.priority.unblock(stream)
        if ready:
            self._sendingDeferred = None
            waiting.callback(ready[0])

    def readConnectionLost(self) -> None:
        """The client is gone: in HTTP/2 nobody sends requests and then only listens."""
        self._end_producing()
        transport: Any = self.transport
        transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """We never end our direction alone."""

    def timeoutConnection(self) -> None:
        self._end_producing()
        super().timeoutConnection()

    def connectionLost(
        self, reason: Failure = connectionDone, _cancelTimeouts: bool = True
    ) -> None:
        self._visit.request_is_whole()
        self._end_producing()
        super().connectionLost(reason, _cancelTimeouts)

    def _end_producing(self) -> None:
        """Let the transport close: it waits for a producer that it has."""
        if self._producing:
            self._producing = False
            transport: Any = self.transport
            transport.unregisterProducer()
