"""The walk from separate ports to one under worse conditions; in the slow tier only."""

from __future__ import annotations

from tests.support.walk import RATE, Walk
from tests.support.walkdeaths import Deaths
from tests.support.walkdials import Dialler
from tests.support.walkguide import Command

SLOW_ONLY = "each walk takes minutes"


class WorkersTests(Walk):
    """One gateway with two workers."""

    workers = 2
    limit_seconds = 600

    def test_two_workers(self) -> None:
        """The whole walk, with as little that is dropped or fails."""
        self.walk()


class KilledTests(Walk):
    """A gateway that is killed between any two steps."""

    limit_seconds = 600
    deaths: Deaths

    def test_killed(self) -> None:
        """Soon after each start all works that is advertised, and the walk goes on from there."""
        self.deaths = Deaths()
        self.start()
        self.until_agent_at("tunnel")
        self.until_database()
        with Dialler(means=self.means, rate=RATE) as self.dialler:
            self.steps()
        self.assertEqual(self.deaths.wrong(self.dialler.failed()), [])
        self.both_ways(self.dialler)

    def steps(self) -> None:
        """There and back, with a death after each step."""
        for heading in (
            "Step 2: tell clients",
            "Step 4: agents",
            "Step 6: OpenSSH configurations",
        ):
            self.follow(heading)
            self.killed()
        # A step that waits for its file is still under way when the gateway comes back.
        self.shell(Command("tgctl migration step 7 --force --wait=0s", (4,)))
        self.killed()
        self.assertEqual(self.hub.admin("GET", "/v1/migration")["run"]["step"], 7)
        self.follow("Step 7: close the ports")
        self.assertIsNone(self.hub.admin("GET", "/v1/migration")["run"])
        self.killed()
        self.follow("The way back")
        self.killed()
        self.follow("Step 2 by hand")
        self.killed()

    def killed(self) -> None:
        """Kill the gateway, start it again, and let everybody come."""
        with self.deaths.one():
            self.kill(self.hub)
            self.hub = self.again(self.hub)
        self.addCleanup(self._no_bugs, self.hub)
        self.pause()
