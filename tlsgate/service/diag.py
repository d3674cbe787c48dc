"""/healthz, /readyz and /metrics, on `teleport.diag_addr`.

Plain HTTP for the machines that watch the gateway; nothing there is secret, and nothing
changes anything. /healthz says that the process answers; /readyz says 200 when it serves,
400 when it serves and something is wrong (`why`), 503 while it starts or drains.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from tlsgate.service import metrics
from tlsgate.service.delay import delay_of
from tlsgate.service.guard import contradiction

_JSON = b"application/json"


@frozen
class Answer:
    """What goes out: status, kind, bytes."""

    code: int
    kind: bytes
    body: bytes


def site(daemon: Any) -> Site:
    """The site of *daemon* (`service.tree.Daemon`); made anew at each reload, and cheap."""
    root = Resource()
    diagnosis = _Diagnosis(daemon)
    root.putChild(b"", _Page(diagnosis.index))
    root.putChild(b"healthz", _Page(diagnosis.health))
    root.putChild(b"readyz", _Page(diagnosis.readiness))
    root.putChild(b"metrics", _Page(diagnosis.metrics))
    return _DiagSite(root, reactor=daemon.process.reactor, timeout=30)


class _DiagSite(Site):
    """A site that writes no access log and keeps no body."""

    def log(self, request: http.Request) -> None:
        """Probes come every few seconds; nobody wants to read of them."""

    def getContentFile(self, length: int | None) -> io.BytesIO:
        """Where a body goes: nowhere."""
        return _Nowhere()


class _Nowhere(io.BytesIO):
    def write(self, data: Any) -> int:
        return len(data)


class _Diagnosis:
    """The answers about one daemon."""

    def __init__(self, daemon: Any) -> None:
        self._daemon = daemon
        self._ends = metrics.Ends()
        self._delay = delay_of(daemon, daemon.process.reactor)

    async def index(self) -> Answer:
        """Say what there is."""
        return Answer(200, b"text/plain", b"/healthz\n/readyz\n/metrics\n")

    async def health(self) -> Answer:
        """Say that the process answers; that is all it says."""
        return _json(200, {"status": "ok"})

    async def readiness(self) -> Answer:
        """Say whether it serves, and what is wrong if it does so badly."""
        daemon = self._daemon
        if daemon.draining:
            return _json(503, {"status": "draining"})
        if not daemon.ready:
            return _json(503, {"status": "starting"})
        status = await daemon.status()
        why = list(self._faults(status))
        word = "degraded" if why else "ok"
        said = {"status": word, "why": why, "warnings": status["warnings"]}
        return _json(400 if why else 200, said)

    def _faults(self, status: dict[str, Any]) -> list[str]:
        """What an operator has to see to, in constant words."""
        found = []
        last = status.get("last_reload")
        if last is not None and not last["ok"]:
            found.append("the last reload was refused; `tgctl status` says why")
        for member in status.get("members", ()):
            if not (member["ready"] or member["draining"]):
                found.append(f"worker {member['worker']} does not serve")
        found += _of_cluster(status.get("cluster"))
        odd = contradiction(self._daemon.settings, status.get("cluster"))
        found += () if odd is None else (odd,)
        now = time.time()
        for names, end in self._ends.of(self._daemon.settings):
            if end <= now:
                found.append(f"the certificate for {', '.join(names)} has expired")
        return found

    async def metrics(self) -> Answer:
        """Give the figures of all workers together."""
        daemon = self._daemon
        tally = await daemon.crew.tally()
        status = await daemon.status()
        figures = metrics.Figures(
            tally=tally,
            ready=status["ready"],
            started=status["started"],
            ends=self._ends.of(daemon.settings),
            delay=self._delay,
            cluster=status.get("cluster"),
        )
        return Answer(200, metrics.CONTENT_TYPE, metrics.text(figures))


def _of_cluster(cluster: Mapping[str, Any] | None) -> Iterator[str]:
    """What is wrong with what a gateway knows of its cluster."""
    if cluster is None or not cluster["away"]:
        return
    yield "the auth service is not heard; the gateway goes on with what it knows of the cluster"
    age = cluster["age_seconds"]
    if cluster["strict"] and (age is None or age > cluster["limit_seconds"]):
        yield "what it knows is too old for strict locks: users of the cluster are refused"


def _json(code: int, value: object) -> Answer:
    return Answer(code, _JSON, json.dumps(value).encode() + b"\n")


class _Page(Resource):
    """One address; asks its function anew for each request."""

    isLeaf = True
    _log = Logger()

    def __init__(self, make: Callable[[], Awaitable[Answer]]) -> None:
        super().__init__()
        self._make = make

    def render(self, request: Request) -> int:
        """Answer GET and HEAD at exactly this address."""
        if request.postpath:
            _send(request, Answer(404, _JSON, b'{"status": "not found"}\n'))
        elif request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"Allow", b"GET, HEAD")
            _send(request, Answer(405, _JSON, b'{"status": "method not allowed"}\n'))
        else:
            made = Deferred.fromCoroutine(self._answer(request))
            request.notifyFinish().addErrback(lambda _: made.cancel())
            made.addErrback(self._failed, request)
        return NOT_DONE_YET

    async def _answer(self, request: Request) -> None:
        _send(request, await self._make())

    def _failed(self, reason: Failure, request: Request) -> None:
        """Answer a fault of ours; a client that went away needs none."""
        if reason.check(CancelledError):
            return
        self._log.failure("a diagnostic page failed", failure=reason)
        _send(request, Answer(500, _JSON, b'{"status": "failed"}\n'))


def _send(request: Request, answer: Answer) -> None:
    request.setResponseCode(answer.code)
    request.setHeader(b"Server", b"tlsgate")
    request.setHeader(b"Content-Type", answer.kind)
    request.setHeader(b"Content-Length", b"%d" % len(answer.body))
    request.setHeader(b"Cache-Control", b"no-store")
    request.setHeader(b"X-Content-Type-Options", b"nosniff")
    request.write(b"" if request.method == b"HEAD" else answer.body)
    request.finish()
