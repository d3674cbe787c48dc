"""Tests for `tlsgate.core.cancelkeys`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.cancelkeys import LOT_BYTES, CancelKeys, Held, worker_of
from tlsgate.core.offers import Asked

ASKED = Asked(kind="db", name="orders", user="alice")
LOT = bytes(range(200, 200 + LOT_BYTES))


class CancelKeysTests(SynchronousTestCase):
    """Which session is meant, and that no other is (S44)."""

    def held(self, keys: CancelKeys, lot: bytes = LOT, *, long: bool = True) -> Held:
        """A session that is remembered."""
        key = keys.draw(lot)
        assert key is not None
        made = Held(key, ASKED, long)
        keys.remember(made)
        return made

    def test_worker(self) -> None:
        """Every worker's number comes back out of its keys, which are positive."""
        for worker in (0, 1, 7, 1023):
            key = self.held(CancelKeys(worker), b"\xff" * LOT_BYTES).key
            self.assertEqual(worker_of(key), worker)
            self.assertLess(key[0], 128)

    def test_both_lengths(self) -> None:
        """A client of protocol 3.2 shows all of the secret, one of 3.0 its beginning."""
        keys = CancelKeys(1)
        held = self.held(keys)
        self.assertIs(keys.find(held.key), held)
        self.assertIs(keys.find(held.key[:8]), held)
        self.assertEqual(held.spelt, held.key.hex())
        self.assertNotIn(held.spelt, repr(held))

    def test_short_only(self) -> None:
        """Who speaks 3.0 was never given more, so that more is a guess."""
        keys = CancelKeys(1)
        held = self.held(keys, long=False)
        self.assertIs(keys.find(held.key[:8]), held)
        self.assertIsNone(keys.find(held.key))

    def test_guesses(self) -> None:
        """A wrong secret, a part of one, too much of it, and another number find nothing."""
        keys = CancelKeys(1)
        key = self.held(keys).key
        wrong = bytes([key[-1] ^ 1])
        other = key[:3] + bytes([key[3] ^ 1]) + key[4:]
        for guess in (key[:-1] + wrong, key[:7], key[:20], key + b"\0", key[:4], other, b""):
            self.assertIsNone(keys.find(guess), guess)

    def test_forgotten(self) -> None:
        """A session that has ended cannot be cancelled, and its number is free again."""
        keys = CancelKeys(1)
        held = self.held(keys)
        self.assertIsNone(keys.draw(LOT))
        keys.forget(Held(held.key, ASKED, True))
        self.assertEqual(len(keys), 1)
        keys.forget(held)
        keys.forget(held)
        self.assertEqual(len(keys), 0)
        self.assertIsNone(keys.find(held.key))
        self.assertEqual(keys.draw(LOT), held.key)
