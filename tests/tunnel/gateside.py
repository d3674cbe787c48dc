"""The gateway's side of tunnels without sockets: agents are claims, streams remember."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.access import Identity
from tlsgate.core.claims import Claims
from tlsgate.core.frames import Frame, FrameKind, Frames, frame, message, read_message
from tlsgate.core.greetings import AgentHello, GatewayHello, Said, read_said
from tlsgate.core.offers import Asked, Offer
from tlsgate.errors import GateError, TunnelBroken
from tlsgate.net.ends import SecureEnd
from tlsgate.net.wheel import Wheel
from tlsgate.testing import FakeCluster, FakeContext
from tlsgate.tunnel.server import Facts, Tunnels
from tlsgate.tunnel.session import Origin, Session

CLUSTER = "prod.example.com"
ANCHOR = hashlib.sha256(b"host").digest()
ORIGIN = Origin(
    listener="web", transport="tls-alpn", address="192.0.2.7:4711", since=1000.0, until=2e9
)


def claims(name: str = "db1", *roles: str) -> Claims:
    """What an agent's certificate says."""
    return Claims(cluster=CLUSTER, kind="host", name=name, system_roles=roles or ("node",))


def identity(name: str = "db1", *roles: str, **more: Any) -> Identity:
    """An agent by its certificate."""
    fields = {"claims": claims(name, *roles), "anchor": ANCHOR, "not_after": 2e9, **more}
    return Identity(common_names=(name,), **fields)


def node(name: str = "db1", **labels: str) -> Offer:
    """A node's own offer."""
    return Offer(kind="node", name=name, labels=labels, addresses=("127.0.0.1:22",))


def db(name: str) -> Offer:
    """A database."""
    return Offer(kind="db", name=name, addresses=("127.0.0.1:5432",))


def hello(name: str = "db1", *offers: Offer, **more: Any) -> AgentHello:
    """A control connection's HELLO of a node, or of what is offered."""
    offers = offers or (node(name),)
    fields = {"kind": "control", "roles": tuple({one.kind for one in offers}), **more}
    return AgentHello(agent=name, cluster=CLUSTER, version="1.0.0", offers=offers, **fields)


def asked(name: str = "db1", kind: Any = "node") -> Asked:
    """What alice wants."""
    return Asked(kind=kind, name=name, user="alice", certificate=b"cert")


class Wire:
    """A control connection that remembers."""

    def __init__(self) -> None:
        self.frames = Frames()
        self.heard: list[Frame] = []
        self.closed = ""
        self.gives_up_after: float | None = None

    def write(self, data: bytes) -> None:
        self.heard += self.frames.feed(data)

    def loseConnection(self) -> None:
        self.closed = self.closed or "closed"

    def abortConnection(self) -> None:
        self.closed = self.closed or "aborted"

    def give_up_after(self, seconds: float) -> None:
        self.gives_up_after = seconds

    def take(self) -> list[Frame]:
        """What was written since the last time."""
        heard, self.heard = self.heard, []
        return heard

    def said(self) -> list[Said | None]:
        """The words among it."""
        return [read_said(read_message(f)) for f in self.take() if f.kind is FrameKind.CONTROL]


def greeting(frame: Frame) -> GatewayHello:
    """The gateway's HELLO in a frame."""
    assert frame.kind is FrameKind.HELLO
    return GatewayHello.read(read_message(frame))


class FakeStream:
    """A stream as a pool, a passage and a held stream use one."""

    def __init__(self, end: Any = None, idle: Any = None, lost: Any = None) -> None:
        self.end = end
        self.did: list[str] = []
        self.usable = True
        self.busy = False
        self.asked: Asked | None = None
        self.reached: Callable[[Any], None] | None = None
        self.missed: Callable[[GateError, bool], None] | None = None
        self._idle = idle
        self._lost = lost

    # -- what is asked of it --

    def ask(self, asked: Asked, reached: Any, missed: Any) -> None:
        self.busy, self.asked = True, asked
        self.reached, self.missed = reached, missed

    def cancel(self) -> None:
        self.did.append("cancel")

    def close(self) -> None:
        self.did.append("close")
        self._end("closed")

    def abort(self, why: str) -> None:
        self.did.append(f"abort {why}")
        self._end(why)

    # -- what the agent does --

    def rest(self) -> None:
        """The client is over."""
        self.busy = False
        if self._idle is not None:
            self._idle(self)

    def die(self) -> None:
        """The connection breaks; before a status, who asked hears it first."""
        missed, self.missed = self.missed, None
        if missed is not None and self.busy:
            missed(TunnelBroken("reset"), True)
        self._end("reset")

    def _end(self, why: str) -> None:
        lost, self._lost = self._lost, None
        if lost is not None:
            lost(self, TunnelBroken(why))


