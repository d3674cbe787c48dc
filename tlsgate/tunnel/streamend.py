"""One client's end of a stream: DATA frames in and out of the relay's slab, with no copy.

1. A `Wire` is the connection: it reads the header of a frame, and the frames that carry no
   client's bytes.
2. A `StreamEnd` is what one client's relay has of it. Its header goes into the slab's headroom
   and leaves with the bytes in one write; what comes is read to where the relay wants it, and
   its header with it. What such a read finds behind the frame the wire gets back (`keep`).
3. A `Loan` is that end's lease. Closing it ends the client on the stream, and not the
   connection; an end whose loan is closed reads and writes nothing any more.

More than 400 lines: the three of them read and write one frame by turns.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, Final, cast

from twisted.internet.interfaces import IAddress

from tlsgate.core.frames import DATA_LIMIT, HEADER, Frame, FrameKind, numbered, only, read_header
from tlsgate.errors import BadBytes
from tlsgate.net.ends import End
from tlsgate.net.lease import Lease
from tlsgate.net.poller import READ, TROUBLE, WRITE
from tlsgate.tls.fast import (
    AGAIN,
    BLOCKED,
    BROKEN,
    ENDED,
    HEADROOM,
    RECORD,
    Session,
    Slab,
)

if TYPE_CHECKING:
    from tlsgate.tunnel.turns import Stream

_HEAD: Final = Struct(">I")
_DATA: Final = FrameKind.DATA << 24
#: Where a header is read to: before the bytes that follow it.
_HEAD_AT: Final = HEADROOM - HEADER
#: Where the bodies of frames with a number are read to, away from header and bytes.
_SMALL_AT: Final = -HEADROOM
_SMALL: Final = 8

#: What comes on a stream. Others may be sixteen times as long, and an agent has many streams
#: of which each could hold nearly the whole of one for ever.
_LIMITS: Final = only(
    *(FrameKind.REQUEST, FrameKind.STATUS, FrameKind.DATA),
    *(FrameKind.END, FrameKind.RESET, FrameKind.ENDED),
)

#: A frame shorter than this is the end of what was sent; see `ends`.
_SHORT: Final = 4096

_LOST: Final = "it was cut while a client was served"


class Wire:
    """The frames of one stream's connection, whoever they are for.

    Attributes:
        left: bytes of a DATA frame that have not been read yet.
        received, sent: bytes of clients and targets so far.
        late: frames of ours that the socket has not taken yet, or not whole.
        write_again: TLS wants to read before it can write them.
        session: to read from; what has been read already comes first.
    """

    __slots__ = (
        "_body",
        "_early",
        "_head",
        "_kind",
        "_raw",
        "_size",
        "_slab",
        "late",
        "left",
        "received",
        "sent",
        "session",
        "write_again",
    )

    def __init__(self, session: Session, slab: Slab, unread: bytes) -> None:
        self.session = self._raw = session
        self._early: _Early | None = None
        if unread:
            self.keep(unread)
        self._slab = slab
        self.left = 0
        self.received = 0
        self.sent = 0
        self.late = b""
        self.write_again = False
        self._head = b""
        self._kind: FrameKind | None = None
        self._size = 0
        self._body = b""

    def keep(self, unread: bytes) -> None:
        """Have *unread* read again, before anything else; nothing else is kept yet."""
        self.session = self._early = _Early(self._raw, unread)

    def between(self) -> bool:
        """Whether the next byte of the session itself is the first one of a frame."""
        if self._early is not None:
            if self._early.unread:
                return False
            self._early = None
            self.session = self._raw
        return not self.left and self._kind is None and not self._head

    def part(self, slab: Slab, count: int) -> int:
        """Tell a client's bytes from others in what was read where a frame begins.

        Args:
            count: how many bytes stand in *slab*, from a header's place on.

        Returns:
            How many bytes of a DATA frame stand at place 0; `left` is what it still lacks.
        """
        if count > HEADER:
            (head,) = _HEAD.unpack_from(slab.whole, _HEAD_AT)
            size = head - _DATA
            if 0 < size <= DATA_LIMIT:
                some: int = count - HEADER
                if some > size:
                    self.keep(bytes(slab.whole[HEADROOM + size : HEADROOM + some]))
                    some = size
                self.left = size - some
                return some
        self.keep(bytes(slab.whole[_HEAD_AT : _HEAD_AT + count]))
        return 0

    def next(self) -> int | Frame:
        """Read on to the next frame; `left` is 0.

        Returns:
            The size of a DATA frame whose body comes now, or another frame whole, or an
            outcome of `Session.read`.

        Raises:
            BadBytes: this is no frame of ours.
        """
        slab, read = self._slab, self.session.read
        while self._kind is None:
            count = read(slab, -HEADER, HEADER - len(self._head))
            if count == HEADER:
                (head,) = _HEAD.unpack_from(slab.whole, _HEAD_AT)
            elif count > 0:
                self._head += bytes(slab.whole[_HEAD_AT : _HEAD_AT + count])
                if len(self._head) < HEADER:
                    continue
                (head,) = _HEAD.unpack(self._head)
                self._head = b""
            else:
                return count
            if 0 < head - _DATA <= DATA_LIMIT:
                self.left = head - _DATA
                return self.left
            self._kind, self._size = read_header(head, _LIMITS)
        return self._whole(self._kind)

    def _whole(self, kind: FrameKind) -> int | Frame:
        # The slab may hold a client's bytes just now.
        slab, at = (self._slab, _SMALL_AT) if self._size <= _SMALL else (Slab(self._size), 0)
        while lacks := self._size - len(self._body):
            count = self.session.read(slab, at, lacks)
            if count <= 0:
                return count
            self._body += bytes(slab.whole[HEADROOM + at : HEADROOM + at + count])
        found = Frame(kind, self._body)
        self._kind, self._body = None, b""
        return found

    def say(self, words: bytes) -> int:
        """Write a frame after those that wait; ENDED once nothing waits, or BLOCKED, BROKEN."""
        self.late += words
        return self.flush()

    def flush(self) -> int:
        """Write what waits; the same outcomes."""
        while self.late:
            count = self.session.say(self.late)
            if count <= 0:
                self.write_again = count == AGAIN
                return BROKEN if count == BROKEN else BLOCKED
            self.late = self.late[count:]
        return ENDED


class _Early:
    """A session of which some bytes have been read already."""

    def __init__(self, session: Session, unread: bytes) -> None:
        self._session = session
        self.unread = memoryview(unread)
        self.write = session.write
        self.say = session.say
        self.end = session.end

    def read(self, slab: Slab, at: int, size: int) -> int:
        """See `Session.read`."""
        some = self.unread[:size]
        if not some:
            return self._session.read(slab, at, size)
        slab.whole[HEADROOM + at : HEADROOM + at + len(some)] = some
        self.unread = self.unread[size:]
        return len(some)

    def pending(self) -> int:
        """See `Session.pending`."""
        return len(self.unread) + self._session.pending()


class StreamEnd(End):
    """What one client's relay, or protocol, has of a stream."""

    __slots__ = (
        "_corks",
        "_ending",
        "_headed",
        "_met",
        "_owed",
        "_parting",
        "_serial",
        "_stream",
        "_wire",
        "lent",
        "said",
    )

    def __init__(self, stream: Stream, wire: Wire, lease: Lease, serial: int) -> None:
        self.lent = Loan(self, stream, wire, lease)
        super().__init__(cast(Lease, self.lent))
        self._stream: Stream | None = stream
        self._wire = wire
        self._serial = serial
        self._corks = lease.socket.family in (socket.AF_INET, socket.AF_INET6)
        #: ENDED or BROKEN once that has come.
        self._met: int | None = None
        #: Bytes of the present frame that the session has not taken, and whether it has taken
        #: the header: then they go on without one.
        self._owed = 0
        self._headed = False
        self._ending = False
        #: Our END waits for the stream's next word, which comes at once.
        self._parting = False
        self.said = False  #: our END has left

    @property
    def stuck(self) -> bool:
        """True when a frame has left in part: nothing else may follow."""
        return bool(self._owed or (self._wire.late and not self._parting))

    @property
    def watching(self) -> bool:
        """True when the other side has said its END and may only break off."""
        return self._met == ENDED and not self.said

    def detach(self) -> None:
        """The client is over: touch the stream no more."""
        self._stream = None
        self._met = BROKEN

    def fill(self, slab: Slab, size: int) -> int:
        """See `End.fill`."""
        if self._met is not None:
            return self._met
        wire = self._wire
        filled = 0
        self.drained = False
        if wire.between():
            count = wire.session.read(slab, -HEADER, HEADER + size)
            if count <= 0:
                self.drained = count == AGAIN
                return count if count in (AGAIN, BLOCKED) else self._break(_LOST)
            filled = wire.part(slab, count)
            if filled == size or (filled and count == HEADER + filled < _SHORT and not wire.left):
                # The usual frame: a short one, and nothing with it.
                self.drained = filled < size
                wire.received += filled
                return filled
        read, left = wire.session.read, wire.left
        long = left >= _SHORT or filled >= _SHORT
        while True:
            if not left:
                left = self.next()
                if left <= 0:
                    # Whatever else it is, the next fill meets it again.
                    self.drained = left == AGAIN
                    wire.received += filled
                    return filled or left
                long = left >= _SHORT
            room = size - filled
            count = read(slab, filled, left if left < room else room)
            if count <= 0:
                wire.left = left
                self.drained = count == AGAIN
                if count not in (AGAIN, BLOCKED):
                    count = self._break("it was cut within a frame")
                wire.received += filled
                return filled or count
            filled += count
            left -= count
            if filled == size or not (left or long or wire.session.pending()):
                wire.left = left
                self.drained = filled < size
                wire.received += filled
                return filled

    def next(self) -> int:
        """Read on: the size of the DATA frame that comes; or AGAIN, BLOCKED, ENDED or BROKEN."""
        self._wire.left = 0
        try:
            found = self._wire.next()
        except BadBytes as error:
            return self._break(str(error))
        if isinstance(found, int):
            if found > 0 or found in (AGAIN, BLOCKED):
                return found
            return self._break(_LOST)
        assert self._stream is not None
        self._met = self._stream.overhear(found)
        return self._met

    def _break(self, why: str) -> int:
        if self._stream is not None:
            self._stream.doubt(why)
        self._met = BROKEN
        return BROKEN

    def put(self, slab: Slab, size: int) -> int:
        """See `End.put`."""
        if self._stream is None or self._ending or self._met == BROKEN:
            return BROKEN
        if size <= RECORD or not self._corks:
            return self._put(slab, size)
        cork = self.lease.socket.setsockopt
        cork(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        gone = self._put(slab, size)
        cork(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        return gone

    def _put(self, slab: Slab, size: int) -> int:
        wire = self._wire
        if wire.late and (outcome := wire.flush()) != ENDED:
            self.write_again = wire.write_again
            return self._break("it cannot be written") if outcome == BROKEN else 0
        write = wire.session.write
        gone = 0
        while gone < size:
            # After BLOCKED the same frame has to come again, even when there is more by now.
            owed = self._owed or min(size - gone, DATA_LIMIT)
            if self._headed:
                count = write(slab, gone, owed)
            else:
                _HEAD.pack_into(slab.whole, _HEAD_AT + gone, _DATA | owed)
                count = write(slab, gone - HEADER, HEADER + owed)
            if count <= 0:
                if count == BROKEN:
                    return self._break("it cannot be written")
                self._owed = owed
                self.write_again = count == AGAIN
                return gone
            if not self._headed:
                count -= HEADER
                if count < 0:
                    return self._break("a header left in part")
            gone += count
            wire.sent += count
            self._owed = owed - count
            self._headed = self._owed > 0
        return gone

    def finish(self) -> int:
        """See `End.finish`."""
        if self.said:
            return ENDED
        if self._stream is None or self._owed or self._met == BROKEN:
            return BROKEN
        wire = self._wire
        if self._ending:
            outcome = wire.flush()
        elif self._is_last():
            self._ending = self._parting = True
            wire.late += numbered(FrameKind.END, self._serial)
            outcome = ENDED
        else:
            self._ending = True
            outcome = wire.say(numbered(FrameKind.END, self._serial))
        self.write_again = outcome == BLOCKED and wire.write_again
        if outcome == BROKEN:
            return self._break("it cannot be written")
        if outcome == ENDED:
            self.said = True
            self._stream.end_said()
        return outcome

    def _is_last(self) -> bool:
        """Whether the relay gives the loan back once this END is said: then one write does."""
        out = getattr(self, "out", None)
        stream = self._stream
        return (
            out is not None
            and out.said
            and not self._wire.late
            and stream is not None
            and stream.has_the_last_word
        )

    def queued(self) -> int:
        """See `End.queued`."""
        return 0 if self._stream is None else super().queued()

    def pending(self) -> int:
        """See `End.pending`."""
        return 1 if self._met is not None else self._wire.session.pending()

    def break_off(self) -> None:
        """Nothing comes or goes any more: let the relay end now, not when it writes next."""
        if self._stream is None:
            return
        self._met = BROKEN
        out = getattr(self, "out", None)
        if out is not None:
            out.pair.broke(self)
        else:
            self.lent.on_ready(READ | WRITE | TROUBLE)


class Loan:
    """What a relay or a transport uses of a `Lease`, for one client on a stream."""

    __slots__ = (
        "_end",
        "_lease",
        "_stream",
        "_wire",
        "early",
        "fd",
        "mask",
        "on_ready",
    )

    def __init__(self, end: StreamEnd, stream: Stream, wire: Wire, lease: Lease) -> None:
        self._end: StreamEnd | None = end
        self._stream = stream
        self._wire = wire
        self._lease = lease
        self.fd = lease.fd
        self.mask = 0
        #: OpenSSL held bytes for the client before there was one: no socket wakes us for them.
        self.early = wire.session.pending() > 0
        self.on_ready: Callable[[int], None] = _nobody

    @property
    def socket(self) -> StreamSocket:
        """Made when it is asked for, which is seldom."""
        return StreamSocket(self._end, self._lease.socket)

    def want(self, mask: int) -> None:
        """See `Lease.want`."""
        end = self._end
        if end is None:
            return
        self.mask = mask
        if (self.early and mask & READ) or (self._wire.late and not mask & WRITE):
            mask |= READ if self._wire.write_again else WRITE
        if end.watching:
            mask |= READ
        self._lease.want(mask)

    def local(self) -> IAddress:
        """See `Lease.local`."""
        return self._lease.local()

    @property
    def open(self) -> bool:
        """True until the client is over."""
        return self.fd != -1

    def close(self) -> None:
        """End the client on the stream: in order when both directions have ended, or reset."""
        # The cycle of end and loan would wait for the collector (S57).
        end, self._end = self._end, None
        if end is not None:
            self.fd = -1
            self.on_ready = _nobody
            self._stream.give_back(end)

    #: How the client's own socket ended never decides what becomes of the stream.
    abort = close


class StreamSocket:
    """What a refusal's last words and a relay's look at buffers use of a socket."""

    __slots__ = ("_end", "family", "getsockopt", "setsockopt")

    def __init__(self, end: StreamEnd | None, sock: socket.socket) -> None:
        self._end = end
        self.family = sock.family
        self.getsockopt = sock.getsockopt
        self.setsockopt = sock.setsockopt

    def shutdown(self, how: int) -> None:
        """Say END, where that has not been said."""
        if self._end is None or self._end.finish() != ENDED:
            raise BrokenPipeError

    def recv(self, size: int) -> bytes:
        """Read what still comes for the client."""
        if self._end is None:
            raise ConnectionResetError
        slab = Slab(RECORD)
        count = self._end.fill(slab, min(size, RECORD))
        if count in (AGAIN, BLOCKED):
            raise BlockingIOError
        if count == BROKEN:
            raise ConnectionResetError
        return bytes(slab.view[:count])


def _nobody(mask: int) -> None:
    """Stand in for a borrower that is not there (yet, or any more)."""
