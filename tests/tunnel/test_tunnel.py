"""Tests for what errors of the tunnel say."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.errors import AgentRefused, BadTunnelWay, NoAgent, TunnelBroken


class SentenceTests(SynchronousTestCase):
    """Tests for the sentences."""

    def test_they_say_what_to_do(self) -> None:
        """Who reads one knows what has happened, and what comes next."""
        said = [
            str(NoAgent("node", "db1")),
            str(AgentRefused("db1", "denied", "no role of alice allows it")),
            str(AgentRefused("db1", "denied", "")),
            str(TunnelBroken("an unknown frame")),
            str(BadTunnelWay("no address")),
        ]
        self.assertEqual(
            said,
            [
                (
                    "no node 'db1' has a tunnel to this gateway; it is likely offline: "
                    "try again, or see `tgsh ls` and `tgctl inventory ls`"
                ),
                "no role of alice allows it",
                "db1 has refused: denied",
                "the tunnel broke: an unknown frame",
                "the gateway's /webapi/find contradicts itself: no address",
            ],
        )
