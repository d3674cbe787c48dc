"""Tests for `tlsgate.core.wire.ssh`."""

from __future__ import annotations

from struct import unpack_from

from twisted.trial.unittest import SynchronousTestCase

from tests.core.hellos import read_vector
from tlsgate.core.wire import ssh


class SshTests(SynchronousTestCase):
    """Tests for `ssh.disconnect`."""

    def test_packet(self) -> None:
        """The packet is well-formed for a sentence of any length."""
        for size in range(40):
            wire = ssh.disconnect("x" * size)
            banner, packet = wire[:17], wire[17:]
            self.assertEqual(banner, b"SSH-2.0-tlsgate\r\n")
            length, padding = unpack_from(">LB", packet)
            self.assertEqual(len(packet), 4 + length)
            self.assertEqual(len(packet) % 8, 0)
            self.assertGreaterEqual(len(packet), 16)
            self.assertIn(padding, range(4, 12))
            payload = packet[5 : len(packet) - padding]
            kind, code, text_size = unpack_from(">BLL", payload)
            self.assertEqual((kind, code, text_size), (1, 11, size))
            self.assertEqual(payload[9:], b"x" * size + bytes(4))

    def test_long_text_is_cut_between_letters(self) -> None:
        """Too long a sentence is cut, and stays UTF-8."""
        wire = ssh.disconnect("x" + "\N{BULLET}" * 1000)
        (size,) = unpack_from(">L", wire, 17 + 10)
        self.assertEqual(wire[17 + 14 :][:size].decode(), "x" + "\N{BULLET}" * 341)


class IsBannerTests(SynchronousTestCase):
    """Tests for `ssh.is_banner`."""

    def test_every_split(self) -> None:
        """A banner is known by its first four bytes."""
        wire = read_vector("openings/ssh")
        verdicts = [ssh.is_banner(wire[:end]) for end in range(6)]
        self.assertEqual(verdicts, [None, None, None, None, True, True])
        self.assertIs(ssh.is_banner(b"SSI"), False)
