"""Streams without a reactor: real TLS over socket pairs, with a wire between that can be cut.

A `Yard` has one poller, wheel and slab, as a gateway and an agent would each have their own;
whatever is in the slab of one side is thus overwritten by the other's. Nothing runs unless a
test turns it, and what a `Cable` carries it carries as the test wants it.
"""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import Callable
from typing import Any

from OpenSSL import SSL

from tests.net.rig import FakeReactor, client_context
from tests.support.certs import pki
from tlsgate.core.offers import Answered, Asked
from tlsgate.errors import GateError
from tlsgate.net.ends import End, PlainEnd
from tlsgate.net.lease import Lease
from tlsgate.net.owner import Owned
from tlsgate.net.poller import Poller
from tlsgate.net.relay import Pair, Waits
from tlsgate.net.wheel import Wheel
from tlsgate.tls.fast import Slab, open_session
from tlsgate.tunnel.stream import AgentStream, GatewayStream, Request

#: Turns after which a test gives up.
PATIENCE = 100_000

WAITS = Waits(
    idle_seconds=60.0, write_stall_seconds=20.0, close_seconds=10.0, lifetime_seconds=None
)


@functools.cache
def server_context() -> SSL.Context:
    """A gateway's, for streams."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate_chain_file(str(pki().file("server.pem")))
    context.use_privatekey_file(str(pki().file("server-key.pem")))
    return context


def sockets(test: Any) -> tuple[socket.socket, socket.socket]:
    """Two ends of one connection, closed after the test."""
    pair = socket.socketpair()
    for one in pair:
        one.setblocking(False)
        test.addCleanup(one.close)
    return pair


def shake(*sides: SSL.Connection, between: Callable[[], object] = bool) -> None:
    """Do the handshakes of both ends of a connection."""
    for _ in range(4):
        for side in sides:
            with contextlib.suppress(SSL.WantReadError):
                side.do_handshake()
            between()
    with contextlib.suppress(SSL.WantReadError):
        sides[0].recv(1)  # what TLS 1.3 sends after the handshake


class Cable:
    """Carries bytes between gateway and agent, as many as it is let, until it is cut.

    Attributes:
        allowance: how many bytes each direction may still carry; None: all.
        carried: how many each direction has carried.
    """

    def __init__(self, to_gateway: socket.socket, to_agent: socket.socket) -> None:
        self.sockets = (to_gateway, to_agent)
        self.allowance: list[int | None] = [None, None]
        self.carried = [0, 0]
        self._held = [b"", b""]
        self.cut_after = False  #: cut once an allowance is used up

    def turn(self) -> bool:
        """Carry what there is; True when that was something."""
        moved = False
        for way in (0, 1):
            source, sink = self.sockets[way], self.sockets[1 - way]
            if source.fileno() == -1:
                return moved
            room = self.allowance[way]
            if not self._held[way] and room != 0:
                with contextlib.suppress(BlockingIOError):
                    try:
                        some = source.recv(65536 if room is None else min(room, 65536))
                    except ConnectionResetError:
                        some = b""
                    if not some:
                        self.cut()
                        return True
                    self._held[way] = some
            if self._held[way]:
                with contextlib.suppress(OSError):
                    sent = sink.send(self._held[way])
                    self._held[way] = self._held[way][sent:]
                    self.carried[way] += sent
                    moved = True
                    if room is not None:
                        self.allowance[way] = room - sent
            if self.cut_after and self.allowance[way] == 0:
                self.cut()
                return True
        return moved

    def cut(self) -> None:
        """End both connections at once; what was under way is lost."""
        for one in self.sockets:
            one.close()


class Agent:
    """What an agent's owner does: it remembers requests, and answers as the test wants."""

    def __init__(self) -> None:
        self.asked: list[tuple[Asked, Request]] = []
        self.cancelled: list[Asked] = []
        self.idle = 0
        self.lost: list[str] = []

    def ask(self, asked: Asked, request: Request) -> None:
        """For `AgentStream`."""
        self.asked.append((asked, request))
        request.cancelled = lambda: self.cancelled.append(asked)

    def rested(self, stream: AgentStream) -> None:
        """For `AgentStream`."""
        self.idle += 1

    def over(self, stream: AgentStream, error: GateError) -> None:
        """For `AgentStream`."""
        self.lost.append(str(error))


class Asker:
    """What a gateway's owner of a client does: it waits for its end."""

    def __init__(self) -> None:
        self.end: End | None = None
        self.missed: tuple[str, bool] | None = None

    def reached(self, end: End) -> None:
        """For `GatewayStream.ask`."""
        assert self.end is None and self.missed is None, "told twice"
        self.end = end

    def failed(self, error: GateError, died: bool) -> None:
        """For `GatewayStream.ask`."""
        assert self.end is None and self.missed is None, "told twice"
        self.missed = (str(error), died)