class FakeOwner:
    """Whom a session tells."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def offered(self, session: Session, offers: tuple[Offer, ...]) -> None:
        session.offers = offers
        self.heard.append(offers)

    def rests(self, session: Session) -> None:
        self.heard.append("rests")

    def proved(self, session: Session) -> None:
        self.heard.append("proved")

    def unmoved(self, session: Session) -> None:
        self.heard.append(("unmoved", session.why_here, session.tries))

    def gone(self, session: Session) -> None:
        self.heard.append("gone")


class Time:
    """A clock with its wheel."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.wheel = Wheel(self.clock)

    def pass_by(self, seconds: float) -> None:
        """Let time go, a tick at a time."""
        for _ in range(int(seconds * 4)):
            self.clock.advance(0.25)


def make_session(
    time: Time,
    name: str = "db1",
    *offers: Offer,
    number: int = 1,
    owner: Any = None,
    wire: Any = None,
    pace: Callable[[], float] = lambda: 15.0,
    wall: Callable[[], float] = lambda: 1000.0,
    spares: int = 1,
    most: int = 10,
    said: AgentHello | None = None,
) -> Session:
    """A session of an agent."""
    said = said or hello(name, *offers)
    return Session(
        f"sid{number}",
        said,
        claims(name, *said.roles),
        ORIGIN,
        owner or FakeOwner(),
        wire or Wire(),
        wheel=time.wheel,
        now=time.clock.seconds,
        wall=wall,
        pace=pace,
        spares=spares,
        most=most,
    )


FACTS = Facts(gateway="gw", gateways=("gw.example.com:443",))


class FakeLease:
    """Of a stream's socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


class Line(Wire):
    """An agent's connection, seen from the agent."""

    def __init__(self, case: ServerCase, context: FakeContext) -> None:
        super().__init__()
        self.context = context
        self.unsent = b""
        self.released: SecureEnd | None = None
        self.sock, other = socket.socketpair()
        case.addCleanup(self.sock.close)
        case.addCleanup(other.close)
        factory: Any = case.tunnels.door(context)
        self.protocol = factory.buildProtocol(context.peer)
        self.protocol.makeConnection(self)

    def say(self, *frames: bytes) -> None:
        """The agent says this."""
        self.protocol.dataReceived(b"".join(frames))

    def pong(self) -> Line:
        """The agent answers the gateway's newest ping."""
        [*_, ping] = [one for one in self.heard if one.kind is FrameKind.PING]
        self.say(frame(FrameKind.PONG, ping.body))
        return self

    def greet(self, said: AgentHello) -> Line:
        """The agent begins with a HELLO."""
        self.say(message(FrameKind.HELLO, said.told()))
        return self

    def release(self) -> SecureEnd:
        lease: Any = FakeLease(self.sock)
        session: Any = None
        self.released = SecureEnd(lease, session)
        return self.released

    def lose(self) -> None:
        """It is gone."""
        self.protocol.connectionLost(Failure(Exception("gone")))

    def answer(self) -> GatewayHello:
        """The gateway's HELLO."""
        return greeting(self.take()[0])

    def refused(self) -> str:
        """What the agent reads of a refusal; the log hears the same."""
        assert self.context.refused is not None
        error, words, _ = self.context.refused
        [frame] = Frames().feed(words)
        said = greeting(frame).error
        assert said.endswith(str(error)), (said, str(error))
        return said


class ServerCase(SynchronousTestCase):
    """Tunnels without sockets."""

    def setUp(self) -> None:
        self.time = Time()
        self.facts = FACTS
        self.cluster = FakeCluster(CLUSTER, anchor=ANCHOR)
        self.streams: list[FakeStream] = []
        self.changes = 0
        self.numbers = iter(range(1, 10_000))
        self.tunnels = Tunnels(
            lambda: self.facts,
            self.make,
            clock=self.time.clock,
            wheel=self.time.wheel,
            now=self.time.clock.seconds,
            wall=lambda: 1000.0,
            name_session=lambda: f"sid{next(self.numbers)}",
        )
        self.tunnels.changed = self.change

    def change(self) -> None:
        self.changes += 1

    def make(self, end: Any, idle: Any, lost: Any) -> FakeStream:
        stream = FakeStream(end, idle, lost)
        self.streams.append(stream)
        return stream

    def context(self, who: Identity | None, **more: Any) -> FakeContext:
        fields = {"cluster": self.cluster, "clock": self.time.clock, **more}
        return FakeContext(identity=who, tunnels=self.tunnels, **fields)

    def line(self, name: str = "db1", *roles: str, **more: Any) -> Line:
        """An agent connects."""
        return Line(self, self.context(identity(name, *roles), **more))

    def control(self, name: str = "db1", *offers: Any) -> tuple[Line, GatewayHello]:
        """An agent's control connection."""
        line = self.line(name).greet(hello(name, *offers)).pong()
        return line, line.answer()

    def stream(self, session: str, name: str = "db1") -> Line:
        """One of its streams, which has said HELLO."""
        said = AgentHello(
            kind="stream",
            agent=name,
            cluster=CLUSTER,
            version="1.0.0",
            session=session,
            roles=("node",),
        )
        return self.line(name).greet(said)
