"""One session of an agent with a gateway: its control connection and its streams, our side.

1. Both HELLOs are said. Either side pings (`tunnel.link`); three that are missed end the
   session and every stream of it.
2. The gateway says how many streams to open; each is dialled where the control
   connection went, names the session in its HELLO, and serves one client after another.
3. A session that drains opens no more streams and takes no more requests; it ends when nobody
   is served any more.
4. Where the control connection breaks, idle streams end with it, and busy ones go on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.logger import Logger

from tlsgate.core.frames import Frame, FrameKind, frame, message, only, read_message
from tlsgate.core.greetings import (
    STREAMS,
    Changed,
    Drain,
    GatewayHello,
    Inventory,
    Open,
    Reconnect,
    Said,
    Unmoved,
    read_said,
)
from tlsgate.core.offers import Asked
from tlsgate.core.tunnelway import Way
from tlsgate.errors import BadBytes, GateError
from tlsgate.net.lease import Lease
from tlsgate.net.wheel import Wheel
from tlsgate.tls.fast import Session
from tlsgate.tunnel.link import link
from tlsgate.tunnel.speaking import Speaking

_FRAMES: Final = only(FrameKind.CONTROL, FrameKind.PING, FrameKind.PONG)
#: Streams that are dialled at once; the others wait for their turn.
_DIALS: Final = 16


class Stream(Protocol):
    """What a session does to a stream; `tunnel.stream.AgentStream` has more."""

    @property
    def busy(self) -> bool:
        """Whether it carries a client, or is asked to."""

    def close(self) -> None:
        """End it: it is idle."""

    def abort(self, cause: str) -> None:
        """Cut it, whatever it carries."""


class Owner(Protocol):
    """Whom a session tells, and asks."""

    def dial_stream(
        self,
        tether: Tether,
        met: Callable[[Speaking], None],
        failed: Callable[[GateError], None],
    ) -> Callable[[], None]:
        """Dial a stream of the session; gives what cancels that."""

    def make_stream(
        self,
        lease: Lease,
        session: Session,
        asked: Callable[[Asked, Any], None],
        idle: Callable[[Any], None],
        lost: Callable[[Any, GateError], None],
    ) -> Stream:
        """Serve requests on a connection whose HELLOs are said."""

    def asked(self, tether: Tether, asked: Asked, request: Any) -> None:
        """The gateway has a client."""

    def told(self, tether: Tether) -> None:
        """The gateway has said which workers and gateways there are: see the attributes."""

    def moved(self, tether: Tether, why: str) -> None:
        """The gateway wishes another session in this one's place."""

    def proved(self, tether: Tether) -> None:
        """The gateway has answered to the first ping: the session works."""

    def ended(self, tether: Tether, why: str) -> None:
        """The control connection is gone."""


