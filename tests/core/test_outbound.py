"""Tests for `tlsgate.core.outbound`."""

from __future__ import annotations

import base64

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.outbound import HttpProxy, connect_request, http_proxy
from tlsgate.errors import BadBytes

PROXY = {"HTTPS_PROXY": "http://proxy.corp:3128"}


class ProxyTests(SynchronousTestCase):
    """Tests for `http_proxy`."""

    def test_which(self) -> None:
        """A URL, or host and port alone; lower case wins; without a port it is 80."""
        for environ, want in (
            ({}, None),
            ({"HTTPS_PROXY": " "}, None),
            (PROXY, HttpProxy("proxy.corp", 3128)),
            ({"https_proxy": "a", **PROXY}, HttpProxy("a", 80)),
            ({"https_proxy": "HTTP://[fd00::1]:8080/"}, HttpProxy("fd00::1", 8080)),
            ({"HTTP_PROXY": "http://a:1"}, None),
        ):
            self.assertEqual(http_proxy("gate.example.com", 443, environ), want)

    def test_who_asks(self) -> None:
        """User and password go into the header, and into no repr."""
        proxy = http_proxy("a.example", 443, {"https_proxy": "http://al%40x:p%3Aw@b:1"})
        assert proxy is not None
        self.assertEqual(proxy.authorization, "Basic " + base64.b64encode(b"al@x:p:w").decode())
        self.assertNotIn("Basic", repr(proxy))

    def test_what_is_none(self) -> None:
        """A proxy that cannot be meant is an error: nothing goes another way in silence."""
        for written in (
            "https://a:1",
            "socks5://a:1",
            "http://a:0",
            "http://a:99999",
            "http://a b",
            "http://u%0d%0aX:y@a:1",
            "a" * 9000,
        ):
            self.assertRaises(
                BadBytes, http_proxy, "gate.example.com", 443, {"HTTPS_PROXY": written}
            )

    def test_loopback(self) -> None:
        """This machine is never reached through a proxy."""
        for host in ("localhost", "LocalHost.", "127.0.0.1", "127.9.9.9", "::1"):
            self.assertIsNone(http_proxy(host, 443, PROXY), host)
        for host in ("10.0.0.1", "fd00::1", "localhost.example"):
            self.assertIsNotNone(http_proxy(host, 443, PROXY), host)

    def test_no_proxy(self) -> None:
        """Names with what is below them, addresses, networks, ports, and a star."""
        for words, host, spared in (
            ("*", "a.example", True),
            ("example", "a.example", True),
            ("a.example", "A.Example.", True),
            (".a.example", "a.example", False),
            (".a.example", "b.a.example", True),
            ("*.a.example", "b.a.example", True),
            ("*.a.example", "a.example", False),
            ("ample", "a.example", False),
            ("b, a.example:443", "a.example", True),
            ("a.example:444", "a.example", False),
            ("10.0.0.0/8", "10.1.2.3", True),
            ("10.0.0.1", "10.0.0.1", True),
            ("10.0.0.1:443", "10.0.0.1", True),
            ("fd00::/8", "fd00::1", True),
            ("[fd00::1]:443", "fd00::1", True),
            ("example", "10.0.0.1", False),
            (".", "a.example", False),
        ):
            environ = {**PROXY, "NO_PROXY": words}
            self.assertEqual(http_proxy(host, 443, environ) is None, spared, (words, host))


class RequestTests(SynchronousTestCase):
    """Tests for `connect_request`."""

    def test_words(self) -> None:
        """The target stands in both places, an IPv6 address in brackets."""
        self.assertEqual(
            connect_request("gate.example.com", 443, HttpProxy("a", 1)),
            b"CONNECT gate.example.com:443 HTTP/1.1\r\nHost: gate.example.com:443\r\n\r\n",
        )
        self.assertEqual(
            connect_request("fd00::1", 1, HttpProxy("a", 1, "Basic eDp5")),
            b"CONNECT [fd00::1]:1 HTTP/1.1\r\nHost: [fd00::1]:1\r\n"
            b"Proxy-Authorization: Basic eDp5\r\n\r\n",
        )
