"""HTTP by Twisted's `Agent`, to one endpoint that is known: what its users have in common."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferTimeout
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionClosed
from twisted.internet.interfaces import IProtocol, IStreamClientEndpoint
from twisted.web.client import (  # type: ignore[attr-defined]  # RequestNotSent is there
    RequestNotSent,
    RequestTransmissionFailed,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

#: By which a request fails that was made as it should be.
FAILURES: Final = (
    ConnectError,
    ConnectingCancelledError,
    ConnectionClosed,
    RequestNotSent,
    RequestTransmissionFailed,
    ResponseFailed,
    ResponseNeverReceived,
    CancelledError,
    DeferTimeout,
    OSError,
)


@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
class Always:
    """One endpoint, whatever the URL says."""

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def endpointForURI(self, uri: Any) -> IStreamClientEndpoint:
        """Give the endpoint (Twisted calls this)."""
        return self

    def connect(self, protocolFactory: Any) -> Deferred[IProtocol]:
        """Connect without a line in the log for each try (Twisted calls this)."""
        protocolFactory.noisy = False
        return self._endpoint.connect(protocolFactory)
