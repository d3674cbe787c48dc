"""The API as HTTP: a shell around `auth.api` that reads, bounds and writes; it decides nothing.

1. `ApiRequest` keeps no more of a body than may be read, and says so at its end.
2. `ApiResource` asks the door who this is, reads the JSON, and calls the API.
3. A watch is written line by line, and held back while the client takes nothing.

Texts of errors are the API's own or constant; nothing of a traceback, a path or a header
that came in goes out again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qsl

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from twisted.web.server import Request as SiteRequest
from zope.interface import implementer

from tlsgate.auth.api import BUG, Api, Ask, Reply, error_json, find, refusal
from tlsgate.auth.principal import Principal
from tlsgate.auth.strict import BODY_BYTES, read_json
from tlsgate.errors import BadAsk, Fault, GateError
from tlsgate.interfaces import IWatch

#: How long a request may take to come in whole.
REQUEST_SECONDS: Final = 30.0
#: How long a connection without a request stays.
IDLE_SECONDS: Final = 60.0
#: How long an answer may take; what was asked goes on to its end.
ANSWER_SECONDS: Final = 60.0
#: Of a body that is too long, so much is read and dropped, so that its sender hears why.
DROPPED_BYTES: Final = 64 << 20
#: What may wait for a watcher that takes nothing; then it has to begin anew.
WAITING_BYTES: Final = 4 << 20

_FIELDS = 16  # of a query
_TOO_LONG = Reply(
    status=413,
    body=error_json("too_long", Fault.CLIENT, f"a body may have {BODY_BYTES} bytes"),
    headers={"connection": "close"},
)
_NO_JSON = Reply(
    status=415, body=error_json("bad_ask", Fault.CLIENT, "a body must be application/json")
)
_SLOW = Reply(
    status=503,
    body=error_json("unreachable", Fault.TARGET, "the answer takes too long; look what was done"),
    headers={"retry-after": "5"},
)


class ApiRequest(SiteRequest):
    """A request of which no more than a body's limit is kept."""

    too_long = False
    #: Whether lines are sent for as long as the client wishes.
    watches = False
    _seen = 0

    def gotLength(self, length: int | None) -> None:
        super().gotLength(0)  # in memory: it is bounded

    def handleContentChunk(self, data: bytes) -> None:
        """Keep *data*, or drop it when there is too much (Twisted calls this)."""
        self._seen += len(data)
        if self._seen <= BODY_BYTES:
            super().handleContentChunk(data)
            return
        if not self.too_long:
            self.too_long = True
            assert self.content is not None
            self.content.seek(0)
            self.content.truncate()
        if self._seen > DROPPED_BYTES:
            self.channel.loseConnection()


class _Channel(HTTPChannel):
    """HTTP/1.1 with a deadline on each whole request; it ends with the API that it is for."""

    api: Api | None
    clock: IReactorTime
    _deadline: IDelayedCall | None = None
    _forget: Callable[[], None] | None = None

    def connectionMade(self) -> None:
        if self.api is not None:
            self._forget = self.api.on_end(self._end)
        self._expect()
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        if not self._handlingRequest:
            self._expect()
        super().dataReceived(data)

    def allContentReceived(self) -> None:
        self._stop_expecting()
        super().allContentReceived()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._forget is not None:
            self._forget()
        self._stop_expecting()
        super().connectionLost(reason)

    def _end(self) -> None:
        """Another process answers from now on: this connection leads to nobody.

        An answer that is being made is the last one; a watch would hear nothing any more.
        """
        requests: Any = self.requests
        if any(not getattr(one, "watches", False) for one in requests):
            self.persistent = False
        else:
            self.loseConnection()

    def _expect(self) -> None:
        if self._deadline is None:
            self._deadline = self.clock.callLater(REQUEST_SECONDS, self._too_late)

    def _stop_expecting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()


