"""Tests for `tlsgate.auth.migration`: what is kept, and what a crash leaves."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from tests.auth.cluster import BEGIN, Cluster
from tests.core.migrations import report, row
from tlsgate.auth.gatewayreports import Reports
from tlsgate.auth.ledger import Ledger
from tlsgate.auth.migration import Migration, Own, Run
from tlsgate.core.gatewayreports import GatewayReport
from tlsgate.core.keeping import Put
from tlsgate.errors import StepRuns, StoreFailed

NETWORKING = "cluster_networking_config"


class MigrationCase(SynchronousTestCase):
    """A cluster whose gateways report, and an auth service that can be started again."""

    def setUp(self) -> None:
        self.cluster = Cluster(self)
        self.ended: list[tuple[dict[str, object], bool]] = []
        self.own: Own | None = None
        #: How far the wall clock has been set forward.
        self.jump = 0.0
        self.migration = self.restart()

    def restart(self) -> Migration:
        """An auth service that starts on the same store."""
        parts = self.cluster.parts
        made = Migration(
            parts.store,
            parts.reports,
            lambda: parts.now() + self.jump,
            version="1.0.0",
            seconds=self.cluster.clock.seconds,
            settle_seconds=lambda: 60.0,
            file=lambda: "/etc/gate.yaml",
            own=lambda: self.own,
        )
        made.told = lambda fields, success: self.ended.append((dict(fields), success))
        self.cluster.run(made.start())
        self.addCleanup(made.stop)
        return made

    def report(self, gateway: str = "gw1", **more: Any) -> None:
        """A gateway says what it has."""
        now = self.cluster.clock.seconds()
        said = report(gateway, heard=now, **more)
        self.cluster.run(self.cluster.parts.reports.take(said, 0, []))
        self.cluster.turn()

    def switch(self, mode: int) -> None:
        """An operator writes the mode."""
        body = {"kind": NETWORKING, "version": "v2", "spec": {"proxy_listener_mode": mode}}
        path = f"/v1/resources/{NETWORKING}/{NETWORKING}"
        reply = self.cluster.ask(self.cluster.local, "PUT", path, body, force="true")
        self.assertEqual(reply.status, 200, reply.body)


class KeptTests(MigrationCase):
    """What a restart of the auth service does not forget."""

    def test_since(self) -> None:
        """Since when the mode is what it is outlives the process; the first has no beginning."""
        self.assertIsNone(self.migration.mode_since)
        self.switch(1)
        self.assertEqual((self.migration.mode, self.migration.mode_since), ("multiplex", BEGIN))
        self.assertEqual(self.migration.origin, "dynamic")
        self.cluster.clock.advance(30)
        self.assertEqual(self.migration.snapshot().unsettled_seconds, 30)
        again = self.restart()
        self.assertEqual((again.mode, again.mode_since), ("multiplex", BEGIN))

    def test_the_clock_jumps(self) -> None:
        """Ports wait as long as they are to, wherever the wall clock is set meanwhile."""
        self.switch(1)
        self.cluster.clock.advance(20)
        for jump in (86400.0, -86400.0, 0.0):
            self.jump = jump
            snapshot = self.migration.snapshot()
            self.assertEqual(snapshot.unsettled_seconds, 40)
            self.assertEqual(snapshot.mode_since, BEGIN + jump)
        self.jump = -86400.0
        # Over a restart there is the wall clock alone: at most, the wait begins anew.
        self.assertEqual(self.restart().snapshot().unsettled_seconds, 60)

    def test_a_change_that_was_not_seen(self) -> None:
        """A mode that changed as the process ended counts from the next start on, not earlier."""
        self.migration.stop()
        self.switch(1)
        self.cluster.clock.advance(30)
        self.assertEqual(self.restart().mode_since, BEGIN + 30)

    def test_ports(self) -> None:
        """Which ports a gateway had is known after it has closed them, for the way back."""
        self.report()
        self.report(names=("web",), boot="c", started=1.0)
        had = {"ssh": "127.0.0.1:3001", "tunnel": "127.0.0.1:3002"}
        self.assertEqual(self.migration.ports_of("gw1"), had)
        self.assertEqual(self.restart().ports_of("gw1"), had)
        self.assertEqual(self.migration.ports_of("gw2"), {})

    def test_who_is_connected(self) -> None:
        """An auth service that has just started does not know it, and says so."""
        self.report()
        self.assertEqual(self.migration.snapshot().problems, ())
        again = Reports(self.cluster.parts.store, Ledger())
        self.cluster.run(again.start())
        self.cluster.parts = evolve(self.cluster.parts, reports=again)
        self.assertEqual(
            self.restart().snapshot().problems,
            ("gateway gw1 has not said yet who is connected to it",),
        )


class RunTests(MigrationCase):
    """A step that has begun."""

    SWITCH = Run(step=2, direction="there", stage="switching", mode="multiplex", by="root")

    def test_had_happened(self) -> None:
        """A crash after the switch: it has happened, and the step ends."""
        self.cluster.run(self.migration.begin(self.SWITCH))
        self.migration.stop()
        self.switch(1)
        again = self.restart()
        self.assertIsNone(again.run)
        self.assertEqual(self.ended, [({"step": 2, "direction": "there", "resumed": True}, True)])
        self.assertIsNone(self.restart().run)

    def test_had_not_happened(self) -> None:
        """A crash before the switch: nobody was told of it, and it is rolled back."""
        self.cluster.run(self.migration.begin(self.SWITCH))
        again = self.restart()
        self.assertIsNone(again.run)
        self.assertEqual(
            self.ended, [({"step": 2, "direction": "there", "rolled_back": True}, False)]
        )

    def test_two_at_once(self) -> None:
        """Of two operators, the second one hears that a step is under way, however slow a disk."""
        written: Deferred[None] = Deferred()
        self.patch(self.migration, "_keep", lambda key, value: written)
        first = Deferred.fromCoroutine(self.migration.begin(self.SWITCH))
        back = evolve(self.SWITCH, direction="back", mode="separate")
        second = Deferred.fromCoroutine(self.migration.begin(back))
        self.failureResultOf(second, StepRuns)
        written.callback(None)
        self.successResultOf(first)
        self.assertEqual(self.migration.run, self.SWITCH)

    def test_not_noted(self) -> None:
        """A step that cannot be noted has not begun, and the one before it is waited for on."""
        closing = Run(step=7, direction="there", stage="file")
        self.cluster.run(self.migration.begin(closing))
        self.patch(self.migration, "_keep", lambda key, value: fail(StoreFailed("full")))
        begun = Deferred.fromCoroutine(self.migration.begin(self.SWITCH))
        self.failureResultOf(begun, StoreFailed)
        self.assertEqual(self.migration.run, closing)

    def test_a_file_is_awaited(self) -> None:
        """A step that a file decides is waited for, over a crash, until it is reported done."""
        self.report()
        closing = Run(step=7, direction="there", stage="file")
        self.cluster.run(self.migration.begin(closing))
        self.migration.stop()
        again = self.restart()
        self.assertEqual(again.run, closing)
        self.assertFalse(again.settled())
        self.switch(1)
        self.report(names=("web",), boot="c", started=1.0, mode_in_force="multiplex")
        self.assertIsNone(again.run)
        self.assertEqual(self.ended, [({"step": 7, "direction": "there"}, True)])
        self.assertFalse(again.settled())

    def test_another_version(self) -> None:
        """A note that is not understood is none."""
        self.cluster.run(self.cluster.store.commit([Put("migration/run", b'{"leap":1}')]))
        self.assertIsNone(self.restart().run)

    def test_words(self) -> None:
        """A step is called by its number and its direction."""
        self.assertEqual(self.SWITCH.words, "step 2")
        self.assertEqual(evolve(self.SWITCH, direction="back").words, "rollback step 2")


class SwitchTests(MigrationCase):
    """Who would break."""

    def test_reports(self) -> None:
        """Every gateway that has reported counts."""
        self.report()
        self.assertEqual(self.migration.may_switch("multiplex", "separate"), ())
        self.report("gw2", names=("web",))
        (why,) = self.migration.may_switch("multiplex", "separate")
        self.assertIn("gateway gw2 has the ssh port not open", why)

    def test_own(self) -> None:
        """The gateway of the same process has what its settings say, reported or not."""
        self.own = Own(gateway="gw1", listeners=("web",))
        self.assertEqual(len(self.migration.may_switch("multiplex", "separate")), 1)
        self.assertEqual(self.migration.may_switch_with(("web", "ssh"), "separate"), ())
        self.report()
        self.assertEqual(len(self.migration.may_switch("multiplex", "separate")), 1)
        self.own = Own(gateway="gw1", listeners=("web", "ssh"))
        self.report(names=("web",), refusing=("ssh", "tunnel"), boot="c", started=1.0)
        self.assertEqual(self.migration.may_switch("multiplex", "separate"), ())
        (told,) = self.migration.snapshot().gateways
        self.assertEqual(
            [(one.name, one.state) for one in told.listeners],
            [("web", "open"), ("ssh", "open"), ("tunnel", "refusing")],
        )

    def test_ledger(self) -> None:
        """Who came by which port is decided by, too."""
        said: GatewayReport = report(heard=self.cluster.clock.seconds())
        rows = [row("db1", "tunnel", kind="agent"), row("bob")]
        self.cluster.run(self.cluster.parts.reports.take(said, 1, rows))
        names = {one.use.name for one in self.migration.snapshot().ledger}
        self.assertEqual(names, {"db1", "bob"})
