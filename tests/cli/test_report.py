"""Tests for `cli.report`: what is said about an error, and the exit code."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.cli.report import exit_code, sentences
from tlsgate.errors import (
    BadSettings,
    CannotListen,
    DaemonAway,
    DaemonSaid,
    Draining,
    Fault,
    GateError,
    Place,
    Problem,
    TargetSilent,
)


class ExitCodeTests(SynchronousTestCase):
    """Tests for `exit_code`."""

    def test_by_fault(self) -> None:
        """2 where the operator has to act, 1 for everybody else's faults."""
        for error, code in (
            (CannotListen("web", "tcp:1", "in use"), 2),
            (DaemonAway("s", "gone"), 2),
            (Draining(), 1),
            (TargetSilent("t", 3), 1),
            (GateError(), 1),
            (DaemonSaid("reload_refused", Fault.OPERATOR, "no"), 2),
            (DaemonSaid("error", Fault.GATE, "a bug"), 1),
        ):
            self.assertEqual((error, exit_code(error)), (error, code))


class SentencesTests(SynchronousTestCase):
    """Tests for `sentences`."""

    def test_problems(self) -> None:
        """Each problem has its line; the last line counts them."""
        one = Problem(Place("f", 1, 2), "key", "is wrong")
        self.assertEqual(
            sentences(BadSettings([one])), ["f:1:2 key: is wrong", "1 problem; nothing was changed"]
        )
        self.assertEqual(sentences(BadSettings([one, one]))[-1], "2 problems; nothing was changed")

    def test_advice(self) -> None:
        """Without a known configuration the advice is general."""
        self.assertIn("start it with: twistd tlsgate", sentences(DaemonAway("s", "gone")))
        self.assertIn(
            "start it with: twistd tlsgate --config g.yaml",
            sentences(DaemonAway("s", "gone"), "g.yaml"),
        )

    def test_nothing_said(self) -> None:
        """An error without words is told by its reason; control characters are spelled out."""
        self.assertEqual(sentences(DaemonSaid("strange", Fault.GATE, "")), ["daemon_said"])
        self.assertEqual(sentences(DaemonSaid("x", Fault.GATE, "a\x07b\nc")), ["a\\x07b", "c"])