class Tether:
    """See the module.

    Args:
        hello: the gateway's.
        speaking: the control connection, paused after that.
        way: where it was dialled, and so where its streams are.

    Attributes:
        gateway, worker: who the other side is.
        workers, gateways: what it knows of now.
    """

    log = Logger()

    def __init__(
        self, hello: GatewayHello, speaking: Speaking, owner: Owner, wheel: Wheel, way: Way
    ) -> None:
        self.way = way
        self.id = hello.session
        self.gateway = hello.gateway
        self.worker = hello.worker
        self.workers = hello.workers
        self.gateways = hello.gateways
        self.draining = False
        self.over = False
        #: Whether the gateway has answered to a ping.
        self.proved = False
        self._spares = hello.spares
        self._seconds = hello.ping_seconds
        self._speaking = speaking
        self._owner = owner
        self._wheel = wheel
        self._link = link(self)
        self._number = 0
        self._streams: set[Stream] = set()
        self._dials: set[_Dial] = set()
        self._owed = 0
        self.slot = 0

    @property
    def busy(self) -> int:
        """How many clients it serves."""
        return sum(one.busy for one in self._streams)

    @property
    def streams(self) -> int:
        """How many streams it has."""
        return len(self._streams)

    def start(self) -> None:
        """Begin to listen and to ping, and open the first streams."""
        self._link.ticked()
        self._speaking.resume(_FRAMES, self._heard, self._lost)
        if not self.over:
            self._open(self._spares)

    def offer(self, inventory: Inventory) -> None:
        """Say what is offered from now on."""
        self._tell(inventory)

    def cannot_move(self, why: str) -> None:
        """Say that there is no other session yet, and why."""
        self._tell(Unmoved(why))

    def drain(self) -> None:
        """Take nobody new; it ends when nobody is served any more."""
        if not self.draining and not self.over:
            self._tell(Drain())
            self._rest()

    def cut(self, why: str) -> None:
        """End it and every stream of it now; nobody is told."""
        self._end()
        self._speaking.abort()
        for one in list(self._streams):
            one.abort(why)
        self._streams.clear()

    # -- what the gateway says --

    def _heard(self, heard: Frame) -> None:
        try:
            if heard.kind == FrameKind.PING:
                self._speaking.write(frame(FrameKind.PONG, heard.body))
            elif heard.kind == FrameKind.PONG:
                if heard.body == self._newest():
                    self._link.answered()
                    if not self.proved:
                        self.proved = True
                        self._owner.proved(self)
            else:
                self._take(read_said(read_message(heard)))
        except BadBytes as error:
            self._speaking.abort()
            self._lost(str(error))

    def _take(self, said: Said | None) -> None:
        match said:
            case Open(count):
                self._open(count)
            case Reconnect(why):
                self._owner.moved(self, why)
            case Drain():
                self._rest()
                self._owner.moved(self, "it drains")
            case Changed():
                self.workers, self.gateways = said.workers, said.gateways
                self._spares = said.spares
                if said.ping_seconds != self._seconds:
                    self._seconds = said.ping_seconds
                    self._link.paced()
                self._owner.told(self)
            case None:
                pass  # a word of a newer version
            case _:
                raise BadBytes("tunnel message", "a gateway says what only an agent does")

    def _tell(self, said: Said) -> None:
        if not self.over:
            self._speaking.write(message(FrameKind.CONTROL, said.told()))

    def _lost(self, why: str) -> None:
        if self.over:
            return
        self._end()
        self._close_idle()
        self._owner.ended(self, why)

    # -- streams --

    def _open(self, count: int) -> None:
        if self.draining or self.over:
            return
        self._owed = min(self._owed + count, STREAMS - len(self._streams) - len(self._dials))
        self._dial()

    def _dial(self) -> None:
        while self._owed > 0 and len(self._dials) < _DIALS and not self.over:
            self._owed -= 1
            dial = _Dial(self)
            self._dials.add(dial)
            dial.cancel = self._owner.dial_stream(self, dial.met, dial.failed)

    def dialled(self, dial: _Dial, speaking: Speaking | None) -> None:
        """A stream has come, or it comes no more: the gateway asks again for what it needs."""
        self._dials.discard(dial)
        if speaking is not None:
            if self.draining or self.over:
                speaking.close()
            else:
                lease, session = speaking.release()
                made = self._owner.make_stream(lease, session, self._asked, self._idle, self._gone)
                self._streams.add(made)
        self._dial()

    def _asked(self, asked: Asked, request: Any) -> None:
        self._owner.asked(self, asked, request)

    def _idle(self, stream: Any) -> None:
        if self.draining or self.over:
            self._streams.discard(stream)
            stream.close()
            self._maybe_over()

    def _gone(self, stream: Any, error: GateError) -> None:
        self._streams.discard(stream)
        self.log.debug("a stream has ended: {why}", why=str(error))
        self._maybe_over()

    def _rest(self) -> None:
        self.draining = True
        self._owed = 0
        self._close_idle()
        self._maybe_over()

    def _close_idle(self) -> None:
        for dial in list(self._dials):
            dial.cancel()
        self._dials.clear()
        for one in [one for one in self._streams if not one.busy]:
            self._streams.discard(one)
            one.close()

    def _maybe_over(self) -> None:
        if self.draining and not self._streams and not self.over:
            self._end()
            self._speaking.close()
            self._owner.ended(self, "it is drained")

    def _end(self) -> None:
        self.over = True
        self._owed = 0
        self._link.ended()

    # -- effects of the link, and the wheel --

    def ping(self) -> None:
        """See `link.Effects`."""
        self._number += 1
        self._speaking.write(frame(FrameKind.PING, self._newest()))

    def tick_later(self, periods: float) -> None:
        """See `link.Effects`."""
        self._wheel.arm(self, self._seconds * periods)

    def tick_never(self) -> None:
        """See `link.Effects`."""
        self._wheel.drop(self)

    def silent(self) -> None:
        """See `link.Effects`."""
        if not self.over:
            self.cut("the gateway is silent")
            self._owner.ended(self, "it has not answered to three pings")

    def due(self, now: float) -> float | None:
        """The wheel calls this: a period is over."""
        self._link.ticked()
        return None

    def _newest(self) -> bytes:
        return self._number.to_bytes(8, "big")


class _Dial:
    """A stream that is dialled."""

    def __init__(self, tether: Tether) -> None:
        self._tether = tether
        self.cancel: Callable[[], None] = lambda: None

    def met(self, speaking: Speaking) -> None:
        """It is there."""
        self._tether.dialled(self, speaking)

    def failed(self, error: GateError) -> None:
        """It is not."""
        self._tether.log.debug("a stream cannot be opened: {why}", why=str(error))
        self._tether.dialled(self, None)
