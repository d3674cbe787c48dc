"""Tests for `tlsgate.net.handover`: from a served protocol to the relay, in every stage.

One file: each stage is tested for each way in which client, target and gateway can leave it.
"""

from __future__ import annotations

import contextlib
import gc
import socket
import time
import weakref
from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.net.rig import Client, Rig, noise, read_all, read_some, write_all
from tlsgate import registry
from tlsgate.core.access import Decision
from tlsgate.core.routing import CertRule
from tlsgate.errors import Denied, Draining, GateError, TargetRefused
from tlsgate.interfaces import IReach, IRouteContext
from tlsgate.net.dial import DialReach, parse_target
from tlsgate.net.ends import PlainEnd
from tlsgate.net.lease import Lease
from tlsgate.net.owner import Owned
from tlsgate.protocols.base import GateProtocol

EPOCH = 1_800_000_000.0


@implementer(IReach)
class HeldReach:
    """A reach that succeeds or misses when the test says so."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.cancelled = 0
        self.reached: Callable[[Any], None] | None = None
        self.missed: Callable[[GateError], None] | None = None

    def start(self, reached: Callable[[Any], None], missed: Callable[[GateError], None]) -> None:
        """See `IReach`."""
        self.reached, self.missed = reached, missed

    def cancel(self) -> None:
        """See `IReach`."""
        self.cancelled += 1
        self.reached = self.missed = None

    def reach(self) -> socket.socket:
        """Be there; the target's own end of it."""
        ours, theirs = socket.socketpair()
        for one in (ours, theirs):
            one.setblocking(False)
        assert self.reached is not None
        reached, self.reached, self.missed = self.reached, None, None
        reached(PlainEnd(Lease(Owned(theirs), self.rig.gateway.poller)))
        return ours

    def miss(self, error: GateError) -> None:
        """Not be there."""
        assert self.missed is not None
        missed, self.reached, self.missed = self.missed, None, None
        missed(error)


class Line(Protocol):
    """Reads one line, and asks for a target then."""

    def __init__(self, outer: Asking, context: IRouteContext) -> None:
        self.outer = outer
        self.context = context
        self.got = b""
        self.lost: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        self.got += data
        line, newline, rest = self.got.partition(b"\n")
        if newline:
            self.outer.then(self, line, rest)

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:  # noqa: B008
        """See `IProtocol`."""
        self.lost = reason


class Asking(GateProtocol):
    """A protocol whose clients say one line."""

    name = "asking"
    alpn = (b"ask",)
    client_cert = CertRule.REQUIRED

    def __init__(self) -> None:
        self.made: list[Line] = []
        self.then: Callable[[Line, bytes, bytes], None] = lambda line, said, rest: None

    def build(self, context: IRouteContext) -> Any:
        """See `IGateProtocol`."""
        return Made(self, context)


class Made(Factory):
    """Makes one `Line`; a class made for each connection would be a cycle (S57)."""

    noisy = False

    def __init__(self, outer: Asking, context: IRouteContext) -> None:
        self.outer = outer
        self.context = context

    def buildProtocol(self, addr: Any) -> Any:
        """See `IProtocolFactory`."""
        line = Line(self.outer, self.context)
        self.outer.made.append(line)
        return line


def answer(error: GateError | None) -> bytes:
    """What the client reads first, or last."""
    return b"+" if error is None else f"-{error}".encode()


class HandoverCase(SynchronousTestCase):
    """A gateway with `Asking`."""

    def setUp(self) -> None:
        self.asking = Asking()
        self.rig = Rig(
            protocols={**registry.load(None).protocols, "asking": self.asking},
            extra="  timeouts: {idle_seconds: 100, dial_seconds: 10, close_seconds: 15}",
        )
        self.addCleanup(self.rig.close)
        self.patch(time, "time", lambda: EPOCH + self.rig.reactor.seconds())
        self.reach = HeldReach(self.rig)
        self.limits: Decision | None = None
        self.asking.then = self.relay

    def relay(self, line: Line, said: bytes, rest: bytes) -> None:
        """Hand over to the reach that the test holds."""
        line.context.relay(
            self.reach, answer, rest, target=said.decode("ascii"), limits=self.limits
        )

    def ask(self, said: bytes = b"node/db1\n") -> Client:
        """A client that has said its line."""
        client = self.rig.secure(alpn=(b"ask",)).shake()
        client.write(said)
        self.rig.until(lambda: self.reach.reached)
        return client

    def only(self) -> dict[str, object]:
        """The only connection."""
        (one,) = self.rig.gateway.connections()
        return one

    def ended(self) -> dict[str, object]:
        """The journal's next line."""
        self.rig.until(lambda: self.rig.journal)
        (line,) = self.rig.journal
        return dict(line)

    def nothing_stays(self) -> None:
        """No watch, no timer and no connection is left."""
        self.rig.settle()
        self.rig.advance(3)
        self.rig.settle()
        self.assertEqual(self.rig.gateway.poller.watched(), 0)
        self.assertEqual(self.rig.gateway.wheel.waiting(), 0)
        self.assertEqual(self.rig.gateway.connections(), [])


