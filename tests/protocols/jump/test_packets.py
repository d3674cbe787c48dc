"""Tests for `tlsgate.protocols.jump.packets`."""

from __future__ import annotations

import itertools

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.wire.sshmessages import PACKET_BYTES
from tlsgate.errors import BadBytes
from tlsgate.protocols.jump.packets import CTR, ETM, GCM, Clear, Guard, Guards, opened, seal

KEYS = tuple(bytes((number,)) * 64 for number in range(6))
SUITES = (*((cipher, b"") for cipher in GCM), *itertools.product(CTR, ETM))


def pair(cipher: bytes, mac: bytes) -> tuple[Guard, Guard]:
    """What seals, and what opens that."""
    ours, theirs = Guards((cipher, cipher), (mac, mac)), Guards((cipher, cipher), (mac, mac))
    ours.setKeys(*KEYS)
    out_iv, out_key, in_iv, in_key, out_mac, in_mac = KEYS
    theirs.setKeys(in_iv, in_key, out_iv, out_key, in_mac, out_mac)
    return ours.out, theirs.into


class PacketTests(SynchronousTestCase):
    """Tests for `seal` and `opened`."""

    def test_back_again(self) -> None:
        """What is sealed comes out again, however the network cuts it, in every suite."""
        for suite in (None, *SUITES):
            out, into = (Clear(), Clear()) if suite is None else pair(*suite)
            for sequence, payload in enumerate((b"\x02", b"x" * 32_000, b"y" * 17)):
                packet = seal(out, sequence, payload)
                buffer = bytearray()
                for end in (0, 3, 4, len(packet) - 1):
                    buffer += packet[len(buffer) : end]
                    self.assertIsNone(opened(into, sequence, buffer))
                buffer += packet[len(buffer) :] + b"rest"
                self.assertEqual(opened(into, sequence, buffer), payload)
                self.assertEqual(buffer, b"rest")

    def test_changed(self) -> None:
        """A bit that is changed anywhere, or another place in the order, ends it."""
        for suite in SUITES:
            packet = seal(pair(*suite)[0], 3, b"payload")
            for index in (4, len(packet) // 2, len(packet) - 1):
                wrong = bytearray(packet)
                wrong[index] ^= 1
                self.assertRaises(BadBytes, opened, pair(*suite)[1], 3, wrong)
            if suite[0] in CTR:
                self.assertRaises(BadBytes, opened, pair(*suite)[1], 4, bytearray(packet))

    def test_lengths(self) -> None:
        """No packet is longer than the limit, none ends in a block, none is all padding."""
        for size in (0, 4, 13, PACKET_BYTES, 1 << 31, (1 << 32) - 1):
            buffer = bytearray(size.to_bytes(4, "big") + bytes(64))
            self.assertRaises(BadBytes, opened, Clear(), 0, buffer)
        for padding in (0, 3, 11, 12, 255):
            buffer = bytearray((12).to_bytes(4, "big") + bytes((padding,)) + bytes(11))
            self.assertRaises(BadBytes, opened, Clear(), 0, buffer)
