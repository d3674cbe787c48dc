"""A connection to a target: an end that a reach has given, read and written by a parser.

What is written leaves at once where the socket takes it. What comes is read as long as
somebody wants it: who is paused leaves it in the kernel, and so slows the target.

Of a body whose length is known, nobody has to see the bytes: as long as `straight` says so, they
are shown in the slab, from where another end writes them (`poured`), and `pour` is the same in
the other direction.
"""

from __future__ import annotations

from typing import Final, Protocol

from tlsgate.net.ends import CHUNK, STRIDE, End
from tlsgate.net.poller import READ, TROUBLE, WRITE
from tlsgate.tls.fast import AGAIN, BLOCKED, BROKEN, ENDED, Slab

#: Above this much that the target has not taken, `write` says that it is enough.
HIGH_BYTES: Final = 64 * 1024
#: What one wake-up reads before others have their turn.
_TURN: Final = 8 * CHUNK


class Hears(Protocol):
    """Who has a line."""

    def received(self, data: bytes) -> None:
        """The target has sent *data*."""

    def poured(self, slab: Slab, count: int) -> int:
        """The target has sent what the slab begins with; gives how many may come next."""

    def drained(self) -> None:
        """Everything that was written has left."""

    def gone(self, why: str) -> None:
        """The line is over; "ended" where the target has ended it in order. Called once."""


class Line:
    """See the module.

    Args:
        end: owned by the line from here on.
        slab: the reactor's own; nothing stays in it.

    Attributes:
        straight: how many bytes still come as `poured`, and one more where the target sends
            too many.
    """

    __slots__ = (
        "_dead",
        "_end",
        "_hears",
        "_out",
        "_reading",
        "_slab",
        "is_open",
        "read",
        "straight",
        "written",
    )

    def __init__(self, end: End, slab: Slab) -> None:
        self._end = end
        self._slab = slab
        self._hears: Hears | None = None
        self._out = bytearray()
        self._reading = True
        self._dead = False
        self.is_open = True
        self.read = self.written = self.straight = 0

    def start(self, hears: Hears) -> None:
        """Tell *hears* from now on."""
        self._hears = hears
        self._end.lease.on_ready = self._ready
        self._attend()

    def write(self, data: bytes) -> bool:
        """Send *data*; False: the target takes it too slowly, and `drained` will tell."""
        if self.is_open and data:
            self.written += len(data)
            self._out += data
            if len(self._out) == len(data):
                self._push()
                self._attend()
        return len(self._out) <= HIGH_BYTES

    def pour(self, slab: Slab, count: int) -> int:
        """Send the slab's first *count* bytes; gives how many may come next.

        Nothing may come before `drained` where `is_stuck` is true.
        """
        if not self.is_open or self._dead:
            return CHUNK
        self.written += count
        if self._out:
            self._out += slab.view[:count]
            return CHUNK
        gone = self._end.put(slab, count)
        if gone == count:
            return self._end.step()
        if gone == BROKEN:
            self._dead = True
        else:
            self._out += slab.view[gone:count]
        self._attend()
        return CHUNK

    def pause(self) -> None:
        """Read no more for now."""
        self._reading = False
        self._attend()

    def resume(self) -> None:
        """Read on; what waits in OpenSSL comes at once, since no socket tells of it."""
        if self.is_open and not self._reading:
            self._reading = True
            if self._end.pending():
                self._fill()
            self._attend()

    def release(self) -> End:
        """Give the end up, with everything that was not read; nothing is left to be written."""
        end, self.is_open, self._hears = self._end, False, None
        end.lease.on_ready = _nobody
        end.lease.want(0)
        return end

    def close(self) -> None:
        """Be over; nobody hears of it."""
        if self.is_open:
            self.is_open, self._hears = False, None
            self._end.lease.close()

    @property
    def is_stuck(self) -> bool:
        """Whether something waits to be written."""
        return bool(self._out)

    def _lost(self, why: str) -> None:
        hears, self._hears = self._hears, None
        self.close()
        if hears is not None:
            hears.gone(why)

    def _attend(self) -> None:
        if not self.is_open:
            return
        end = self._end
        mask = READ | WRITE if self._dead else 0
        if self._reading:
            mask = WRITE if end.read_blocked else READ
        if self._out:
            mask |= READ if end.write_again else WRITE
        end.lease.want(mask)

    def _ready(self, mask: int) -> None:
        end = self._end
        if self._dead:
            # What the target has said before it broke is still read.
            self._reading = True
            self._fill()
            self._lost("broken")
            return
        if mask & (READ | TROUBLE) or end.read_blocked:
            end.read_blocked = False
            if end.write_again:
                end.write_again = False
                self._flush()
            self._fill()
        if mask & (WRITE | TROUBLE):
            self._flush()
        self._attend()

    def _fill(self) -> None:
        end, slab = self._end, self._slab
        turn = self.read + _TURN
        size = CHUNK
        while self._reading and self.is_open:
            straight = self.straight
            count = end.fill(slab, min(size, straight + 1) if straight else CHUNK)
            if count > 0:
                self.read += count
                hears = self._hears
                assert hears is not None
                if straight:
                    self.straight = max(straight - count, 0)
                    size = hears.poured(slab, count)
                else:
                    hears.received(bytes(slab.view[:count]))
                if (end.drained or self.read >= turn) and not end.pending():
                    return
            elif count == AGAIN:
                return
            elif count == BLOCKED:
                end.read_blocked = True
                return
            else:
                self._lost("ended" if count == ENDED else "broken")

    def _flush(self) -> None:
        if self._out:
            self._push()
            if not self._out and self._hears is not None:
                self._hears.drained()

    def _push(self) -> None:
        end, slab, out = self._end, self._slab, self._out
        while out:
            # What TLS has begun to write has to come again whole, and may be as long as this.
            size = min(len(out), STRIDE)
            slab.view[:size] = out[:size]
            gone = end.put(slab, size)
            if gone == BROKEN:
                # Told in another turn: whoever writes is in the middle of its own.
                out.clear()
                self._dead = True
                return
            del out[:gone]
            if gone < size:
                return


def _nobody(mask: int) -> None:
    """Stand in for the line once it has given its end up."""
