"""Tests for `tlsgate.protocols.web.host`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.errors import BadBytes, BadName
from tlsgate.protocols.web.host import asked_for, host_name

NAMES = [
    (b"gw.example.com", "gw.example.com"),
    (b"GW.Example.COM:443", "gw.example.com"),
    (b"gw.example.com.:3080", "gw.example.com"),
    (b"localhost", "localhost"),
    (b"gw.example.com:", "gw.example.com"),
    (b"127.0.0.1:3080", None),
    (b"[::1]:3080", None),
    (b"[2001:db8::7]", None),
]

REFUSED = [
    b"",
    b":443",
    b"gw.example.com:port",
    b"gw.example.com:443:443",
    b"gw.example.com\x00",
    b"gw.example.com/",
    b"user@gw.example.com",
    b"gw example.com",
    b"gw%00.example.com",
    "g\u00fcnther.example.com".encode(),
    b"[::1",
    b"::1",
    b"-.example.com",
    b"a" * 300,
    b"gw.example.com\n",
]


class HostNameTests(SynchronousTestCase):
    """Tests for `host_name`."""

    def test_names_and_addresses(self) -> None:
        """A name comes out in its one spelling, an IP address as no name."""
        self.assertEqual([(wire, host_name(wire)) for wire, _ in NAMES], NAMES)

    def test_refused(self) -> None:
        """What is neither a name nor an address is refused, never guessed at."""
        for wire in REFUSED:
            with self.assertRaises(BadName, msg=wire):
                host_name(wire)

    @given(st.binary(max_size=80))
    def test_any_bytes(self, wire: bytes) -> None:
        """Any bytes give a name, an address, or our own error."""
        try:
            name = host_name(wire)
        except BadName:
            return
        self.assertTrue(name is None or host_name(name.encode()) == name)


class AskedForTests(SynchronousTestCase):
    """Tests for `asked_for`."""

    def test_origin_form(self) -> None:
        """A path stays as it is, and the Host names the request."""
        for version in (b"HTTP/1.1", b"HTTP/2"):
            self.assertEqual(asked_for(b"/a?b=c", [b"gw.test"], version), ("gw.test", b"/a?b=c"))

    def test_absolute_form(self) -> None:
        """A URL that names the same host as Host is taken apart."""
        for target, path in (
            (b"https://gw.test/a?b", b"/a?b"),
            (b"HTTP://GW.test", b"/"),
            (b"https://gw.test?b", b"/?b"),
        ):
            self.assertEqual(asked_for(target, [b"gw.test"], b"HTTP/1.1"), ("gw.test", path))

    def test_http_1_0(self) -> None:
        """HTTP/1.0 knows no Host; without one the request is for no name."""
        self.assertEqual(asked_for(b"/", [], b"HTTP/1.0"), (None, b"/"))

    def test_ambiguous(self) -> None:
        """A request that can be read in two ways is refused."""
        for target, hosts, version in (
            (b"/", [], b"HTTP/1.1"),
            (b"/", [], b"HTTP/2"),
            (b"/", [b"a.test", b"a.test"], b"HTTP/1.1"),
            (b"/", [b"a.test", b"b.test"], b"HTTP/2"),
            (b"https://b.test/", [b"a.test"], b"HTTP/1.1"),
            (b"https://a.test/", [], b"HTTP/1.0"),
            (b"a.test:443", [b"a.test"], b"HTTP/1.1"),
            (b"gopher://a.test/", [b"a.test"], b"HTTP/1.1"),
            (b"", [b"a.test"], b"HTTP/1.1"),
        ):
            with self.assertRaises(BadBytes, msg=repr((target, hosts))):
                asked_for(target, hosts, version)

    def test_http_2_says_it_twice(self) -> None:
        """In HTTP/2 an equal Host beside :authority is common, and fine."""
        self.assertEqual(asked_for(b"/", [b"a.test", b"A.test"], b"HTTP/2"), ("a.test", b"/"))
