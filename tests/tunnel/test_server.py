"""Tests for `tlsgate.tunnel.server`."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.address import IPv4Address, UNIXAddress
from zope.interface.verify import verifyObject

from tests.tunnel.gateside import ServerCase, asked, db, hello, node
from tlsgate.core.frames import FrameKind, message
from tlsgate.core.greetings import Changed, Drain, GatewayHello, Reconnect
from tlsgate.interfaces import ITunnels


class TunnelsTests(ServerCase):
    """Who has come, and how they are reached."""

    def test_greeting(self) -> None:
        """An agent learns all that it needs."""
        verifyObject(ITunnels, self.tunnels)
        line, answer = self.control()
        self.assertEqual(
            evolve(answer, version=""),
            GatewayHello(
                gateway="gw",
                version="",
                session="sid1",
                gateways=("gw.example.com:443",),
                spread_seconds=1.0,
            ),
        )
        self.assertEqual((line.gives_up_after, self.changes), (90.0, 1))
        self.assertEqual(self.tunnels.offers("node"), [node("db1")])

    def test_reached(self) -> None:
        """A client goes out by a stream of the agent that offers what it wants."""
        _, answer = self.control()
        line = self.stream(answer.session)
        self.assertEqual(line.answer().session, answer.session)
        self.assertIs(self.streams[0].end, line.released)
        kept = line.context.kept
        assert kept is not None
        self.assertEqual(kept.resting(), False)
        got: list[Any] = []
        self.tunnels.reach(asked()).start(got.append, got.append)
        self.assertEqual(self.streams[0].asked, asked())
        assert self.streams[0].reached is not None
        self.streams[0].reached("end")
        self.assertEqual(got, ["end"])

    def test_strange_streams(self) -> None:
        """A stream belongs to a session of the same agent that takes one more."""
        _, answer = self.control()
        self.assertIn("session is over", self.stream("sid9").refused())
        self.assertIn("another agent's", self.stream(answer.session, "db2").refused())
        said = hello("db1", db("orders"), kind="stream", session=answer.session)
        other = self.line("db1", "db").greet(said)  # of one name, and another host
        self.assertIn("another agent's", other.refused())
        self.facts = evolve(self.facts, most=2)
        self.tunnels.refresh()
        _, answer = self.control()
        self.stream(answer.session)
        self.stream(answer.session)
        self.assertIn("as many streams", self.stream(answer.session).refused())
        self.tunnels.reach(asked()).start(lambda end: None, lambda error: None)
        session = self.tunnels.agents.serving("db1")
        assert session is not None
        session.drain()
        self.assertIn("drains", self.stream(answer.session).refused())

    def test_full_socket(self) -> None:
        """A stream whose socket does not even take a HELLO is of no use."""
        _, answer = self.control()
        line = self.line()
        line.unsent = b"rest"
        line.greet(evolve(hello(), kind="stream", session=answer.session, offers=()))
        released: Any = line.released
        self.assertEqual((released.lease.aborted, self.streams), (True, []))

    def test_eager_stream(self) -> None:
        """An agent says nothing on a stream before it has been answered."""
        _, answer = self.control()
        said = evolve(hello(), kind="stream", session=answer.session, offers=())
        line = self.line()
        line.say(message(FrameKind.HELLO, said.told()), b"\x01")
        self.assertIn("more before", line.refused())

    def test_newest_wins(self) -> None:
        """A newer registration serves, and the older one ends with its last client."""
        older, first = self.control()
        self.stream(first.session)
        self.tunnels.reach(asked()).start(lambda end: None, lambda error: None)
        newer, _ = self.control("db1", node("db1", age="new"))
        self.assertIn(Drain(), older.said())
        self.assertEqual((older.closed, self.streams[0].did), ("", []))
        self.assertEqual(self.tunnels.offers("node"), [node("db1", age="new")])
        self.streams[0].rest()
        self.assertEqual((older.closed, self.streams[0].did), ("closed", ["close"]))
        older.lose()
        self.assertEqual((len(self.tunnels.agents), newer.closed), (1, ""))

    def test_held(self) -> None:
        """A newer session serves nobody before it has answered; gone, it has changed nothing."""
        older, _ = self.control()
        older.take()
        newer = self.line().greet(hello("db1", node("db1", age="new")))
        self.assertEqual(self.tunnels.offers("node"), [node("db1")])
        self.assertEqual([one["move"] for one in self.tunnels.sessions()], ["moved", "moved"])
        newer.lose()
        self.assertEqual((older.said(), older.closed), ([], ""))
        newest = self.line().greet(hello("db1", node("db1", age="newest")))
        self.line().greet(hello("db1", node("db1", age="last"))).pong()
        self.assertEqual((newest.closed, older.closed), ("closed", "closed"))
        self.assertEqual(self.tunnels.offers("node"), [node("db1", age="last")])

    def test_older_one_leaves(self) -> None:
        """Where the older one is gone there is nothing to wait for."""
        older, _ = self.control()
        self.line().greet(hello("db1", node("db1", age="new")))
        older.say(message(FrameKind.CONTROL, Drain().told()))
        self.assertEqual(self.tunnels.offers("node"), [node("db1", age="new")])

    def test_rotation(self) -> None:
        """Agents that come under ever new names leave nothing behind (S41)."""
        self.tunnels.budget.rate = 1e6
        for number in range(1000):
            line, answer = self.control(f"a{number}")
            self.stream(answer.session, f"a{number}")
            line.lose()
        self.assertEqual((len(self.tunnels.agents), self.tunnels.offers("node")), (0, []))
        self.assertEqual(self.time.wheel.waiting(), 0)
        self.assertEqual({tuple(one.did) for one in self.streams}, {("close",)})

    def test_refresh(self) -> None:
        """What has changed is said, and another period of pings counts at once."""
        line, _ = self.control()
        line.take()
        self.tunnels.refresh()
        self.assertEqual(line.said(), [])
        self.facts = evolve(self.facts, ping_seconds=1.0, gateways=("other:443",))
        self.tunnels.refresh()
        changed = Changed(ping_seconds=1.0, spares=1, workers=("0",), gateways=("other:443",))
        self.assertEqual(line.said(), [changed])
        self.time.pass_by(5)
        self.assertEqual(line.closed, "aborted")
        self.facts = evolve(self.facts, gateways=())
        self.tunnels.refresh()

    def test_move(self) -> None:
        """When the way has changed agents dial anew: one, and more once that one is there."""
        lines = [self.control(f"a{n}")[0] for n in range(10)]
        self.tunnels.moves.aim(("tunnel",), ("web", "tunnel"), "the mode")
        self.time.pass_by(5)
        [first] = [line for line in lines if Reconnect("the mode") in line.said()]
        name = f"a{lines.index(first)}"
        self.line(name, listener="tunnel").greet(hello(name)).pong()
        self.assertEqual(first.closed, "closed")
        first.lose()
        self.time.pass_by(5)
        self.assertEqual(sum(Reconnect("the mode") in line.said() for line in lines), 5)
        moves = sorted(one["move"] for one in self.tunnels.sessions())
        self.assertEqual(moves, ["moved"] + 5 * ["moving"] + 4 * ["old"])

    def test_drain(self) -> None:
        """A gateway that stops tells all at once."""
        lines = [self.control(f"a{n}")[0] for n in range(60)]
        self.tunnels.moves.aim(("tunnel",), ("web",), "the mode")
        self.tunnels.drain("it stops")
        self.assertEqual({Reconnect("it stops") in line.said() for line in lines}, {True})
        self.time.pass_by(3)
        self.assertEqual([one for line in lines for one in line.said()], [])
        self.tunnels.stop()

    def test_sessions(self) -> None:
        """What is reported of each."""
        line = self.line(token=b"tlsgate-reversetunnel").greet(hello(hostname="box"))
        self.stream(line.answer().session)
        self.assertEqual(
            self.tunnels.sessions(),
            [
                {
                    "name": "db1",
                    "roles": ["node"],
                    "version": "1.0.0",
                    "hostname": "box",
                    "listener": "web",
                    "transport": "tls-alpn",
                    "address": "192.0.2.7:40000",
                    "worker": "0",
                    "since": 1000.0,
                    "streams": 1,
                    "should": "web",
                    "move": "moved",
                    "why": "",
                }
            ],
        )
        for peer, spelt in (
            (IPv4Address("TCP", "::1", 5), "[::1]:5"),
            (UNIXAddress(None), "unix"),
        ):
            self.line("x", peer=peer).greet(hello("x"))
            self.assertEqual(self.tunnels.sessions()[-1]["address"], spelt)
            self.assertEqual(self.tunnels.sessions()[-1]["transport"], "tls")
