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

    def tick_later(self, periods: float) -> None:
        self.did.append(f"later {periods:g}")

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
            self.assertEqual(self.take(), ["later 1", "ping", "later 0.5", "ping"])

    def test_silent(self) -> None:
        """R15: the third ping without an answer is the end, three periods after the last one."""
        missed = []
        for _ in range(3):
            self.link.ticked()
            missed.append(self.link.missed())
        asked = ["later 1", "ping", "later 0.5", "ping", "later 0.5", "ping"]
        self.assertEqual(self.take(), asked)
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
        self.assertEqual((self.take(), self.link.missed()), (["later 0.5"], 1))

    def test_ended(self) -> None:
        """After the end nothing is asked for."""
        self.link.ticked()
        self.take()
        self.link.ended()
        self.link.ticked()
        self.link.ended()
        self.assertEqual(self.take(), ["never"])