class ReachedTests(HandoverCase):
    """The target is there."""

    def test_both_ways(self) -> None:
        """What came with the line goes first, and the answer before the target's bytes."""
        client = self.ask(b"node/db1\nearly ")
        client.write(b"later ")
        self.rig.settle()
        self.assertEqual((self.only()["stage"], self.only()["target"]), ("dialling", "node/db1"))
        target = self.reach.reach()
        self.addCleanup(target.close)
        target.send(b"welcome")
        self.assertEqual(client.read(8), b"+welcome")
        client.write(b"now")
        self.assertEqual(read_some(self.rig, target, 15), b"early later now")
        one = self.only()
        self.assertEqual((one["stage"], one["to_target"], one["to_client"]), ("relaying", 15, 7))
        (line,) = self.asking.made
        self.assertIsNone(line.lost)

    def test_much_before_and_after(self) -> None:
        """A client that sends much at once waits in its socket, and nothing is lost."""
        data = noise(1_000_000)
        client = self.ask()
        sent = 0

        def send() -> None:
            nonlocal sent
            sent += client._try(lambda: client.tls.send(data[sent : sent + 8192])) or 0
            self.rig.turn()

        for _ in range(200):  # until the gateway reads no more
            send()
        self.rig.settle()
        self.assertLess(sent, len(data))
        target = self.reach.reach()
        self.addCleanup(target.close)
        got = bytearray()
        while len(got) < len(data):
            if sent < len(data):
                send()
            self.rig.turn()
            with contextlib.suppress(BlockingIOError):
                got += target.recv(65536)
        self.assertEqual(bytes(got), data)
        write_all(self.rig, target, b"end")
        self.assertEqual(client.read(4), b"+end")

    def test_more_than_the_slab(self) -> None:
        """A protocol may have read more than the relay's buffer takes at once."""
        data = noise(700_000)
        self.asking.then = lambda line, said, rest: line.context.relay(
            self.reach, lambda error: data, data
        )
        client = self.ask()
        target = self.reach.reach()
        self.addCleanup(target.close)
        self.assertEqual(read_some(self.rig, target, len(data)), data)
        self.assertEqual(client.read(len(data)), data)

    def test_half_closed_before(self) -> None:
        """A client that ends its direction early is served all the same."""
        client = self.ask(b"node/db1\nall of it")
        client.tls.shutdown()
        self.rig.settle()
        target = self.reach.reach()
        self.addCleanup(target.close)
        self.assertEqual(read_all(self.rig, target), b"all of it")
        target.send(b"answer")
        target.shutdown(socket.SHUT_WR)
        self.assertEqual(client.read_end(), b"+answer")
        self.assertEqual(self.ended()["cause"], "client_ended")
        self.nothing_stays()

    def test_output_of_before(self) -> None:
        """What the protocol has written, and the client not yet read, leaves first."""
        data = noise(3_000_000)

        def then(line: Line, said: bytes, rest: bytes) -> None:
            assert line.transport is not None
            line.transport.write(data)
            self.relay(line, said, rest)

        self.asking.then = then
        client = self.ask()
        target = self.reach.reach()
        self.addCleanup(target.close)
        target.send(b"after")
        self.assertEqual(client.read(len(data) + 6), data + b"+after")

    def test_at_once(self) -> None:
        """A target that is reached before `start` returns is as good."""
        start = self.reach.start

        def at_once(*callbacks: Any) -> None:
            start(*callbacks)
            self.target = self.reach.reach()
            self.addCleanup(self.target.close)

        self.patch(self.reach, "start", at_once)
        client = self.rig.secure(alpn=(b"ask",)).shake()
        client.write(b"node/db1\nhi")
        self.assertEqual(client.read(1), b"+")
        self.assertEqual(read_some(self.rig, self.target, 2), b"hi")

    def test_dialled(self) -> None:
        """`DialReach` is a way as well."""
        gateway = self.rig.gateway
        place = parse_target(f"unix:{self.rig.path}", gateway.gate.contexts)
        self.asking.then = lambda line, said, rest: line.context.relay(
            DialReach(
                place, 5, gateway.reactor, gateway.poller, gateway.wheel, binding=gateway.binding
            ),
            answer,
            rest,
        )
        client = self.rig.secure(alpn=(b"ask",)).shake()
        client.write(b"x\nhello")
        target = self.rig.accept()
        self.assertEqual(read_some(self.rig, target, 5), b"hello")
        self.assertEqual(client.read(1), b"+")
        target.close()
        client.tls.shutdown()
        self.assertIsNone(self.ended().get("target"))
        self.nothing_stays()

    def test_s57_no_cycle(self) -> None:
        """What served it, and the connection, go without the collector, however it ended."""

        def reached(client: Client) -> None:
            self.reach.reach().close()
            client.tls.shutdown()

        def missed(client: Client) -> None:
            self.reach.miss(TargetRefused("db1", "away"))
            client.read_end()
            client.sock.close()

        def gone(client: Client) -> None:
            client.sock.close()

        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        for end in (reached, missed, gone):
            client = self.ask()
            connection = next(iter(self.rig.gateway._live.values()))
            known: list[Callable[[], Any]] = [
                weakref.ref(connection),
                weakref.ref(self.asking.made.pop()),
            ]
            del connection
            end(client)
            self.nothing_stays()
            self.reach.reached = self.reach.missed = None
            self.assertEqual([one() for one in known], [None, None], end)

    def test_asked_late(self) -> None:
        """A protocol that has paused its client, and asks after a while, hands all of it over."""
        lines: list[Line] = []

        def then(line: Line, said: bytes, rest: bytes) -> None:
            transport: Any = line.transport
            transport.pauseProducing()
            lines.append(line)

        self.asking.then = then
        client = self.rig.secure(alpn=(b"ask",)).shake()
        client.write(b"node/db1\n")
        self.rig.until(lambda: lines)
        client.write(b"more")
        self.rig.settle()
        self.relay(lines[0], b"node/db1", b"")
        self.rig.settle()
        target = self.reach.reach()
        self.addCleanup(target.close)
        self.assertEqual(read_some(self.rig, target, 4), b"more")


