"""Tests for `tlsgate.core.addresses`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.addresses import host_port, split, whole


class AddressesTests(SynchronousTestCase):
    """Addresses, put together and taken apart."""

    def test_there_and_back(self) -> None:
        """What is written is read as the same."""
        for host, port, written in (
            ("gw.example.com", 443, "gw.example.com:443"),
            ("192.0.2.1", 22, "192.0.2.1:22"),
            ("2001:db8::1", 22, "[2001:db8::1]:22"),
            ("", 3024, ":3024"),
        ):
            self.assertEqual(host_port(host, port), written)
            self.assertEqual((split(written), whole(written)), ((host, port), (host, port)))

    def test_no_port(self) -> None:
        """A host may stand alone, where nobody is going to dial it."""
        for written, host in (
            ("gw.example.com", "gw.example.com"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("gw:https", "gw:https"),
            ("gw:\u0661", "gw:\u0661"),
            ("", ""),
        ):
            self.assertEqual(split(written), (host, None))
            self.assertRaises(ValueError, whole, written)
