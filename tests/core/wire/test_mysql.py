"""Tests for `tlsgate.core.wire.mysql`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.wire import mysql


class MySQLTests(SynchronousTestCase):
    """Tests for `mysql.err_packet`."""

    def test_bytes(self) -> None:
        """The packet has number 0, the error's code and no SQL state."""
        self.assertEqual(mysql.err_packet("no way"), b"\x09\0\0\0\xff\x51\x04no way")
        self.assertEqual(mysql.err_packet("", 1130), b"\x03\0\0\0\xff\x6a\x04")

    def test_long_text_is_cut_between_letters(self) -> None:
        """The client's buffer has 512 bytes."""
        wire = mysql.err_packet("\N{BULLET}" * 400)
        self.assertEqual(wire[7:].decode(), "\N{BULLET}" * 170)
        self.assertEqual(int.from_bytes(wire[:3], "little"), len(wire) - 4)
