"""Tests for `tlsgate.net.asking`."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as DeferTimeout
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectionLost
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import URI
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface.verify import verifyObject

from tlsgate.net.asking import FAILURES, Always


class AlwaysTests(SynchronousTestCase):
    """Tests for `Always`."""

    def test_whatever_the_url_says(self) -> None:
        """A request goes to the endpoint, and its connection leaves no line in the log."""
        reactor: Any = MemoryReactorClock()
        always = Always(TCP4ClientEndpoint(reactor, "192.0.2.1", 443))
        verifyObject(IAgentEndpointFactory, always)
        verifyObject(IStreamClientEndpoint, always)
        factory: Any = Factory.forProtocol(Protocol)
        always.endpointForURI(URI.fromBytes(b"https://gw.test/")).connect(factory)
        self.assertEqual(reactor.tcpClients[0][:2], ("192.0.2.1", 443))
        self.assertIs(factory.noisy, False)

    def test_failures(self) -> None:
        """A network that fails, and a wait that is over, are no bugs."""
        for one in (ConnectionLost, Refused, DeferTimeout, CancelledError, OSError):
            self.assertTrue(issubclass(one, FAILURES), one)
        self.assertFalse(issubclass(LookupError, FAILURES))
