"""Tests for `tlsgate.testing`: the doubles behave as the real things do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tlsgate.core.access import Decision
from tlsgate.core.claims import Claims
from tlsgate.core.locks import Lock
from tlsgate.core.offers import Asked, Offer
from tlsgate.core.rolevalues import Target
from tlsgate.core.routing import CertRule, Choice, RouteTable
from tlsgate.errors import BadCertificate, BadSettings, NoAgent, NotServed
from tlsgate.interfaces import ICluster, IReach, IRouteContext, ITunnels, RelayTo
from tlsgate.protocols.base import GateProtocol
from tlsgate.testing import (
    FakeCluster,
    FakeContext,
    FakeTunnels,
    connect,
    holder,
    listener,
    load,
    member,
    route,
    settings,
)

NODE = Offer(kind="node", name="db1", addresses=("127.0.0.1:22",))
ASKED = Asked(
    kind="node",
    name="db1",
    address=None,
    user="alice",
    certificate=b"",
    ssh_certificate="",
    client="",
    cluster="prod",
    listener="web",
    route="test",
    trace="0123456789abcdef",
)


class Recorder(Protocol):
    """Writes down what happens to it, and does as it is told."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def connectionMade(self) -> None:
        self.seen.append("made")

    def dataReceived(self, data: bytes) -> None:
        self.seen.append(data)
        assert self.transport is not None
        if data.startswith(b"close"):
            self.transport.write(b"bye")
            self.transport.loseConnection()
            self.seen.append("still here")
        elif data.startswith(b"abort"):
            self.transport.abortConnection()  # type: ignore[attr-defined]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.seen.append(reason.type)


class Recording(GateProtocol):
    """Serves with recorders."""

    name = "recording"
    built: IProtocol | None = None

    def build(self, context: IRouteContext) -> Factory:
        return Factory.forProtocol(Recorder)


class ClusterTests(SynchronousTestCase):
    """Tests for `FakeCluster`, `FakeTunnels` and `FakeReach`."""

    def test_interfaces(self) -> None:
        """They offer what a real cluster, its agents and a way to one offer."""
        tunnels = FakeTunnels(NODE)
        verifyObject(ICluster, FakeCluster())
        verifyObject(ITunnels, tunnels)
        verifyObject(IReach, tunnels.reach(ASKED))

    def test_members(self) -> None:
        """It knows its own users, and nobody else."""
        cluster = FakeCluster()
        alice = member("alice", "access", traits={"logins": ("root",)})
        assert alice.claims is not None
        self.assertEqual(
            alice.claims,
            Claims(
                cluster=cluster.name,
                kind="user",
                name="alice",
                roles=("access",),
                traits={"logins": ("root",)},
            ),
        )
        self.assertEqual((alice.name, holder("bob").name), ("alice", "bob"))
        self.assertEqual([cluster.is_ours(one) for one in (alice, holder("bob"))], [True, False])

    def test_decides(self) -> None:
        """It says what the test wants, and remembers the question."""
        cluster, alice = FakeCluster(), member("alice")
        target = Target(kind="node", name="db1")
        self.assertTrue(cluster.decide_target(alice, target, None).allowed)
        cluster.decision = Decision(False, "no role allows it")
        self.assertFalse(cluster.decide_target(alice, target, "192.0.2.7").allowed)
        self.assertEqual(cluster.asked, [(alice, target, None), (alice, target, "192.0.2.7")])
        certificate: Any = None
        self.assertRaises(BadCertificate, cluster.ssh_identity, certificate)

    def test_locks(self) -> None:
        """It shuts everybody out while there is a lock."""
        cluster, alice = FakeCluster(), member("alice")
        self.assertIsNone(cluster.lock_on(alice))
        cluster.lock = Lock(name="l1", target={"user": "alice"})
        self.assertIs(cluster.lock_on(alice), cluster.lock)

    def test_offers(self) -> None:
        """Agents offer what the test has given them, and take no agent's connection."""
        tunnels = FakeTunnels(NODE)
        self.assertEqual((tunnels.offers("node"), tunnels.offers("db")), ([NODE], []))
        self.assertEqual((tunnels.offer("node", "db1"), tunnels.offer("db", "db1")), (NODE, None))
        self.assertRaises(NotServed, tunnels.door, FakeContext())

    def test_a_way(self) -> None:
        """Where it leads is for the test to say; that it was cancelled, for the test to see."""
        tunnels = FakeTunnels(NODE)
        reach = tunnels.reach(ASKED)
        told: list[Any] = []
        reach.start(told.append, told.append)
        reach.reached("an end")
        error = NoAgent("node", "db1")
        reach.missed(error)
        self.assertEqual(told, ["an end", error])
        self.assertEqual((tunnels.reaches, reach.asked, reach.cancelled), ([reach], ASKED, False))
        reach.cancel()
        self.assertTrue(reach.cancelled)


