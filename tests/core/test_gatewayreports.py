"""What a gateway says of itself, read and written."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.gatewayreports import (
    AWAY_SECONDS,
    FilePlace,
    GatewayReport,
    Listening,
    behind,
    by_our_clock,
    moved,
    read_report,
    steady,
    told_report,
)
from tlsgate.errors import BadBytes

REPORT = GatewayReport(
    gateway="gw1",
    worker="0",
    boot="b00",
    started=5.0,
    heard=100.0,
    version="1.0.0",
    config_version="v1",
    mode_in_force="separate",
    file=FilePlace(path="/etc/tlsgate.yaml", mode="separate", mode_line=7, version_line=1),
    listeners=(
        Listening(name="web", address="127.0.0.1:3080", public=("example.com:443",), open=2),
        Listening(name="ssh", state="refusing", since=90.0, until=200.0),
    ),
)


class ReportTests(SynchronousTestCase):
    """Tests for `GatewayReport`."""

    def test_json(self) -> None:
        """A report comes back as it was, with what is not written in the file, too."""
        self.assertEqual(read_report(told_report(REPORT)), REPORT)
        bare = GatewayReport(gateway="gw", worker="1", boot="x", started=0.0, heard=0.0)
        self.assertEqual(read_report(told_report(bare)), bare)

    def test_away(self) -> None:
        """A gateway that is not heard for a while is away."""
        self.assertFalse(REPORT.is_away(100.0 + AWAY_SECONDS - 1))
        self.assertTrue(REPORT.is_away(100.0 + AWAY_SECONDS))

    def test_clocks(self) -> None:
        """What a clock says that is hours behind, or ahead, is told by ours."""
        self.assertEqual([behind(said, 50.0) for said in (None, 45.0, 55.0)], [0.0] * 3)
        self.assertEqual([behind(said, 50.0) for said in (40.0, 90.0)], [10.0, -40.0])
        for at, seconds, want in ((0.0, 10.0, 0.0), (3.0, -10.0, 0.0), (3.0, 4.0, 7.0)):
            self.assertEqual(moved(at, seconds, 50.0), want)
        self.assertEqual(moved(90.0, 0.0, 50.0), 50.0)
        late = by_our_clock(REPORT, 5.0)
        web, ssh = late.listeners
        self.assertEqual((late.started, web.since), (10.0, 0.0))
        self.assertEqual((web.until, ssh.since, ssh.until), (None, 95.0, 205.0))
        self.assertEqual(by_our_clock(REPORT, 0.0), REPORT)

    def test_steady(self) -> None:
        """What differs by as little as an answer takes is the same; what is another is not."""
        web, ssh = REPORT.listeners
        other = Listening(name="tunnel", since=7.0)
        told = evolve(
            REPORT,
            started=6.0,
            listeners=(web, evolve(ssh, since=93.0, until=204.0), other),
        )
        self.assertEqual(steady(told, REPORT), evolve(REPORT, listeners=(*REPORT.listeners, other)))
        later = (
            evolve(web, since=60.0, until=90.0),
            evolve(ssh, since=99.0, until=300.0),
            evolve(ssh, state="open"),
        )
        again = steady(evolve(REPORT, listeners=later), REPORT)
        self.assertEqual(again.listeners, later)

    def test_other_versions(self) -> None:
        """What another version has written is refused, not guessed."""
        told = told_report(REPORT)
        odd = {**told["listeners"][0], "state": "ajar"}
        for wrong in ({"file": None}, {"listeners": [odd]}, {"listeners": 7}, {"started": "x"}):
            with self.assertRaises(BadBytes):
                read_report({**told, **wrong})
