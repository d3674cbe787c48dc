"""/v1 on the web port: what the auth service answers to somebody without a certificate.

The gateway only carries the question to the auth service, wherever that is, and says whose
address it comes from; the auth service knows what anybody may ask.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from tlsgate.auth.strict import read_json
from tlsgate.errors import GateError
from tlsgate.interfaces import ICluster
from tlsgate.protocols.web import answers
from tlsgate.protocols.web.asked import told_address

_log = Logger()

#: No path of the API is longer or has other characters.
_PATH: Final = re.compile(r"/[\x21-\x7e]{0,511}")


class Anyone(Resource):
    """Every path below /v1."""

    isLeaf = True

    def __init__(self, cluster: ICluster) -> None:
        super().__init__()
        self._cluster = cluster

    def render(self, request: Request) -> int:
        """Answer *request* (Twisted calls this)."""
        gone: list[Failure] = []
        request.notifyFinish().addErrback(gone.append)
        answering = Deferred.fromCoroutine(self._answer(request, gone))
        answering.addErrback(self._failed, request, gone)
        return NOT_DONE_YET

    async def _answer(self, request: Request, gone: list[Failure]) -> None:
        status, value = await self._ask(request)
        if gone:
            return
        error = value.get("error") if isinstance(value, dict) else None
        seconds = error.get("seconds") if isinstance(error, dict) else None
        if isinstance(seconds, int):
            request.setHeader(b"Retry-After", b"%d" % seconds)
        answers.send(request, status, answers.JSON_TYPE, json.dumps(value).encode() + b"\n")

    def _failed(self, failure: Failure, request: Request, gone: list[Failure]) -> None:
        _log.failure("the web API failed", failure=failure)
        if not gone:
            error = {"reason": "error", "fault": "gate", "message": answers.SENTENCES[500]}
            wire = json.dumps({"error": error}).encode() + b"\n"
            answers.send(request, 500, answers.JSON_TYPE, wire)

    async def _ask(self, request: Request) -> tuple[int, Any]:
        method = request.method.decode("latin-1")
        path = request.path.decode("latin-1")
        if not _PATH.fullmatch(path):
            return 404, _said("there is nothing at this path", "not_found")
        body = None
        if method == "POST":
            kinds = request.requestHeaders.getRawHeaders("content-type", [""])
            # A form on another site can send anything but this without asking first (S29).
            if kinds[0].partition(";")[0].strip().lower() != "application/json":
                return 415, _said("a body must be application/json")
            assert request.content is not None
            try:
                # As at the API's own doors: JSON that two readers could take differently is none.
                body = read_json(request.content.read())
            except GateError:
                return 400, _said("the body is no JSON")
            if not isinstance(body, dict):
                return 400, _said("the body has to be a JSON object")
        elif method not in ("GET", "HEAD"):
            return 405, _said("this address takes GET and POST")
        address = told_address(request)
        try:
            return await self._cluster.door.ask(
                "GET" if method == "HEAD" else method,
                path,
                body,
                address=address,
                as_anyone=True,
            )
        except GateError as error:
            return 503, {
                "error": {
                    "reason": error.reason,
                    "fault": error.fault.value,
                    "message": str(error),
                }
            }


def _said(message: str, reason: str = "bad_ask") -> dict[str, Any]:
    return {"error": {"reason": reason, "fault": "client", "message": message}}
