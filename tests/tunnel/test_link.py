"""Tests for `tlsgate.tunnel.link`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.tunnel.link import link


class Recorder:
    """Effects in their order."""

    def __init__(self) -> None:
        self.did: list[str] = []

    def ping(self) -> None:
        self.did.append("ping")

    def tick_later(self) -> None:
        self.did.append("later")

    def tick_never(self) -> None:
        self.did.append("never")

    def silent(self) -> None:
        self.did.append("silent")


class LinkTests(SynchronousTestCase):
    """Tests for `link`."""

    def setUp(self) -> None:
        self.seen = Recorder()
        self.link = link(self.seen)

    def take(self) -> list[str]:
        did, self.seen.did = self.seen.did, []
        return did

    def test_answered(self) -> None:
        """Each period has its ping, and an answer makes up for all that was missed."""
        for _ in range(5):
            self.link.ticked()
            self.link.ticked()
            self.assertEqual(self.link.missed(), 1)
            self.link.answered()
            self.assertEqual(self.link.missed(), 0)
            self.assertEqual(self.take(), ["later", "ping"] * 2)

    def test_silent(self) -> None:
        """The third ping without an answer is the end, one period after it was sent."""
        missed = []
        for _ in range(3):
            self.link.ticked()
            missed.append(self.link.missed())
        self.assertEqual(self.take(), ["later", "ping"] * 3)
        self.link.ticked()
        self.assertEqual(self.take(), ["silent"])
        self.assertEqual([*missed, self.link.missed()], [0, 1, 2, 3])
        for what in (self.link.ticked, self.link.answered, self.link.paced, self.link.ended):
            what()
        self.assertEqual(self.take(), [])

    def test_paced(self) -> None:
        """Another period counts at once, and counts no ping as missed."""
        self.link.paced()
        self.link.ticked()
        self.link.ticked()
        self.take()
        self.link.paced()
        self.assertEqual((self.take(), self.link.missed()), (["later"], 1))

    def test_ended(self) -> None:
        """After the end nothing is asked for."""
        self.link.ticked()
        self.take()
        self.link.ended()
        self.link.ticked()
        self.link.ended()
        self.assertEqual(self.take(), ["never"])
