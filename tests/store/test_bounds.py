"""Tests for `tlsgate.store.bounds`; the stores' own are in `conformance`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.keeping import CHANGES, Check, Delete, Put
from tlsgate.errors import StoreFailed
from tlsgate.store.bounds import check


class CheckTests(SynchronousTestCase):
    """Tests for `check`."""

    def test_within(self) -> None:
        """A key may be checked beside its change, and a commit may be as large as is said."""
        check([])
        check([Check("a", 1), Put("a", b"1"), Delete("b")])
        check([Put(f"a{n}", b"", expires=0.0) for n in range(CHANGES)])

    def test_words(self) -> None:
        """Each refusal says what was too much."""
        for change, why in (
            (Put("", b""), "a key has 1 to 512 bytes of UTF-8"),
            (Delete("\ud800"), "a key has 1 to 512 bytes of UTF-8"),
            (Put("a", b"", expires=float("nan")), "a: nan is no time to expire at"),
        ):
            error = self.assertRaises(StoreFailed, check, [change])
            self.assertEqual(error.why, why)
