"""Tests for `tlsgate.targets.plain`, and for the table of openings."""

from __future__ import annotations

from tests.targets.rig import OpeningCase
from tlsgate.config.settings import OfferSettings
from tlsgate.net.ends import PlainEnd
from tlsgate.targets import openings
from tlsgate.targets.base import nothing
from tlsgate.targets.plain import plain


class PlainTests(OpeningCase):
    """Bytes flow at once."""

    def test_carried(self) -> None:
        """The client is told, and both ends go to the relay with nothing before them."""
        settings = OfferSettings(kind="app", name="wiki", protocol="http")
        self.assertIs(plain(self.arrived(settings)), nothing)
        nothing()
        (accepted, (what, client, target, *rest)) = self.serving.said
        self.assertEqual((accepted, what, rest), (("accept",), "carry", [b"", b"", None]))
        self.assertIs(client, self.serving.client)
        self.assertIsInstance(target, PlainEnd)
        self.assertIs(target.lease, self.lease)

    def test_the_table(self) -> None:
        """Each kind that an agent serves has its openings."""
        self.assertLessEqual({("node", "ssh"), ("app", "http"), ("app", "tcp")}, set(openings()))
