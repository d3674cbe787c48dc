"""Tests for `tlsgate.tunnel.moves`."""

from __future__ import annotations

from tests.tunnel.gateside import Line, ServerCase, hello
from tlsgate.core.frames import FrameKind, message
from tlsgate.core.greetings import Reconnect, Unmoved
from tlsgate.core.moves import Advice


class MovesTests(ServerCase):
    """Agents on their way from the tunnel's port to the web port, and back."""

    def setUp(self) -> None:
        super().setUp()
        self.moves = self.tunnels.moves
        self.addCleanup(self.tunnels.stop)
        self.moves.aim(("tunnel",), ("web", "tunnel"), "the start")
        self.lines = {name: self.come(name, "tunnel") for name in ("a", "b", "c")}

    def come(self, name: str, listener: str) -> Line:
        """An agent has a tunnel that works."""
        return self.line(name, listener=listener).greet(hello(name)).pong()

    def asked(self) -> set[str]:
        """Who has been asked to move since the last time."""
        said = {name: line.said() for name, line in self.lines.items()}
        return {name for name, words in said.items() if Reconnect("the mode") in words}

    def states(self) -> dict[str, tuple[str, str, str]]:
        """How far each agent is, by name."""
        return {
            one["name"]: (one["should"], one["move"], one["why"]) for one in self.tunnels.sessions()
        }

    def switch(self, **more: bool) -> None:
        """Agents should be at the web port."""
        self.moves.aim(("web",), ("web", "tunnel"), "the mode", **more)

    def test_all_of_them(self) -> None:
        """One after another, and at the end all are there."""
        self.time.pass_by(5)
        self.assertEqual(self.asked(), set())
        self.switch()
        for _ in range(10):
            self.time.pass_by(1)
            for name in self.asked():
                before, self.lines[name] = self.lines[name], self.come(name, "web")
                self.assertEqual(before.closed, "closed")
                before.lose()
        self.assertEqual(set(self.states().values()), {("web", "moved", "")})
        self.assertEqual(self.time.clock.getDelayedCalls(), self.wheel_calls())

    def wheel_calls(self) -> list[object]:
        """What the clock waits for besides: the pings."""
        return [one for one in self.time.clock.getDelayedCalls() if "wheel" in repr(one).lower()]

    def test_one_that_cannot(self) -> None:
        """It is named with its reason, the others wait, and all go on when it has come."""
        self.switch()
        self.time.pass_by(1)
        [name] = self.asked()
        words = message(FrameKind.CONTROL, Unmoved("port 443 is shut").told())
        changes = self.changes
        self.lines[name].say(words, words)
        self.assertEqual(self.states()[name], ("web", "cannot", "port 443 is shut"))
        self.assertTrue(self.changes > changes)
        self.time.pass_by(30)
        self.assertEqual((self.asked(), self.lines[name].closed), (set(), ""))
        self.come(name, "web")
        self.time.pass_by(1)
        self.assertEqual(self.asked(), {"a", "b", "c"} - {name})

    def test_advice(self) -> None:
        """It is followed when it changes."""
        self.moves.advise(Advice(paused=True, number=1))
        self.switch()
        self.time.pass_by(5)
        self.assertEqual(self.asked(), set())
        self.moves.advise(Advice(number=2))
        self.moves.advise(Advice(number=2))
        self.assertEqual(len(self.asked()), 1)

    def test_anew(self) -> None:
        """Another address means another dial for who is at the right listener, too."""
        for name in self.lines:
            self.lines[name] = self.come(name, "web")
        self.switch()
        self.time.pass_by(1)
        self.assertEqual(self.asked(), set())
        self.switch(anew=True)
        self.time.pass_by(1)
        self.assertEqual(len(self.asked()), 1)

    def test_a_port_that_closes(self) -> None:
        """Its agents are asked at once."""
        self.moves.advise(Advice(paused=True, number=1))
        self.moves.aim(("web",), ("web",), "the mode")
        self.time.pass_by(1)
        self.assertEqual(self.asked(), {"a", "b", "c"})

    def test_while_it_waits(self) -> None:
        """A session that has not answered yet, or that drains, is on its way."""
        self.switch()
        self.moves.aim(None, ("web", "tunnel"), "any")
        self.assertEqual(set(self.states().values()), {("tunnel", "moved", "")})
        self.switch()
        self.line("a", listener="tunnel").greet(hello("a"))
        found = [one["move"] for one in self.tunnels.sessions() if one["name"] == "a"]
        self.assertEqual(found, ["old", "moving"])
        [first, _] = [one for one in self.tunnels.agents if one.agent == "a"]
        first.draining = True
        state, why = self.moves.told(first)["move"], self.moves.told(first)["why"]
        self.assertEqual((state, "last client" in why), ("moved", True))

    def test_stop(self) -> None:
        """Nobody is asked any more."""
        self.switch()
        self.moves.stop()
        self.moves.stop()
        self.time.pass_by(5)
        self.moves.look()
        self.assertEqual(self.asked(), set())
