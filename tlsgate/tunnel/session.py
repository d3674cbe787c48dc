"""One agent's control connection, from its HELLO to its end: the gateway's side.

1. Either side pings (`tunnel.link`); three that are missed end the session and cut all of
   its streams.
2. The agent says what it offers now, that it has too many idle streams, that it drains; the
   gateway asks for more streams, for another dial, and says what has changed.
3. A session that drains gives its streams to nobody; it ends with the last one that is busy.
4. However the control connection ends, its idle streams end with it. Busy ones go on: a
   client loses nothing because another connection has broken.

With the certificate by which it began a session ends, too: the agent has another one by then.
How much an agent may say in a period is bounded, so that it can neither keep the gateway busy
nor make it write answers that are never read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from attrs import frozen

from tlsgate.core.claims import Claims
from tlsgate.core.frames import Frame, FrameKind, frame, message, read_message
from tlsgate.core.greetings import (
    AgentHello,
    Drain,
    Inventory,
    Open,
    Reconnect,
    Retire,
    Said,
    Unmoved,
    read_said,
)
from tlsgate.core.offers import Offer
from tlsgate.errors import BadBytes
from tlsgate.net.wheel import Wheel
from tlsgate.tunnel.link import link
from tlsgate.tunnel.pool import Pool

#: Frames that an agent may send in one period of pings.
MOST_FRAMES: Final = 300


class Owner(Protocol):
    """Whom a session tells; see `tunnel.server.Tunnels`."""

    def offered(self, session: Session, offers: tuple[Offer, ...]) -> None:
        """The agent offers these now. Raises `Denied`: it may not."""

    def rests(self, session: Session) -> None:
        """The session serves nobody new."""

    def proved(self, session: Session) -> None:
        """The agent has answered to its first ping here."""

    def unmoved(self, session: Session) -> None:
        """The agent cannot dial anew as it was asked to: see `Session.why_here`."""

    def gone(self, session: Session) -> None:
        """The session is over."""


class Wire(Protocol):
    """The control connection."""

    def write(self, data: bytes) -> None:
        """Queue *data*."""

    def loseConnection(self) -> None:
        """Close it in order."""

    def abortConnection(self) -> None:
        """Reset it."""


@frozen(kw_only=True)
class Origin:
    """Where a session came: the listener, how, and from where."""

    listener: str
    transport: str  #: the ledger's word: "tls-alpn", "tls"
    address: str
    since: float  #: seconds since the epoch
    until: float  #: when its certificate ends, likewise


class Session:
    """See the module.

    Args:
        session_id: which its streams name.
        hello: what the agent has said, checked already against what its certificate `claims`.
        now: seconds of a monotonic clock; `wall` since the epoch.
        pace: gives the seconds between two pings.
        spares, most: idle and all streams.
    """

    def __init__(
        self,
        session_id: str,
        hello: AgentHello,
        claims: Claims,
        origin: Origin,
        owner: Owner,
        wire: Wire,
        *,
        wheel: Wheel,
        now: Callable[[], float],
        wall: Callable[[], float],
        pace: Callable[[], float],
        spares: int,
        most: int,
    ) -> None:
        self.id = session_id
        self.agent = hello.agent
        self.claims = claims
        self.roles = tuple(dict.fromkeys(hello.roles))  # said twice, the auth service takes none
        self.version = hello.version
        self.hostname = hello.hostname
        self.offers = hello.offers
        self.origin = origin
        self.draining = False
        #: Whether the agent has answered to a ping; who is newer serves from then on.
        self.proved = False
        #: Why the agent has not moved, as it says, and how often it has said that it cannot.
        self.why_here = ""
        self.tries = 0
        #: Why it ended, once it has.
        self.cause = ""
        self._owner = owner
        self._wire = wire
        self._wheel = wheel
        self._wall = wall
        self._pace = pace
        self._link = link(self)
        self._number = 0
        self._frames = 0
        self._over = False
        self.slot = 0
        self.order = 0  #: among all sessions of the gateway; see `moves`
        self.pool = Pool(
            hello.agent, spares=spares, most=most, ask=self._open, wheel=wheel, now=now
        )

    def start(self) -> None:
        """The gateway's HELLO is said: begin to ping."""
        self._link.ticked()

    def rank(self) -> tuple[bool, bool, int]:
        """How well it can serve somebody now, the smallest best."""
        pool = self.pool
        return not self.healthy, not pool.idle, len(pool.busy) + pool.waiting

    @property
    def healthy(self) -> bool:
        """False: it has missed a ping."""
        return not self._link.missed()

    # -- what the agent says --

    def hear(self, heard: Frame) -> None:
        """Take one frame.

        Raises:
            BadBytes: an agent does not say that.
            Denied: it offers what it may not.
        """
        self._frames += 1
        if self._frames > MOST_FRAMES:
            raise BadBytes("tunnel", f"more than {MOST_FRAMES} frames in one period of pings")
        if heard.kind is FrameKind.PING:
            self._wire.write(frame(FrameKind.PONG, heard.body))
        elif heard.kind is FrameKind.PONG:
            if heard.body == self._newest():
                self._link.answered()
                if not self.proved:
                    self.proved = True
                    self._owner.proved(self)
        elif heard.kind is FrameKind.CONTROL:
            self._take(read_said(read_message(heard)))
        else:
            raise BadBytes("tunnel", f"{heard.kind.name} on a control connection")

    def _take(self, said: Said | None) -> None:
        match said:
            case Inventory(offers, hostname):
                self._owner.offered(self, offers)
                self.hostname = hostname or self.hostname
            case Retire(count):
                self.pool.retire(count)
            case Drain():
                self._rest()
            case Unmoved(why):
                self.why_here, self.tries = why, self.tries + 1
                self._owner.unmoved(self)
            case None:
                pass  # a word of a newer version
            case _:
                raise BadBytes("tunnel", "an agent says what only a gateway does")

    # -- what we say --

    def tell(self, said: Said) -> None:
        """Say it, if anybody hears."""
        if not self._over:
            self._wire.write(message(FrameKind.CONTROL, said.told()))

    def drain(self) -> None:
        """Serve nobody new; over when nobody is served any more."""
        if not self.draining:
            self.tell(Drain())
            self._rest()

    def move(self, why: str) -> None:
        """Have the agent dial anew; it drains this session itself once it has."""
        self.why_here, self.tries = "", 0
        self.tell(Reconnect(why))

    def paced(self) -> None:
        """The period of pings has changed."""
        self._link.paced()

    def _open(self, count: int) -> None:
        self.tell(Open(count))

    # -- the end --

    def lacks_streams(self) -> None:
        """A stream has ended; a session that drains may be over now."""
        if self.draining and not self.pool.busy and not self._over:
            self.cause = self.cause or "drained"
            self._wire.loseConnection()

    def cut(self, cause: str) -> None:
        """End it and all of its streams now."""
        if not self._over:
            self.cause = cause
            self.pool.cut(cause)
            self._wire.abortConnection()

    def ended(self) -> None:
        """The control connection is gone."""
        if not self._over:
            self._over = True
            self._link.ended()
            self._owner.gone(self)
            self.pool.shut()

    def _rest(self) -> None:
        self.draining = True
        self._owner.rests(self)
        self.pool.shut()
        self.lacks_streams()

    # -- effects of the link, and the wheel --

    def ping(self) -> None:
        """See `link.Effects`."""
        self._number += 1
        self._wire.write(frame(FrameKind.PING, self._newest()))

    def tick_later(self, periods: float) -> None:
        """See `link.Effects`."""
        self._wheel.arm(self, self._pace() * periods)

    def tick_never(self) -> None:
        """See `link.Effects`."""
        self._wheel.drop(self)

    def silent(self) -> None:
        """See `link.Effects`."""
        self.cut("silent")

    def due(self, now: float) -> float | None:
        """The wheel calls this: a period is over."""
        self._frames = 0
        self._link.ticked()
        if self._over:
            return None
        if self._wall() >= self.origin.until and not self.draining:
            self.move("the certificate by which this session began has ended")
            self.drain()
        self.pool.look()
        return None

    def _newest(self) -> bytes:
        return self._number.to_bytes(8, "big")
