"""Tests for `tgsh.trust`: pins, and what is kept of a web certificate."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.cluster import PING, Authority, Cluster
from tlsgate.cli.api import JOIN, WEB, Address, Way
from tlsgate.cli.tgsh.call import Call
from tlsgate.cli.tgsh.gateway import Found
from tlsgate.cli.tgsh.trust import checked_pin, web_authorities
from tlsgate.errors import BadAsk

FAR, NEAR = Address("gate.test", 443), Address("127.0.0.1", 443)


class PinTests(SynchronousTestCase):
    """Tests for `checked_pin`."""

    def test_spellings(self) -> None:
        """With or without its prefix, in any case."""
        for text in ("sha256:" + "Ab" * 32, "AB" * 32):
            self.assertEqual(checked_pin(text), "sha256:" + "ab" * 32)
        for text in ("", "sha256:", "ab" * 31, "xy" * 32, "md5:" + "ab" * 16):
            self.assertRaises(BadAsk, checked_pin, text)


class WebAuthoritiesTests(SynchronousTestCase):
    """Tests for `web_authorities`."""

    def test_each(self) -> None:
        """Only what was verified is kept; of nobody's, what loopback showed."""
        clean = {name: value for name, value in os.environ.items() if name != "SSL_CERT_FILE"}
        self.patch(os, "environ", clean)
        cluster, authority = Cluster(), Authority()
        call = Call(open_way=cluster.open)
        shown = (authority.der,)
        for found, way, want in (
            (Way(FAR), Way(FAR), "system\n"),
            (Way(FAR, roots="kept"), Way(FAR), "kept"),
            (Way(FAR, anyone=True), Way(FAR, JOIN), cluster.web.pem),
            (Way(NEAR, anyone=True), Way(NEAR, JOIN), cluster.web.pem),
            (Way(NEAR, anyone=True), Way(NEAR, WEB, anyone=True), authority.pem),
            (Way(FAR, anyone=True), Way(FAR, WEB, anyone=True), "system\n"),
        ):
            made = web_authorities(call, Found(found, PING, shown), way, "roots", "example")
            self.assertEqual(made.decode(), want)

    def test_named_by_a_variable(self) -> None:
        """Authorities that SSL_CERT_FILE names are kept: other programs read no such variable."""
        file = Path(self.mktemp())
        call, found = Call(), Found(Way(FAR), PING)
        self.patch(os, "environ", {**os.environ, "SSL_CERT_FILE": str(file)})
        self.assertEqual(web_authorities(call, found, Way(FAR), "roots", "example"), b"system\n")
        file.write_text("mine")
        self.assertEqual(web_authorities(call, found, Way(FAR), "roots", "example"), b"mine")
