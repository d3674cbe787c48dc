"""Tests for `tlsgate.core.keeping`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.keeping import Item, Put


class ReprTests(SynchronousTestCase):
    """Values may be secrets."""

    def test_no_value_is_shown(self) -> None:
        """S24: a value stands in no text that a log could take."""
        for kept in (Put("a", b"hidden"), Item(key="a", value=b"hidden", revision=1)):
            self.assertNotIn("hidden", repr(kept))
