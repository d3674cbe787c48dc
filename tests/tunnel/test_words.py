"""Tests for `tlsgate.tunnel.words`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.tunnel.gateside import greeting
from tlsgate.core.frames import Frames
from tlsgate.core.greetings import GatewayHello
from tlsgate.errors import Denied, Draining, Fault, GateError, TooMany
from tlsgate.tunnel.words import first_words, refusal


class Bug(GateError):
    """Of ours."""

    fault = Fault.GATE
    reason = "bug"

    def __str__(self) -> str:
        return "secret"


class WordsTests(SynchronousTestCase):
    """What an agent reads first."""

    def said(self, error: GateError) -> str:
        [frame] = Frames().feed(refusal(error))
        return greeting(frame).error

    def test_welcome(self) -> None:
        """A HELLO is one frame."""
        hello = GatewayHello(gateway="gw", version="1", session="s")
        [frame] = Frames().feed(first_words(hello))
        self.assertEqual(greeting(frame), hello)

    def test_refused(self) -> None:
        """A refusal is one, too, whatever the sentence has in it."""
        self.assertIn("'db1' may not", self.said(Denied("tunnel", "db1", "it is locked")))
        odd = self.said(Denied("tunnel", "x", "a\x00\u202e" * 500))
        self.assertEqual((len(odd), odd.isprintable()), (512, True))

    def test_other_words(self) -> None:
        """Whoever knows better what may be said says it."""
        [frame] = Frames().feed(refusal(Denied("tunnel", "db1", "x"), "gw", "no"))
        self.assertEqual((greeting(frame).error, greeting(frame).gateway), ("no", "gw"))

    def test_later(self) -> None:
        """Who may come back is told so."""
        for error in (TooMany("agents a second", 1), Draining()):
            self.assertEqual(self.said(error), f"try later: {error}")

    def test_bug(self) -> None:
        """Our own faults are nobody's business."""
        self.assertEqual(self.said(Bug()), "the gateway failed; its log says why")
