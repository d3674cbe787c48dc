"""Tests for `tlsgate.core.migrationsteps`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.core.migrations import NOW, V1, V2, report, row, snapshot
from tlsgate.core.gatewayreports import FilePlace
from tlsgate.core.migration import AgentRow, Snapshot
from tlsgate.core.migrationsteps import Step, back, files, place_of, separate_ports, steps

MULTIPLEX = "multiplex"
FILE = FilePlace(path="/etc/gate.yaml", mode="separate", mode_line=7, version_line=1)


def agent(name: str, state: Any, why: str = "") -> AgentRow:
    """An agent's tunnel."""
    listener = "web" if state == "moved" else "tunnel"
    return AgentRow(name=name, gateway="gw1", listener=listener, state=state, why=why)


def moved(**more: Any) -> Snapshot:
    """After step 2, when clients have settled."""
    told = report(mode_in_force=MULTIPLEX, **more.pop("told", {}))
    return snapshot(told, mode=MULTIPLEX, **{"mode_since": NOW - 100, **more})


class StepsTests(SynchronousTestCase):
    """Tests for `steps`."""

    def step(self, number: int, told: Snapshot) -> Step:
        """One of the seven."""
        found = steps(told)
        self.assertEqual([one.number for one in found], [1, 2, 3, 4, 5, 6, 7])
        return found[number - 1]

    def test_the_beginning(self) -> None:
        """With separate ports and nobody about, the first thing to do is to switch."""
        states = [step.state for step in steps(snapshot())]
        self.assertEqual(states, ["done", "go", "done", "done", "done", "done", "later"])

    def test_the_end(self) -> None:
        """All is done where one port is told of and nothing else is open."""
        told = moved(told={"names": V2, "refusing": ("ssh",)})
        self.assertEqual({step.state for step in steps(told)}, {"done"})
        self.assertEqual(
            self.step(7, told).evidence,
            ("open: none", "ssh (127.0.0.1:3001) at gw1 refuses for another 2 h"),
        )

    def test_upgrade(self) -> None:
        """Different versions are to be made one; clients that are too old stop all."""
        self.assertEqual(self.step(1, snapshot(report(version="0.9.0"))).names, ("gateway gw1",))
        gone = snapshot(report(), report("b", heard=NOW - 500))
        self.assertEqual(self.step(1, gone).state, "go")
        self.assertEqual(self.step(1, gone).names, ("gateway b (away)",))
        none = Snapshot(now=NOW, mode="separate", version="3.0.0")
        self.assertEqual(self.step(1, none).state, "go")
        self.assertEqual(self.step(1, Snapshot(now=NOW, mode="separate")).state, "go")
        rows = (
            row("bob", version="tgsh/1.4.0"),
            row("ann", version="tgsh/2.0.0"),
            row("joe", version="tgsh/3.0.0"),
            row("eve", version="tgsh/1.0.0", ago=9e6),
        )
        old = Snapshot(now=NOW, mode="separate", version="3.0.0", gateways=(report(),), ledger=rows)
        self.assertEqual(self.step(1, old).state, "no-go")
        self.assertEqual(self.step(1, old).names, ("user bob (tgsh/1.4.0)", "gateway gw1"))
        self.assertEqual(
            self.step(1, old).evidence[-1],
            "1 client or agent one major release behind, 1 older than that",
        )

    def test_mode(self) -> None:
        """The mode may change where each gateway has the web port; a file that says it decides."""
        self.assertEqual(self.step(2, snapshot()).todo, "tgctl migration step 2")
        told = snapshot(report(file=FILE), mode_origin="config-file")
        self.assertEqual(self.step(2, told).todo, "set it at /etc/gate.yaml:7 and reload")
        bare = snapshot(mode_origin="config-file")
        self.assertIn("auth_service.proxy_listener_mode", self.step(2, bare).todo)
        self.assertEqual(self.step(2, snapshot(report(names=("ssh",)))).state, "no-go")
        away = snapshot(report(), report("b", heard=0.0))
        self.assertEqual(self.step(2, away).names, ("gateway b (away)",))

    def test_mode_is_told(self) -> None:
        """The step is done when every gateway tells it."""
        slow = self.step(2, snapshot(mode=MULTIPLEX))
        self.assertEqual((slow.state, slow.names), ("go", ("gateway gw1",)))
        done = self.step(2, moved())
        self.assertEqual(done.state, "done")
        self.assertEqual(
            done.evidence,
            ("the mode is multiplex (by defaults), for 100 s", "1 worker of 1 tell it to clients"),
        )

    def test_leaves(self) -> None:
        """No release has trusted clusters: nobody has to move."""
        for there in (snapshot(), moved()):
            self.assertEqual(self.step(3, there).state, "done")

    def test_agents(self) -> None:
        """Agents are to move after step 2; one that cannot is named with its reason."""
        old = (agent("n1", "old"), agent("n2", "moved"))
        self.assertEqual(self.step(4, snapshot(agents=old)).state, "later")
        self.assertEqual(self.step(4, moved(agents=old)).names, ("agent n1",))
        stuck = (agent("n1", "cannot", "refused"), agent("n3", "cannot"))
        step = self.step(4, moved(agents=stuck))
        self.assertEqual(step.state, "no-go")
        self.assertEqual(step.names, ("agent n1: refused", "agent n3: it cannot move"))
        rows = (row("n4", "tunnel", kind="agent", open=2),)
        self.assertEqual(self.step(4, moved(ledger=rows)).names, ("agent n4",))
        self.assertEqual(self.step(4, moved(agents=old[1:])).state, "done")

    def test_agents_unknown(self) -> None:
        """Agents have moved when all gateways have said which ones they have, not before."""
        gone = report("b", names=V2, heard=NOW - 500)
        away = "gateway b is away: who uses it is not known"
        told = snapshot(report(mode_in_force=MULTIPLEX), gone, mode=MULTIPLEX, problems=("why",))
        self.assertEqual(
            (self.step(4, told).state, self.step(4, told).names), ("go", (away, "why"))
        )
        back_told = snapshot(report(), gone)
        self.assertEqual((back(back_told)[2].state, back(back_told)[2].names), ("go", (away,)))

    def test_no_program_of_ours(self) -> None:
        """A user's program that calls itself by a number only is none that we have to upgrade."""
        rows = (row("bob", version="0.9.1"), row("n1", kind="agent", version="3.0.0"))
        told = Snapshot(now=NOW, mode="separate", version="3.0.0", ledger=rows)
        self.assertEqual(self.step(1, told).names, ())

    def test_users(self) -> None:
        """Users of tgsh and of OpenSSH are told apart; they are no matter before step 2."""
        rows = (row("bob", version="OpenSSH_9.2"), row("ann", "postgres"))
        before = steps(snapshot(ledger=rows))
        self.assertEqual([before[4].state, before[5].state], ["later", "later"])
        after = steps(moved(ledger=rows))
        self.assertEqual(after[4].names, ("user ann by postgres: 10 s ago",))
        self.assertEqual(after[5].names, ("user bob by ssh (OpenSSH_9.2): 10 s ago",))

    def test_close(self) -> None:
        """Ports may close when clients have settled, nobody uses them, and all is known."""
        step = self.step(7, moved())
        self.assertEqual(
            (step.state, step.todo),
            ("go", "set version: v2 at /etc/gate.yaml:1 and reload"),
        )
        early = self.step(7, moved(mode_since=NOW - 40))
        self.assertEqual(early.state, "no-go")
        self.assertEqual(early.names, ("clients may use them for another 20 s",))
        used = self.step(7, moved(ledger=(row("bob", open=1),)))
        self.assertEqual(used.names, ("user bob by ssh: 1 open now",))
        self.assertEqual(used.evidence[-1], "1 who would break, 1 connections open")

    def test_close_while_it_is_told(self) -> None:
        """A gateway that has not heard of the switch yet sends clients to the ports still."""
        slow = report("b")
        told = snapshot(report(mode_in_force=MULTIPLEX), slow, mode=MULTIPLEX, mode_since=NOW - 99)
        step = self.step(7, told)
        why = "gateway b tells clients separate, and the cluster is multiplex"
        self.assertEqual((step.state, step.names), ("no-go", (why,)))

    def test_close_unknown(self) -> None:
        """What is not known stops it, too."""
        nobody = Snapshot(now=NOW, mode=MULTIPLEX, problems=("the ledger cannot be read",))
        step = self.step(7, nobody)
        self.assertEqual(step.names, ("no gateway has reported", "the ledger cannot be read"))
        self.assertEqual(step.todo, "set version: v2 and reload")
        gone = report("b", names=V2, heard=NOW - 500)
        away = snapshot(report(mode_in_force=MULTIPLEX), gone, mode=MULTIPLEX)
        self.assertEqual(self.step(7, away).names, ("gateway b is away: who uses it is not known",))


