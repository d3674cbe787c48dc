"""Tests for `tlsgate.core.dependents`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.core.migrations import NOW, report, row, snapshot
from tlsgate.core.dependents import (
    ago,
    breaks,
    count_of,
    each,
    is_openssh,
    major_of,
    not_known,
    old_ways,
    people,
)

DAY = 86400.0


class BreaksTests(SynchronousTestCase):
    """Tests for `breaks`."""

    def test_who(self) -> None:
        """Who is connected, or was lately, is named; nobody else."""
        bob, carol = row("bob", open=1, ago=9 * DAY), row("carol", ago=60)
        agent = row("node1", "tunnel", kind="agent", open=1)
        rows = (
            carol,
            bob,
            agent,
            row("dave", ago=2 * DAY),
            row("erin", "web"),
            row("192.0.2.1", kind="unknown", open=1),
            row("node2", "tunnel", kind="agent"),
        )
        told = snapshot(ledger=rows)
        self.assertEqual(breaks(told, ("ssh", "tunnel")), (agent, bob, carol))
        self.assertEqual(breaks(told, ("tunnel",)), (agent,))
        self.assertEqual(breaks(snapshot(ledger=rows, quiet_seconds=5), ("ssh",)), (bob,))
        self.assertEqual(old_ways(told), (bob, carol))

    def test_people(self) -> None:
        """A line says who, by which port, with what, and when."""
        rows = (row("bob", version="OpenSSH_9.2", open=2), row("carol", "postgres", ago=7200))
        self.assertEqual(
            people(rows, NOW),
            (
                "user bob by ssh (OpenSSH_9.2): 2 open now",
                "user carol by postgres: 2 h ago",
            ),
        )


class WordsTests(SynchronousTestCase):
    """Tests for the words."""

    def test_ago(self) -> None:
        """A span has one unit, and none is below nothing."""
        spans = {-1: "0 s", 119: "119 s", 120: "2 min", 7200: "2 h", 172800: "2 d"}
        self.assertEqual({seconds: ago(seconds) for seconds in spans}, spans)

    def test_versions(self) -> None:
        """Programs of ours have a major release; others are not judged by theirs."""
        said = {"tgsh/1.2.3": 1, "2.0.0": 2, "tlsgate 0.9.1": 0, "OpenSSH_9.2p1": None, "": None}
        self.assertEqual({version: major_of(version) for version in said}, said)
        named = [major_of(one, bare=False) for one in ("2.3.4", "v2.3.4", "tgsh/2.3.4")]
        self.assertEqual(named, [None, None, 2])
        self.assertTrue(is_openssh(row("bob", version="SSH-2.0-OpenSSH_9.2")))
        self.assertFalse(is_openssh(row("bob", version="tgsh/1.0.0")))

    def test_not_known(self) -> None:
        """A gateway that is away, and what auth cannot know, is said."""
        told = snapshot(report(), report("b", heard=NOW - 500), problems=("why",))
        self.assertEqual(not_known(told), ("gateway b is away: who uses it is not known", "why"))

    def test_counts(self) -> None:
        """One is one, and each word comes once."""
        self.assertEqual(
            [count_of(1, "gateway"), count_of(2, "gateway"), count_of(0, "who", "who")],
            ["1 gateway", "2 gateways", "0 who"],
        )
        self.assertEqual(each(["b", "a", "b"]), ("b", "a"))