class ApiSite(Site):
    """HTTP/1.1 connections that speak the API.

    Args:
        resource: an `ApiResource`.
        clock: for deadlines.
    """

    noisy = False

    def __init__(self, resource: Resource, clock: IReactorTime) -> None:
        super().__init__(
            resource,
            requestFactory=ApiRequest,
            timeout=IDLE_SECONDS,
            reactor=clock,
            parsePOSTFormSubmission=False,
        )
        self.displayTracebacks = False
        #: With which connections end; None: it has none of its own.
        self._api: Api | None = getattr(resource, "api", None)
        self._clock = clock

    def log(self, request: Request) -> None:
        """Log nothing: what changes is audited."""

    def buildProtocol(self, addr: IAddress | None) -> HTTPChannel:  # type: ignore[override]
        """Make the channel of one connection (Twisted calls this)."""
        channel: Any = _Channel()
        channel.api, channel.clock = self._api, self._clock
        channel.factory = channel.site = self
        channel.callLater = self._clock.callLater
        channel.timeOut = IDLE_SECONDS
        channel.requestFactory = self.requestFactory
        return channel  # type: ignore[no-any-return]


class ApiResource(Resource):
    """Every path of the API.

    Args:
        api: what answers.
        principal_of: who sent a request, by its connection; may raise a `GateError`.
        clock: for deadlines.
    """

    isLeaf = True
    log = Logger()

    def __init__(
        self, api: Api, principal_of: Callable[[Request], Principal], clock: IReactorTime
    ) -> None:
        super().__init__()
        self.api = api
        self._principal_of = principal_of
        self._clock = clock

    def render(self, request: Request) -> int:
        """Answer *request* (Twisted calls this)."""
        answering = Deferred.fromCoroutine(_Visit(self.api, request, self._clock).run(self))
        answering.addErrback(lambda failure: self.log.failure("api shell", failure=failure))
        return NOT_DONE_YET

    def principal_of(self, request: Request) -> Principal:
        """Who sent *request*."""
        return self._principal_of(request)


class _Visit:
    """One request on its way through the shell."""

    def __init__(self, api: Api, request: Request, clock: IReactorTime) -> None:
        self._api = api
        self._request = request
        self._clock = clock
        self._done = False
        request.notifyFinish().addErrback(self._gone)

    def _gone(self, _: Failure) -> None:
        self._done = True

    async def run(self, resource: ApiResource) -> None:
        """Answer, in time."""
        patience = self._clock.callLater(ANSWER_SECONDS, self.write, _SLOW)
        try:
            try:
                principal = resource.principal_of(self._request)
                ask = self._read()
            except GateError as e:
                self.write(refusal(e))
                return
            except Exception:
                resource.log.failure("api shell: a request cannot be read")
                self.write(Reply(status=500, body=BUG))
                return
            if isinstance(ask, Reply):
                self.write(ask)
                return
            reply = await self._api.call(principal, ask)
            if reply.status == 200 and _is_stream(ask):
                self._stream(principal, ask)
            else:
                self.write(reply)
        finally:
            if patience.active():
                patience.cancel()

    def _read(self) -> Ask | Reply:
        """What is asked; or what to answer without asking the API.

        Raises:
            BadAsk: query or body cannot be read.
        """
        request = self._request
        if getattr(request, "too_long", False):
            return _TOO_LONG
        wire = b"" if request.content is None else request.content.read(BODY_BYTES + 1)
        if len(wire) > BODY_BYTES:
            return _TOO_LONG
        body = None
        if wire:
            kinds = request.requestHeaders.getRawHeaders("content-type", [""])
            if len(kinds) != 1 or kinds[0].partition(";")[0].strip().lower() != "application/json":
                return _NO_JSON
            body = read_json(wire)
        target, _, query = request.uri.partition(b"?")
        try:
            path = target.decode("ascii")
        except UnicodeDecodeError as e:
            raise BadAsk("the path is not ASCII") from e
        method = request.method.decode("latin-1")
        return Ask(method=method, path=path, query=_query(query), body=body)

    def write(self, reply: Reply) -> None:
        """Send *reply*, unless something has been sent or the client is gone."""
        if self._done:
            return
        self._done = True
        try:
            wire = json.dumps(reply.body, allow_nan=False).encode() + b"\n"
            status, headers = reply.status, reply.headers
        except (TypeError, ValueError):
            self._api.log.failure("api shell: an answer is no JSON")
            wire, status, headers = json.dumps(BUG).encode() + b"\n", 500, {}
        self._head(status, "application/json", headers)
        self._request.setHeader("content-length", str(len(wire)))
        self._request.write(wire)
        self._request.finish()

    def _head(self, status: int, kind: str, headers: Mapping[str, str]) -> None:
        request = self._request
        request.setResponseCode(status)
        request.responseHeaders.removeHeader("server")
        request.setHeader("content-type", kind)
        request.setHeader("cache-control", "no-store")
        request.setHeader("x-content-type-options", "nosniff")
        for name, value in headers.items():
            request.setHeader(name, value)

    def _stream(self, principal: Principal, ask: Ask) -> None:
        if self._done:
            return
        self._done = True
        self._request.watches = True  # type: ignore[attr-defined]  # an `ApiRequest`
        self._head(200, "application/jsonl", {})
        stream = _Stream(self._request)
        since = ask.query.get("since")
        stream.watch = self._api.watch(principal, int(since) if since else None, stream.heard)
        if stream.over:
            stream.watch.stop()


