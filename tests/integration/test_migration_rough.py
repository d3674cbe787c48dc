"""The walk from separate ports to one under worse conditions; in the slow tier only."""

from __future__ import annotations

import time

from tests.support.walk import RATE, Walk
from tests.support.walkdials import Attempt, Dialler
from tests.support.walkguide import Command

SLOW_ONLY = "each walk takes minutes"
#: A gateway that is there again serves within this time by every way.
BACK_SECONDS = 3.0
#: What goes on to an agent has to wait for it: after some tries without an answer an agent waits
#: for as long as the tunnel's back-off says.
BY_AGENT = ("app", "direct", "postgres", "ssh")


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
    #: Of each death: when it was, until when nothing has to work, and what an agent is asked for.
    outages: list[tuple[float, float, float]]

    def test_killed(self) -> None:
        """Soon after each start all works that is advertised, and the walk goes on from there."""
        self.outages = []
        self.start()
        self.until_agent_at("tunnel")
        self.until_database()
        with Dialler(means=self.means, rate=RATE) as self.dialler:
            self.steps()
        wrong = [str(one) for one in self.dialler.failed() if not self.excused(one)]
        self.assertEqual(wrong, [])

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
        began = time.monotonic()
        self.kill(self.hub)
        self.hub = self.again(self.hub)
        self.addCleanup(self._no_bugs, self.hub)
        ready = time.monotonic()
        self.until_tunnel(self.db1.agent)
        self.outages.append((began, ready + BACK_SECONDS, time.monotonic() + BACK_SECONDS))
        self.pause()

    def excused(self, one: Attempt) -> bool:
        """Whether the gateway was not there in some part of that attempt."""
        ended, late = one.began + one.seconds, one.way.kind in BY_AGENT
        return any(
            one.began <= (by_agent if late else back) and ended >= gone
            for gone, back, by_agent in self.outages
        )
