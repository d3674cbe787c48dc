"""A stream between gateway and agent: one connection that serves one client after another.

1. Both HELLOs are said; whoever said them gives lease and session to a `GatewayStream` or an
   `AgentStream`. While it is idle it listens by itself: what has no place ends it.
2. `GatewayStream.ask` writes REQUEST; the agent's shell gets a `Request`, and accepts it with
   an `End` for its relay, or refuses it. A STATUS brings the asker an `End` as well, or an error.
3. While an end is in use, the stream reads and writes only for it. Its loan's close gives the
   connection back, and the machine of `core.gatewaystream` or `core.agentstream` knows what has
   to be said before the next client.
4. Doubt ends the connection: a frame without a place, a write that is stuck in part, a wait
   that is over, too many bytes that nobody wants.
"""

from __future__ import annotations

from collections.abc import Callable

from tlsgate.core.agentstream import AgentLife
from tlsgate.core.frames import FrameKind, message, numbered
from tlsgate.core.gatewaystream import GatewayLife
from tlsgate.core.offers import Answered, Asked
from tlsgate.errors import AgentRefused, GateError, TunnelBroken
from tlsgate.net.ends import End
from tlsgate.net.lease import Lease
from tlsgate.net.wheel import Wheel
from tlsgate.tls.fast import Session, Slab
from tlsgate.tunnel.turns import LEAVE_SECONDS, Stream


class GatewayStream(Stream):
    """The gateway's side of a stream.

    Args:
        lease: the connection's; the stream ends it.
        session: its TLS.
        now: seconds of a monotonic clock.
        idle: called when it may be asked (again): after a client, not at the start.
        lost: called once, when the connection is over for whatever reason, `close` included.
    """

    def __init__(
        self,
        lease: Lease,
        session: Session,
        *,
        slab: Slab,
        wheel: Wheel,
        now: Callable[[], float],
        idle: Callable[[GatewayStream], None],
        lost: Callable[[GatewayStream, GateError], None],
    ) -> None:
        super().__init__(lease, session, slab, wheel, now)
        self._life: GatewayLife = GatewayLife(self)
        self._tell_idle = idle
        self._tell_lost = lost
        self._name = ""
        self._reached: Callable[[End], None] | None = None
        self._missed: Callable[[GateError, bool], None] | None = None
        self._attend()

    def ask(
        self,
        asked: Asked,
        reached: Callable[[End], None],
        missed: Callable[[GateError, bool], None],
    ) -> None:
        """Ask the agent to take a client; only while the stream is not `busy`.

        One of the two is called, once, unless `cancel` comes first; nothing bounds the wait.

        Args:
            reached: gets the end for the client's relay; its lease's close ends the client.
            missed: gets why not, and whether the stream died before it had an answer (then
                another one may be asked, and the client needs to know nothing of it).

        Raises:
            TunnelBroken: it is busy, or over.
        """
        if not self._idle:
            raise TunnelBroken("the stream is busy or over")
        words = message(FrameKind.REQUEST, {"n": self.serial + 1, "asked": asked.told()})
        self._idle = False
        self._dropped = 0
        self._name = asked.name
        self._reached, self._missed = reached, missed
        self._life.ask()
        self._say(words)
        self._act()

    def cancel(self) -> None:
        """Nobody waits for the answer any more; nothing after it has come."""
        if self._missed is not None:
            self._reached = self._missed = None
            self._life.side.leave()
            self._act()

    def close(self) -> None:
        """Retire it: now when it is idle, else after its client; `lost` is called."""
        self._life.side.retire()
        self._act()

    def carried(self) -> tuple[int, int]:
        """Bytes to targets and to clients so far."""
        return self._wire.sent, self._wire.received

    def due(self, now: float) -> float | None:
        """The wheel calls this: see `GatewaySide.late`."""
        self._life.side.late()
        self._act()
        return None

    def end_said(self) -> None:
        """See `Stream.end_said`."""
        self._life.side.client_end()

    # -- effects -----------------------------------------------------------------------

    def reach(self) -> None:
        """See `GatewayEffects`."""
        reached, self._reached, self._missed = self._reached, None, None
        end = self._lend()
        if reached is not None:
            self._todo.append(lambda: reached(end))

    def miss(self, answered: Answered) -> None:
        """See `GatewayEffects`."""
        self._tell_missed(AgentRefused(self._name, answered.reason, answered.message), died=False)

    def died(self, why: str) -> None:
        """See `GatewayEffects`."""
        self._tell_missed(TunnelBroken(why), died=True)

    def wait(self) -> None:
        """See `GatewayEffects`."""
        self._wheel.arm(self, LEAVE_SECONDS)

    def wait_no_more(self) -> None:
        """See `GatewayEffects`."""
        self._wheel.drop(self)

    def part(self) -> None:
        """See `GatewayEffects`."""
        self._stop()
        self._todo.append(lambda: self._close("it was retired", reset=False))

    # -- inside ------------------------------------------------------------------------

    def _tell_missed(self, error: GateError, *, died: bool) -> None:
        missed, self._reached, self._missed = self._missed, None, None
        if missed is not None:
            self._todo.append(lambda: missed(error, died))

    def _rested(self) -> None:
        self._tell_idle(self)

    def _lost(self, error: GateError) -> None:
        self._tell_lost(self, error)


