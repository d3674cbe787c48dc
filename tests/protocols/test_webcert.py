"""Tests for `tlsgate.protocols.webcert`: the web certificates, told over the cluster's own."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tlsgate.core.routing import CertRule
from tlsgate.errors import Draining
from tlsgate.interfaces import IGateProtocol
from tlsgate.protocols.webcert import WebCert
from tlsgate.testing import FakeContext, connect

CHAIN = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"


class WebCertTests(SynchronousTestCase):
    """Tests for `WebCert`."""

    def ask(self, line: str) -> bytes:
        """The answer to one request."""
        talk = connect(WebCert(), FakeContext(web_chains=((("gw.test", "*.gw.test"), CHAIN),)))
        talk.send(f"{line} HTTP/1.1\r\nHost: gw.test\r\n\r\n".encode())
        return talk.take()

    def test_what_it_claims(self) -> None:
        """A token and no name; the cluster's certificate is shown, and none is asked for."""
        made = WebCert()
        verifyObject(IGateProtocol, made)
        self.assertEqual(
            (made.alpn, made.client_cert, made.shows_cluster, made.at_auth),
            ((b"tlsgate-webcert",), CertRule.NONE, True, False),
        )
        self.assertEqual(list(made.server_names(("gw.test",))), [])

    def test_told(self) -> None:
        """The document has names and chain of each certificate."""
        head, _, body = self.ask("GET /webapi/certificates").partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 200 "), head)
        self.assertEqual(
            json.loads(body),
            {"certificates": [{"names": ["gw.test", "*.gw.test"], "chain": CHAIN}]},
        )

    def test_nothing_else(self) -> None:
        """No page, no API and no login is behind this token."""
        for line, code in (
            ("GET /", 404),
            ("GET /web", 404),
            ("GET /v1/cas", 404),
            ("POST /v1/login", 404),
            ("GET /webapi/ping", 404),
            ("GET /webapi/certificates/x", 404),
            ("POST /webapi/certificates", 405),
        ):
            self.assertTrue(self.ask(line).startswith(b"HTTP/1.1 %d " % code), line)

    def test_refusal(self) -> None:
        """A refusal is an HTTP answer."""
        self.assertTrue(WebCert().refusal(Draining()).startswith(b"HTTP/1.1 503 "))