class ContextTests(SynchronousTestCase):
    """Tests for `FakeContext`."""

    def test_interface(self) -> None:
        """It offers what a real context offers."""
        verifyObject(IRouteContext, FakeContext())

    def test_choice(self) -> None:
        """Route and token make the choice."""
        taken = route(name="x", alpn=(b"x",))
        context = FakeContext(route=taken, token=b"x")
        self.assertEqual(context.choice, Choice(taken, b"x"))

    def test_claims(self) -> None:
        """Names are claimed by the routes of the settings, or of a table."""
        vault = route(name="vault", server_names=("vault.test",))
        by_settings = FakeContext(settings=settings(routes=(vault,)))
        by_table = FakeContext(table=RouteTable((vault,)))
        for context in (by_settings, by_table):
            self.assertEqual(context.claims("vault.test"), "vault.test")
            self.assertIsNone(context.claims("other.test"))

    def test_what_a_protocol_asks_for(self) -> None:
        """What was asked of it can be looked at afterwards."""
        context = FakeContext()
        reach: Any = object()
        kept: Any = object()
        error = NotServed("x", "")
        context.relay(reach, repr, b"rest", target="node/db1")  # type: ignore[arg-type]
        context.refuse(error, b"no", target="node/db1")
        context.keep(kept)
        context.identify(holder("alice"))
        context.emit("session.start", {"target": "node/db1"})
        context.couple(1, 2, None)
        context.busy(True)
        self.assertEqual(context.emitted, [("session.start", {"target": "node/db1"})])
        self.assertEqual((context.coupled, context.is_busy), ((1, 2, None), True))
        self.assertIsNone(context.closed())
        self.assertEqual(context.certificate(), b"")
        self.assertEqual(context.relayed, (reach, repr, b"rest", "node/db1", None))
        self.assertEqual(context.refused, (error, b"no", "node/db1"))
        self.assertIs(context.kept, kept)
        self.assertEqual(context.identity, holder("alice"))

    def test_own_state(self) -> None:
        """Two contexts share no clock."""
        first, second = FakeContext(), FakeContext()
        first.clock.advance(1)
        self.assertEqual(second.clock.seconds(), 0)


