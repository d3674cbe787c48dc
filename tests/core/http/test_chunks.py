"""Tests for `tlsgate.core.http.chunks`."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.http.chunks import (
    Chunks,
    announced,
    last_chunk,
    may_trail,
    passing,
    read_trailers,
)
from tlsgate.core.http.fields import Fields
from tlsgate.errors import BadBytes

BODY = b'3\r\nabc\r\nA;x="y" \r\n0123456789\r\n0 ;a\r\nX-Sum: 1 \r\nY:\r\n\r\nGET /'


def read(raw: bytes, step: int = 0) -> tuple[bytes, Fields, bytes]:
    """Body, trailers and what is left, fed in pieces."""
    chunks, found = Chunks(), b""
    pieces = [raw[at : at + step] for at in range(0, len(raw), step)] if step else [raw]
    rest = b""
    for piece in pieces:
        if chunks.over:
            rest += piece
        else:
            found += b"".join(chunks.feed(piece))
    assert chunks.over
    return found, chunks.trailers, chunks.rest + rest


class ChunksTests(SynchronousTestCase):
    """Tests for `Chunks`."""

    def test_any_cut(self) -> None:
        """Body, trailers and rest are the same however the network cuts them."""
        want = (b"abc0123456789", ((b"x-sum", b"1"), (b"y", b"")), b"GET /")
        for step in range(len(BODY) + 1):
            self.assertEqual(read(BODY, step), want)
        self.assertEqual(read(b"0\r\n\r\n", 1), (b"", (), b""))

    def test_refused(self) -> None:
        """What two readers could take for two bodies is none, however it is cut (S25)."""
        for raw in (
            *(
                b"\r\n",
                b"g\r\n",
                b"0x1\r\n",
                b"+1\r\n",
                b"-1\r\n",
                b" 1\r\n",
                b"1_0\r\n",
                b"1,2\r\n",
            ),
            *(b"1\x00\r\n", b"1\na\r\n0\r\n\r\n", b"1;a\rb\r\na\r\n", b"1;a\nb\r\na\r\n"),
            *(b"f" * 16 + b"\r\n", b"1;" + b"a" * 300, b"1\r\nab", b"1\r\na\n", b"1\r\na\rb"),
            *(b"0\r\nX: a\nY: b\r\n\r\n", b"0\r\nX: a\r\n b\r\n\r\n", b"0\r\nX : a\r\n\r\n"),
            *(b"0\r\nX\r\n\r\n", b"0\r\n: a\r\n\r\n", b"0\r\nX: \x00\r\n\r\n", b"0\r\n\n\r\n\r\n"),
            *(b"0\r\n" + b"X: a\r\n" * 129 + b"\r\n", b"0\r\nX: " + b"a" * 40_000),
        ):
            for step in (1, len(raw)):
                with self.assertRaises(BadBytes, msg=raw[:40]):
                    read(raw, step)

    @settings(max_examples=50, deadline=None)
    @given(st.binary(max_size=40))
    def test_foreign_bytes(self, raw: bytes) -> None:
        """Whatever comes, it is a body, none, or not yet."""
        with contextlib.suppress(BadBytes):
            Chunks().feed(raw)


class TrailersTests(SynchronousTestCase):
    """Which fields may stand behind a body."""

    def test_may_trail(self) -> None:
        """None that says how a message is read, whose it is, or what a gateway says (S21)."""
        for name in (b"content-length", b"transfer-encoding", b"host", b"cookie", b"set-cookie"):
            self.assertFalse(may_trail(name))
        for name in (b"x-tlsgate-user", b"x_forwarded_for", b"content_length", b"connection"):
            self.assertFalse(may_trail(name))
        for name in (b"x-checksum", b"grpc-status", b"server-timing", b"digest"):
            self.assertTrue(may_trail(name))

    def test_announced(self) -> None:
        """Only what may trail, and of that what the head has named."""
        fields = ((b"trailer", b"X-Sum, Host, x y"), (b"trailer", b"digest"))
        self.assertEqual(announced(fields), (b"x-sum", b"digest"))
        sent = ((b"x-sum", b"1"), (b"host", b"evil"), (b"z", b"2"))
        self.assertEqual(passing(sent, announced(fields)), ((b"x-sum", b"1"),))
        self.assertEqual(passing(sent), ((b"x-sum", b"1"), (b"z", b"2")))

    def test_of_http2(self) -> None:
        """What could not be written as a line is none."""
        sent = ((b"x-sum", b"1"), (b"a b", b"2"), (b"c", b"3\r\nd: 4"))
        self.assertEqual(read_trailers(sent), sent[:1])

    def test_last_chunk(self) -> None:
        """It is written as it is read."""
        self.assertEqual(last_chunk(), b"0\r\n\r\n")
        sent = ((b"x-sum", b"1"),)
        self.assertEqual(read(last_chunk(sent)), (b"", sent, b""))
