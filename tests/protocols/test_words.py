"""Tests for `tlsgate.protocols.words`, and of every protocol that uses them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.errors import ERRORS, OURS, TARGETS
from tlsgate import registry
from tlsgate.errors import AgentBusy, AgentRefused, Denied, NoAgent, TunnelBroken
from tlsgate.protocols.words import SENTENCE_LIMIT, told

PROTOCOLS = registry.load(None).protocols


class ToldTests(SynchronousTestCase):
    """Tests for `told`."""

    def test_clients_faults_are_told(self) -> None:
        """What a client can change it is told whole."""
        self.assertEqual(
            told(Denied("db", "bob", "no rule names this certificate")),
            "'bob' may not use route db: no rule names this certificate",
        )

    def test_targets_are_not_named(self) -> None:
        """Where a target is, and why it fails, is none of a client's business."""
        self.assertEqual(
            [told(error) for error in TARGETS],
            [
                "the server behind this gateway cannot be reached",
                "the server behind this gateway does not answer",
            ],
        )

    def test_agents_are_heard(self) -> None:
        """What an agent says is for the user, and so is that there is none."""
        for error in (
            NoAgent("node", "db1"),
            AgentBusy("db1", "its streams are taken"),
            AgentRefused("db1", "denied", "alice may not"),
            TunnelBroken("the agent is gone"),
        ):
            self.assertEqual(told(error), str(error))

    def test_own_faults_are_not_told(self) -> None:
        """Of a fault of the gateway or its operator a client learns nothing."""
        for error in OURS:
            self.assertEqual(told(error), "the gateway failed; its log says why")

    def test_bounded(self) -> None:
        """However long the fault, the sentence is short."""
        self.assertEqual(len(told(Denied("db", "b" * 100_000, "x"))), SENTENCE_LIMIT)


class EveryProtocolTests(SynchronousTestCase):
    """What holds for the refusals of every built-in protocol."""

    def test_never_fails(self) -> None:
        """Every protocol can say every error, and gives no secret or address away."""
        for name, protocol in PROTOCOLS.items():
            for error in ERRORS:
                words = protocol.refusal(error)
                self.assertIsInstance(words, bytes, (name, error))
                for hidden in (b"10.0.0.5", b"hunter2", b"X: y\r\n"):
                    self.assertNotIn(hidden, words, (name, error))

    def test_advice(self) -> None:
        """A protocol whose own port may lead nowhere says what to do instead."""
        for name, protocol in PROTOCOLS.items():
            if protocol.listener is not None and name not in ("web", "tunnel"):
                in_none = name in ("ssh", "postgres")
                why = "gateway is in none; " if in_none else "not part of this release; "
                self.assertIn(why, protocol.advice, name)