class Request:
    """One client that the gateway asks the agent to take.

    Attributes:
        cancelled: called when nobody wants the answer any more; set it to stop dialling.
    """

    __slots__ = ("_stream", "cancelled")

    def __init__(self, stream: AgentStream) -> None:
        self._stream: AgentStream | None = stream
        self.cancelled: Callable[[], None] = _nothing

    @property
    def open(self) -> bool:
        """True until it is answered or cancelled."""
        return self._stream is not None

    def accept(self) -> End:
        """The target is reached: say so, and give the end for its relay.

        Raises:
            TunnelBroken: the request is answered or cancelled.
        """
        stream, self._stream = self._stream, None
        if stream is None:
            raise TunnelBroken("the request is over")
        return stream.accept()

    def refuse(self, answered: Answered) -> None:
        """Say no; nothing when it is answered or cancelled."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.refuse(answered)

    def cancel(self) -> None:
        """The stream calls this."""
        if self._stream is not None:
            self._stream = None
            self.cancelled()


class AgentStream(Stream):
    """The agent's side of a stream.

    Args:
        lease: the connection's; the stream ends it.
        session: its TLS.
        now: seconds of a monotonic clock.
        asked: called with each request; it may answer at once or later.
        idle: called when a client is over and the next may come.
        lost: called once, when the connection is over for whatever reason, `close` included.
        unread: what has been read behind the gateway's HELLO.
    """

    has_the_last_word = True

    def __init__(
        self,
        lease: Lease,
        session: Session,
        *,
        slab: Slab,
        wheel: Wheel,
        now: Callable[[], float],
        asked: Callable[[Asked, Request], None],
        idle: Callable[[AgentStream], None],
        lost: Callable[[AgentStream, GateError], None],
        unread: bytes = b"",
    ) -> None:
        super().__init__(lease, session, slab, wheel, now, unread)
        self._life: AgentLife = AgentLife(self)
        self._tell_asked = asked
        self._tell_idle = idle
        self._tell_lost = lost
        self._request: Request | None = None
        self._attend()

    def close(self) -> None:
        """End the connection now, with a client that it serves; `lost` is called."""
        if self._idle:
            self._stop()
            self._close("it was closed", reset=False)
        else:
            self.abort("it was closed")

    def accept(self) -> End:
        """`Request.accept` calls this."""
        self._request = None
        end = self._lend()
        self._life.side.accept()
        self._act()
        return end

    def refuse(self, answered: Answered) -> None:
        """`Request.refuse` calls this."""
        self._request = None
        self._life.side.refuse(answered)
        self._act()

    def carried(self) -> tuple[int, int]:
        """Bytes to targets and to clients so far."""
        return self._wire.received, self._wire.sent

    def due(self, now: float) -> float | None:
        """The wheel would call this; an agent waits for no frame."""
        return None

    def end_said(self) -> None:
        """See `Stream.end_said`."""
        self._life.side.target_end()

    # -- effects -----------------------------------------------------------------------

    def asked(self, asked: Asked) -> None:
        """See `AgentEffects`."""
        self._idle = False
        request = self._request = Request(self)
        self._todo.append(lambda: self._tell_asked(asked, request))

    def cancel(self) -> None:
        """See `AgentEffects`."""
        request, self._request = self._request, None
        if request is not None:
            self._todo.append(request.cancel)

    def say_status(self, answered: Answered) -> None:
        """See `AgentEffects`."""
        self._say(
            message(FrameKind.STATUS, {"n": self.serial, "answered": answered.told()}),
        )

    def say_ended(self) -> None:
        """See `AgentEffects`."""
        self._say(numbered(FrameKind.ENDED, self.serial))

    # -- inside ------------------------------------------------------------------------

    def _rested(self) -> None:
        self._tell_idle(self)

    def _lost(self, error: GateError) -> None:
        self._tell_lost(self, error)


def _nothing() -> None:
    """Nobody dials, so there is nothing to stop."""
