"""Tests for `tlsgate.protocols.addresses`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.protocols import addresses
from tlsgate.testing import listener, settings


class AddressTests(SynchronousTestCase):
    """Addresses as clients are told them."""

    def test_of_endpoint(self) -> None:
        """A TCP endpoint has a host and a port; of others nobody knows."""
        for endpoint, wanted in (
            ("tcp:3080", "0.0.0.0:3080"),
            ("tcp:3080:interface=10.0.0.1", "10.0.0.1:3080"),
            (r"tcp:3080:interface=\:\:", "[::]:3080"),
            (r"tcp:3080:interface=\:\:1:backlog=50", "[::1]:3080"),
            ("tcp:port=3080:interface=10.0.0.1", "10.0.0.1:3080"),
            ("tcp6:3080", "[::]:3080"),
            ("tcp:x", None),
            ("tcp:", None),
            ("unix:/run/tlsgate.sock", None),
            ("systemd:domain=INET:index=0", None),
            ("my-own:3080", None),
        ):
            self.assertEqual(addresses.of_endpoint(endpoint), wanted, endpoint)

    def test_listen_addr(self) -> None:
        """After v1 a multiplexing gate sends clients of every listener to the web port."""
        ports = {"web": "a:1", "ssh": "b:2"}
        for version, mode, follows, name, wanted in (
            ("v1", "separate", True, "ssh", "b:2"),
            ("v1", "multiplex", True, "ssh", "b:2"),
            ("v2", "separate", True, "ssh", "b:2"),
            ("v2", "separate", True, "mysql", None),
            ("v2", "multiplex", True, "ssh", "a:1"),
            ("v3", "multiplex", True, "mysql", "a:1"),
            ("v3", "multiplex", False, "ssh", "b:2"),
            ("v3", "multiplex", False, "mongo", None),
        ):
            value = settings(version=version, mode=mode)
            found = addresses.listen_addr(value, ports, name, follows_mode=follows)
            self.assertEqual(found, wanted, (version, mode, name))

    def test_open_listeners(self) -> None:
        """Listeners without an address are left out."""
        value = settings(listeners=(listener("web", "tcp:1"), listener("ssh", "unix:/x", "ssh")))
        self.assertEqual(addresses.open_listeners(value), {"web": "0.0.0.0:1"})

    def test_small_ones(self) -> None:
        """The first of a list counts, and what is empty is left out."""
        self.assertEqual((addresses.first(("a", "b")), addresses.first(())), ("a", None))
        self.assertEqual(addresses.present(a="x", b=None, c=""), {"a": "x"})
