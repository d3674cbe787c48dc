"""Tests for `tlsgate.tunnel.door`: who is let in."""

from __future__ import annotations

from attrs import evolve

from tests.tunnel.gateside import CLUSTER, ServerCase, hello, identity, node
from tlsgate.core.access import Identity
from tlsgate.core.claims import Claims
from tlsgate.core.frames import FrameKind, message
from tlsgate.core.greetings import Inventory
from tlsgate.core.locks import Lock
from tlsgate.errors import Denied


class DoorTests(ServerCase):
    """Who is let in."""

    def refused(self, who: Identity | None, why: str) -> None:
        error = self.assertRaises(Denied, self.tunnels.door, self.context(who))
        self.assertIn(why, str(error))

    def test_certificate(self) -> None:
        """Only a host of this very cluster comes to the door."""
        user = Claims(cluster=CLUSTER, kind="user", name="alice", roles=("access",))
        other = Claims(cluster="other", kind="host", name="db1", system_roles=("node",))
        self.refused(None, "no certificate")
        self.refused(Identity(common_names=("db1",)), "no certificate")
        self.refused(identity(claims=user), "of a user")
        self.refused(identity(anchor=b"else"), "not of this cluster")
        self.refused(identity(claims=other), "not of this cluster")
        context = evolve(self.context(identity()), cluster=None)
        self.assertRaises(Denied, self.tunnels.door, context)

    def test_locked(self) -> None:
        """Nor does an agent that is locked out."""
        self.cluster.lock = Lock(name="l1", target={"agent": "db1"})
        self.refused(identity(), "lock l1 on agent db1")

    def test_theft(self) -> None:
        """S41: an agent that says another's name is refused, and audited."""
        for said, why in (
            (hello("db2"), "agent 'db2'"),
            (hello("db1", node("db2")), "node 'db2', which is not its own name"),
        ):
            line = self.line().greet(said)
            self.assertIn(why, line.refused())
            assert line.context.refused is not None
            self.assertEqual(line.context.refused[0].reason, "denied")
        self.assertEqual((self.tunnels.offers("node"), len(self.tunnels.agents)), ([], 0))

    def test_theft_later(self) -> None:
        """So is one that offers another's name later; all that it had ends."""
        line, answer = self.control()
        self.stream(answer.session)
        said = Inventory((node("db1"), node("db2"))).told()
        line.say(message(FrameKind.CONTROL, said))
        assert line.context.refused is not None
        error, words, _ = line.context.refused
        self.assertIsInstance(error, Denied)
        self.assertEqual((words, self.streams[0].did), (b"", ["close"]))
        line.say(message(FrameKind.CONTROL, said))
        line.lose()
        self.assertEqual(self.tunnels.offers("node"), [])

    def test_bad_bytes(self) -> None:
        """What is no HELLO, or more than one, is refused."""
        whole = message(FrameKind.HELLO, hello().told())
        for wire, why in (
            (message(FrameKind.CONTROL, {"say": "drain"}), "not allowed here"),
            (message(FrameKind.HELLO, {"v": 2}), "version"),
            (whole + whole, "more before"),
            (b"GET / HTTP/1.1\r\n", "unknown"),
        ):
            line = self.line()
            line.say(wire)
            assert line.context.refused is not None
            if why != "more before":
                self.assertIn(why, line.refused())

    def test_split(self) -> None:
        """The HELLO may come byte by byte."""
        line = self.line()
        for byte in message(FrameKind.HELLO, hello().told()):
            line.say(bytes((byte,)))
        self.assertEqual(line.answer().session, "sid1")

    def test_late(self) -> None:
        """Who says nothing is refused when the opening's time is over."""
        line = self.line()
        line.say(b"\x01")
        self.time.pass_by(9)
        self.assertEqual(line.context.refused, None)
        self.time.pass_by(2)
        self.assertIn("opening_seconds (10 s) passed", line.refused())
        self.assertEqual(self.time.wheel.waiting(), 0)

    def test_trickle(self) -> None:
        """A frame on control has to be whole in time, too."""
        line, _ = self.control()
        wire = message(FrameKind.CONTROL, Inventory((node("db1", a="b"),)).told())
        line.say(wire[:5])
        self.time.pass_by(9)
        line.say(wire[5:] + wire[:5])
        self.assertEqual(self.tunnels.offer("node", "db1"), node("db1", a="b"))
        for one in line.take():
            if one.kind is FrameKind.PING:
                line.say(wire[5:], message(FrameKind.CONTROL, {"say": "x"}))
        self.time.pass_by(11)
        line.say(wire[:5])
        self.time.pass_by(11)
        assert line.context.refused is not None
        self.assertIn("frame (10 s)", str(line.context.refused[0]))

    def test_budget(self) -> None:
        """A storm waits its turn; who would wait too long tries later."""
        self.tunnels.budget.rate = 2.0
        lines = [self.line(f"a{n}").greet(hello(f"a{n}")) for n in range(22)]
        self.assertEqual(len(self.tunnels.agents), 3)
        self.assertIn("try later", lines[-1].refused())
        lines[4].lose()
        self.time.pass_by(9)
        waited = [one for one in lines if one.context.refused is None]
        self.assertEqual((len(waited), len(self.tunnels.agents)), (19, 18))
        self.assertEqual(waited[5].answer().session[:3], "sid")

    def test_a_flood(self) -> None:
        """An agent that says too much is refused before that is read, whatever it dials anew."""
        labels = {f"label{n}": "x" * 1024 for n in range(64)}
        said = message(FrameKind.CONTROL, Inventory((node("db1", **labels),)).told())
        other, _ = self.control("db2")
        line, _ = self.control()
        for _ in range(60):
            line.say(said)
        assert line.context.refused is not None
        self.assertIn("bytes of one agent", str(line.context.refused[0]))
        line.lose()
        self.assertIn("try later", self.line().greet(hello()).refused())
        other.say(said.replace(b"db1", b"db2"))
        self.assertIsNone(other.context.refused)
        self.time.pass_by(16)
        self.control()

    def test_dials_all_the_time(self) -> None:
        """Nor does one agent take the turns of all others."""
        refused = [self.line().greet(hello()).context.refused for _ in range(60)]
        self.assertEqual(refused[:25], [None] * 25)
        self.assertNotIn(None, refused[40:])
        self.control("db2")

    def test_lost_early(self) -> None:
        """One that goes before it has said anything leaves nothing."""
        self.line().lose()
        self.assertEqual((self.time.wheel.waiting(), self.changes), (0, 0))