class BackTests(SynchronousTestCase):
    """Tests for `back`."""

    def states(self, told: Snapshot) -> list[str]:
        """Of the four steps."""
        found = back(told)
        self.assertEqual([one.key for one in found], ["open", "mode", "agents", "users"])
        return [one.state for one in found]

    def test_order(self) -> None:
        """Ports open first, then they are told of, then all follow."""
        closed = moved(told={"names": V2})
        self.assertEqual(self.states(closed), ["go", "no-go", "later", "later"])
        self.assertEqual(back(closed)[0].todo, "set version: v1 at /etc/gate.yaml:1 and reload")
        self.assertEqual(self.states(moved()), ["done", "go", "later", "later"])
        self.assertEqual(self.states(snapshot()), ["done", "done", "done", "done"])

    def test_not_there_yet(self) -> None:
        """Gateways and agents that do not follow are named."""
        slow = snapshot(report(mode_in_force=MULTIPLEX), agents=(agent("n1", "old"),))
        self.assertEqual(self.states(slow), ["done", "go", "go", "done"])
        self.assertEqual([one.names for one in back(slow)[1:3]], [("gateway gw1",), ("agent n1",)])
        self.assertEqual(
            self.states(Snapshot(now=NOW, mode="separate")), ["no-go", "done", "done", "done"]
        )

    def test_by_file(self) -> None:
        """Where a file sets the mode, its line is said; a file without a version has none."""
        told = moved(told={"file": FILE}, mode_origin="config-file")
        self.assertEqual(back(told)[1].todo, "set it at /etc/gate.yaml:7 and reload")
        bare = moved(told={"names": V2, "file": FilePlace(path="/etc/gate.yaml")})
        self.assertEqual(back(bare)[0].todo, "set version: v1 and reload")


class PlacesTests(SynchronousTestCase):
    """Tests for what files and ports there are."""

    def test_files(self) -> None:
        """Each gateway's file once, and where it says what."""
        told = snapshot(report(), report(worker="1"), report("b", file=FILE))
        self.assertEqual([name for name, _ in files(told)], ["gw1", "b"])
        midway = snapshot(report(), report(worker="1", file=FILE))
        self.assertEqual(files(midway), (("gw1", FILE),))
        self.assertEqual(place_of(told, "mode"), "/etc/gate.yaml:7")
        self.assertIsNone(place_of(snapshot(), "mode"))
        alone = report("auth", ("auth",), file=FILE)
        self.assertEqual(place_of(snapshot(report(), alone), "mode"), "/etc/gate.yaml:7")

    def test_ports(self) -> None:
        """The separate ports of all gateways, in the guide's order."""
        told = snapshot(report(names=V1), report("b", ("web", "mysql", "ssh")))
        self.assertEqual(separate_ports(told), ("ssh", "tunnel", "mysql"))
