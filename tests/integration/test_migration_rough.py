"""The walk from separate ports to one under worse conditions; in the slow tier only."""

from __future__ import annotations

import os
import signal

from attrs import define, field

from tests.support.child import during, until
from tests.support.harness import Gate
from tests.support.walk import CLIENTS, HEARD_SECONDS, NAMED, RATE, Walk
from tests.support.walkdeaths import Deaths
from tests.support.walkdials import Dialler
from tests.support.walkguide import Command, Ports
from tests.support.walkheld import Held, HeldSocket, HeldTransfer, HeldWebSocket, Holding
from tests.support.walkhouse import APP
from tests.support.walkpair import FAR_CLIENTS, Pair

SLOW_ONLY = "each walk takes minutes"
#: Dead for so long, a gateway is looked for by its agents as seldom as ever.
LONG_SECONDS = 9.0
#: What goes on to the auth service: its API, and agents' certificates for databases.
BY_AUTH = ("api", "direct", "postgres")
#: After which `tgsh config` has other words.
WRITTEN_ANEW = ("Step 6", "The way back")
#: There by hand, and back.
BY_HAND = (
    "Step 2 by hand",
    "Step 4: agents",
    "Step 5: users log in again",
    "Step 6: OpenSSH configurations",
    "Step 7 by hand",
    "The way back by hand",
)
#: There by `tgctl migration`, and back.
BY_COMMAND = (
    "Step 2: tell clients",
    "Step 4: agents",
    "Step 5: users log in again",
    "Step 6: OpenSSH configurations",
    "Step 7: close the ports",
    "The way back",
)


class WorkersTests(Walk):
    """One gateway with two workers."""

    workers = 2
    limit_seconds = 600

    def test_two_workers(self) -> None:
        """The whole walk, with as little that is dropped or fails."""
        self.walk()


class KilledWorkerTests(Walk):
    """One gateway with two workers, of which one is killed between any two steps."""

    workers = 2
    limit_seconds = 900
    deaths: Deaths

    def test_killed_worker(self) -> None:
        """What the other one carries goes on, and soon new connections work by every way."""
        self.deaths = Deaths()
        self.start()
        self.until_tunnels()
        self.until_database()
        with (
            Dialler(means=self.means, rate=RATE) as self.dialler,
            self.regulars_with(self.dialler) as self.regulars,
        ):
            for heading in (*BY_HAND, *BY_COMMAND):
                self.follow(heading)
                if heading.startswith(WRITTEN_ANEW):
                    self.new_config()
                self.killed()
        self.excused(self.deaths)

    def until_tunnels(self) -> None:
        """Wait until the agent has a tunnel to each worker."""

        def there() -> bool:
            rows = self.hub.admin("GET", "/v1/connections")
            ours = [one for one in rows if (one["identity"], one["route"]) == ("db1", "tunnel")]
            return {one["worker"] for one in ours} == {0, 1}

        until(there, "a tunnel to each worker", 30, self.db1.agent.child.tail)

    def pids(self) -> dict[int, int]:
        """Worker to pid, of those that serve."""
        status = self.hub.admin("GET", "/v1/status")
        return {one["worker"]: one["pid"] for one in status["members"] if one["ready"]}

    def killed(self) -> None:
        """Kill a worker while both carry something, and let everybody come."""
        port, user = self.web_port, self.means.user
        held: list[HeldSocket] = [
            *(HeldTransfer(f"transfer {number}", port, user, APP) for number in range(4)),
            *(HeldWebSocket(f"websocket {number}", port, user, APP) for number in range(6)),
        ]
        rows = self.hub.admin("GET", "/v1/connections")
        workers = {int(one["peer"].rpartition(":")[2]): one["worker"] for one in rows}
        worker = workers[held[0].port]
        gone = {one.name for one in held if workers[one.port] == worker}
        with Holding(list(held)) as holding:
            holding.until_asked()
            before = self.pids()
            with self.deaths.one():  # it is over at once: the other worker is there
                os.kill(before[worker], signal.SIGKILL)
            until(lambda: self.pids().get(worker, before[worker]) != before[worker], "another")
            self.pause()
            holding.until_asked()
            self.assertEqual(set(holding.lost), gone, holding.lost)
        self.assertEqual({**self.pids(), worker: 0}, {**before, worker: 0})
        self.until_tunnels()


