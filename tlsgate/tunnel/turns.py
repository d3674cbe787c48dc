"""What both sides of a stream have in common: whose turn it is to read and to write.

While a client's end is in use, the connection is read and written only for it. Else the
stream listens by itself: after a client for the other side's last word, and when it is idle
for whatever has no place there.

Callbacks run after the machine's turn and never while bytes are read or written, so they may
ask, close, or start a relay at once.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Final

from tlsgate.core.agentstream import AgentLife
from tlsgate.core.frames import Frame, FrameKind, numbered
from tlsgate.core.gatewaystream import GatewayLife
from tlsgate.errors import BadBytes, GateError, TunnelBroken
from tlsgate.net.lease import Lease
from tlsgate.net.poller import READ, TROUBLE, WRITE
from tlsgate.net.wheel import Wheel
from tlsgate.tls.fast import AGAIN, BLOCKED, BROKEN, ENDED, Session, Slab
from tlsgate.tunnel.streamend import StreamEnd, Wire

#: How long the agent may take to say that it is done with a client, and how much of that
#: client may still come meanwhile.
LEAVE_SECONDS: Final = 10.0
LEAVE_BYTES: Final = 1 << 20

#: What one turn reads of a stream that nobody uses.
_TURN_FRAMES: Final = 64


class Stream:
    """What both sides of a stream have in common.

    Attributes:
        since: when it became idle last, in seconds of *now*.
    """

    _life: GatewayLife | AgentLife
    #: Whether a client's end in order is followed by a word of ours: an agent's ENDED.
    has_the_last_word = False

    def __init__(
        self,
        lease: Lease,
        session: Session,
        slab: Slab,
        wheel: Wheel,
        now: Callable[[], float],
        unread: bytes = b"",
    ) -> None:
        self.slot = 0
        self.since = now()
        self._lease = lease
        self._session = session
        self._slab = slab
        self._wheel = wheel
        self._now = now
        self._wire = Wire(session, slab, unread)
        self._end: StreamEnd | None = None
        self._idle = True
        self._over = False  # the machine has said so
        self._gone = False  # and the connection is closed
        self._inside = False  # an end reads, and hears a frame
        self._cut = False
        self._doubt = ""
        self._dropped = 0
        self._read_blocked = False
        self._todo: list[Callable[[], None]] = []
        lease.on_ready = self._ready

    @property
    def busy(self) -> bool:
        """True while it serves a client, or has not finished with the last one."""
        return not self._idle

    @property
    def serial(self) -> int:
        """Of the present request, or of the last one; 0 before the first."""
        return self._life.serial

    @property
    def open(self) -> bool:
        """True until the connection is closed."""
        return not self._gone

    def abort(self, why: str) -> None:
        """Reset the connection, and with it a client that it serves; `lost` is called."""
        self._life.side.break_off(why)
        self._act()

    # -- what differs ----------------------------------------------------------------

    @abstractmethod
    def end_said(self) -> None:
        """An end's END has left."""

    @abstractmethod
    def due(self, now: float) -> float | None:
        """The wheel calls this: what was waited for has not come."""

    @abstractmethod
    def _rested(self) -> None:
        """Tell the owner that it is idle."""

    @abstractmethod
    def _lost(self, error: GateError) -> None:
        """Tell the owner that it is over."""

    # -- effects of both machines ----------------------------------------------------

    def cut(self) -> None:
        """See `GatewayEffects`."""
        self._cut = True
        if not self._inside and self._end is not None:
            self._todo.append(self._end.break_off)

    def say_reset(self) -> None:
        """See `GatewayEffects`."""
        self._say(numbered(FrameKind.RESET, self.serial))

    def rest(self) -> None:
        """See `GatewayEffects`."""
        self._idle = True
        self._dropped = 0
        self.since = self._now()
        self._todo.append(self._tell_rest)

    def die(self, why: str) -> None:
        """See `GatewayEffects`."""
        self._stop()
        self._todo.append(lambda: self._close(why, reset=True))

    # -- for the end in use -----------------------------------------------------------

    def overhear(self, frame: Frame) -> int:
        """An end has read *frame*; gives ENDED for an END, and BROKEN otherwise."""
        self._inside = True
        try:
            self._life.hear(frame)
        finally:
            self._inside = False
        if self._cut or frame.kind is not FrameKind.END:
            return BROKEN
        return ENDED

    def doubt(self, why: str) -> None:
        """An end has found the connection broken; it ends when the end is given back."""
        self._doubt = self._doubt or why

    def give_back(self, end: StreamEnd) -> None:
        """The client of *end* is over, and its loan closed."""
        if self._end is not end:
            return
        self._end = None
        stuck = end.stuck
        end.detach()
        if stuck:
            self.doubt("a write was stuck when its client ended")
        if self._doubt:
            self._life.side.break_off(self._doubt)
        else:
            self._life.side.leave()
        self._act()

    # -- inside ----------------------------------------------------------------------

    def _lend(self) -> StreamEnd:
        """Make the present client's end; the stream itself neither reads nor writes now."""
        self._cut = False
        end = self._end = StreamEnd(self, self._wire, self._lease, self.serial)
        self._lease.want(0)
        return end

    def _say(self, words: bytes) -> None:
        if self._wire.say(words) == BROKEN:
            self._life.side.break_off("it cannot be written")

    def _stop(self) -> None:
        self._over = True
        self._idle = False

    def _close(self, why: str, *, reset: bool) -> None:
        if self._gone:
            return
        self._gone = True
        self._wheel.drop(self)
        end, self._end = self._end, None
        if end is not None:
            end.detach()
            end.lent.close()
        if reset:
            self._lease.abort()
        else:
            self._session.end()
            self._lease.close()
        self._lost(TunnelBroken(why))

    def _tell_rest(self) -> None:
        # Whoever was told before may have ended it, or asked it.
        if self._idle:
            self._rested()

    def _act(self) -> None:
        """Do what the machine has asked for, and listen again."""
        while self._todo:
            self._todo.pop(0)()
        self._attend()

    def _attend(self) -> None:
        if self._gone or self._end is not None or not self._lease.open:
            return
        mask = WRITE if self._read_blocked else READ
        if self._wire.late:
            mask |= READ if self._wire.write_again else WRITE
        if self._wire.session.pending():
            mask |= WRITE  # for which no socket wakes us
        self._lease.want(mask)

    def _ready(self, mask: int) -> None:
        """The poller calls this."""
        end = self._end
        if self._wire.late and self._wire.flush() == BROKEN:
            self.abort("it cannot be written")
            return
        if end is None:
            self._listen()
            self._act()
            return
        if end.watching and mask & (READ | TROUBLE) and self._watch(end):
            return
        if end.lent.early and end.lent.mask & READ:
            end.lent.early = False
            mask |= READ
        end.lent.on_ready(mask)
        if self._end is end:
            # What was late may have left, and what was lent may have been nudged.
            end.lent.want(end.lent.mask)

    def _watch(self, end: StreamEnd) -> bool:
        """After the other side's END: see whether it breaks off; True when it did."""
        outcome = end.next()
        if outcome in (AGAIN, BLOCKED):
            return False
        if outcome > 0:
            self._life.side.came()
        end.break_off()
        self._act()
        return True

    def _listen(self) -> None:
        """Read what comes while nobody uses the stream."""
        wire = self._wire
        self._read_blocked = False
        for _ in range(_TURN_FRAMES):
            if self._over or self._end is not None:
                return
            if wire.left:
                found: int | Frame = wire.session.read(
                    self._slab, 0, min(wire.left, self._slab.size)
                )
                if isinstance(found, int) and found > 0:
                    wire.left -= found
                    self._drop(found)
                    continue
            else:
                try:
                    found = wire.next()
                except BadBytes as error:
                    self._life.side.break_off(str(error))
                    return
            if isinstance(found, Frame):
                self._drop(len(found.body))
                self._life.hear(found)
                self._run()
            elif found > 0:
                self._life.side.came()
            elif found == AGAIN:
                return
            elif found == BLOCKED:
                self._read_blocked = True
                return
            else:
                self._life.side.break_off(
                    "the other side has closed it" if found == ENDED else "it was cut"
                )
                return

    def _run(self) -> None:
        """Tell whoever waits, before the next frame is read."""
        while self._todo:
            self._todo.pop(0)()

    def _drop(self, size: int) -> None:
        """Count what has come for nobody."""
        self._dropped += size
        if self._dropped > LEAVE_BYTES:
            self._life.side.break_off("too much has come for a client that is over")
