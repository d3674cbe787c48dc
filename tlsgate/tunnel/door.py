"""One connection of an agent, from its first byte until a session or a pool has it.

1. The agent says HELLO within a deadline; what it says of itself has to be what its
   certificate says. Whoever is refused reads why in the gateway's HELLO.
2. A control connection waits for its turn (`tunnel.budget`), and becomes a `Session`, which
   hears every further frame.
3. A stream names its session; its socket is given up by the transport, and from here on it is
   the pool's (`tunnel.held`).

A frame that has begun has to be whole within a deadline, too: an agent that trickles holds
no memory for long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from tlsgate.core.access import Identity
from tlsgate.core.frames import Frame, FrameKind, Frames, only, read_message
from tlsgate.core.greetings import AgentHello
from tlsgate.errors import BadBytes, Denied, GateError, TooLate, TooMany
from tlsgate.interfaces import IRouteContext
from tlsgate.tunnel.budget import CONTROL_BYTES, PERIOD_BYTES, PERIOD_SECONDS
from tlsgate.tunnel.rights import check_hello

if TYPE_CHECKING:
    from tlsgate.tunnel.server import Tunnels
    from tlsgate.tunnel.session import Session

#: From the first byte of a frame to its last.
FRAME_SECONDS: Final = 10.0

_HELLO_ONLY: Final = only(FrameKind.HELLO)
_CONTROL: Final = only(FrameKind.CONTROL, FrameKind.PING, FrameKind.PONG)


class Door(Protocol):
    """See the module.

    Args:
        tunnels: whose door it is.
        context: of the connection; forgotten with it.
        identity: of the agent.
        seconds: from the start to the agent's HELLO.
    """

    transport: Any

    def __init__(
        self, tunnels: Tunnels, context: IRouteContext, identity: Identity, seconds: float
    ) -> None:
        self._tunnels = tunnels
        self._context: IRouteContext | None = context
        self._identity = identity
        self._seconds = seconds
        self._frames = Frames(_HELLO_ONLY)
        self._deadline = _Deadline(self._late)
        self._turn = _Deadline(self._admit)
        self._hello: AgentHello | None = None
        self._session: Session | None = None
        self._refused = False

    def connectionMade(self) -> None:
        """Twisted calls this."""
        self._tunnels.wheel.arm(self._deadline, self._seconds)

    def dataReceived(self, data: bytes) -> None:
        """Twisted calls this."""
        if self._refused:
            return
        try:
            for one in self._frames.feed(data):
                self._take(one)
        except GateError as error:
            self._refuse(error)
            return
        if self._session is not None:
            self._time_frame()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Twisted calls this."""
        self._forget()
        if self._session is not None:
            self._session.ended()
            self._session = None

    # -- inside --

    def _take(self, one: Frame) -> None:
        self._spend(len(one.body))
        if self._session is not None:
            self._session.hear(one)
        elif self._hello is not None:
            raise BadBytes("tunnel", "the agent says more before it has been answered")
        else:
            hello = AgentHello.read(read_message(one))
            claims = self._identity.claims
            assert claims is not None
            check_hello(claims, hello)
            self._hello = hello
            if self._context is not None:
                self._context.came_by(f"tlsgate/{hello.version}")
            self._tunnels.wheel.drop(self._deadline)
            if hello.kind == "stream":
                self._stream(hello)
            else:
                self._wait()

    def _stream(self, hello: AgentHello) -> None:
        if self._frames.held:
            raise BadBytes("tunnel", "the agent says more before it has been answered")
        context, claims = self._context, self._identity.claims
        assert context is not None and claims is not None
        session = self._tunnels.session_of(hello, claims)
        self.transport.write(self._tunnels.welcome(session.id))
        self._forget()
        end = self.transport.release()
        self._tunnels.take_stream(
            session, end, context.keep, self._identity.not_after, self.transport.unsent
        )

    def _spend(self, size: int) -> None:
        """Count what this agent says, on whatever connection, before it is read.

        Raises:
            TooMany: it says too much.
        """
        tunnels = self._tunnels
        if not tunnels.budget.spend(tunnels.now(), self._identity.name, size):
            raise TooMany(f"bytes of one agent in {PERIOD_SECONDS:g} s", PERIOD_BYTES)

    def _wait(self) -> None:
        self._spend(CONTROL_BYTES)
        wait = self._tunnels.budget.turn(self._tunnels.now())
        if wait is None:
            raise TooMany("agents a second", self._tunnels.budget.rate)
        if wait:
            self._tunnels.wheel.arm(self._turn, wait)
        else:
            self._admit()

    def _admit(self) -> None:
        context, hello = self._context, self._hello
        if context is None or hello is None:
            return
        self._frames.limit_of = _CONTROL
        self._session = self._tunnels.admit(hello, context, self.transport, self._identity)

    def _time_frame(self) -> None:
        """Hold what has come of a frame to its deadline."""
        if not self._frames.held:
            self._tunnels.wheel.drop(self._deadline)
        elif not self._deadline.slot:
            self._tunnels.wheel.arm(self._deadline, FRAME_SECONDS)

    def _late(self) -> None:
        waits = self._session is None
        self._refuse(
            TooLate("opening_seconds", self._seconds) if waits else TooLate("frame", FRAME_SECONDS)
        )

    def _refuse(self, error: GateError) -> None:
        """Say why, where the agent still waits for that, and close; log and audit hear."""
        context = self._context
        if context is None:
            return
        words = self._tunnels.refusal(error) if self._session is None else b""
        if self._session is not None:
            self._session.cause = error.reason
            if isinstance(error, Denied):
                self._session.pool.cut(error.reason)
        self._refused = True
        self._forget()
        context.refuse(error, words)

    def _forget(self) -> None:
        self._context = None
        self._tunnels.wheel.drop(self._deadline)
        self._tunnels.wheel.drop(self._turn)


class _Deadline:
    """One wait on the wheel."""

    __slots__ = ("_then", "slot")

    def __init__(self, then: Callable[[], None]) -> None:
        self._then = then
        self.slot = 0

    def due(self, now: float) -> float | None:
        """The wheel calls this."""
        self._then()
        return None
