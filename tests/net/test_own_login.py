"""A protocol that finds out by itself who its client is: what the gateway does meanwhile."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from tests.net.rig import Rig
from tests.support.certs import pki
from tlsgate import registry
from tlsgate.config.settings import Closing
from tlsgate.core.access import Identity
from tlsgate.core.sniff import Opening, Then, prefix
from tlsgate.interfaces import IRouteContext
from tlsgate.net.ends import PlainEnd
from tlsgate.net.gate import Gate, Trust
from tlsgate.net.relay import Pair
from tlsgate.protocols.base import GateProtocol
from tlsgate.tls.sshhost import SshHostFiles, keep_key


class Shy(GateProtocol):
    """Keeps what it is told, and says nothing."""

    name = "shy"
    own_login = True
    openings = (
        Opening(name="shy", protocol="shy", match=prefix(b"SHY"), then=Then.TAKE),
        Opening(
            name="shy-end",
            protocol="shy",
            match=prefix(b"END"),
            then=Then.TAKE,
            when_closed=True,
        ),
    )

    def __init__(self) -> None:
        self.told: list[IRouteContext] = []

    def build(self, context: IRouteContext) -> Any:
        """See `IGateProtocol`."""
        self.told.append(context)
        return Factory.forProtocol(Protocol)


class OwnLoginTests(SynchronousTestCase):
    """Between the opening and the login, and after it."""

    def setUp(self) -> None:
        """A gateway with a cluster's key, and a client that has said its first word."""
        self.shy = Shy()
        known = {**registry.load(None).protocols, "shy": self.shy}
        self.rig = Rig(protocols=known)
        self.addCleanup(self.rig.close)
        key = self.rig.folder / "key"
        keep_key(key)
        ca = str(pki().file("ca.pem"))
        trust = Trust(
            ca_files={"user": ca, "host": ca},
            keypairs=(pki().keypair("server-b"),),
            ssh_host=SshHostFiles(key_file=str(key)),
        )
        settings = attrs.evolve(self.rig.settings, client_ca_files=())
        self.known, self.trust = known, trust
        self.rig.gateway.take(Gate.build(settings, known, trust))
        self.client = self.rig.connect()
        self.client.send(b"SHY")
        self.rig.settle()
        (self.context,) = self.shy.told

    def test_address_counts(self) -> None:
        """The address counts as unknown until the protocol knows who it is."""
        census = self.rig.gateway.census
        self.assertEqual(census.anonymous, 1)
        alice = Identity(common_names=("alice",))
        self.context.identify(alice)
        self.assertEqual(census.anonymous, 0)
        (row,) = self.rig.gateway.connections()
        self.assertEqual((row["identity"], row["route"]), ("alice", "shy-plain"))
        self.rig.gateway.end_those(lambda identity: identity is alice)
        self.client.close()
        self.rig.settle()
        self.assertEqual(self.rig.journal[-1]["cause"], "locked")
        self.assertEqual((census.anonymous, census.connections), (0, 0))

    def test_on_a_closed_port(self) -> None:
        """Who is there may go on, and so may what is about them; nobody new is taken."""
        settings = self.rig.gateway.gate.settings
        own = attrs.evolve(settings.listeners[0], protocol="shy")
        gone = Closing(listener=own, since=0.0, until=1.0)
        settings = attrs.evolve(settings, listeners=(), closing=(gone,))
        self.rig.gateway.take(Gate.build(settings, self.known, self.trust))
        for first, taken in ((b"END", 2), (b"SHY", 2)):
            self.rig.connect().send(first)
            self.rig.settle()
            self.assertEqual(len(self.shy.told), taken)
        self.rig.advance(2.5)
        self.assertEqual(self.rig.journal[-1]["cause"], "listener_closed")

    def test_gone_before(self) -> None:
        """Who goes before is counted out."""
        self.client.close()
        self.rig.settle()
        self.assertEqual(self.rig.gateway.census.anonymous, 0)

    def test_events(self) -> None:
        """Events of its targets have the connection's facts beside them."""
        self.context.emit("session.start", {"target": "node/db1"})
        event, fields = self.rig.witness.events[-1]
        self.assertEqual((event, fields["target"]), ("session.start", "node/db1"))
        self.assertEqual((fields["listener"], fields["route"]), ("web", "shy-plain"))

    def test_drain(self) -> None:
        """What somebody would lose is not ended by a drain before its limit."""
        self.context.busy(True)
        self.rig.gateway.drain(60.0)
        for _ in range(40):
            self.rig.reactor.advance(1.0)
            self.rig.settle()
        self.assertEqual(len(self.rig.gateway.connections()), 1)
        self.context.busy(False)
        for _ in range(15):
            self.rig.reactor.advance(1.0)
            self.rig.settle()
        self.assertEqual(self.rig.gateway.connections(), [])

    def test_what_it_may_use(self) -> None:
        """A key to show, a pair of two ends, and whether anybody may reach a target now."""
        self.assertIsNotNone(self.context.ssh_host)
        self.assertIsNone(self.context.closed())
        (one,) = self.rig.gateway._live.values()
        pair = self.context.couple(PlainEnd(one.lease), PlainEnd(one.lease), None)
        self.assertIsInstance(pair, Pair)
