"""Tests for `core.http.forwarded`."""

from __future__ import annotations

from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.http.forwarded import MOST_HOPS, client_of

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
BALANCER = "10.0.0.5"


class ClientOfTests(SynchronousTestCase):
    """Tests for `client_of`."""

    def test_s19_from_the_end(self) -> None:
        """The nearest hop that is not trusted; what a client has written before does not count."""
        for written, found in (
            ([b"192.0.2.1"], "192.0.2.1"),
            ([b"198.51.100.9, 192.0.2.1"], "192.0.2.1"),
            ([b"10.0.0.9, 192.0.2.1"], "192.0.2.1"),
            ([b"192.0.2.1, 10.1.2.3,10.0.0.6"], "192.0.2.1"),
            ([b"192.0.2.1", b"10.0.0.6"], "192.0.2.1"),
            ([b"10.0.0.7, 10.0.0.6"], "10.0.0.7"),
            ([b" \t2001:db8::1 "], "2001:db8::1"),
            ([b"[2001:db8::1]:4711"], "2001:db8::1"),
            ([b"192.0.2.1:4711"], "192.0.2.1"),
            ([b"::ffff:192.0.2.1, fd00::1"], "192.0.2.1"),
        ):
            self.assertEqual(client_of(BALANCER, written, TRUSTED), found, written)

    def test_s19_no_address(self) -> None:
        """Behind what is no address nobody is believed: it is the hop that has passed it on."""
        for junk in (
            *(b"", b"unknown", b"_hidden", b"127.1", b"192.0.2.1 192.0.2.2", b"\xff", b"1" * 99),
            *(b"240.0.0.1", b"255.255.255.255", b"0.0.0.0", b"224.0.0.1", b"::", b"ff02::1"),
        ):
            for written, found in (
                ([junk], BALANCER),
                ([b"192.0.2.1, " + junk], BALANCER),
                ([b"192.0.2.1, " + junk + b", 10.0.0.6"], "10.0.0.6"),
            ):
                self.assertEqual(client_of(BALANCER, written, TRUSTED), found, written)

    def test_s19_strangers(self) -> None:
        """Who is not trusted is who has connected, whatever is written."""
        for peer in ("192.0.2.7", "", "local", "240.0.0.1"):
            self.assertEqual(client_of(peer, [b"198.51.100.9"], TRUSTED), peer)
        self.assertEqual(client_of(BALANCER, [b"198.51.100.9"], ()), BALANCER)
        self.assertEqual(client_of(BALANCER, [], TRUSTED), BALANCER)
        self.assertEqual(client_of("::ffff:10.0.0.5", [b"192.0.2.1"], TRUSTED), "192.0.2.1")

    def test_s19_many_hops(self) -> None:
        """Only the nearest are looked at."""
        hops = b"192.0.2.1" + b", 10.0.0.6" * MOST_HOPS
        self.assertEqual(client_of(BALANCER, [hops], TRUSTED), "10.0.0.6")
        hops = b"192.0.2.1" + b", 10.0.0.6" * (MOST_HOPS - 1)
        self.assertEqual(client_of(BALANCER, [hops], TRUSTED), "192.0.2.1")

    @given(st.lists(st.binary(max_size=60), max_size=4))
    def test_anything(self, written: list[bytes]) -> None:
        """Nothing is raised, and what follows a trusted balancer's own word decides."""
        client_of(BALANCER, written, TRUSTED)
        self.assertEqual(client_of(BALANCER, [*written, b"192.0.2.1"], TRUSTED), "192.0.2.1")