class ConversationTests(SynchronousTestCase):
    """Tests for `connect`."""

    def test_pieces(self) -> None:
        """What a client sends may be cut."""
        talk = connect(Recording(), FakeContext())
        talk.send(b"abcde", pieces=2)
        self.assertEqual(talk.protocol.seen, ["made", b"ab", b"cd", b"e"])  # type: ignore[attr-defined]

    def test_close(self) -> None:
        """A protocol hears of its own close once its turn is over, as from a reactor."""
        talk = connect(Recording(), FakeContext())
        talk.send(b"close")
        self.assertEqual(
            talk.protocol.seen,  # type: ignore[attr-defined]
            ["made", b"close", "still here", ConnectionDone],
        )
        self.assertEqual((talk.received, talk.closed, talk.aborted), (b"bye", True, False))
        talk.send(b"more")
        talk.hang_up()
        self.assertEqual(len(talk.protocol.seen), 4)  # type: ignore[attr-defined]

    def test_abort(self) -> None:
        """An abort is told from a close."""
        talk = connect(Recording(), FakeContext())
        talk.send(b"abort")
        self.assertEqual((talk.closed, talk.aborted), (True, True))
        self.assertEqual(talk.protocol.seen[-1], ConnectionAborted)  # type: ignore[attr-defined]

    def test_a_producer_delays_the_close(self) -> None:
        """As with real transports, who produces has to stop first."""
        talk = connect(Recording(), FakeContext())
        transport = talk.protocol.transport  # type: ignore[attr-defined]
        transport.registerProducer(talk.protocol, True)
        talk.send(b"close")
        self.assertFalse(talk.closed)
        transport.unregisterProducer()
        self.assertTrue(talk.closed)

    def test_half_close(self) -> None:
        """The end of one direction is told from the end."""
        talk = connect(Recording(), FakeContext())
        talk.protocol.transport.loseWriteConnection()  # type: ignore[attr-defined]
        self.assertEqual((talk.write_ended, talk.closed), (True, False))

    def test_client_half_closes(self) -> None:
        """Who does not know half-closed connections loses them, as with a reactor."""

        @implementer(IHalfCloseableProtocol)
        class Half(Recorder):
            def readConnectionLost(self) -> None:
                self.seen.append("half")

            def writeConnectionLost(self) -> None:
                self.seen.append("never")

        talk = connect(Recording(), FakeContext())
        talk.half_close()
        self.assertTrue(talk.closed)

        class Knowing(GateProtocol):
            def build(self, context: IRouteContext) -> Factory:
                return Factory.forProtocol(Half)

        talk = connect(Knowing(), FakeContext())
        talk.half_close()
        self.assertFalse(talk.closed)
        self.assertEqual(talk.protocol.seen, ["made", "half"])  # type: ignore[attr-defined]

    def test_take(self) -> None:
        """What has been taken is gone from what was received."""
        talk = connect(Recording(), FakeContext())
        talk.protocol.transport.write(b"one")  # type: ignore[attr-defined]
        self.assertEqual((talk.take(), talk.take(), talk.received), (b"one", b"", b""))

    def test_addresses(self) -> None:
        """The transport has the addresses of the context."""
        context = FakeContext()
        transport = connect(Recording(), context).protocol.transport  # type: ignore[attr-defined]
        self.assertEqual((transport.getPeer(), transport.getHost()), (context.peer, context.local))

    def test_refused(self) -> None:
        """A refusal comes out as the error that it is."""
        self.assertRaises(NotServed, connect, GateProtocol(), FakeContext())

    def test_relays(self) -> None:
        """A protocol that relays has no conversation."""
        taken = route(target="tcp:127.0.0.1:1")
        self.assertIsInstance(GateProtocol().build(FakeContext(route=taken)), RelayTo)
        self.assertRaises(TypeError, connect, GateProtocol(), FakeContext(route=taken))

    def test_no_protocol(self) -> None:
        """A factory that makes nothing is a fault."""

        class Nothing(Factory):
            def buildProtocol(self, addr: IAddress | None) -> None:
                return None

        class Empty(GateProtocol):
            def build(self, context: IRouteContext) -> Factory:
                return Nothing()

        self.assertRaises(TypeError, connect, Empty(), FakeContext())


class SettingsTests(SynchronousTestCase):
    """Tests for `settings`, `listener` and `holder`."""

    def test_small(self) -> None:
        """Without a text there is a small configuration, any field of it replaced."""
        value = settings(cluster_name="mine")
        self.assertEqual((value.version, value.cluster_name), ("v2", "mine"))
        self.assertEqual([one.name for one in value.listeners], ["web"])

    def test_read(self) -> None:
        """A text is read as the gate reads its file, and refused as there."""
        value = settings("version: v1\nteleport: {data_dir: x}\n", cluster_name="mine")
        self.assertEqual((value.version, value.cluster_name), ("v1", "mine"))
        self.assertRaises(BadSettings, settings, "version: v9\n")

    def test_listener(self) -> None:
        """A listener has everything but what matters filled in."""
        one = listener("lines", "tcp:7000", "lines")
        self.assertEqual((one.name, one.endpoint, one.protocol), ("lines", "tcp:7000", "lines"))

    def test_holder(self) -> None:
        """A holder is called by its common name."""
        self.assertEqual(holder("alice").name, "alice")
        self.assertEqual(route(client_cert=CertRule.NONE).name, "test")


class LoadTests(SynchronousTestCase):
    """Tests for `load`."""

    def load(self, text: str) -> list[str]:
        """The names of the protocols in a file with *text*."""
        file = Path(self.mktemp() + ".py")
        file.write_text(text)
        return list(load(file))

    def test_found(self) -> None:
        """A file's protocols come by name."""
        text = "from tlsgate.protocols.base import GateProtocol\nx = GateProtocol()\n"
        self.assertEqual(self.load(text + "x.name = 'x'\n"), ["x"])

    def test_refused(self) -> None:
        """What the registry would refuse is refused here as well, with its words."""
        text = "from tlsgate.protocols.base import GateProtocol\nx = GateProtocol()\n"
        error = self.assertRaises(ImportError, self.load, text)
        self.assertIn("name '' has to be lower case", str(error))
        self.assertRaises(ImportError, self.load, "x = 1\n")
        self.assertRaises(ImportError, load, Path("README"))
