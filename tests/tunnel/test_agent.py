"""Tests for `tlsgate.tunnel.agent`, with dials and sessions in the test's hands."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.tunnel.agentside import FakeLease, FakeSession, control, hello
from tlsgate.core.frames import FrameKind, frame, only, read_message
from tlsgate.core.greetings import Changed, Drain, Reconnect
from tlsgate.core.offers import Offer
from tlsgate.core.tunnelway import Way
from tlsgate.errors import GateError, TunnelBroken, Unreachable
from tlsgate.net.poller import READ
from tlsgate.net.wheel import Wheel
from tlsgate.tls.fast import ENDED, Slab
from tlsgate.tunnel import agent as module
from tlsgate.tunnel.agent import Agent
from tlsgate.tunnel.dialling import Badge, Means
from tlsgate.tunnel.speaking import Speaking

FIND = {
    "proxy": {"tls_routing_enabled": True, "ssh": {"public_addr": "gate.example.com:443"}},
}
OFFER = Offer(kind="node", name="db1", labels={"env": "prod"}, addresses=("127.0.0.1:22",))


class FakeDialling:
    """One dial; the test says how it ends."""

    def __init__(
        self, means: Any, badge: Any, way: Way, worker: Any, said: Any, met: Any, failed: Any
    ) -> None:
        self.way, self.worker, self.said = way, worker, said
        self.met, self.failed = met, failed
        self.started = self.cancelled = False
        DIALS.append(self)

    def start(self) -> None:
        """Begin."""
        self.started = True

    def cancel(self) -> None:
        """Give up."""
        self.cancelled = True


DIALS: list[FakeDialling] = []


class AgentTests(SynchronousTestCase):
    """Tests for `Agent`."""

    def setUp(self) -> None:
        DIALS.clear()
        self.patch(module, "Dialling", FakeDialling)
        self.clock, self.slab = Clock(), Slab()
        self.asked_ways: list[str] = []
        self.find: Any = FIND
        self.chance = 0.5
        self.make("gate.example.com:443")

    def make(self, *servers: str) -> None:
        """The agent of these servers."""
        unused: Any = None
        means = Means(
            reactor=self.clock,
            poller=unused,
            wheel=Wheel(self.clock),
            slab=self.slab,
            now=self.clock.seconds,
            time=self.clock.seconds,
            environ={},
        )
        self.agent = Agent(
            means,
            servers,
            ["node"],
            badge=lambda: Badge(pair=unused, cluster="c", cas=()),
            name=lambda: "db1",
            find=self.finds,
            asked=lambda asked, request: None,
            chance=lambda: self.chance,
            make_stream=unused,
        )

    async def finds(self, server: str) -> Any:
        """What a server says of itself."""
        self.asked_ways.append(server)
        found = self.find
        if isinstance(found, GateError):
            raise found
        if isinstance(found, Deferred):
            return await found
        return found

    def dial(self) -> FakeDialling:
        """The newest dial of a control connection, which has begun."""
        self.clock.advance(0)
        found = [one for one in DIALS if one.said.kind == "control"][-1]
        self.assertTrue(found.started)
        return found

    def meet(self, dial: FakeDialling | None = None, **more: Any) -> Any:
        """A gateway answers to the newest dial; gives its side of the connection."""
        lease: Any = FakeLease()
        session = FakeSession()
        made = Speaking(
            lease,
            session,
            self.slab,
            limit_of=only(FrameKind.HELLO),
            heard=lambda _: None,
            lost=lambda _: None,
        )
        made.pause()
        (dial or self.dial()).met(hello(spares=0, **more), made)
        self.clock.advance(0)
        return lease, session

    def words(self, session: FakeSession) -> list[str]:
        """What the agent has said on a control connection."""
        frames = [one for one in session.said() if one.kind is FrameKind.CONTROL]
        return [str(read_message(one)["say"]) for one in frames]

    def hear(self, side: Any, said: Any) -> None:
        """The gateway says a word."""
        lease, session = side
        session.incoming += control(said)
        lease.on_ready(READ)

    def prove(self, side: Any) -> None:
        """The gateway answers to the newest ping."""
        lease, session = side
        [*_, found] = [one for one in session.said() if one.kind is FrameKind.PING]
        session.incoming += frame(FrameKind.PONG, found.body)
        lease.on_ready(READ)

    def lose(self, side: Any) -> None:
        """The gateway's connection ends."""
        lease, session = side
        session.after = ENDED
        lease.on_ready(READ)

    def places(self) -> list[tuple[str, str]]:
        """Where there are sessions."""
        return [(one["gateway"], one["worker"]) for one in self.agent.told()]

    def test_the_first_session(self) -> None:
        """The way is asked for, dialled, and what is offered is said in the HELLO."""
        self.agent.offer([OFFER])
        self.agent.start()
        dial = self.dial()
        self.assertEqual(dial.way, Way("gate.example.com", 443, alpn=True))
        self.assertEqual(
            (dial.said.agent, dial.said.roles, dial.said.offers), ("db1", ("node",), (OFFER,))
        )
        side = self.meet()
        self.assertEqual(self.places(), [("gw1", "0")])
        self.words(side[1])
        self.agent.offer([OFFER])
        self.agent.offer([])
        self.assertEqual(self.words(side[1]), ["inventory"])

    def test_r07_back_off_with_jitter(self) -> None:
        """What fails is tried again after a random part of eight seconds, and asked anew."""
        self.find = Unreachable("x", "y")
        self.chance = before = 0.25
        self.agent.start()
        for chance in (0.75, 0.999, 0.5):
            count = len(self.asked_ways)
            self.chance = chance
            self.clock.advance(8 * before - 0.001)
            self.assertEqual(len(self.asked_ways), count)
            self.clock.advance(0.002)
            self.assertEqual(len(self.asked_ways), count + 1)
            before = chance
        self.find = FIND
        self.clock.advance(8)
        self.dial().failed(TunnelBroken("x"))
        self.clock.advance(8)
        self.meet()
        self.assertEqual(self.places(), [("gw1", "0")])

    def test_r07_a_gateway_with_few(self) -> None:
        """One that has few agents is looked for sooner, and ever less often while away."""
        self.chance = 0.999
        self.agent.start()
        side = self.meet(spread_seconds=1.0)
        self.find = Unreachable("x", "y")
        self.lose(side)
        for seconds in (1, 2, 4, 8, 8):
            count = len(self.asked_ways)
            self.clock.advance(0.99 * seconds)
            self.assertEqual(len(self.asked_ways), count)
            self.clock.advance(0.01 * seconds)
            self.assertEqual(len(self.asked_ways), count + 1)

    def test_a_lost_gateway(self) -> None:
        """It is looked for again, by a document that is asked for again."""
        self.agent.start()
        side = self.meet()
        self.find = {
            "proxy": {"tls_routing_enabled": True, "ssh": {"public_addr": "other.example:1"}}
        }
        self.lose(side)
        self.assertEqual(self.places(), [])
        self.clock.advance(4.001)
        self.assertEqual(str(self.dial().way), "other.example:1")

    def test_a_contradiction(self) -> None:
        """Where the document contradicts itself nothing is dialled; it is asked again."""
        self.find = {"proxy": {"tls_routing_enabled": False, "ssh": {}}}
        self.agent.start()
        self.clock.advance(4.001)
        self.clock.advance(4.001)
        self.assertEqual((DIALS, len(self.asked_ways)), ([], 3))

    def test_it_moves(self) -> None:
        """On the gateway's wish it dials anew; the older session drains once there is another."""
        self.agent.start()
        older = self.meet()
        self.hear(older, Reconnect("the mode has changed"))
        self.assertEqual(len(self.asked_ways), 2)
        self.words(older[1])
        newer = self.meet(gateway="gw1", session="s2")
        self.assertEqual(self.words(older[1]), [])
        self.prove(newer)
        self.assertEqual(self.words(older[1]), ["drain"])
        self.assertEqual((self.places(), older[0].ended), ([("gw1", "0")], "closed"))

    def test_it_cannot_move(self) -> None:
        """It says why, stays where it is, and tries on."""
        self.agent.start()
        older = self.meet()
        self.hear(older, Reconnect("the mode has changed"))
        self.words(older[1])
        self.dial().failed(TunnelBroken("port 443 is shut"))
        self.assertEqual(self.words(older[1]), ["unmoved"])
        self.clock.advance(4.001)
        newer = self.meet(session="s2")
        self.lose(newer)  # before it has answered once
        self.assertEqual((self.words(older[1]), older[0].ended), (["unmoved"], ""))
        self.assertEqual(self.places(), [("gw1", "0")])
        self.clock.advance(4.001)
        self.prove(self.meet(session="s3"))
        self.assertEqual((self.words(older[1]), older[0].ended), (["drain"], "closed"))
        self.assertEqual(self.places(), [("gw1", "0")])

    def test_the_older_one_ends_first(self) -> None:
        """Nothing is looked for: the newer one is there."""
        self.agent.start()
        older = self.meet()
        self.hear(older, Reconnect("the mode has changed"))
        self.meet(session="s2")
        self.lose(older)
        self.clock.advance(100)
        self.assertEqual((len(self.asked_ways), self.places()), (2, [("gw1", "0")]))

    def test_a_gateway_that_drains(self) -> None:
        """The same, and where another one does not answer the wait begins."""
        self.agent.start()
        side = self.meet()
        self.hear(side, Drain())
        self.assertEqual(self.places(), [])
        self.dial().failed(TunnelBroken("it is going"))
        self.clock.advance(4.001)
        self.meet()
        self.assertEqual(self.places(), [("gw1", "0")])

    def test_a_new_certificate(self) -> None:
        """Each session is replaced by one with it, and nobody is lost."""
        self.agent.start()
        older = self.meet()
        self.agent.renewed()
        self.assertEqual(older[0].ended, "")
        newer = self.meet(session="s2")
        self.assertEqual(older[0].ended, "")
        self.prove(newer)
        self.assertEqual(older[0].ended, "closed")

    def test_every_worker(self) -> None:
        """A gateway of several workers gets a session with each, by the token that names it."""
        self.agent.start()
        self.meet(worker="1", workers=("0", "1", "2"))
        self.clock.advance(0)
        wanted = {one.worker: one for one in DIALS if one.worker is not None}
        self.assertEqual(set(wanted), {"0", "2"})
        self.meet(wanted["0"], worker="0", workers=("0", "1", "2"))
        self.meet(wanted["2"], worker="1", workers=("0", "1", "2"))  # passed to the wrong one
        self.assertEqual(self.places(), [("gw1", "0"), ("gw1", "1")])

    def test_workers_that_go(self) -> None:
        """A worker that is no more is looked for no more."""
        self.agent.start()
        side = self.meet(workers=("0", "1"))
        self.clock.advance(0)
        second = next(one for one in DIALS if one.worker == "1")
        self.meet(second, worker="1", workers=("0", "1"))
        self.assertEqual(len(self.places()), 2)
        self.hear(side, Changed(ping_seconds=15, spares=0, workers=("0",), gateways=()))
        self.assertEqual(self.places(), [("gw1", "0")])

    def test_every_gateway(self) -> None:
        """Gateways that one tells of are asked for the way, as those of the configuration are."""
        self.agent.start()
        ssh = {"tunnel_listen_addr": "0.0.0.0:3024", "public_addr": "second.example:443"}
        self.find = {"proxy": {"tls_routing_enabled": False, "ssh": ssh}}
        side = self.meet(gateways=("gate.example.com:443", "second.example:443"))
        dial = self.dial()
        self.assertEqual(self.asked_ways[-1], "second.example:443")
        self.assertEqual(dial.way, Way("second.example", 3024, alpn=False))
        second = self.meet(gateway="gw2")
        self.assertEqual(self.places(), [("gw1", "0"), ("gw2", "0")])
        self.hear(side, Changed(ping_seconds=15, spares=0, workers=("0",), gateways=()))
        self.assertEqual(self.places(), [("gw1", "0"), ("gw2", "0")])  # it is there
        self.lose(second)
        count = len(self.asked_ways)
        self.clock.advance(100)
        self.assertEqual(len(self.asked_ways), count)  # nobody names it
        self.assertEqual(self.places(), [("gw1", "0")])

    def test_a_gateway_that_has_just_started(self) -> None:
        """It knows of no other yet: the session with one that was there before goes on."""
        self.agent.start()
        first = self.meet(gateways=("second.example:443",))
        second = self.meet(gateway="gw2", workers=("0", "1"))
        self.meet(gateway="gw2", worker="1", workers=("0", "1"))
        self.lose(first)
        self.clock.advance(8.001)
        self.meet(gateways=())
        self.assertEqual(self.places(), [("gw1", "0"), ("gw2", "0"), ("gw2", "1")])
        self.assertEqual(second[0].ended, "")

    def test_a_worker_s_way_to_a_gateway_that_is_gone(self) -> None:
        """With its last session all that leads there is looked for no more, if nobody names it."""
        self.agent.start()
        side = self.meet(gateways=("second.example:443",))
        second = self.meet(gateway="gw2", workers=("0", "1"))
        self.clock.advance(0)
        self.hear(side, Changed(ping_seconds=15, spares=0, workers=("0",), gateways=()))
        self.lose(second)
        count = len(self.asked_ways)
        self.clock.advance(100)
        self.assertEqual(len(self.asked_ways), count)

    def test_the_auth_service_s_address(self) -> None:
        """Where the servers are no gateways, those that the auth service knows are tried."""
        self.find = Unreachable("the gateway at gate.example.com:443", "no gateway")
        self.agent.told_of(["second.example:443"])
        self.agent.start()
        self.clock.advance(0)
        self.assertEqual(self.asked_ways, ["gate.example.com:443", "second.example:443"])
        self.find = FIND
        self.clock.advance(8.001)
        self.meet()
        self.assertEqual(self.places(), [("gw1", "0")])
        self.agent.told_of(["third.example:443"])  # there is a session: what it says counts
        self.assertNotIn("third.example:443", self.asked_ways)

    def test_it_needs_nobody_else(self) -> None:
        """A server that answers is enough."""
        self.agent.start()
        self.agent.told_of(["second.example:443"])
        self.meet()
        self.assertEqual(self.asked_ways, ["gate.example.com:443"])

    def test_two_ways_to_one_gateway(self) -> None:
        """The newer session holds it; the other way sleeps until that one is lost."""
        self.agent.start()
        older = self.meet(gateways=("second.example:443",))
        newer = self.meet()  # the same gateway answers there
        self.assertEqual(self.places(), [("gw1", "0")])
        self.assertEqual(older[0].ended, "closed")
        count = len(self.asked_ways)
        self.clock.advance(100)
        self.assertEqual(len(self.asked_ways), count)
        self.lose(newer)
        self.assertEqual(len(self.asked_ways), count + 1)

    def test_it_drains(self) -> None:
        """Nothing is dialled any more, and the end comes with the last session's."""
        self.agent.start()
        side = self.meet()
        self.find = Deferred()
        self.agent.renewed()
        drained = self.agent.drain()
        self.successResultOf(drained)
        self.assertEqual(side[0].ended, "closed")
        self.clock.advance(100)
        self.assertEqual(self.places(), [])
        self.successResultOf(self.agent.drain())

    def test_cut(self) -> None:
        """All of it ends at once, dials too."""
        self.make("gate.example.com:443", "other.example:443")
        self.agent.start()
        self.clock.advance(0)
        first, second = DIALS
        side = self.meet(first)
        self.agent.cut()
        self.assertEqual((side[0].ended, second.cancelled), ("aborted", True))
        self.assertEqual(self.places(), [])