class MissedTests(HandoverCase):
    """The target is not there."""

    def test_missed(self) -> None:
        """The client reads the sentence, and logs and audit have the reason."""
        client = self.ask()
        self.reach.miss(TargetRefused("db1", "nobody listens"))
        said = client.read_end()
        self.assertEqual(said, b"-" + str(TargetRefused("db1", "nobody listens")).encode())
        client.sock.close()
        line = self.ended()
        self.assertEqual((line["cause"], line["target"]), ("target_refused", "node/db1"))
        self.assertEqual(self.rig.witness.events[-1][0], "session.rejected")
        self.nothing_stays()

    def test_silent(self) -> None:
        """A way that never says anything is given up after dial_seconds."""
        client = self.ask()
        self.rig.advance(9)
        self.assertEqual(self.reach.cancelled, 0)
        self.rig.advance(2)
        self.assertEqual(self.reach.cancelled, 1)
        self.assertIn(b"did not answer within 10 s", client.read_end())
        client.sock.close()
        self.assertEqual(self.ended()["cause"], "target_silent")
        self.nothing_stays()

    def test_refused_by_the_protocol(self) -> None:
        """A protocol that decides against its client says so in its own words."""
        self.asking.then = lambda line, said, rest: line.context.refuse(
            Denied("asking", "alice", "no role"), b"no!", target="node/db1"
        )
        client = self.rig.secure(alpn=(b"ask",)).shake()
        client.write(b"x\n")
        self.assertEqual(client.read_end(), b"no!")
        client.sock.close()
        self.assertEqual(self.ended()["cause"], "denied")
        event, fields = self.rig.witness.events[-1]
        self.assertEqual((event, fields["target"]), ("session.rejected", "node/db1"))

    def test_closed(self) -> None:
        """While nobody may reach a target, nobody does."""
        self.rig.gateway.closed = Draining
        client = self.rig.secure(alpn=(b"ask",)).shake()
        client.write(b"node/db1\n")
        self.assertEqual(client.read_end(), answer(Draining()))
        self.assertIsNone(self.reach.reached)


