"""Frames over one lent TLS connection, for HELLOs and for an agent's control connection.

A frame is read to its end and no byte further: what comes after the gateway's HELLO on a
stream is the stream's to read. What is written and not taken waits here, up to a bound.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from tlsgate.core.frames import HEADER, Frame, FrameKind, read_header
from tlsgate.errors import BadBytes
from tlsgate.net.lease import Lease
from tlsgate.net.poller import READ, TROUBLE, WRITE
from tlsgate.tls.fast import AGAIN, BLOCKED, BROKEN, Session, Slab

#: What may wait for a peer that takes none; two whole inventories.
_WAITING_BYTES: Final = 4 << 20
#: Frames that one turn of the reactor takes.
_FRAMES_A_TURN: Final = 256


class Speaking:
    """See the module.

    Args:
        lease, session: the connection, which is this object's until `release`.
        limit_of: which frames may come, see `core.frames.read_header`.
        heard: takes each frame.
        lost: called once with a reason when the connection ends by itself.
    """

    def __init__(
        self,
        lease: Lease,
        session: Session,
        slab: Slab,
        *,
        limit_of: Callable[[FrameKind], int],
        heard: Callable[[Frame], None],
        lost: Callable[[str], None],
    ) -> None:
        self._lease = lease
        self._session = session
        self._slab = slab
        self.limit_of = limit_of
        self.heard = heard
        self.lost = lost
        self.open = True
        self._paused = False
        self._out: deque[bytes] = deque()
        self._out_bytes = 0
        self._in = bytearray()
        self._kind: FrameKind | None = None
        self._lacks = HEADER
        #: TLS wants to write before it reads, or the reverse.
        self._read_blocked = self._write_again = False

    def start(self) -> None:
        """Begin to listen; frames may be heard before this returns."""
        self._lease.on_ready = self._ready
        self._ready(READ)

    def write(self, data: bytes) -> None:
        """Queue *data*, which is whole frames."""
        if not self.open:
            return
        self._out.append(data)
        self._out_bytes += len(data)
        if self._out_bytes > _WAITING_BYTES:
            self._end("it takes nothing of what it is told")
            return
        if len(self._out) == 1:
            self._flush()
        self._attend()

    def close(self) -> None:
        """End it in order; what waits is lost."""
        if self.open:
            self.open = False
            self._session.end()
            self._lease.close()

    def abort(self) -> None:
        """Reset it."""
        if self.open:
            self.open = False
            self._lease.abort()

    def pause(self) -> None:
        """Read no further, from within `heard`: somebody else may go on with the connection."""
        self._paused = True
        self._lease.want(0)

    def resume(
        self,
        limit_of: Callable[[FrameKind], int],
        heard: Callable[[Frame], None],
        lost: Callable[[str], None],
    ) -> None:
        """Go on after a pause, for somebody else."""
        self.limit_of, self.heard, self.lost = limit_of, heard, lost
        self._paused = False
        self.start()

    def release(self) -> tuple[Lease, Session]:
        """Give the connection away during a pause; it is at the border of two frames."""
        self.open = False
        return self._lease, self._session

    # -- inside --

    def _ready(self, mask: int) -> None:
        if self._write_again or mask & WRITE:
            self._write_again = False
            self._flush()
        if self.open and (mask & (READ | TROUBLE) or self._read_blocked):
            self._read_blocked = False
            self._read()
        self._attend()

    def _attend(self) -> None:
        if not self.open or self._paused:
            return
        mask = WRITE if self._read_blocked else READ
        if self._out:
            mask |= READ if self._write_again else WRITE
        self._lease.want(mask)

    def _read(self) -> None:
        frames = 0
        while self.open and not self._paused:
            count = self._session.read(self._slab, 0, min(self._lacks, self._slab.size))
            if count <= 0:
                if count == BLOCKED:
                    self._read_blocked = True
                elif count != AGAIN:
                    self._end("it is broken" if count == BROKEN else "it has ended")
                return
            self._in += self._slab.view[:count]
            self._lacks -= count
            if self._lacks:
                continue
            try:
                found = self._found()
            except BadBytes as error:
                self._end(str(error))
                return
            if found is not None:
                frames += 1
                if frames > _FRAMES_A_TURN:
                    self._end("it says too much at once")
                    return
                self.heard(found)

    def _found(self) -> Frame | None:
        """The frame that is whole now; None after a header."""
        if self._kind is None:
            self._kind, self._lacks = read_header(int.from_bytes(self._in, "big"), self.limit_of)
            self._in.clear()
            return None
        made = Frame(self._kind, bytes(self._in))
        self._kind, self._lacks = None, HEADER
        self._in = bytearray()
        return made

    def _flush(self) -> None:
        while self._out:
            first = self._out[0]
            size = min(len(first), self._slab.size)
            self._slab.view[:size] = first[:size]
            count = self._session.write(self._slab, 0, size)
            if count <= 0:
                if count == AGAIN:
                    self._write_again = True
                elif count != BLOCKED:
                    self._end("it is broken")
                return
            self._out_bytes -= count
            if count == len(first):
                self._out.popleft()
            else:
                self._out[0] = first[count:]

    def _end(self, why: str) -> None:
        if self.open:
            self.abort()
            self.lost(why)