@lru_cache(maxsize=1)
def _wire(line: _Same) -> bytes:
    return json.dumps(line.line, allow_nan=False).encode() + b"\n"


class _Same:
    """A line that is the same only as itself: thousands may get it, and it is written once."""

    __slots__ = ("line",)

    def __init__(self, line: Mapping[str, Any]) -> None:
        self.line = line

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.line is self.line

    def __hash__(self) -> int:
        return id(self.line)


def _wire_of(line: Mapping[str, Any]) -> bytes:
    return _wire(_Same(line))


@implementer(IPushProducer)
class _Stream:
    """Lines to one watcher; no more wait for it than `WAITING_BYTES`."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._waiting: list[bytes] = []
        self._size = 0
        self._paused = False
        self.over = False
        self.watch: IWatch | None = None
        request.notifyFinish().addBoth(self._ended)
        request.registerProducer(self, True)

    def heard(self, line: Mapping[str, Any]) -> None:
        """Send *line*; one of the kind "end" is the last."""
        if self.over:
            return
        wire = _wire_of(line)
        if self._paused:
            self._waiting.append(wire)
            self._size += len(wire)
            if self._size > WAITING_BYTES:
                self._hang_up()
            return
        self._request.write(wire)
        if line.get("kind") == "end":
            self._stop()
            self._request.unregisterProducer()
            self._request.finish()

    def pauseProducing(self) -> None:
        """Hold back what comes (Twisted calls this)."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Send what was held back (Twisted calls this)."""
        self._paused = False
        while self._waiting and not self._paused:
            wire = self._waiting.pop(0)
            self._size -= len(wire)
            self._request.write(wire)

    def stopProducing(self) -> None:
        """Stop; the client is gone (Twisted calls this)."""
        self._stop()

    def _ended(self, _: object) -> None:
        self._stop()

    def _hang_up(self) -> None:
        self._stop()
        self._request.unregisterProducer()
        self._request.loseConnection()

    def _stop(self) -> None:
        self.over = True
        self._waiting.clear()
        if self.watch is not None:
            self.watch.stop()


def _is_stream(ask: Ask) -> bool:
    verb, _ = find(ask)
    return not isinstance(verb, Reply) and verb.stream


def _query(query: bytes) -> dict[str, str]:
    """The query's fields, each given once.

    Raises:
        BadAsk: it cannot be read, or says a thing twice.
    """
    if not query:
        return {}
    try:
        pairs = parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_FIELDS,
        )
    except ValueError as e:  # UnicodeError is one
        raise BadAsk("the query cannot be read") from e
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadAsk("the query says a thing twice")
    return found
