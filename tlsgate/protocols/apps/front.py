"""The front of a connection: the protocol for the version of HTTP that its token names."""

from __future__ import annotations

from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory
from zope.interface import implementer

from tlsgate.protocols.apps.http1 import Http1
from tlsgate.protocols.apps.http2 import Http2
from tlsgate.protocols.apps.visit import Visit


@implementer(IProtocolFactory)
class Front:
    """The factory of one connection."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit

    def doStart(self) -> None:
        """Nothing starts with a connection."""

    def doStop(self) -> None:
        """Nothing stops with it."""

    def buildProtocol(self, addr: IAddress | None) -> IProtocol:
        """Make the protocol."""
        is_h2 = self._visit.context.choice.token == b"h2"
        return Http2(self._visit) if is_h2 else Http1(self._visit)
