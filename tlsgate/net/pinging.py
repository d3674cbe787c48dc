"""Clients with a `-ping` token: the framing of `core.pingframes`, and our pings.

1. A `PingEnd` is a `SecureEnd` whose bytes are framed: a header goes into the slab's headroom
   and leaves with the bytes in one write, and what comes is read to where the relay wants it.
2. `Pings` has one for each such client, and lets each say its ping whenever its interval is
   over. When the cluster's interval gets shorter, those that are open follow within a second;
   when it gets longer, only new ones do: a client that has been told of one takes three silent
   intervals for the end.

A ping is no activity: it moves no counter by which a connection is idle, or stalled.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final

from tlsgate.core.pingframes import HEADER, PING, check
from tlsgate.errors import BadBytes
from tlsgate.net.ends import SHORT, SecureEnd
from tlsgate.net.lease import Lease
from tlsgate.net.wheel import Wheel
from tlsgate.tls.fast import AGAIN, BLOCKED, BROKEN, CUT, ENDED, HEADROOM, Session, Slab

#: Without a cluster that says otherwise.
PING_SECONDS: Final = 30.0
#: How often the cluster's interval is looked at, while there is anybody to ping.
LOOK_SECONDS: Final = 1.0

_HEAD: Final = Struct(">I")
_HEAD_AT: Final = HEADROOM - HEADER
#: Pings of a client that are read at once, though nobody should send any.
_PINGS: Final = 64
#: Of `PingEnd._next`, which says 0 for a ping: the client has ended between two messages.
_NO_MORE: Final = -100


class PingEnd(SecureEnd):
    """A client's socket under TLS and ping frames.

    Attributes:
        seconds: between two pings of ours.
    """

    __slots__ = (
        "_bad",
        "_head",
        "_headed",
        "_late",
        "_left",
        "_over",
        "_owed",
        "_pinged",
        "seconds",
        "slot",
    )

    def __init__(self, lease: Lease, session: Session, seconds: float) -> None:
        super().__init__(lease, session)
        self.seconds = seconds
        self.slot = 0
        self._left = 0  #: bytes of a message that have not been read yet
        self._head = b""  #: part of the length before one
        self._bad = False
        #: Bytes of the present message that the session has not taken, and whether it has
        #: taken the header: then they go on without one.
        self._owed = 0
        self._headed = False
        self._late = False  #: a ping has left in part, perhaps: it has to come again
        self._over = False  #: nothing more may be said
        self._pinged = 0  #: bytes in the kernel that are pings, at most

    def due(self, now: float) -> float | None:
        """The wheel calls this: say a ping."""
        if self._over or not self.lease.open:
            return None
        # While bytes wait for the client it is not silent, and a ping would be in their midst.
        if not self._owed:
            self._ping()
        return self.seconds

    def fill(self, slab: Slab, size: int) -> int:
        """See `End.fill`."""
        read, pending = self.session.read, self.session.pending
        self._met = False
        filled = pings = 0
        while True:
            if not self._left:
                count = self._next(slab)
                if count == 0:
                    pings += 1
                    # What OpenSSL holds has to be read: it wakes nobody.
                    if pings < _PINGS or pending():
                        continue
                    count = AGAIN
                if count < 0:
                    return self._stop(filled, ENDED if count == _NO_MORE else count)
            left = self._left
            count = read(slab, filled, min(left, size - filled))
            if count <= 0:
                return self._stop(filled, CUT if count == ENDED else count)
            filled += count
            self._left -= count
            if filled == size:
                self.drained = False
                return filled
            if count < SHORT and not pending():
                self.drained = True
                return filled

    def _next(self, slab: Slab) -> int:
        """Read a header: a length, 0 for a ping, or an outcome below 0."""
        if self._bad:
            return BROKEN
        count = self.session.read(slab, -HEADER, HEADER - len(self._head))
        if count == HEADER:
            (length,) = _HEAD.unpack_from(slab.whole, _HEAD_AT)
        elif count > 0:
            self._head += bytes(slab.whole[_HEAD_AT : _HEAD_AT + count])
            if len(self._head) < HEADER:
                return self._next(slab)
            (length,) = _HEAD.unpack(self._head)
            self._head = b""
        elif count == ENDED:
            return CUT if self._head else _NO_MORE
        else:
            return count
        try:
            self._left = check(length)
        except BadBytes:
            self._bad = True
        return BROKEN if self._bad else self._left

    def _stop(self, filled: int, outcome: int) -> int:
        """Give what there is, and otherwise the outcome, which the next fill meets again."""
        self.drained = outcome == AGAIN or not filled
        self._met = bool(filled) and outcome != AGAIN
        return filled or outcome

    def _put(self, slab: Slab, size: int) -> int:
        if (outcome := self._late_said()) != ENDED:
            return BROKEN if outcome == BROKEN else 0
        write = self.session.write
        gone = 0
        while gone < size:
            # After BLOCKED the same message has to come again, even when there is more by now.
            owed = self._owed or size - gone
            if self._headed:
                count = write(slab, gone, owed)
            else:
                _HEAD.pack_into(slab.whole, _HEAD_AT + gone, owed)
                count = write(slab, gone - HEADER, HEADER + owed)
            if count <= 0:
                if count == BROKEN:
                    return BROKEN
                self._owed = owed
                self.write_again = count == AGAIN
                return gone
            if not self._headed:
                count -= HEADER
            gone += count
            self._owed = owed - count
            self._headed = self._owed > 0
        return gone

    def finish(self) -> int:
        """See `End.finish`."""
        if (outcome := self._late_said()) != ENDED:
            return outcome
        self._over = True
        return super().finish()

    def queued(self) -> int:
        """See `End.queued`; without our pings, which nobody has to take."""
        found = super().queued()
        if not found:
            self._pinged = 0
        return max(found - self._pinged, 0)

    def _ping(self) -> int:
        """Say a ping, or say again what may have left in part; the outcome of the session."""
        before = super().queued()
        outcome = self.session.say(PING)
        self._late = outcome in (AGAIN, BLOCKED)
        if outcome > 0:
            self._pinged += max(super().queued() - before, 0)
        return outcome

    def _late_said(self) -> int:
        """Say what is late before anything else; ENDED, BLOCKED or BROKEN."""
        if not self._late:
            return ENDED
        outcome = self._ping()
        self.write_again = outcome == AGAIN
        if outcome > 0:
            return ENDED
        return BROKEN if outcome == BROKEN else BLOCKED


class Pings:
    """Everybody who is pinged.

    Args:
        seconds: the cluster's interval now; None: it has none to say.
    """

    def __init__(self, wheel: Wheel, seconds: Callable[[], float | None]) -> None:
        self._wheel = wheel
        self._told = seconds
        self._ends: set[PingEnd] = set()
        self._seconds = 0.0
        self.slot = 0

    def open(self, lease: Lease, session: Session) -> PingEnd:
        """Make the end of a client, and ping it from now on; `close` must follow."""
        if not self._ends:
            self._wheel.arm(self, LOOK_SECONDS)
            self._seconds = self._now()
        end = PingEnd(lease, session, self._now())
        self._ends.add(end)
        self._wheel.arm(end, end.seconds)
        return end

    def close(self, end: PingEnd) -> None:
        """The client is gone."""
        self._wheel.drop(end)
        self._ends.discard(end)
        if not self._ends:
            self._wheel.drop(self)

    def due(self, now: float) -> float | None:
        """The wheel calls this: follow the cluster's interval."""
        seconds = self._now()
        if seconds != self._seconds:
            self._seconds = seconds
            for end in self._ends:
                if seconds < end.seconds:
                    end.seconds = seconds
                    self._wheel.arm(end, seconds)
        return LOOK_SECONDS if self._ends else None

    def _now(self) -> float:
        return self._told() or PING_SECONDS
