"""The door of a gateway to an auth service in another process: HTTP/1.1 and JSON lines.

Each question has a deadline; connections are kept for the next ones. The watch is one
answer that never ends: when it does, or nothing comes for too long, it is asked again, with
growing waits, and begins with a snapshot.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.defer import TimeoutError as DeferTimeout
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.interfaces import IConsumer, IDelayedCall, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    HTTPConnectionPool,
    ResponseFailed,
    ResponseNeverReceived,
    readBody,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from tlsgate.errors import Unreachable
from tlsgate.interfaces import IAuthDoor, IWatch

#: By which an auth service is told on whose behalf a gateway asks; `auth.principal` reads it.
AS_HEADER: Final = "tlsgate-as"

_ANSWER_SECONDS: Final = 30.0
#: The auth service says at least every 15 seconds that it is there.
_SILENCE_SECONDS: Final = 40.0
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.1, 15.0
#: A line of the watch; a snapshot of thousands of roles fits.
_LINE_BYTES: Final = 64 << 20

_FAILURES = (
    ConnectError,
    ConnectionClosed,
    ResponseFailed,
    ResponseNeverReceived,
    CancelledError,
    DeferTimeout,
    OSError,
)


@implementer(IAgentEndpointFactory)
class _Always:
    """One endpoint, whatever the URL says."""

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def endpointForURI(self, uri: Any) -> IStreamClientEndpoint:
        """Give the endpoint (Twisted calls this)."""
        return self._endpoint


@implementer(IAuthDoor)
class HttpDoor:
    """Asks an auth service over connections of an endpoint.

    Args:
        reactor: Twisted's.
        endpoint: to the auth service; whoever answers there is it.
        where: how messages call it.
        anyone: an endpoint for questions of those who have no identity; None: the same,
            with a header that only a socket of our own counts.
    """

    def __init__(
        self,
        reactor: Any,
        endpoint: IStreamClientEndpoint,
        where: str,
        anyone: IStreamClientEndpoint | None = None,
    ) -> None:
        self._reactor = reactor
        self._where = where
        self._own_socket = anyone is None
        self._agent = self._make(endpoint)
        self._for_anyone = self._agent if anyone is None else self._make(anyone)

    def _make(self, endpoint: IStreamClientEndpoint) -> Agent:
        pool = HTTPConnectionPool(self._reactor)
        pool.maxPersistentPerHost = 8
        pool.cachedConnectionTimeout = 20
        agent: Agent = Agent.usingEndpointFactory(self._reactor, _Always(endpoint), pool)
        return agent

    async def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        address: str | None = None,
        as_anyone: bool = False,
    ) -> tuple[int, Any]:
        """See `IAuthDoor.ask`."""
        who = "gateway"
        if as_anyone:
            who = f"anyone {address or ''}".rstrip()
        wire = None if body is None else json.dumps(body).encode()
        status, answer = await self.raw(method, path, wire, who)
        try:
            return status, json.loads(answer)
        except ValueError as error:
            raise Unreachable(self._where, "what answers there is no auth service") from error

    async def raw(self, method: str, path: str, body: bytes | None, who: str) -> tuple[int, bytes]:
        """Ask as *who*, and give the status and the body as they come.

        Raises:
            Unreachable: there is no answer.
        """
        agent = self._for_anyone if who.startswith("anyone") else self._agent
        try:
            response = await self._send(agent, method, path, body, who)
            read = readBody(response).addTimeout(_ANSWER_SECONDS, self._reactor)
            return response.code, await read
        except _FAILURES as error:
            raise Unreachable(self._where, _why(error)) from error

    def _send(
        self, agent: Agent, method: str, path: str, body: bytes | None, who: str
    ) -> Deferred[IResponse]:
        headers = Headers()
        if self._own_socket:
            headers.setRawHeaders(AS_HEADER, [who])
        producer = None
        if body is not None:
            headers.setRawHeaders("content-type", ["application/json"])
            producer = _Body(body)
        url = b"http://auth" + path.encode("ascii")
        asked = agent.request(method.encode(), url, headers, producer)
        asked.addTimeout(_ANSWER_SECONDS, self._reactor)
        return asked

    def watch(self, heard: Callable[[Mapping[str, Any]], None]) -> IWatch:
        """See `IAuthDoor.watch`."""
        return _HttpWatch(self._reactor, self, heard)

    def open_watch(self) -> Deferred[IResponse]:
        """Ask for the endless answer."""
        return self._send(self._agent, "GET", "/v1/watch", None, "gateway")


@implementer(IBodyProducer)
class _Body:
    """A body that is in memory and small."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write it whole (Twisted calls this)."""
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """All is written (Twisted calls this)."""

    def resumeProducing(self) -> None:
        """All is written (Twisted calls this)."""

    def stopProducing(self) -> None:
        """All is written (Twisted calls this)."""


@implementer(IWatch)
class _HttpWatch(Protocol):
    """One watch, over as many connections as it takes."""

    log = Logger()

    def __init__(
        self, reactor: Any, door: HttpDoor, heard: Callable[[Mapping[str, Any]], None]
    ) -> None:
        self._reactor = reactor
        self._door = door
        self._heard = heard
        self._buffer = b""
        self._failures = 0
        self._stopped = False
        self._refused = False
        self._again: IDelayedCall | None = None
        self._silence: IDelayedCall | None = None
        self._open()

    def stop(self) -> None:
        self._stopped = True
        for call in (self._again, self._silence):
            if call is not None and call.active():
                call.cancel()
        self._hang_up()

    def _open(self) -> None:
        self._again = None
        self._buffer = b""
        self._door.open_watch().addCallbacks(self._opened, self._failed)

    def _opened(self, response: IResponse) -> None:
        self._silence = self._reactor.callLater(_SILENCE_SECONDS, self._hang_up)
        self._refused = response.code != 200
        response.deliverBody(self)
        if self._stopped or self._refused:
            self._hang_up()

    def _failed(self, failure: Failure | None) -> None:
        if self._stopped:
            return
        if failure is not None and not failure.check(*_FAILURES):
            self.log.failure("the watch of the auth service", failure=failure)
        self._failures += 1
        wait = min(_FIRST_WAIT_SECONDS * 2**self._failures, _LONGEST_WAIT_SECONDS)
        # Full jitter: gateways that lost the same auth service do not come back together.
        self._again = self._reactor.callLater(wait * random.random(), self._open)

    def dataReceived(self, data: bytes) -> None:
        """Twisted calls this with a piece of the answer."""
        if self._refused:
            return
        if self._silence is not None and self._silence.active():
            self._silence.reset(_SILENCE_SECONDS)
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > _LINE_BYTES:
            self._hang_up()
            return
        for line in lines:
            if self._stopped:
                return
            try:
                said = json.loads(line)
            except ValueError:
                self._hang_up()
                return
            self._failures = 0
            self._heard(said)

    def _hang_up(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Twisted calls this at the end of the answer."""
        self.transport = None
        if self._silence is not None and self._silence.active():
            self._silence.cancel()
        self._failed(None)


def _why(error: BaseException) -> str:
    if isinstance(error, (DeferTimeout, CancelledError)):
        return f"no answer within {_ANSWER_SECONDS:g} s"
    return str(error) or type(error).__name__
