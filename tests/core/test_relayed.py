"""Tests for `tlsgate.core.relayed`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.relayed import Relayed


class RelayedTests(SynchronousTestCase):
    """What a protocol says of a session."""

    def test_nothing(self) -> None:
        """Who says nothing adds nothing to an event, and a drain leaves the session alone."""
        said = Relayed()
        self.assertEqual((dict(said.fields), said.rest), ({}, None))
