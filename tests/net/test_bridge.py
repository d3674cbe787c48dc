"""The suites of sockets over connections that have none; see `tlsgate.net.bridge`."""

from __future__ import annotations

from tests.net import test_arrival, test_dispatcher, test_relay


class BridgedChoiceTests(test_dispatcher.ChoiceTests):
    """Choice, certificates and alerts."""

    bridged = True


class BridgedPeekTests(test_arrival.PeekTests):
    """Deadlines and truncated openings."""

    bridged = True


class BridgedOpeningTests(test_dispatcher.OpeningTests):
    """Openings before TLS."""

    bridged = True


class BridgedProxyTests(test_dispatcher.ProxyTests):
    """PROXY headers."""

    bridged = True


class BridgedCarryTests(test_relay.CarryTests):
    """Bytes both ways, and back-pressure through the bridge."""

    bridged = True


class BridgedEndTests(test_relay.EndTests):
    """Half-close, which lives inside the stream as close_notify."""

    bridged = True
