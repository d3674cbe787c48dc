"""One endpoint out of several that lead to the same: the first that takes a connection."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.logger import Logger
from zope.interface import implementer


@implementer(IStreamClientEndpoint)
class AnyOf:
    """Connects by one of *ways*; the one that worked last is tried first.

    Args:
        ways: at least one.
    """

    log = Logger()

    def __init__(self, ways: Sequence[IStreamClientEndpoint]) -> None:
        self._ways = list(ways)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect (Twisted calls this); the error is that of the last way."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        *first, last = self._ways
        for way in first:
            try:
                made: IProtocol = await way.connect(factory)
            except (ConnectError, DNSLookupError, OSError) as error:
                self.log.debug("the next way is tried: {error}", error=str(error))
                continue
            self._prefer(way)
            return made
        made = await last.connect(factory)
        self._prefer(last)
        return made

    def _prefer(self, way: IStreamClientEndpoint) -> None:
        self._ways.remove(way)
        self._ways.insert(0, way)
