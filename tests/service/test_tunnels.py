"""Tests for `tlsgate.service.tunnels`."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.cluster.states import NAME, FakeDoor, event, networking, snapshot
from tests.net.rig import Rig
from tests.tunnel.gateside import Wire, hello, identity
from tlsgate.cluster.view import ClusterView
from tlsgate.core.greetings import Changed, Reconnect
from tlsgate.core.moves import Advice
from tlsgate.net.ends import SecureEnd
from tlsgate.net.lease import Lease
from tlsgate.net.owner import Owned
from tlsgate.service import tunnels as module
from tlsgate.service.tunnels import OwnTunnels, ping_seconds
from tlsgate.testing import FakeContext, FakeReach, listener
from tlsgate.tunnel.stream import GatewayStream


class OwnTunnelsTests(SynchronousTestCase):
    """Tests for `OwnTunnels`."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.addCleanup(self.rig.close)
        self.door = FakeDoor()
        self.view = ClusterView(NAME, self.door, self.rig.reactor, lambda: 1000.0, mode="separate")
        self.view.start()
        self.door.live.say(snapshot(networking=networking(0)))
        gate = self.rig.gateway.gate
        ports = (*gate.settings.listeners, listener("tunnel", "tcp:3024", "tunnel"))
        self.rig.gateway.take(evolve(gate, settings=evolve(gate.settings, listeners=ports)))
        self.own = OwnTunnels(self.rig.reactor, self.rig.gateway, self.view, 1)
        self.addCleanup(self.own.stop)
        self.wire = Wire()
        who = identity()
        context = FakeContext(identity=who, listener="tunnel")
        self.own.tunnels.admit(hello(), context, self.wire, who)
        self.wire.take()

    def set(self, **spec: Any) -> None:
        """Somebody changes the cluster's networking."""
        written = networking()
        written["spec"] = {"proxy_listener_mode": 0, **spec}
        self.door.live.say(event("cluster_networking_config", "networking", written))

    def test_facts(self) -> None:
        """Agents are told the gateway's own name, and which worker this is."""
        facts = self.own._facts()
        settings = self.rig.settings
        self.assertEqual(
            (facts.gateway, facts.worker, facts.workers, facts.ping_seconds, facts.gateways),
            (settings.node_name, "1", ("0",), 15.0, ()),
        )

    def test_other_gateways(self) -> None:
        """And where the others are that the auth service knows, each once."""
        self.own._heard_of(("other.test:443", "gw.test:443", "other.test:443"))
        [changed] = self.wire.said()
        assert isinstance(changed, Changed)
        self.assertEqual(changed.gateways, ("other.test:443",))

    def test_pings(self) -> None:
        """The cluster's interval counts from when it is set."""
        self.set(keep_alive_interval="5s")
        [changed] = self.wire.said()
        assert isinstance(changed, Changed)
        self.assertEqual(changed.ping_seconds, 5.0)
        for said, seconds in (("5m0s", 15.0), ("1ms", 1.0), ("30h", 3600.0)):
            self.set(keep_alive_interval=said)
            self.assertEqual(ping_seconds(self.view), seconds)

    def test_before_anything_is_heard(self) -> None:
        """Pings go out by our own interval then."""
        view = ClusterView(NAME, self.door, self.rig.reactor, lambda: 1000.0, mode="separate")
        self.assertEqual(ping_seconds(view), 15.0)

    def test_mode(self) -> None:
        """When the mode changes agents ask for their way anew."""
        self.set(proxy_listener_mode=1)
        self.assertEqual(self.wire.said(), [])
        self.rig.reactor.advance(0.25)
        self.assertIn(Reconnect("the way to this cluster's gateways has changed"), self.wire.said())
        self.own.follow()
        self.assertEqual(self.wire.said(), [])

    def test_addresses(self) -> None:
        """So they do when the gateway's own addresses change."""
        gate = self.rig.gateway.gate
        settings = evolve(gate.settings, public=evolve(gate.settings.public, tunnel=("t:3024",)))
        self.rig.gateway.take(evolve(gate, settings=settings))
        self.own.follow()
        self.rig.reactor.advance(0.25)
        self.assertEqual([type(one) for one in self.wire.said()], [Reconnect])

    def test_a_port_that_closes(self) -> None:
        """Its agents are asked to go, in whichever mode."""
        gate = self.rig.gateway.gate
        settings = evolve(gate.settings, listeners=gate.settings.listeners[:1])
        self.rig.gateway.take(evolve(gate, settings=settings))
        self.own.follow()
        self.rig.reactor.advance(0.25)
        self.assertEqual([type(one) for one in self.wire.said()], [Reconnect])

    def test_advice(self) -> None:
        """What the auth service keeps for agents is followed; what is odd changes nothing."""
        advice = Advice(paused=True, number=1)
        self.door.live.say(event("agent_moves", "agent-moves", advice.told()))
        self.set(proxy_listener_mode=1)
        self.rig.reactor.advance(0.3)
        self.assertEqual(self.wire.said(), [])
        self.door.live.say(event("agent_moves", "agent-moves", {"percent": "all"}))
        self.assertEqual(self.wire.said(), [])
        self.door.live.say(event("agent_moves", "agent-moves", None))
        self.assertEqual([type(one) for one in self.wire.said()], [Reconnect])

    def test_kept(self) -> None:
        """What is offered is kept for the next process, which expects it."""
        folder = Path(self.mktemp())
        folder.mkdir()

        def make() -> OwnTunnels:
            made = OwnTunnels(self.rig.reactor, self.rig.gateway, self.view, 1, dict, folder)
            self.addCleanup(made.stop)
            return made

        own, who, wire = make(), identity(), Wire()
        own.tunnels.admit(hello(), FakeContext(identity=who, listener="tunnel"), wire, who)
        wire.take()
        for _ in range(2):
            own.drain()
        self.assertEqual([type(one) for one in wire.said()], [Reconnect])
        self.assertEqual(make().tunnels.offers("node"), own.tunnels.offers("node"))

    def test_progress(self) -> None:
        """How far few agents are is told at once, and of many with the next report."""
        soon: list[str] = []
        self.patch(self.own.reports, "at_once", lambda: soon.append("at once"))
        self.set(proxy_listener_mode=1)
        self.assertEqual(soon, ["at once"])
        self.patch(module, "_FEW", 0)
        self.rig.reactor.advance(0.25)
        self.assertEqual(soon, ["at once"])

    def test_where_agents_should_be(self) -> None:
        """At the port that the mode means, where there is one that nobody else leads to."""
        settings = self.rig.gateway.gate.settings
        shared = evolve(settings.public, tunnel=settings.public.web)
        alone = evolve(settings, listeners=settings.listeners[:1])
        for mode, given, want in (
            ("multiplex", settings, ("web",)),
            ("separate", settings, ("tunnel",)),
            ("separate", evolve(settings, public=shared), None),
            ("separate", alone, None),
            ("multiplex", evolve(settings, listeners=settings.listeners[-1:]), None),
        ):
            self.assertEqual(module._wanted(mode, given), want)

    def test_drain(self) -> None:
        """A gateway that stops says so, once, and nothing more."""
        self.own.drain(FakeReach)
        self.own.drain()
        self.assertEqual(self.wire.said(), [Reconnect("the gateway stops")])
        self.assertIs(self.own.tunnels.agents.onward, FakeReach)
        self.set(proxy_listener_mode=1)
        self.own._heard_of(("other.test:443",))
        self.own.follow()
        self.assertEqual(self.wire.said(), [])

    def test_stream(self) -> None:
        """A stream is the real one, on the gateway's own slab and wheel."""
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        ours.setblocking(False)

        class Session:
            """Has nothing to say."""

            def pending(self) -> int:
                return 0

            def end(self) -> int:
                return 0

        session: Any = Session()
        end = SecureEnd(Lease(Owned(ours), self.rig.gateway.poller), session)
        lost: list[object] = []
        stream = self.own._stream(end, lost.append, lambda stream, error: lost.append(stream))
        self.assertIsInstance(stream, GatewayStream)
        stream.close()
        self.assertEqual(lost, [stream])