class Yard:
    """Poller, wheel, slab and time for streams and the relays on them."""

    def __init__(self, test: Any, *, binding: bool = True) -> None:
        self.test = test
        self.binding = binding
        self.reactor = FakeReactor()
        self.poller = Poller(self.reactor)  # type: ignore[arg-type]
        self.wheel = Wheel(self.reactor)
        self.slab = Slab()
        self.cables: list[Cable] = []
        self.idle: list[GatewayStream] = []
        self.lost: list[tuple[GatewayStream, str]] = []
        test.addCleanup(self.poller.close)
        test.addCleanup(self.wheel.stop)

    def turn(self) -> bool:
        """Let everybody do what is ready now."""
        moved = self.reactor.turn()
        for cable in self.cables:
            moved = cable.turn() or moved
        return moved

    def settle(self) -> None:
        """Turn until nothing is ready any more."""
        for _ in range(PATIENCE):
            if not self.turn():
                return
        raise AssertionError("something spins")

    def until(self, what: Callable[[], object]) -> Any:
        """Turn until *what* gives something true; give that."""
        for _ in range(PATIENCE):
            if got := what():
                return got
            self.turn()
        raise AssertionError("it never came")

    def advance(self, seconds: float) -> None:
        """Move the clock."""
        for _ in range(int(seconds * 4) + 1):
            self.reactor.advance(0.25)
            self.turn()

    # -- streams -----------------------------------------------------------------------

    def lease(self, sock: socket.socket) -> Lease:
        """Lend *sock*."""
        return Lease(Owned(sock), self.poller)

    def secure(self, *, cable: bool = False) -> tuple[SSL.Connection, SSL.Connection]:
        """Two ends of a TLS connection: the gateway's and the agent's."""
        ours, theirs = sockets(self.test)
        between: Callable[[], object] = bool
        if cable:
            to_gateway = theirs
            to_agent, theirs = sockets(self.test)
            self.cables.append(Cable(to_gateway, to_agent))
            between = self.cables[-1].turn
        gateway = SSL.Connection(server_context(), ours)
        gateway.set_accept_state()
        agent = SSL.Connection(client_context(SSL.TLS1_3_VERSION), theirs)
        agent.set_connect_state()
        shake(agent, gateway, between=between)
        return gateway, agent

    def gateway_stream(self, connection: Any) -> GatewayStream:
        """The gateway's side on *connection*."""
        return GatewayStream(
            self.lease(connection._socket),
            open_session(connection, self.binding),
            slab=self.slab,
            wheel=self.wheel,
            now=self.reactor.seconds,
            idle=self.idle.append,
            lost=lambda stream, error: self.lost.append((stream, str(error))),
        )

    def agent_stream(self, connection: Any, agent: Agent, unread: bytes = b"") -> AgentStream:
        """The agent's side on *connection*."""
        return AgentStream(
            self.lease(connection._socket),
            open_session(connection, self.binding),
            slab=self.slab,
            wheel=self.wheel,
            now=self.reactor.seconds,
            asked=agent.ask,
            idle=agent.rested,
            lost=agent.over,
            unread=unread,
        )

    def stream(self, agent: Agent, *, cable: bool = False) -> tuple[GatewayStream, AgentStream]:
        """A whole stream."""
        gateway, theirs = self.secure(cable=cable)
        return self.gateway_stream(gateway), self.agent_stream(theirs, agent)

    # -- clients and targets -----------------------------------------------------------

    def join(self, end: End, *, client: bool, waits: Waits = WAITS) -> tuple[Pair, socket.socket]:
        """Relay *end* to a plain socket, whose other end is given.

        Args:
            client: the plain socket is the client's, and not the target's.
        """
        ours, theirs = sockets(self.test)
        plain = PlainEnd(self.lease(ours))
        first, second = (plain, end) if client else (end, plain)
        pair = Pair(first, second, self.slab, waits, self.wheel, self.reactor.seconds)
        pair.start()
        return pair, theirs

    def serve(self, stream: GatewayStream, agent: Agent, user: str = "alice") -> Served:
        """Take one client all the way through an idle stream."""
        asker = Asker()
        stream.ask(asked(user), asker.reached, asker.failed)
        self.until(lambda: agent.asked)
        told, request = agent.asked.pop(0)
        assert told.user == user
        target_pair, target = self.join(request.accept(), client=False)
        self.until(lambda: asker.end)
        assert asker.end is not None
        client_pair, client = self.join(asker.end, client=True)
        return Served(client, target, client_pair, target_pair)


class Served:
    """One client with its target, and the relays at the gateway and at the agent."""

    def __init__(
        self, client: socket.socket, target: socket.socket, at_gateway: Pair, at_agent: Pair
    ) -> None:
        self.client = client
        self.target = target
        self.at_gateway = at_gateway
        self.at_agent = at_agent

    def over(self) -> bool:
        """True when both relays have ended."""
        return not (self.at_gateway.open or self.at_agent.open)


def asked(user: str = "alice") -> Asked:
    """What a gateway asks for *user*."""
    return Asked(kind="node", name="db1", user=user, certificate=b"\x30\x03abc")


NO = Answered(reason="denied", message="alice may not")
