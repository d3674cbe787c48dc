"""The way out to a server of the cluster: straight, or through the HTTP proxy of a company.

1. `way_out` gives an endpoint; `core.outbound` says whether a proxy stands between.
2. Where one does, it is asked with CONNECT and answers with a head, after which the
   connection is the server's: the protocol takes it over as if it had dialled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from tlsgate.core.outbound import HttpProxy, connect_request, http_proxy
from tlsgate.errors import BadBytes

#: Of a proxy's answer, whose head is all that counts.
_HEAD_BYTES: Final = 16 * 1024
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: ([^\r\n]*))?\r?\n")


def way_out(
    reactor: Any, host: str, port: int, seconds: float, *, environ: Mapping[str, str]
) -> IStreamClientEndpoint:
    """Make an endpoint that connects to *host*, by whatever way *environ* demands.

    Args:
        seconds: for a connection, and again for a proxy's answer.
    """
    try:
        proxy = http_proxy(host, port, environ)
    except BadBytes as error:
        return _Impossible(str(error))
    if proxy is None:
        return HostnameEndpoint(reactor, host, port, timeout=seconds)
    return Proxied(reactor, proxy, host, port, seconds)


@implementer(IStreamClientEndpoint)
class _Impossible:
    """An endpoint of which only the reason is known why it leads nowhere."""

    def __init__(self, why: str) -> None:
        self._why = why

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Fail (Twisted calls this)."""
        failed: Deferred[IProtocol] = Deferred()
        failed.errback(Failure(ConnectError(string=self._why)))
        return failed


@implementer(IStreamClientEndpoint)
class Proxied:
    """An endpoint behind an HTTP proxy.

    Args:
        seconds: for the connection to the proxy, and again for its answer.
        inner: how the proxy is dialled; made here unless a test has another.
    """

    def __init__(
        self,
        reactor: Any,
        proxy: HttpProxy,
        host: str,
        port: int,
        seconds: float,
        inner: IStreamClientEndpoint | None = None,
    ) -> None:
        self._reactor = reactor
        self._proxy = proxy
        self._request = connect_request(host, port, proxy)
        self._seconds = seconds
        self._inner = inner or HostnameEndpoint(reactor, proxy.host, proxy.port, timeout=seconds)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect, and give the factory's protocol the server's own bytes (Twisted calls this)."""
        asking: _Asking | None = None

        def cancel(_: object) -> None:
            dialling.cancel()
            if asking is not None:
                asking.give_up("it was not waited for")

        done: Deferred[IProtocol] = Deferred(cancel)

        def connected(made: IProtocol) -> None:
            nonlocal asking
            assert isinstance(made, _Asking)
            asking = made

        def failed(failure: Failure) -> None:
            if not done.called:
                why = f"the HTTP proxy cannot be reached: {failure.getErrorMessage()}"
                done.errback(Failure(ConnectError(string=why)))

        where = f"the HTTP proxy {self._proxy.host}:{self._proxy.port}"
        factory = Factory.forProtocol(
            lambda: _Asking(self._reactor, where, self._request, self._seconds, inner, done)
        )
        factory.noisy = False
        inner = protocolFactory
        dialling = self._inner.connect(factory)
        dialling.addCallbacks(connected, failed)
        return done


class _Asking(Protocol):
    """Asks a proxy, and steps aside."""

    def __init__(
        self,
        reactor: Any,
        where: str,
        request: bytes,
        seconds: float,
        inner: IProtocolFactory,
        done: Deferred[IProtocol],
    ) -> None:
        self._where = where
        self._request = request
        self._inner = inner
        self._done = done
        self._head = b""
        self._late = reactor.callLater(seconds, self.give_up, f"no answer within {seconds:g} s")

    def connectionMade(self) -> None:
        """Twisted calls this: the proxy is there."""
        assert self.transport is not None
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        """Twisted calls this with a piece of the proxy's answer."""
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end:
            if len(self._head) > _HEAD_BYTES:
                self.give_up("its answer is too long")
            return
        status = _STATUS.match(head + b"\r\n")
        if status is None:
            self.give_up("what answers there is no HTTP proxy")
        elif not status[1].startswith(b"2"):
            reason = (status[2] or b"")[:200].decode("ascii", "replace")
            self.give_up(f"it refuses: {status[1].decode()} {reason}".rstrip())
        elif rest:
            # Behind it nobody speaks before us: these are bytes of something else.
            self.give_up("it says more than its answer")
        else:
            self._step_aside()

    def _step_aside(self) -> None:
        self._late.cancel()
        transport: Any = self.transport
        made = self._inner.buildProtocol(transport.getPeer())
        done = self._done
        if made is None or done.called:
            transport.abortConnection()
            if not done.called:
                done.errback(Failure(ConnectError(string="nobody takes the connection")))
            return
        transport.protocol = made
        made.makeConnection(transport)
        done.callback(made)

    def give_up(self, why: str) -> None:
        """Close, and say why; may be called again, and after the end."""
        if self._late.active():
            self._late.cancel()
        if self.transport is not None:
            transport: Any = self.transport
            transport.abortConnection()
        if not self._done.called:
            self._done.errback(Failure(ConnectError(string=f"{self._where}: {why}")))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Twisted calls this: the proxy has hung up."""
        self.transport = None
        self.give_up("it has hung up")