class GoneTests(HandoverCase):
    """The client, or the gateway, goes while the target is being reached."""

    def over(self, cause: str) -> None:
        """The reach was cancelled, and the connection ended for *cause*."""
        self.rig.advance(3)
        self.assertEqual(self.ended()["cause"], cause)
        self.assertEqual(self.reach.cancelled, 1)
        self.nothing_stays()

    def test_cut(self) -> None:
        """A client that is killed is gone: its socket ends without close_notify."""
        client = self.ask()
        client.sock.shutdown(socket.SHUT_WR)
        self.over("client_cut")

    def test_reset(self) -> None:
        """So is one that resets."""
        client = self.ask()
        client.sock.close()
        self.over("client_reset")

    def test_locked(self) -> None:
        """A lock ends it."""
        self.ask()
        self.rig.gateway.end_those(lambda one: one.name == "alice")
        self.over("locked")

    def test_close_all(self) -> None:
        """So does the process's own end."""
        self.ask()
        self.rig.gateway.close_all()
        self.over("stopped")

    def test_drain_waits(self) -> None:
        """A drain lets it become a session, and ends that at its limit."""
        client = self.ask()
        drained = self.rig.gateway.drain(9)
        self.rig.advance(5)
        target = self.reach.reach()
        self.addCleanup(target.close)
        self.assertEqual(client.read(1), b"+")
        self.assertNoResult(drained)
        self.rig.advance(5)
        self.assertEqual(self.successResultOf(drained), 1)
        self.assertEqual(self.ended()["cause"], "drain")

    def test_gone_before(self) -> None:
        """A protocol that asks after its client has gone asks for nothing."""
        self.asking.then = lambda line, said, rest: None
        client = self.rig.secure(alpn=(b"ask",)).shake()
        self.rig.until(lambda: self.asking.made)
        (line,) = self.asking.made
        assert line.transport is not None
        line.transport.loseConnection()
        self.relay(line, b"x", b"")
        client.read_end()
        client.sock.close()
        self.ended()
        self.relay(line, b"x", b"")
        line.context.refuse(Draining(), b"x")
        self.assertIsNone(self.reach.reached)


class LimitTests(HandoverCase):
    """`limits` of `IRouteContext.relay`."""

    def begin(self, limits: Decision) -> None:
        self.limits = limits
        client = self.ask()
        self.addCleanup(self.reach.reach().close)
        self.assertEqual(client.read(1), b"+")

    def test_idle(self) -> None:
        """A role's idle time holds where it is shorter."""
        self.begin(Decision(True, "role", 20.0, None))
        self.rig.advance(18)
        self.assertEqual(self.rig.journal, [])
        self.rig.advance(10)
        self.assertEqual(self.ended()["cause"], "idle")

    def test_until(self) -> None:
        """The end of a certificate, or of a role's session time, is a moment."""
        self.begin(Decision(True, "role", None, EPOCH + self.rig.reactor.seconds() + 7))
        self.rig.advance(6)
        self.assertEqual(self.rig.journal, [])
        self.rig.advance(1.5)
        self.assertEqual(self.ended()["cause"], "lifetime")


class AuditTests(HandoverCase):
    """What an auditor reads of a session."""

    def test_session(self) -> None:
        """Start and end have who, to what, by which route and listener, and how much."""
        for target, start, end in (
            ("node/db1", "session.start", "session.end"),
            ("db/orders", "db.session.start", "db.session.end"),
        ):
            self.rig.witness.events.clear()
            self.rig.journal.clear()
            client = self.ask(target.encode() + b"\nabc")
            reached = self.reach.reach()
            self.assertEqual(client.read(1), b"+")
            reached.send(b"12345")
            client.read(5)
            client.tls.shutdown()
            reached.close()
            self.ended()
            events = self.rig.witness.events
            self.assertEqual(
                [name for name, _ in events], ["route.connect", start, "route.end", end]
            )
            for _, fields in (events[1], events[3]):
                said = [fields[word] for word in ("identity", "target", "route", "listener")]
                self.assertEqual(said, ["alice", target, "asking", "web"])
            self.assertEqual((events[3][1]["to_target"], events[3][1]["to_client"]), (3, 5))

    def test_trace(self) -> None:
        """The word that an agent logs too is made once, and only when it is asked for."""
        client = self.ask()
        self.assertIsNone(self.only()["trace"])
        context = self.asking.made[0].context
        self.assertRegex(context.trace, r"\A[0-9a-f]{16}\Z")
        self.assertEqual(self.only()["trace"], context.trace)
        client.sock.close()
