"""Tests for `tlsgate.protocols.web.site`: what stands where."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.web.auth import Browser, FakeAuth
from tests.protocols.web.clients import get, visit
from tlsgate.protocols.web.site import public_names

KEYS = {"keys": [{"kty": "EC", "crv": "P-256", "kid": "1", "x": "x", "y": "y"}]}


class JwksTests(SynchronousTestCase):
    """Tests for /.well-known/jwks.json."""

    def test_keys(self) -> None:
        """Anybody gets the keys as they are now, without a reload when they change."""
        browser = Browser(FakeAuth())
        answer = browser.get("/.well-known/jwks.json")
        self.assertEqual((answer.code, json.loads(answer.body)), (200, {"keys": []}))
        browser.context.cluster.jwks = KEYS  # type: ignore[union-attr]
        answer = browser.get("/.well-known/jwks.json")
        self.assertEqual(json.loads(answer.body), KEYS)
        self.assertEqual(answer.headers[b"content-type"], b"application/json")
        self.assertEqual(answer.headers[b"cache-control"], b"public, max-age=60")

    def test_nothing_else(self) -> None:
        """It is read only, has nothing below or beside it, and needs a cluster."""
        browser = Browser(FakeAuth())
        for path in ("/.well-known", "/.well-known/x", "/.well-known/jwks.json/x"):
            self.assertEqual(browser.get(path).code, 404, path)
        self.assertEqual(browser.ask("PUT", "/.well-known/jwks.json").code, 405)
        self.assertEqual(get(visit(), "/.well-known/jwks.json").code, 404)


class PublicTests(SynchronousTestCase):
    """Tests for `public_names`."""

    def test_names(self) -> None:
        """Ports go, and so do addresses, which no application can be below."""
        found = public_names(("Gate.example.com:443", "192.0.2.1:443", "gw.example.org"))
        self.assertEqual(list(found), ["gate.example.com", "gw.example.org"])
