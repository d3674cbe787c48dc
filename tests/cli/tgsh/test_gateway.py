"""Tests for `tgsh.gateway`: addresses, versions, who is on this machine."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.cli.tgsh.gateway import is_loopback, parse_proxy, too_old
from tlsgate.errors import BadAsk


class ParseProxyTests(SynchronousTestCase):
    """Tests for `parse_proxy`."""

    def test_spellings(self) -> None:
        """Every way in which people write a gateway."""
        for text, want in (
            ("gate.test", ("gate.test", None)),
            ("Gate.Test.:443", ("gate.test", 443)),
            ("gate.test:3080,3023", ("gate.test", 3080)),
            ("https://gate.test:443/", ("gate.test", 443)),
            ("10.0.0.1:1", ("10.0.0.1", 1)),
            ("[::1]:443", ("::1", 443)),
            ("[::1]", ("::1", None)),
            ("::1", ("::1", None)),
        ):
            self.assertEqual(parse_proxy(text), want, text)

    def test_none(self) -> None:
        """What is no host and port is refused; nothing of it becomes a path."""
        for text in ("", ":443", "a/b", "../x", "gate.test:0", "gate.test:65536", "g:x", "-x"):
            self.assertRaises(BadAsk, parse_proxy, text)


class WordsTests(SynchronousTestCase):
    """Tests for `is_loopback` and `too_old`."""

    def test_loopback(self) -> None:
        """Only what no name server has a say in."""
        for host, want in (
            *(("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True)),
            *(("10.0.0.1", False), ("localhost.test", False), ("gate.test", False)),
        ):
            self.assertEqual(is_loopback(host), want, host)

    def test_versions(self) -> None:
        """Numbers are compared as numbers; what is none refuses nobody."""
        for ours, least, want in (
            *(("1.0.0", "0.0.0", False), ("1.0.0", "1.0.0", False), ("1.9.0", "1.10.0", True)),
            *(("1.0.0", "", False), ("1.0.0", "nonsense", False), ("9.0.0", "10.0.0", True)),
        ):
            self.assertEqual(too_old(ours, least), want, (ours, least))
