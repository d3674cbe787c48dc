"""Tests for `tlsgate.core.http.responses`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.http.fields import Fields
from tlsgate.core.http.requests import RequestHead
from tlsgate.core.http.requests import judge as judge_request
from tlsgate.core.http.responses import ResponseHead, is_accepted, judge
from tlsgate.errors import BadBytes

LENGTH: Fields = ((b"content-length", b"5"),)
CHUNKED: Fields = ((b"transfer-encoding", b"chunked"),)
#: Of RFC 6455 section 1.3.
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


class JudgeTests(SynchronousTestCase):
    """How an answer's body ends."""

    def test_each(self) -> None:
        """RFC 9112 section 6.3, in its order."""
        for status, fields, version, method, length, told, keeps in (
            (200, LENGTH, b"1.1", b"GET", 5, 5, True),
            (200, LENGTH, b"1.1", b"HEAD", 0, 5, False),
            (304, LENGTH, b"1.1", b"GET", 0, 5, True),
            (204, LENGTH, b"1.1", b"GET", 0, None, True),
            (200, CHUNKED, b"1.1", b"GET", None, None, True),
            (200, CHUNKED, b"1.1", b"HEAD", 0, None, False),
            (200, (), b"1.1", b"GET", None, None, False),
            (200, LENGTH, b"1.0", b"GET", 5, 5, False),
            (200, ((b"connection", b"close"), *LENGTH), b"1.1", b"GET", 5, 5, False),
            (100, (), b"1.1", b"GET", 0, None, True),
        ):
            found = judge(status, fields, version, method)
            self.assertEqual((found.length, found.told, found.keeps), (length, told, keeps))

    def test_final(self) -> None:
        """Other heads follow an interim one; none follows 101."""
        found = [judge(status, (), b"1.1", b"GET").is_final for status in (100, 101, 103, 200)]
        self.assertEqual(found, [False, True, False, True])

    def test_refused(self) -> None:
        """What leaves the end open, or is no answer."""
        for status, fields, version in (
            (200, (*LENGTH, *CHUNKED), b"1.1"),
            (200, (*LENGTH, *LENGTH), b"1.1"),
            (200, CHUNKED, b"1.0"),
            (200, ((b"transfer-encoding", b"gzip"),), b"1.1"),
            (100, LENGTH, b"1.1"),
            (100, CHUNKED, b"1.1"),
            (600, (), b"1.1"),
            (200, ((b"x", b"y"),) * 130, b"1.1"),
        ):
            with self.assertRaises(BadBytes):
                judge(status, fields, version, b"GET")


def asked(upgrade: bytes = b"websocket", protocols: bytes = b"chat, superchat") -> RequestHead:
    """A request for another protocol."""
    fields: Fields = (
        (b"host", b"a.test"),
        (b"connection", b"upgrade"),
        (b"upgrade", upgrade),
        (b"sec-websocket-key", KEY),
        (b"sec-websocket-version", b"13"),
        (b"sec-websocket-protocol", protocols),
    )
    return judge_request(b"GET", b"/", fields, b"1.1")


def said(status: int = 101, **more: bytes) -> ResponseHead:
    """An answer to it."""
    given = {
        "connection": b"Upgrade",
        "upgrade": b"WebSocket",
        "sec_websocket_accept": ACCEPT,
        **more,
    }
    fields = tuple((key.replace("_", "-").encode(), value) for key, value in given.items())
    return judge(status, fields, b"1.1", b"GET")


class AcceptedTests(SynchronousTestCase):
    """Which 101 counts (S27)."""

    def test_websocket(self) -> None:
        """One with the right hash, and a subprotocol that was offered."""
        self.assertTrue(is_accepted(asked(), said()))
        self.assertTrue(is_accepted(asked(), said(sec_websocket_protocol=b"chat")))
        for answer in (
            said(200),
            said(upgrade=b"other"),
            said(connection=b"keep-alive"),
            said(sec_websocket_accept=b"x"),
            said(sec_websocket_protocol=b"other"),
        ):
            self.assertFalse(is_accepted(asked(), answer))

    def test_other(self) -> None:
        """Another protocol is none here, whoever confirms it; who asked for none gets none."""
        self.assertFalse(is_accepted(asked(b"other"), said(upgrade=b"other")))
        plain = judge_request(b"GET", b"/", ((b"host", b"a"),), b"1.1")
        self.assertFalse(is_accepted(plain, said()))
