"""Tests for `tlsgate.core.wire.http`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.core.hellos import read_vector
from tlsgate.core.wire import http


class HttpTests(SynchronousTestCase):
    """Tests for `http.bad_request`."""

    def test_bytes(self) -> None:
        """The answer is whole, closes, and says its size in bytes."""
        wire = http.bad_request("use https \N{BULLET}")
        head, _, body = wire.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        self.assertEqual(lines[0], b"HTTP/1.1 400 Bad Request")
        self.assertIn(b"Connection: close", lines)
        self.assertIn(b"Content-Length: %d" % len(body), lines)
        self.assertEqual(body.decode(), "use https \N{BULLET}\n")
        self.assertNotIn(b"Location", wire)


class IsRequestTests(SynchronousTestCase):
    """Tests for `http.is_request`."""

    def test_every_split(self) -> None:
        """A request is known by a whole method and the space behind it."""
        for name in ("http", "http2-prior"):
            wire = read_vector(f"openings/{name}")
            verdicts = [http.is_request(wire[:end]) for end in range(6)]
            self.assertEqual(verdicts, [None, None, None, None, True, True])
        for wire in (b"GETX", b"get ", b"PUX", b" GET"):
            self.assertIs(http.is_request(wire), False)
