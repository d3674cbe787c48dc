"""From separate ports to one and back, step by step, with nobody dropped and nobody refused.

1. A cluster runs from a file of version 1, with everything in use: see `support.walkhouse`.
2. One connection of each kind is held through everything, and asked each second if it lives.
3. Meanwhile twenty new ones a second come by what the cluster says to clients, and a real client
   of each kind every five seconds.
4. An operator takes the steps of the guide, all of them back, and once more.
"""

from __future__ import annotations

from tests.support.child import during, until
from tests.support.walkdials import Dialler
from tests.support.walkheld import Holding
from tests.support.walkhouse import Regulars, WalkCase

#: Between two things that an operator does.
PAUSE_SECONDS = 6.0
#: New connections a second, of all kinds together.
RATE = 20.0
#: Step 2 has reached clients after so long.
HEARD_SECONDS = 1.0
HELD = {"ssh -J", "tgsh ssh", "psql", "transfer", "websocket", "web login"}
CLIENTS = {"ssh -J", "ssh", "tgsh ssh", "psql", "psql 17", "tgsh db connect", "curl"}


class MigrationTests(WalkCase):
    """The whole walk, with one worker."""

    dialler: Dialler
    holding: Holding
    regulars: Regulars

    def test_walk(self) -> None:
        """Steps one to seven, all the way back, and once more."""
        self.start()
        # An upgrade has agents dial anew, and idle sessions of PostgreSQL end: nobody is held yet.
        self.follow("Step 1:")
        self.until_agent_at("tunnel")
        self.until_database()
        with (
            Holding(self.everything_held()) as self.holding,
            Dialler(means=self.means, rate=RATE) as self.dialler,
            Regulars(
                self, self.alice, self.regulars_of(), lambda: self.dialler.document
            ) as self.regulars,
        ):
            self.pause()
            self.forward()
            self.back()
            self.forward()
            self.regulars.stop()
            self.dialler.stop()
            self.holding.until_asked()
        self.right()

    def right(self) -> None:
        """Nobody was dropped, and nobody failed by a way that was advertised."""
        self.maxDiff = None
        self.assertEqual((self.holding.lost, set(self.holding.asked)), ({}, HELD))
        self.assertEqual(list(map(str, self.dialler.failed())), [])
        self.assertEqual((self.regulars.wrong, set(self.regulars.good)), ([], CLIENTS))
        # Both ways were gone, by everybody who has two.
        for kind in ("ssh", "tunnel", "postgres"):
            ways = [way for way in self.dialler.tried() if way.split()[0] == kind]
            self.assertEqual(len(ways), 2, ways)

    def pause(self) -> None:
        """Let everybody come as things are now."""
        for _ in during(PAUSE_SECONDS, every=1.0):
            pass

    def forward(self) -> None:
        """Steps 2 to 7."""
        self.follow("Step 2:")
        until(
            lambda: self.document()["proxy"]["tls_routing_enabled"],
            "clients hear of it",
            HEARD_SECONDS,
        )
        self.follow("Step 3:")
        self.until_agent_at("web")
        for step in (4, 5, 6):
            self.follow(f"Step {step}:")
        self.new_config()
        self.pause()
        self.follow("Step 7:")
        self.pause()

    def back(self) -> None:
        """All of it, listeners first."""
        self.follow("The way back")
        self.new_config()
        self.until_agent_at("tunnel")
        self.pause()