class KilledTests(Walk):
    """A gateway that is killed between any two steps."""

    limit_seconds = 900
    deaths: Deaths

    def test_killed(self) -> None:
        """Soon after each start all works that is advertised, and the walk goes on from there."""
        self.deaths = Deaths()
        self.start()
        self.until_agent_at("tunnel")
        self.until_database()
        with (
            Dialler(means=self.means, rate=RATE) as self.dialler,
            self.regulars_with(self.dialler) as self.regulars,
        ):
            self.pause()
            self.follow("Step 1: upgrade")
            self.until_agent_at("tunnel")
            self.until_drained(self.hub)
            self.killed()
            for heading in (*BY_HAND, *BY_COMMAND):
                if heading == "Step 7: close the ports":
                    self.begun()
                self.follow(heading)
                if heading.startswith(WRITTEN_ANEW):
                    self.new_config()
                self.assertIsNone(self.hub.admin("GET", "/v1/migration")["run"])
                self.killed(LONG_SECONDS if heading == "Step 2: tell clients" else 0.0)
        self.excused(self.deaths)

    def begun(self) -> None:
        """A step that waits for its file is still under way when the gateway comes back."""
        self.shell(Command("tgctl migration step 7 --force --wait=0s", (4,)))
        self.killed()
        self.assertEqual(self.hub.admin("GET", "/v1/migration")["run"]["step"], 7)

    def killed(self, seconds: float = 0.0) -> None:
        """Kill the gateway, start it again after *seconds*, and let everybody come."""
        with self.deaths.one():
            self.kill(self.hub)
            for _ in during(seconds):
                pass
            self.hub = self.again(self.hub)
        self.addCleanup(self._no_bugs, self.hub)
        self.pause()


@define
class Side:
    """One of two gateways.

    Attributes:
        dialler: of new connections to it.
        holding: what it carries.
        deaths: of itself, and of the auth service that it asks.
    """

    dialler: Dialler
    deaths: Deaths = field(factory=Deaths)
    holding: Holding = field(factory=lambda: Holding([]))


