"""What answers for the cluster on the admin socket: the API here, or the auth process.

Both are only reached by who may use the socket; the API calls them `local:<uid>`, and lets
them do everything.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from tlsgate.auth.api import BUG, error_json, refusal
from tlsgate.auth.calls import Reply
from tlsgate.auth.principal import local
from tlsgate.auth.web import ApiResource
from tlsgate.cluster.answers import Passing
from tlsgate.cluster.httpdoor import HttpDoor
from tlsgate.errors import Fault, GateError
from tlsgate.service.admin import Beside
from tlsgate.service.auth import AuthService

_log = Logger()

_WATCH = b"/v1/watch"


@implementer(Beside)
class Here:
    """The API of this process."""

    def __init__(self, auth: AuthService, clock: Any) -> None:
        self._auth = auth
        self._clock = clock

    def resource(self, uid_of: Callable[[Request], int]) -> Resource | None:
        """See `Beside.resource`."""
        api = self._auth.api
        if api is None:
            return None
        return ApiResource(api, lambda request: local(uid_of(request)), self._clock)


@implementer(Beside)
class There:
    """The API of the auth process."""

    def __init__(self, door: HttpDoor) -> None:
        self._door = door

    def resource(self, uid_of: Callable[[Request], int]) -> Resource:
        """See `Beside.resource`."""
        return _Forward(self._door, uid_of)


class _Forward(Resource):
    """Asks the auth process, and gives its answer as it comes."""

    isLeaf = True

    def __init__(self, door: HttpDoor, uid_of: Callable[[Request], int]) -> None:
        super().__init__()
        self._door = door
        self._uid_of = uid_of

    def render(self, request: Request) -> int:
        """Answer *request* (Twisted calls this)."""
        answering = Deferred.fromCoroutine(self._answer(request))
        answering.addErrback(lambda failure: _log.failure("admin socket", failure=failure))
        return NOT_DONE_YET

    async def _answer(self, request: Request) -> None:
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)
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
        if gone:
            return
        _begin(request, status)
        request.write(body)
        request.finish()

    async def _watch(self, request: Request, gone: list[object]) -> None:
        """Pass on what has no end, until one of the two hangs up."""
        who = f"local {self._uid_of(request)}"
        response = await self._door.stream(request.uri.decode("latin-1"), who)
        if not gone:
            _begin(request, response.code)  # it leaves with the first line
        response.deliverBody(Passing(None if gone else request))

    async def _ask(self, request: Request) -> tuple[int, bytes]:
        who = f"local {self._uid_of(request)}"
        if getattr(request, "too_long", False):
            error = error_json("too_long", Fault.CLIENT, "the body is too long")
            return 413, _wire(Reply(status=413, body=error))
        body = b"" if request.content is None else request.content.read()
        method, path = request.method.decode("latin-1"), request.uri.decode("latin-1")
        return await self._door.raw(method, path, body or None, who)


def _begin(request: Request, status: int) -> None:
    request.setResponseCode(status)
    request.setHeader("content-type", "application/json")
    request.setHeader("cache-control", "no-store")


def _wire(reply: Reply) -> bytes:
    return json.dumps(reply.body).encode() + b"\n"
