"""Tests for `tlsgate.auth.opaque`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.auth.opaque import digest, moment, new_secret, pack, plausible, same, unpack
from tlsgate.errors import StoreFailed


class OpaqueTests(SynchronousTestCase):
    """Secrets and their digests."""

    def test_a_secret_has_256_bits_and_fits_an_url(self) -> None:
        """Forty-three characters of the URL alphabet, none like another."""
        made = {new_secret() for _ in range(100)}
        self.assertEqual(len(made), 100)
        self.assertTrue(all(plausible(each) for each in made))

    def test_what_has_another_shape_is_no_secret(self) -> None:
        """Nothing foreign is hashed or looked up before its shape is right."""
        for text in ("", "a" * 42, "a" * 44, "a" * 42 + "/", "a" * 42 + "é", "a" * 43 + "\n"):
            self.assertFalse(plausible(text), text)

    def test_any_text_has_a_digest(self) -> None:
        """Lone surrogates, which JSON can carry, break nothing."""
        self.assertEqual(len(digest("\ud800")), 64)
        self.assertTrue(same(digest("a"), digest("a")))
        self.assertFalse(same(digest("a"), digest("b")))

    def test_what_is_packed_comes_back(self) -> None:
        """A value goes through the store unchanged."""
        value = {"b": [1, None, "é"], "a": {}}
        self.assertEqual(unpack("users/x", pack(value)), value)

    def test_what_we_did_not_write_is_named_by_its_key_only(self) -> None:
        """No part of a broken value, which may be a secret, gets into the sentence."""
        for value in (b"canary", b"[1]", b"\xff", b'"canary"'):
            error = self.assertRaises(StoreFailed, unpack, "secrets/users/x", value)
            self.assertIn("secrets/users/x", str(error))
            self.assertNotIn("canary", str(error))

    def test_a_moment_is_written_in_utc(self) -> None:
        """Resources show times as RFC 3339."""
        self.assertEqual(moment(0), "1970-01-01T00:00:00Z")
        self.assertEqual(moment(1.5), "1970-01-01T00:00:01.500000Z")
