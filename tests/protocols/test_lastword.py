"""Tests for `tlsgate.protocols.lastword`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.interfaces import IRouteContext
from tlsgate.protocols.base import GateProtocol
from tlsgate.protocols.lastword import HEAD_LIMIT_BYTES, LastWord
from tlsgate.testing import Conversation, FakeContext, connect


class Polite(GateProtocol):
    """Says goodbye to whoever has said a whole line."""

    name = "polite"

    def build(self, context: IRouteContext) -> LastWord:
        return LastWord(lambda head: b"bye\n" if b"\n" in head else None, context.clock, 10.0)


class LastWordTests(SynchronousTestCase):
    """A server whose only answer is a refusal."""

    def talk(self) -> Conversation:
        """Connect a client."""
        self.context = FakeContext()
        return connect(Polite(), self.context)

    def test_waits_for_the_question(self) -> None:
        """It answers once the question is whole, and closes."""
        talk = self.talk()
        talk.send(b"hel")
        self.assertEqual((talk.received, talk.closed), (b"", False))
        talk.send(b"lo\nand more\n")
        self.assertEqual((talk.received, talk.closed), (b"bye\n", True))
        self.assertEqual(self.context.clock.getDelayedCalls(), [])

    def test_silence(self) -> None:
        """Who asks nothing is let go."""
        talk = self.talk()
        self.context.clock.advance(9)
        self.assertFalse(talk.closed)
        self.context.clock.advance(2)
        self.assertEqual((talk.closed, talk.received), (True, b""))
        self.assertEqual(self.context.clock.getDelayedCalls(), [])

    def test_endless(self) -> None:
        """A question that does not end is cut off without an answer."""
        talk = self.talk()
        talk.send(b"x" * HEAD_LIMIT_BYTES, pieces=4096)
        self.assertEqual((talk.closed, talk.received), (True, b""))

    def test_client_leaves(self) -> None:
        """Who leaves leaves no timer."""
        self.talk().hang_up()
        self.assertEqual(self.context.clock.getDelayedCalls(), [])
