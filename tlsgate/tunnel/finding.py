"""Asking a gateway for its /webapi/find document, before each dial.

The document is a signpost and no more: whoever answers, what it leads to has to show that it is
a gateway of the cluster before a byte of ours reaches it (`tunnel.dialling`). So nothing
is made of the web certificate here, which may be one that only browsers know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferTimeout
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

import tlsgate
from tlsgate.core.addresses import whole
from tlsgate.errors import GateError, Unreachable
from tlsgate.net.asking import FAILURES, Always
from tlsgate.net.outbound import way_out
from tlsgate.tls.dialing import Signpost

#: For the connection, and for all of the answer.
CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 10.0
#: The document has some 600 bytes.
_DOCUMENT_BYTES: Final = 64 * 1024


async def find(reactor: Any, server: str, environ: Mapping[str, str]) -> Mapping[str, Any]:
    """Ask *server* ("host:port").

    Raises:
        Unreachable: there is no answer that could be used.
    """
    host, port = whole(server)
    tcp = way_out(reactor, host, port, CONNECT_SECONDS, environ=environ)
    agent = Agent.usingEndpointFactory(reactor, Always(wrapClientTLS(Signpost(host), tcp)))
    # The gateway's ledger would have it for a stranger's else.
    headers = Headers({"User-Agent": [f"tlsgate/{tlsgate.__version__}"]})
    asked = agent.request(b"GET", f"https://{server}/webapi/find".encode("ascii"), headers)
    asked.addTimeout(ANSWER_SECONDS, reactor)
    try:
        return await read(reactor, server, await asked)
    except (*FAILURES, ValueError) as error:
        raise Unreachable(f"the gateway at {server}", _why(error)) from error


async def read(reactor: Any, server: str, response: IResponse) -> Mapping[str, Any]:
    """Read the document out of *response*.

    Raises:
        Unreachable: it is none.
    """
    where = f"the gateway at {server}"
    body = _Body()
    response.deliverBody(body)
    text = await body.done.addTimeout(ANSWER_SECONDS, reactor)
    if response.code != 200:
        raise Unreachable(where, f"/webapi/find is answered with status {response.code}")
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreachable(where, "what answers to /webapi/find is no gateway") from error
    if not isinstance(said, dict):
        raise Unreachable(where, "what answers to /webapi/find is no gateway")
    return said


class _Body(Protocol):
    """Collects a short body."""

    def __init__(self) -> None:
        self.done: Deferred[bytes] = Deferred(lambda _: self._leave())
        self._pieces: list[bytes] = []
        self._size = 0

    def dataReceived(self, data: bytes) -> None:
        """Twisted calls this with a piece."""
        self._size += len(data)
        if self._size > _DOCUMENT_BYTES:
            self._leave()
        else:
            self._pieces.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Twisted calls this at the end."""
        if not self.done.called:
            self.done.callback(b"".join(self._pieces))

    def _leave(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()
        if not self.done.called:
            self._pieces = []
            self.done.callback(b"")


def _why(error: BaseException | None) -> str:
    while reasons := getattr(error, "reasons", None):
        error = reasons[0].value
    if isinstance(error, (DeferTimeout, CancelledError, ConnectingCancelledError)):
        return f"no answer within {ANSWER_SECONDS:g} s"
    if isinstance(error, GateError):
        return str(error)
    return str(error) or type(error).__name__
