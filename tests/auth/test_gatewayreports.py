"""What gateways say of themselves and of who uses them: taken once, kept, forgotten in time."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.auth import gatewayreports
from tlsgate.auth.gatewayreports import (
    LEFT_SECONDS,
    LIFE_SECONDS,
    PREFIX,
    SILENT_SECONDS,
    USAGE,
    Reports,
)
from tlsgate.auth.ledger import Ledger
from tlsgate.core.gatewayreports import AWAY_SECONDS, GatewayReport, Listening
from tlsgate.core.keeping import Put
from tlsgate.core.ledger import PART, Row, Use
from tlsgate.errors import TooMany
from tlsgate.store.memory import MemoryStore

ALICE = Use("user", "alice", "ssh", "raw", "OpenSSH_9.2")
GATEWAY = GatewayReport(
    gateway="gw1",
    worker="0",
    boot="b0",
    started=1.0,
    heard=100.0,
    mode_in_force="separate",
    listeners=(Listening(name="ssh", open=3),),
)


def row(count: int, connected: int) -> Row:
    """One of alice's."""
    return Row(use=ALICE, first=50.0, last=99.0, count=count, open=connected)


class ReportsTests(SynchronousTestCase):
    """Tests for `Reports`."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = MemoryStore(self.clock.seconds, lambda call: self.clock.callLater(0, call))
        self.reports = self.begun()

    def begun(self) -> Reports:
        """An auth service has started."""
        reports = Reports(self.store, Ledger())
        self.successResultOf(Deferred.fromCoroutine(reports.start()))
        return reports

    def take(self, report: GatewayReport, number: int = 0, *rows: Row, workers: int = 1) -> bool:
        """Take a report."""
        told = self.reports.take(report, number, rows, workers)
        return self.successResultOf(Deferred.fromCoroutine(told))

    def counted(self, now: float = 100.0) -> list[tuple[int, int]]:
        """Count and open connections of each row."""
        return [(one.count, one.open) for one in self.reports.rows(now)]

    def revision(self) -> int:
        """Of the store."""
        return self.successResultOf(Deferred.fromCoroutine(self.store.revision()))

    def test_too_many_of_one(self) -> None:
        """A gateway takes no more places than its own; one that restarts has its place."""
        self.patch(gatewayreports, "MOST_OF_ONE", 1)
        self.take(GATEWAY)
        told = self.reports.take(evolve(GATEWAY, worker="1", boot="b1"), 0, (), 2)
        self.failureResultOf(Deferred.fromCoroutine(told), TooMany)
        self.take(evolve(GATEWAY, boot="b2", started=2.0))
        self.take(evolve(GATEWAY, gateway="gw2"))
        self.assertEqual([one.gateway for one in self.reports.all(100.0)], ["gw1", "gw2"])

    def test_same_run(self) -> None:
        """When a run began is what was said first, so that a clock that moves is no news."""
        self.take(GATEWAY)
        self.take(evolve(GATEWAY, started=55.0, heard=105.0))
        self.assertEqual([one.started for one in self.reports.all(105.0)], [1.0])

    def test_a_clock_that_is_late_is_no_news(self) -> None:
        """A gateway whose clock is far off is not written anew with each report."""
        since = Listening(name="ssh", since=40.0)
        self.take(evolve(GATEWAY, listeners=(since,)))
        before = self.revision()
        for step in (1, -1, 2):
            late = evolve(since, since=40.0 + step / 10)
            self.take(evolve(GATEWAY, heard=100.0 + 5 * step, listeners=(late,)))
        self.assertEqual(self.revision(), before)

    def test_taken_once(self) -> None:
        """A part whose answer got lost counts once, be it another auth service that hears it."""
        self.assertFalse(self.take(GATEWAY, 1, row(2, 2)))
        self.assertFalse(self.take(GATEWAY, 1, row(2, 1)))
        self.assertEqual(self.counted(), [(2, 1)])
        self.reports = self.begun()
        self.assertEqual(self.counted(), [(2, 0)])
        self.assertFalse(self.take(GATEWAY, 1, row(2, 1)))
        self.assertEqual(self.counted(), [(2, 1)])
        self.assertTrue(self.take(GATEWAY, 2, row(1, 0)))
        self.assertEqual(self.counted(), [(3, 0)])
        self.assertEqual(self.reports.all(100.0), (GATEWAY,))

    def test_lost_answer(self) -> None:
        """Whoever has not heard that it has to say anew who is connected, is told again."""
        self.take(GATEWAY, 1, row(1, 1))
        self.reports = self.begun()
        self.assertFalse(self.take(GATEWAY, 2))
        self.assertFalse(self.take(GATEWAY, 2))
        self.assertTrue(self.take(GATEWAY, 3, row(0, 1)))
        self.assertEqual(self.counted(), [(1, 1)])

    def test_unheard(self) -> None:
        """After a restart nobody knows who is connected, until each process has said it all."""
        self.take(GATEWAY, 1, row(1, 1))
        self.take(evolve(GATEWAY, gateway="gw2"), 1)
        self.assertEqual(self.reports.unheard(100.0), ())
        self.reports = self.begun()
        self.assertEqual(self.reports.unheard(100.0), ("gw1", "gw2"))
        self.take(evolve(GATEWAY, gateway="gw2"), 2)
        self.take(GATEWAY, 2)
        self.assertEqual(self.reports.unheard(100.0), ("gw1", "gw2"))
        self.take(evolve(GATEWAY, gateway="gw2"), 3)
        full = [evolve(row(1, 1), use=evolve(ALICE, name=f"u{at}")) for at in range(PART)]
        self.take(GATEWAY, 3, *full)
        self.assertEqual(self.reports.unheard(100.0), ("gw1",))
        self.take(GATEWAY, 4, row(1, 1))
        self.assertEqual(self.reports.unheard(100.0), ())
        self.take(evolve(GATEWAY, gateway="gw3"), 1, *full)
        self.assertEqual(self.reports.unheard(100.0), ("gw3",))
        self.assertEqual(self.reports.unheard(100.0 + AWAY_SECONDS), ())
        self.take(evolve(GATEWAY, heard=100.0 + AWAY_SECONDS), 5)
        self.assertEqual(self.reports.unheard(100.0 + AWAY_SECONDS), ("gw1",))

    def test_taken_back(self) -> None:
        """A gateway takes back its own counts, and none of another's."""
        other = evolve(GATEWAY, gateway="gw2")
        self.take(GATEWAY, 1, row(5, 0))
        self.take(other, 1, row(2, 0))
        self.take(other, 2, row(-(10**9), 0))
        self.assertEqual(self.counted(), [(5, 0)])
        self.take(other, 3, row(-1, 0))
        self.assertEqual(self.counted(), [(5, 0)])
        self.take(GATEWAY, 2, row(-5, 0))
        self.assertEqual(self.counted(), [])

    def test_written_seldom(self) -> None:
        """Who says nothing new costs no write, but for one a minute."""
        self.take(GATEWAY)
        before = self.revision()
        for heard in (105.0, 110.0):
            self.take(evolve(GATEWAY, heard=heard, listeners=(Listening(name="ssh", open=9),)))
        self.assertEqual(self.revision(), before)
        self.take(evolve(GATEWAY, heard=170.0))
        self.assertEqual(self.revision(), before + 1)

    def test_change(self) -> None:
        """Who listens hears of another mode, not of another time."""
        heard: list[str] = []
        self.reports.on_change(lambda: heard.append("changed"))
        self.take(GATEWAY)
        self.take(evolve(GATEWAY, heard=105.0))
        self.take(evolve(GATEWAY, heard=110.0, mode_in_force="multiplex"))
        self.assertEqual(heard, ["changed"] * 2)

    def test_away(self) -> None:
        """Nobody is connected to who is away; the operator still sees it, for a week."""
        self.take(GATEWAY, 1, row(1, 1))
        later = 100.0 + AWAY_SECONDS
        self.assertEqual(self.counted(later), [(1, 0)])
        (seen,) = self.reports.all(later)
        self.assertTrue(seen.is_away(later))
        self.assertEqual(self.reports.all(100.0 + LIFE_SECONDS), ())

    def test_replaced(self) -> None:
        """A process that another run has replaced is gone, with who was connected to it."""
        self.take(GATEWAY, 1, row(1, 1))
        self.take(evolve(GATEWAY, boot="b1", started=2.0))
        self.assertEqual(self.counted(), [(1, 0)])
        self.assertEqual([one.boot for one in self.reports.all(100.0)], ["b1"])
        self.reports = self.begun()
        self.assertEqual([one.boot for one in self.reports.all(100.0)], ["b1"])

    def test_drains(self) -> None:
        """One that drains keeps who is connected, while its successor speaks for the place."""
        old = evolve(GATEWAY, leaving=True, listeners=())
        new = evolve(GATEWAY, boot="b1", started=2.0)
        self.take(old, 1, row(1, 1))
        self.take(new)
        self.assertEqual(self.counted(), [(1, 1)])
        self.assertEqual([one.boot for one in self.reports.all(100.0)], ["b1"])
        self.take(evolve(new, heard=100.0 + LEFT_SECONDS))
        self.assertEqual(self.counted(100.0 + LEFT_SECONDS), [(1, 0)])

    def test_r16_a_gateways_clock_is_set_back(self) -> None:
        """A process whose clock was ahead does not outlive the one that has taken its place."""
        self.take(evolve(GATEWAY, started=90.0), 1, row(1, 1))
        new = evolve(GATEWAY, boot="b1", started=5.0, heard=105.0)
        self.take(new)
        self.assertEqual([one.boot for one in self.reports.all(105.0)], ["b0"])
        later = 100.0 + SILENT_SECONDS
        self.take(evolve(new, heard=later))
        self.assertEqual([one.boot for one in self.reports.all(later)], ["b1"])
        self.assertEqual(self.counted(later), [(1, 0)])

    def test_one_that_leaves_replaces_nobody(self) -> None:
        """A process that leaves is not the newer one, whatever its clock says."""
        self.take(GATEWAY)
        self.take(evolve(GATEWAY, boot="b1", started=9.0, leaving=True))
        self.assertEqual([one.boot for one in self.reports.all(100.0)], ["b0"])

    def test_r16_our_clock_is_set_back(self) -> None:
        """Who was heard by a clock that was ahead is away as soon as anybody else."""
        ahead = 100.0 + 86400
        self.take(evolve(GATEWAY, heard=ahead), 1, evolve(row(1, 1), first=ahead, last=ahead))
        self.assertEqual(self.counted(100.0), [(1, 1)])
        (seen,) = self.reports.all(100.0)
        self.assertEqual(seen.heard, 100.0)
        self.assertEqual([one.last for one in self.reports.rows(100.0)], [100.0])
        later = 100.0 + AWAY_SECONDS
        self.assertEqual(self.counted(later), [(1, 0)])
        self.reports = self.begun()  # what was kept is of the future still
        (seen,) = self.reports.all(later)
        self.assertEqual(seen.heard, later)
        self.assertEqual([one.last for one in self.reports.rows(later)], [later])

    def test_fewer_workers(self) -> None:
        """Places that a gateway has no more are not away but gone; others stay."""
        self.take(evolve(GATEWAY, worker="1", boot="b1"), workers=2)
        self.take(evolve(GATEWAY, gateway="gw2", worker="1", boot="b2"), workers=2)
        later = evolve(GATEWAY, boot="b3", heard=100.0 + AWAY_SECONDS)
        self.take(later)
        self.assertEqual([one.boot for one in self.reports.all(later.heard)], ["b3", "b2"])

    def test_too_many(self) -> None:
        """There is a bound on processes."""
        self.patch(gatewayreports, "MOST", 1)
        self.take(GATEWAY)
        self.take(GATEWAY)
        told = self.reports.take(evolve(GATEWAY, gateway="gw2"), 0, ())
        self.failureResultOf(Deferred.fromCoroutine(told), TooMany)
        self.take(evolve(GATEWAY, boot="b1", started=2.0))  # it takes the place of the first
        self.assertEqual([one.boot for one in self.reports.all(100.0)], ["b1"])

    def test_usage(self) -> None:
        """Connections of each listener, by the minute, are there again after a start."""
        self.take(GATEWAY, 1, row(4, 3))
        self.take(evolve(GATEWAY, gateway="gw2", heard=110.0))
        self.take(evolve(GATEWAY, heard=170.0, listeners=()), 2, row(1, 0))
        self.assertEqual(self.reports.usage.series(3, 170.0), {"ssh": [0, 4, 7]})
        self.reports = self.begun()
        self.assertEqual(self.reports.usage.series(2, 110.0), {"ssh": [0, 4]})
        self.take(evolve(GATEWAY, heard=7300.0))
        self.assertEqual(self.reports.usage.series(1, 110.0), {"ssh": [4]})

    def test_usage_of_one_that_leaves(self) -> None:
        """Whom a process carries to its end is in the picture, though its ports are gone."""
        self.take(GATEWAY, 1, row(3, 3))
        for heard in (110.0, 135.0, 160.0):
            self.take(evolve(GATEWAY, leaving=True, listeners=(), heard=heard))
        for heard in (170.0, 185.0):
            self.take(evolve(GATEWAY, boot="b1", started=2.0, heard=heard, listeners=()))
        self.assertEqual(self.reports.usage.series(1, 190.0), {"ssh": [3]})

    def test_other_version(self) -> None:
        """What another version has kept is passed over."""
        changes = [
            Put(PREFIX + "x", b"[]"),
            Put(PREFIX + "y", b'{"report": {}}'),
            Put(USAGE + "1", b"[]"),
        ]
        self.successResultOf(Deferred.fromCoroutine(self.store.commit(changes)))
        self.reports = self.begun()
        self.assertEqual(self.reports.all(0.0), ())
