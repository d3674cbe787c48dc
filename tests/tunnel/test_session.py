"""Tests for `tlsgate.tunnel.session`."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.tunnel.gateside import (
    ORIGIN,
    FakeOwner,
    FakeStream,
    Time,
    Wire,
    hello,
    make_session,
    node,
)
from tlsgate.core.frames import Frame, FrameKind, message
from tlsgate.core.greetings import Drain, Inventory, Open, Reconnect, Retire, Said, Unmoved
from tlsgate.errors import BadBytes
from tlsgate.tunnel.session import MOST_FRAMES, Session


def control(said: Said) -> Frame:
    """One word of the agent."""
    return Frame(FrameKind.CONTROL, message(FrameKind.CONTROL, said.told())[4:])


class SessionTests(SynchronousTestCase):
    """Tests for `Session`."""

    def setUp(self) -> None:
        self.time, self.owner, self.wire = Time(), FakeOwner(), Wire()
        self.pace, self.wall = 15.0, 1000.0
        self.session: Session = make_session(
            self.time,
            owner=self.owner,
            wire=self.wire,
            pace=lambda: self.pace,
            wall=lambda: self.wall,
        )

    def stream(self) -> FakeStream:
        def lost(stream: Any, error: Any) -> None:
            self.session.pool.lost(stream)
            self.session.lacks_streams()

        stream = FakeStream(lost=lost)
        self.session.pool.added(stream)
        return stream

    def take(self) -> None:
        class Taker:
            def given(self, stream: Any) -> None: ...
            def missed(self, error: Any) -> None: ...

        self.session.pool.take(Taker())

    def pong(self) -> None:
        """Answer the newest ping."""
        ping = [one for one in self.wire.take() if one.kind is FrameKind.PING][-1]
        self.session.hear(Frame(FrameKind.PONG, ping.body))

    def test_roles(self) -> None:
        """A role that is said many times is one: the auth service refuses longer reports whole."""
        said = evolve(hello(), roles=("node",) * 200)
        session = make_session(self.time, said=said)
        self.assertEqual(session.roles, ("node",))

    def test_pings(self) -> None:
        """One goes out at once and one each period; an agent that answers stays."""
        self.session.start()
        for _ in range(6):
            self.pong()
            self.time.pass_by(15.25)
        self.assertEqual(self.wire.closed, "")
        self.assertEqual(self.session.healthy, True)

    def test_silent(self) -> None:
        """Three missed pings end control and every stream of the session."""
        busy, idle = self.stream(), self.stream()
        self.take()
        self.session.start()
        self.session.hear(Frame(FrameKind.PONG, bytes(8)))  # to none of ours
        self.time.pass_by(29)  # the first ping goes out at once
        self.assertEqual((self.wire.closed, self.session.healthy), ("", False))
        self.time.pass_by(3)
        self.assertEqual((self.wire.closed, self.session.cause), ("aborted", "silent"))
        self.assertEqual(busy.did + idle.did, ["close", "abort silent"])

    def test_paced(self) -> None:
        """Another period counts at once."""
        self.pace = 300.0
        self.session.start()
        self.pace = 1.0
        self.session.paced()
        self.time.pass_by(5)
        self.assertEqual(self.wire.closed, "aborted")

    def test_ping_of_the_agent(self) -> None:
        """It is answered with the same bytes."""
        self.session.hear(Frame(FrameKind.PING, b"12345678"))
        self.assertEqual(self.wire.take(), [Frame(FrameKind.PONG, b"12345678")])

    def test_inventory(self) -> None:
        """What the agent offers now is passed on."""
        self.session.hear(control(Inventory((node("db1", env="dev"),), "box")))
        self.assertEqual(self.owner.heard, [(node("db1", env="dev"),)])
        self.assertEqual(self.session.hostname, "box")

    def test_retire(self) -> None:
        """An agent may have fewer idle streams, and closes none itself."""
        streams = [self.stream() for _ in range(3)]
        self.session.hear(control(Retire(1)))
        self.assertEqual([one.did for one in streams], [["close"], [], []])

    def test_open(self) -> None:
        """The agent is asked for streams, again where they do not come."""
        self.session.start()
        self.take()
        self.assertEqual(self.wire.said(), [Open(2)])
        self.time.pass_by(16)
        self.assertEqual(self.wire.said(), [Open(3)])

    def test_drains(self) -> None:
        """A session that drains ends with its last client."""
        busy, idle = self.stream(), self.stream()
        self.take()
        self.session.drain()
        self.session.drain()
        self.assertIn(Drain(), self.wire.said())
        self.assertEqual((idle.did + busy.did, self.wire.closed), (["close"], ""))
        self.assertEqual(self.owner.heard, ["rests"])
        self.session.pool.returned(idle if busy.did else busy)
        self.assertEqual(self.wire.closed, "closed")

    def test_agent_drains(self) -> None:
        """So does one whose agent wants it."""
        self.session.hear(control(Drain()))
        self.assertEqual((self.owner.heard, self.wire.closed), (["rests"], "closed"))

    def test_proved(self) -> None:
        """The first answer to a ping is told, and no other one."""
        self.session.start()
        self.pong()
        self.time.pass_by(15.25)
        self.pong()
        self.assertEqual((self.owner.heard, self.session.proved), (["proved"], True))

    def test_unmoved(self) -> None:
        """An agent that cannot move says why; asked anew, it begins to count again."""
        self.session.hear(control(Unmoved("port 443 is refused")))
        self.session.hear(control(Unmoved("it is silent\n")))
        self.assertEqual(self.owner.heard[-1], ("unmoved", "it is silent?", 2))
        self.session.move("another mode")
        self.assertEqual((self.session.why_here, self.session.tries), ("", 0))

    def test_move(self) -> None:
        """An agent that is to dial anew goes on to serve."""
        stream = self.stream()
        self.session.move("the gateway stops")
        self.assertEqual(self.wire.said(), [Reconnect("the gateway stops")])
        self.assertEqual((stream.did, self.session.draining), ([], False))

    def test_certificate_ends(self) -> None:
        """With the certificate by which it began it serves nobody new."""
        self.session.start()
        self.stream()
        self.take()
        self.wall = ORIGIN.until
        self.time.pass_by(16)
        why = "the certificate by which this session began has ended"
        said = [one for one in self.wire.said() if not isinstance(one, Open)]
        self.assertEqual(said, [Reconnect(why), Drain()])
        self.assertEqual((self.session.draining, self.wire.closed), (True, ""))
        self.time.pass_by(15)
        self.assertEqual(self.wire.said(), [])

    def test_ended(self) -> None:
        """However control ends, busy streams go on, and idle ones end with it."""
        self.session.start()
        busy = self.stream()
        self.take()
        idle = self.stream()
        self.session.ended()
        self.session.ended()
        self.wire.take()
        self.session.move("why")
        self.assertEqual((busy.did, idle.did), ([], ["close"]))
        self.assertEqual(self.owner.heard, ["gone"])
        self.assertEqual((self.wire.take(), self.time.wheel.waiting()), ([], 0))

    def test_newer(self) -> None:
        """A word of a newer version is passed over."""
        body = message(FrameKind.CONTROL, {"say": "dance"})[4:]
        self.session.hear(Frame(FrameKind.CONTROL, body))
        self.assertEqual(self.wire.take(), [])

    def test_odd(self) -> None:
        """What only a gateway says, or only streams carry, is refused."""
        for odd in (
            control(Open(1)),
            control(Reconnect("")),
            Frame(FrameKind.DATA, b"x"),
            Frame(FrameKind.CONTROL, b"[]"),
        ):
            self.assertRaises(BadBytes, self.session.hear, odd)

    def test_too_much(self) -> None:
        """How much an agent may say in one period is bounded."""
        self.session.start()
        for _ in range(2):
            for _ in range(MOST_FRAMES - 1):
                self.session.hear(Frame(FrameKind.PING, bytes(8)))
            self.time.pass_by(15.25)
        for _ in range(MOST_FRAMES):
            self.session.hear(Frame(FrameKind.PING, bytes(8)))
        error = self.assertRaises(BadBytes, self.session.hear, Frame(FrameKind.PING, bytes(8)))
        self.assertIn("more than 300 frames", str(error))
