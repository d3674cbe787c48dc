"""The door of a gateway to an auth service in another process: HTTP/1.1 and JSON lines.

Each question has a deadline; connections are kept for the next ones. An auth service that
ends hangs up, and the one after it is asked once more, where that does no harm. The watch is one
answer that never ends: when it does, or nothing comes for too long, it is asked again, with
growing waits, and begins with a snapshot.

A little over 400 lines: a question and the watch go over the same connections and tell each
other when nobody answers.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.defer import TimeoutError as DeferTimeout
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IDelayedCall, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IResponse
from zope.interface import implementer

from tlsgate.cluster.answers import read_whole
from tlsgate.errors import BadAsk, GateError, Unreachable
from tlsgate.interfaces import IAuthDoor, IWatch
from tlsgate.net.asking import FAILURES, Always
from tlsgate.tls.dialing import why as tls_reason

#: By which an auth service is told on whose behalf a gateway asks; `auth.principal` reads it.
AS_HEADER: Final = "tlsgate-as"

_ANSWER_SECONDS: Final = 30.0
#: The auth service says at least every 15 seconds that it is there.
_SILENCE_SECONDS: Final = 40.0
#: After so long without an answer somebody looks whether anybody is there, for so long.
_DOUBT_SECONDS, _PROBE_SECONDS = 1.0, 0.8
#: How long anybody waits for an answer of one who is known to be away.
_LOST_SECONDS: Final = 2.0
#: So long that it costs nothing, and short enough to be back within five seconds.
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.1, 4.0
#: A line of the watch; a snapshot of thousands of roles fits.
_LINE_BYTES: Final = 64 << 20

#: What this process asks has short answers; what it passes on are pages of lists.
_ANSWER_BYTES: Final = 1 << 20
PAGE_BYTES: Final = 32 << 20

#: How a connection ends that was there.
_HUNG_UP: Final = (ConnectionDone, ConnectionLost)
#: Failures in a row after which the log says that nobody answers.
_TELL_AFTER: Final = 3
#: What a request may ask for; anything else never leaves this process.
#: What may be asked twice, though it is no GET: it says the same again, or gives another
#: certificate of the same key.
_REPEATABLE: Final = frozenset(
    {
        "/v1/agent/db-certificates",
        "/v1/agent/heartbeat",
        "/v1/gateway/agents",
        "/v1/gateway/certificates",
        "/v1/gateway/report",
        "/v1/me/certificates",
    }
)
_METHOD, _PATH = re.compile(r"[A-Z]{1,16}"), re.compile(r"/[\x21-\x7e]{0,4095}")


@implementer(IAuthDoor)
class HttpDoor:
    """Asks an auth service over connections of an endpoint.

    Args:
        reactor: Twisted's.
        endpoint: to the auth service; whoever answers there is it.
        where: how messages call it.
        far: it is on another machine, or may be: whoever waits is told soon when it is away.
            Beside us it is back at once, and its socket's queue keeps what is asked.
    """

    def __init__(
        self,
        reactor: Any,
        endpoint: IStreamClientEndpoint,
        where: str,
        *,
        far: bool = False,
    ) -> None:
        self._far = far
        self._reactor = reactor
        self._where = where
        #: True while the watch is not heard: then nobody waits long for an answer.
        self.lost = False
        #: Questions that wait for long.
        self._doubted: list[Deferred[IResponse]] = []
        pool = HTTPConnectionPool(reactor)
        pool.maxPersistentPerHost = 8
        pool.cachedConnectionTimeout = 20
        self._agent: Agent = Agent.usingEndpointFactory(reactor, Always(endpoint), pool)

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
        who = f"{'anyone' if as_anyone else 'gateway'} {address or ''}".rstrip()
        wire = None if body is None else json.dumps(body).encode()
        status, answer = await self.raw(method, path, wire, who, limit_bytes=_ANSWER_BYTES)
        try:
            return status, json.loads(answer)
        except ValueError as error:
            raise Unreachable(self._where, "what answers there is no auth service") from error

    async def raw(
        self,
        method: str,
        path: str,
        body: bytes | None,
        who: str,
        *,
        limit_bytes: int = PAGE_BYTES,
    ) -> tuple[int, bytes]:
        """Ask as *who*, and give the status and the body as they come.

        Raises:
            Unreachable: there is no answer, or one of more than *limit_bytes*.
            BadAsk: this is nothing that could be asked.
        """
        if not (_METHOD.fullmatch(method) and _PATH.fullmatch(path)):
            raise BadAsk("the method or the path has characters that neither has")
        began = self._reactor.seconds()
        seconds = _LOST_SECONDS if self.lost and self._far else _ANSWER_SECONDS
        try:
            try:
                response = await self._asked(method, path, body, who, seconds)
            except FAILURES as error:
                repeatable = method == "GET" or path in _REPEATABLE
                if not (repeatable and isinstance(_cause(error), _HUNG_UP)):
                    raise
                response = await self._asked(method, path, body, who, seconds)
            read = read_whole(response, limit_bytes, lambda: self._too_long(limit_bytes))
            return response.code, await read.addTimeout(seconds, self._reactor)
        except FAILURES as error:
            cause = _cause(error)
            if isinstance(cause, GateError):
                raise cause from error
            raise Unreachable(self._where, _why(error, self._reactor.seconds() - began)) from error

    def _asked(
        self, method: str, path: str, body: bytes | None, who: str, seconds: float
    ) -> Deferred[IResponse]:
        asked = self._send(method, path, body, who, seconds)
        if self._far:
            self._doubt_later(asked)
        return asked

    def _too_long(self, limit_bytes: int) -> Unreachable:
        return Unreachable(self._where, f"its answer is longer than {limit_bytes >> 20} MiB")

    def _doubt_later(self, asked: Deferred[IResponse]) -> None:
        """After a while without an answer, see whether anybody is there at all.

        A login may wait for its turn to be hashed; an auth service that has stopped, or a
        network that swallows what it gets, is another thing, and is told at once (R14).
        """
        doubt = self._reactor.callLater(_DOUBT_SECONDS, self._doubt, asked)

        def answered(result: Any) -> Any:
            if doubt.active():
                doubt.cancel()
            return result

        asked.addBoth(answered)

    def _doubt(self, asked: Deferred[IResponse]) -> None:
        self._doubted.append(asked)
        if len(self._doubted) == 1:
            probe = self._send("GET", "/v1/me", None, "gateway", _PROBE_SECONDS)
            probe.addCallbacks(self._is_there, self._is_silent)

    def _is_there(self, response: IResponse) -> None:
        self._doubted.clear()
        read = read_whole(response, _ANSWER_BYTES, lambda: self._too_long(_ANSWER_BYTES))
        read.addErrback(lambda _: None)

    def _is_silent(self, _: Failure) -> None:
        doubted, self._doubted = self._doubted, []
        for asked in doubted:
            asked.cancel()

    def _send(
        self,
        method: str,
        path: str,
        body: bytes | None,
        who: str,
        seconds: float = _ANSWER_SECONDS,
    ) -> Deferred[IResponse]:
        headers = Headers({AS_HEADER: [who]})
        producer = None
        if body is not None:
            headers.setRawHeaders("content-type", ["application/json"])
            producer = _Body(body)
        url = b"http://auth" + path.encode("ascii")
        asked = self._agent.request(method.encode(), url, headers, producer)
        asked.addTimeout(seconds, self._reactor)
        return asked

    def watch(self, heard: Callable[[Mapping[str, Any]], None]) -> IWatch:
        """See `IAuthDoor.watch`."""
        return _HttpWatch(self._reactor, self, heard)

    def open_watch(self, path: str = "/v1/watch", who: str = "gateway") -> Deferred[IResponse]:
        """Ask for the endless answer; *path* may have a query.

        Raises:
            BadAsk: this is nothing that could be asked.
        """
        if not _PATH.fullmatch(path):
            raise BadAsk("the path has characters that none has")
        return self._send("GET", path, None, who)

    async def stream(self, path: str, who: str) -> IResponse:
        """The same, for somebody else.

        Raises:
            Unreachable: there is no answer.
            BadAsk: this is nothing that could be asked.
        """
        try:
            return await self.open_watch(path, who)
        except FAILURES as error:
            raise Unreachable(self._where, _why(error)) from error


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
class _HttpWatch:
    """One watch, over as many connections as it takes."""

    log = Logger()

    def __init__(
        self, reactor: Any, door: HttpDoor, heard: Callable[[Mapping[str, Any]], None]
    ) -> None:
        self._reactor = reactor
        self._door = door
        self._heard = heard
        self._failures = 0
        self._stopped = False
        self._asking: Deferred[IResponse] | None = None
        self._lines: _Lines | None = None
        self._again: IDelayedCall | None = None
        self._open()

    def stop(self) -> None:
        self._stopped = True
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._asking is not None:
            self._asking.cancel()
        if self._lines is not None:
            self._lines.leave()

    def _open(self) -> None:
        self._again = None
        asking = self._asking = self._door.open_watch()
        asking.addCallbacks(self._opened, self._failed)

    def _opened(self, response: IResponse) -> None:
        self._asking = None
        lines = self._lines = _Lines(self._reactor, self._line, self._over)
        response.deliverBody(lines)
        if response.code != 200:
            lines.end(f"it refuses with status {response.code}")

    def _failed(self, failure: Failure) -> None:
        self._asking = None
        if not self._stopped and not failure.check(*FAILURES):
            self.log.failure("the watch of the auth service", failure=failure)
        self._over(_why(failure.value))

    def _line(self, said: Mapping[str, Any]) -> None:
        self._door.lost = False
        if self._failures >= _TELL_AFTER:
            self.log.info("the auth service is heard again")
        self._failures = 0
        self._heard(said)

    def _over(self, why: str) -> None:
        """A connection gives no more: plan the next one."""
        self._lines = None
        if self._stopped:
            return
        self._door.lost = True
        self._failures += 1
        if self._failures == _TELL_AFTER:
            self.log.warn(  # noqa: G010 -- Twisted's name
                "the auth service is not heard: {why}; trying on", why=why
            )
        wait = min(_FIRST_WAIT_SECONDS * 2 ** min(self._failures, 10), _LONGEST_WAIT_SECONDS)
        # Full jitter: gateways that lost the same auth service do not come back together.
        self._again = self._reactor.callLater(wait * random.random(), self._open)


class _Lines(Protocol):
    """The body of one answer: JSON objects, a line each.

    Args:
        heard: takes each of them.
        over: called once, with the reason, when no more come; not after `leave`.
    """

    def __init__(
        self,
        reactor: Any,
        heard: Callable[[Mapping[str, Any]], None],
        over: Callable[[str], None],
    ) -> None:
        self._heard: Callable[[Mapping[str, Any]], None] | None = heard
        self._over = over
        self._pieces: list[bytes] = []
        self._waiting_bytes = 0
        why = f"nothing has come for {_SILENCE_SECONDS:g} s"
        self._silence = reactor.callLater(_SILENCE_SECONDS, self.end, why)

    def leave(self) -> None:
        """Hear no more, and close the connection; may be called again."""
        self._heard = None
        if self._silence.active():
            self._silence.cancel()
        # Nobody waits for its end: a peer that is gone would not answer to that either.
        if self.transport is not None:
            self.transport.loseConnection()

    def end(self, why: str) -> None:
        """The same, and say so."""
        if self._heard is not None:
            self.leave()
            self._over(why)

    def dataReceived(self, data: bytes) -> None:
        """Twisted calls this with a piece of the answer."""
        if self._heard is None:
            return
        self._silence.reset(_SILENCE_SECONDS)
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = b"".join((*self._pieces, lines[0]))
            self._pieces, self._waiting_bytes = [], 0
        self._pieces.append(rest)
        self._waiting_bytes += len(rest)
        for line in lines:
            self._take(line)
        if self._waiting_bytes > _LINE_BYTES:
            self.end("a line of it is too long")

    def _take(self, line: bytes) -> None:
        if self._heard is None:  # the one before was the last that somebody wanted
            return
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            said = None
        if isinstance(said, dict):
            self._heard(said)
        else:
            self.end("what answers there is no auth service")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Twisted calls this at the end of the answer."""
        self.transport = None
        self.end("it has hung up")


def _cause(error: BaseException | None) -> BaseException | None:
    """What happened: Twisted's web client wraps it, and more than once."""
    while reasons := getattr(error, "reasons", None):
        error = reasons[0].value
    return error


def _why(error: BaseException | None, seconds: float = _ANSWER_SECONDS) -> str:
    cause = _cause(error)
    if isinstance(cause, (DeferTimeout, CancelledError)):
        return f"no answer within {seconds:.3g} s"
    if isinstance(cause, Unreachable):
        return cause.why
    return (cause and tls_reason(cause)) or str(cause) or type(cause).__name__