class TwoGatewaysTests(Pair):
    """Two gateways with a file each, of which now one and now the other is killed."""

    limit_seconds = 900
    here: Side
    there: Side

    def test_two_gateways(self) -> None:
        """The whole walk: what one carries outlives the other, new connections work at both."""
        self.start()
        self.until_both_at("tunnel")
        self.until_database()
        self.here = Side(Dialler(means=self.means, rate=RATE / 2))
        self.there = Side(Dialler(means=self.far_means, rate=RATE / 2))
        with (
            self.here.dialler,
            self.there.dialler,
            self.regulars_with(self.here.dialler) as near,
            self.regulars_at_far(self.there.dialler) as far,
        ):
            self.hold(self.here, self.everything_held())
            self.hold(self.there, self.held_at(self.far_ports))
            self.upgraded()
            self.forth_by_hand()
            self.back_by_hand()
            self.forth()
            self.back_again()
        for side, regulars in ((self.here, near), (self.there, far)):
            side.holding.stop()
            self.assertEqual(side.deaths.wrong(side.dialler.failed()), [])
            self.assertEqual(side.deaths.wrong(regulars.wrong), [])
            self.both_ways(side.dialler)
        self.assertEqual(set(near.good), CLIENTS)
        self.assertEqual(set(far.good), FAR_CLIENTS)

    def upgraded(self) -> None:
        """Step 1: nobody is dropped; what the old processes held is let go afterwards."""
        self.pause()
        self.upgrade()
        self.pause()
        self.outlived(self.here)
        self.outlived(self.there)
        for side, ports in ((self.here, self.ports), (self.there, self.far_ports)):
            side.holding.stop()
            self.hold(side, self.held_at(ports))
        self.until_drained(self.hub, self.far)

    def forth_by_hand(self) -> None:
        """Steps 2 to 7, with a death between each two."""
        self.follow("Step 2 by hand")
        self.until_routed(routed=True, seconds=HEARD_SECONDS)
        self.far_killed()
        self.until_both_at("web")
        self.follow("Step 4: agents")
        self.hub_killed()
        self.follow("Step 5: users log in again")
        self.far_killed()
        self.follow("Step 6: OpenSSH configurations")
        self.new_config()
        self.pause()
        self.users_named()
        self.change_far("Step 7 by hand")
        self.follow("Step 7 by hand")
        self.pause()
        self.broken()
        self.hub_killed(separate=False)

    def back_by_hand(self) -> None:
        """All of it, listeners first."""
        self.change_far("The way back by hand")
        self.far_killed()
        self.follow("The way back by hand")
        self.until_routed(routed=False, seconds=HEARD_SECONDS)
        self.new_config()
        self.until_both_at("tunnel")
        self.hub_killed()

    def forth(self) -> None:
        """The same with `tgctl migration`, which waits for the second gateway's file."""
        self.follow("Step 2: tell clients")
        self.until_routed(routed=True, seconds=HEARD_SECONDS)
        self.far_killed()
        self.until_both_at("web")
        self.follow("Step 4: agents")
        self.hub_killed()
        self.follow("Step 5: users log in again")
        self.follow("Step 6: OpenSSH configurations")
        self.new_config()
        self.pause()
        self.far_killed()
        self.users_named()
        # The second gateway's file is its own affair: the step is under way until it has changed.
        self.shell(Command("tgctl migration step 7 --write --force --wait=1s", (4,)))
        self.hub_killed(separate=False)
        self.assertEqual(self.hub.admin("GET", "/v1/migration")["run"]["step"], 7)
        self.change_far("Step 7 by hand")
        self.shell(Command("tgctl migration step 7 --force --wait=15s"))
        self.assertIsNone(self.hub.admin("GET", "/v1/migration")["run"])
        self.far_killed(separate=False)

    def back_again(self) -> None:
        """The second gateway's file by hand, and all else by one command."""
        self.change_far("The way back by hand")
        self.follow("The way back")
        self.until_routed(routed=False, seconds=15.0)
        self.new_config()
        self.until_both_at("tunnel")
        self.far_killed()

    def users_named(self) -> None:
        """Preflight names the users who depend on a port of its own at either gateway."""
        told = self.hub.admin("GET", "/v1/migration/preflight")
        self.assertFalse(told["go"], told)
        rows = {(one["kind"], one["name"], one["listener"]) for one in told["breaks"]}
        users = {row for row in NAMED if row[0] == "user"}
        self.assertEqual({row for row in rows if row[0] == "user"}, users, told)

    def far_killed(self, *, separate: bool = True) -> None:
        """Kill the second gateway, start it again, and let everybody come."""
        with self.there.deaths.one():
            self.kill(self.far)
            self.far = self.again(self.far)
        self.outlived(self.here)
        self.back_at(self.far, self.there, self.far_ports, separate=separate)

    def hub_killed(self, *, separate: bool = True) -> None:
        """The same with the first, and the auth service: what only that can answer has to wait."""
        with self.here.deaths.one(), self.there.deaths.one(BY_AUTH):
            self.kill(self.hub)
            self.hub = self.again(self.hub)
        self.outlived(self.there)
        self.back_at(self.hub, self.here, self.ports, separate=separate)

    def back_at(self, gate: Gate, side: Side, ports: Ports, *, separate: bool = True) -> None:
        """Hold connections with a gateway that is there again."""
        self.addCleanup(self._no_bugs, gate)
        self.pause()
        self.hold(side, self.held_at(ports, separate=separate))

    def hold(self, side: Side, held: list[Held]) -> None:
        """Hold these from now on."""
        side.holding.stop()
        side.holding = Holding(held)
        side.holding.__enter__()
        self.addCleanup(side.holding.stop)

    def outlived(self, side: Side) -> None:
        """Nothing that this one carries has ended."""
        side.holding.until_asked()
        self.assertEqual(side.holding.lost, {})
