"""What answers for the cluster on the admin socket: the API here, or the auth process.

Both are only reached by who may use the socket; the API calls them `local:<uid>`, and lets
them do everything. The process before this one asks by it too, while it drains: its header says
for whom (`auth.principal.of_machine`).

Right after an upgrade the auth service of this process waits until the one before it has left
the store. Whoever asks meanwhile waits too, for `WAIT_SECONDS` at the most.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from tlsgate.auth.api import BUG, error_json, refusal
from tlsgate.auth.calls import Reply
from tlsgate.auth.principal import AS_HEADER, Principal, of_machine
from tlsgate.auth.web import ApiResource
from tlsgate.cluster.answers import Passing
from tlsgate.cluster.httpdoor import HttpDoor
from tlsgate.errors import Fault, GateError, Unreachable
from tlsgate.service.admin import Beside
from tlsgate.service.auth import AuthService

_log = Logger()

_WATCH = b"/v1/watch"
#: How long a question waits for an auth service that is coming, and how often it looks.
WAIT_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.05


@implementer(Beside)
class Here:
    """The API of this process.

    Args:
        auth: whose it is.
        clock: for deadlines.
        us: what our own processes are to it.
    """

    def __init__(self, auth: AuthService, clock: Any, us: Callable[[], Principal]) -> None:
        self._auth = auth
        self._clock = clock
        self._us = us

    def resource(self, uid_of: Callable[[Request], int]) -> Resource:
        """See `Beside.resource`."""

        def who(request: Request) -> Principal:
            return of_machine(self._us(), uid_of(request), request.getHeader(AS_HEADER))

        api = self._auth.api
        if api is None:
            return _Coming(self._auth, who, self._clock)
        return ApiResource(api, who, self._clock)


class _Later(Resource):
    """Answers in its own time."""

    isLeaf = True

    def render(self, request: Request) -> int:
        """Answer *request* (Twisted calls this)."""
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)
        answering = Deferred.fromCoroutine(self._answer(request, gone))
        answering.addErrback(lambda failure: _log.failure("admin socket", failure=failure))
        return NOT_DONE_YET

    async def _answer(self, request: Request, gone: list[object]) -> None:
        """Answer *request*; *gone* has something once nobody waits for it."""
        raise NotImplementedError


class _Coming(_Later):
    """Answers as soon as there is an auth service."""

    def __init__(self, auth: AuthService, who: Callable[[Request], Principal], clock: Any) -> None:
        super().__init__()
        self._auth = auth
        self._who = who
        self._clock = clock

    async def _answer(self, request: Request, gone: list[object]) -> None:
        try:
            self._who(request)
            api = await self._api(gone)
        except GateError as error:
            _write(request, gone, refusal(error))
            return
        if not gone:
            ApiResource(api, self._who, self._clock).render(request)

    async def _api(self, gone: list[object]) -> Any:
        """Wait for the API.

        Raises:
            Unreachable: it has not come, or nobody waits any more.
        """
        until = self._clock.seconds() + WAIT_SECONDS
        while self._auth.api is None:
            if gone or self._clock.seconds() >= until:
                raise Unreachable("the auth service", "it is starting or stopping; try again")
            await deferLater(self._clock, _LOOK_SECONDS)
        return self._auth.api


@implementer(Beside)
class There:
    """The API of the auth process."""

    def __init__(self, door: HttpDoor) -> None:
        self._door = door

    def resource(self, uid_of: Callable[[Request], int]) -> Resource:
        """See `Beside.resource`."""
        return _Forward(self._door, uid_of)


class _Forward(_Later):
    """Asks the auth process, and gives its answer as it comes."""

    def __init__(self, door: HttpDoor, uid_of: Callable[[Request], int]) -> None:
        super().__init__()
        self._door = door
        self._uid_of = uid_of

    async def _answer(self, request: Request, gone: list[object]) -> None:
        try:
            if request.method == b"GET" and request.uri.partition(b"?")[0] == _WATCH:
                await self._watch(request, gone)
                return
            status, body = await self._ask(request)
        except GateError as error:
            reply = refusal(error)
            status, body = reply.status, _wire(reply)
        except Exception:
            _log.failure("admin socket")
            status, body = 500, _wire(Reply(status=500, body=BUG))
        if not gone:
            _begin(request, status)
            request.write(body)
            request.finish()

    async def _watch(self, request: Request, gone: list[object]) -> None:
        """Pass on what has no end, until one of the two hangs up."""
        who = self._said(request)
        response = await self._door.stream(request.uri.decode("latin-1"), who)
        if not gone:
            _begin(request, response.code)  # it leaves with the first line
        response.deliverBody(Passing(None if gone else request))

    async def _ask(self, request: Request) -> tuple[int, bytes]:
        who = self._said(request)
        if getattr(request, "too_long", False):
            error = error_json("too_long", Fault.CLIENT, "the body is too long")
            return 413, _wire(Reply(status=413, body=error))
        body = b"" if request.content is None else request.content.read()
        method, path = request.method.decode("latin-1"), request.uri.decode("latin-1")
        return await self._door.raw(method, path, body or None, who)

    def _said(self, request: Request) -> str:
        """For whom the auth process is asked."""
        uid = self._uid_of(request)
        said = request.getHeader(AS_HEADER) or ""
        return said if said.partition(" ")[0] in ("gateway", "anyone") else f"local {uid}"


def _write(request: Request, gone: list[object], reply: Reply) -> None:
    if not gone:
        _begin(request, reply.status)
        request.write(_wire(reply))
        request.finish()


def _begin(request: Request, status: int) -> None:
    request.setResponseCode(status)
    request.setHeader("content-type", "application/json")
    request.setHeader("cache-control", "no-store")


def _wire(reply: Reply) -> bytes:
    return json.dumps(reply.body).encode() + b"\n"
