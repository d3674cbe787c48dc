"""Tests for `tgsh.localpg`."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.cli.tgsh.localpg import Begin, No, Prelude, refusal
from tlsgate.errors import BadBytes

SSL = struct.pack("!II", 8, 80877103)
GSS = struct.pack("!II", 8, 80877104)
CANCEL = struct.pack("!III4s", 16, 80877102, 7, b"keys")
_BODY = b"user\0app\0database\0shop\0\0"
STARTUP = struct.pack("!II", 8 + len(_BODY), 3 << 16) + _BODY


class PreludeTests(SynchronousTestCase):
    """Tests for `Prelude`."""

    def test_every_cut(self) -> None:
        """A client asks for GSS and TLS, gets no twice, and begins, however it is cut."""
        for first in (STARTUP, CANCEL):
            for message in (GSS, SSL, first):
                for cut in range(1, len(message)):
                    prelude = Prelude()
                    self.assertIsNone(prelude.feed(message[:cut]))
                    found = prelude.feed(message[cut:])
                    want = Begin(first, first is CANCEL) if message is first else No()
                    self.assertEqual(found, want)
            prelude = Prelude()
            self.assertEqual((prelude.feed(GSS), prelude.feed(SSL)), (No(), No()))
            self.assertEqual(prelude.feed(first), Begin(first, first is CANCEL))

    def test_what_follows_a_startup_goes_along(self) -> None:
        """Bytes behind a start-up message are the session's."""
        self.assertEqual(Prelude().feed(STARTUP + b"Q"), Begin(STARTUP + b"Q", False))

    def test_a_long_key(self) -> None:
        """Protocol 3.2 has keys of up to 256 bytes."""
        whole = struct.pack("!III", 12 + 256, 80877102, 7) + bytes(256)
        self.assertEqual(Prelude().feed(whole), Begin(whole, True))

    def test_glued(self) -> None:
        """Nothing may be glued to a request for encryption, or to a cancellation (S45)."""
        for wire in (SSL + STARTUP, SSL + b"\0", GSS + SSL, CANCEL + b"x"):
            self.assertRaises(BadBytes, Prelude().feed, wire)

    def test_refused(self) -> None:
        """What no client begins with: twice the same, TLS, another protocol, odd lengths."""
        prelude = Prelude()
        prelude.feed(SSL)
        self.assertRaises(BadBytes, prelude.feed, SSL)
        for wire in (
            b"\x16\x03\x01",
            b"GET / HTTP/1.1\r\n",
            struct.pack("!II", 8, 2 << 16),
            struct.pack("!II", 8, 3 << 16),
            struct.pack("!II", 10_001, 3 << 16),
            struct.pack("!II", 269, 80877102),
            struct.pack("!II", 9, 80877103),
        ):
            self.assertRaises(BadBytes, Prelude().feed, wire)

    @given(st.lists(st.binary(max_size=40), max_size=6))
    def test_any_bytes(self, pieces: list[bytes]) -> None:
        """Whatever comes is a value, nothing yet, or our error."""
        prelude = Prelude()
        try:
            for piece in pieces:
                if isinstance(prelude.feed(piece), Begin):
                    return
        except BadBytes:
            return

    def test_refusal(self) -> None:
        """A sentence is an ErrorResponse, whole, with a state and no NUL inside."""
        wire = refusal("you are not\0 logged in")
        self.assertEqual(wire[:1], b"E")
        self.assertEqual(int.from_bytes(wire[1:5], "big"), len(wire) - 1)
        self.assertEqual(
            wire[5:].rstrip(b"\0").split(b"\0"),
            [b"SFATAL", b"VFATAL", b"C08006", b"Myou are not  logged in"],
        )
