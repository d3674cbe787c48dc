"""The walk from separate ports to one and back, step by step, while everything is in use.

1. A cluster runs from a file of version 1, with everything in use: see `support.walkhouse`.
2. One connection of each kind is held through everything, and asked each second if it lives.
3. Meanwhile twenty new ones a second come by what the cluster says to clients, and a real client
   of each kind every five seconds.
4. An operator does what stands in docs/guide.md: all steps, all of them back, and once more; every
   command of that page is run here.
"""

from __future__ import annotations

import os
import signal

from tests.support.child import alive, during, until
from tests.support.harness import Gate
from tests.support.walkdeaths import Deaths
from tests.support.walkdials import Dialler
from tests.support.walkguide import Command
from tests.support.walkheld import Holding
from tests.support.walkhouse import WalkCase
from tests.support.walkregulars import Regulars
from tests.support.walkways import Way, try_way

#: Between two things that an operator does.
PAUSE_SECONDS = 6.0
#: New connections a second, of all kinds together.
RATE = 20.0
#: Step 2 has reached clients after so long.
HEARD_SECONDS = 1.0
HELD = {"ssh -J", "tgsh ssh", "psql", "transfer", "websocket", "web login"}
CLIENTS = {"ssh -J", "ssh", "tgsh ssh", "psql", "psql 17", "tgsh db connect", "curl"}
#: Who has come by a port of its own: alice holds connections there and has a program for each,
#: bob's psql has come by it in step 5, and a transfer goes on in the agent's old tunnel.
NAMED = {
    ("user", "alice", "ssh"),
    ("user", "alice", "postgres"),
    ("user", "bob", "postgres"),
    ("agent", "db1", "tunnel"),
}


class Walk(WalkCase):
    """The whole walk; a subclass says with what."""

    dialler: Dialler
    holding: Holding
    regulars: Regulars

    def walk(self) -> None:
        """Steps one to seven and all the way back: by hand first, then with `tgctl migration`."""
        self.start()
        self.until_agent_at("tunnel")
        self.until_database()
        with (
            Holding(self.everything_held()) as self.holding,
            Dialler(means=self.means, rate=RATE) as self.dialler,
            self.regulars_with(self.dialler) as self.regulars,
        ):
            self.pause()
            self.follow("Step 1: upgrade")
            self.until_agent_at("tunnel")
            self.pause()
            self.forward(" by hand")
            self.back(" by hand")
            self.no_go()
            self.forward()
            self.broken()
            self.back()
            self.regulars.stop()
            self.dialler.stop()
            self.holding.until_asked()
        self.right()

    def regulars_with(self, dialler: Dialler) -> Regulars:
        """Alice's programs, that come as the cluster says to the clients of *dialler*."""
        return Regulars(
            lambda words: self.do(self.alice, *words),
            self.regulars_of(),
            lambda: dialler.document,
        )

    def right(self) -> None:
        """Nobody was dropped, and nobody failed by a way that was advertised."""
        self.maxDiff = None
        self.assertEqual((self.holding.lost, set(self.holding.asked)), ({}, HELD))
        self.assertEqual(list(map(str, self.dialler.failed())), [])
        self.assertEqual(list(map(str, self.regulars.wrong)), [])
        self.assertEqual(set(self.regulars.good), CLIENTS)
        self.both_ways(self.dialler)

    def both_ways(self, dialler: Dialler) -> None:
        """Both were gone, by everybody who has two."""
        for kind in ("ssh", "tunnel", "postgres"):
            ways = [way for way in dialler.tried() if way.split()[0] == kind]
            self.assertEqual(len(ways), 2, ways)

    def excused(self, deaths: Deaths) -> None:
        """Nobody failed whom a death does not excuse, and every program has worked."""
        self.assertEqual(deaths.wrong(self.dialler.failed()), [])
        self.assertEqual(deaths.wrong(self.regulars.wrong), [])
        self.assertEqual(set(self.regulars.good), CLIENTS)
        self.both_ways(self.dialler)

    def named(self) -> None:
        """Preflight names who depends on a port of its own, and nobody else."""
        told = self.hub.admin("GET", "/v1/migration/preflight")
        self.assertEqual((told["close"], told["go"]), (["ssh", "tunnel", "postgres"], False))
        rows = {(one["kind"], one["name"], one["listener"]) for one in told["breaks"]}
        self.assertEqual(rows, NAMED, told)

    def no_go(self) -> None:
        """Before its time step 7 says so, and changes nothing."""
        before = self.hub.file.read_text()
        self.shell(Command("tgctl migration step 7 --write", (3,)))
        self.assertEqual(self.hub.file.read_text(), before)
        for way in self.own_ways():
            try_way(way, self.means)

    def broken(self) -> None:
        """What was forced breaks whom preflight has named, who read what to do; see `right`."""
        for words in (self.jump("echo in"), ("psql", self.old_uri, "-c", "select 1")):
            said = self.fails(self.alice, *words)
            self.assertIn("tgsh", said)
        for way in self.own_ways():
            self.assertRaises((OSError, AssertionError), try_way, way, self.means)

    def own_ways(self) -> list[Way]:
        """The ports that protocols had for themselves."""
        return [
            Way("ssh", self.ssh_port, own=True),
            Way("postgres", self.postgres_port),
            Way("tunnel", self.tunnel_port, own=True),
        ]

    def pause(self) -> None:
        """Let everybody come as things are now."""
        for _ in during(PAUSE_SECONDS, every=1.0):
            pass

    def until_drained(self, *gates: Gate) -> None:
        """Wait until nothing is left of the processes that an upgrade has replaced."""
        for gate in gates:
            until(lambda: gate.child.code is not None, "the old process ends", 30)  # noqa: B023

    def kill(self, gate: Gate) -> None:
        """End the process that serves, after an upgrade too, without a word."""
        pid = gate.pid
        os.kill(pid, signal.SIGKILL)
        until(lambda: not alive(pid), "it is dead", 30)

    def forward(self, how: str = "") -> None:
        """Steps 2 to 7."""
        self.follow("From separate ports to one, and back")
        self.follow(f"Step 2{how or ': tell clients'}")
        until(
            lambda: self.document()["proxy"]["tls_routing_enabled"],
            "clients hear of it",
            HEARD_SECONDS,
        )
        self.follow("Step 3: trusted clusters")
        self.until_agent_at("web")
        self.follow("Step 4: agents")
        self.follow("Step 5: users log in again")
        self.follow("Step 6: OpenSSH configurations")
        self.new_config()
        self.pause()
        self.named()
        self.follow(f"Step 7{how or ': close the ports'}")
        self.pause()

    def back(self, how: str = "") -> None:
        """All of it, listeners first."""
        self.follow(f"The way back{how}")
        self.new_config()
        self.until_agent_at("tunnel")
        self.pause()
