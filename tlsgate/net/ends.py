"""The two ends of a relay: a lent socket, plain or under TLS, read and written alike."""

from __future__ import annotations

import fcntl
import socket
import termios
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, cast

from tlsgate.net.lease import Lease
from tlsgate.net.poller import READ, TROUBLE, WRITE
from tlsgate.tls.fast import AGAIN, BLOCKED, BROKEN, ENDED, RECORD, Session, Slab

if TYPE_CHECKING:
    from tlsgate.net.relay import Flow

#: The most that is held for a peer that takes none, and so the most that one step reads.
CHUNK: Final = 4 * RECORD

#: What one step reads while the sink's kernel buffer has room for all of it: measured, a
#: step four times as long costs a tenth less for each byte.
STRIDE: Final = 16 * RECORD

#: `getsockopt` for a socket's memory: nine counters (linux/sock_diag.h, SK_MEMINFO_*), of
#: which the fourth is the limit of what may be queued and the sixth what is.
_SO_MEMINFO: Final = 55
_MEMINFO: Final = Struct("9I")

_INT: Final = Struct("i")

#: A read shorter than this is the end of what was sent: asking again would only tell
#: AGAIN. A longer one may be a bulk sender's odd record size.
SHORT: Final = 4096


class End:
    """One socket of a pair."""

    __slots__ = ("drained", "lease", "out", "read_blocked", "to", "write_again")

    out: Flow  #: what comes from this socket
    to: Flow  #: what goes to it

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        #: True after a `fill` that left nothing to read on the socket.
        self.drained = True
        #: TLS wants to write before it can read (a KeyUpdate's answer), or the reverse.
        self.read_blocked = False
        self.write_again = False

    def fill(self, slab: Slab, size: int) -> int:
        """Read up to *size* bytes; gives a count, ENDED, AGAIN, BLOCKED, CUT or BROKEN."""
        raise NotImplementedError

    def put(self, slab: Slab, size: int) -> int:
        """Write the slab's first *size* bytes; gives how many are gone, or BROKEN."""
        raise NotImplementedError

    def finish(self) -> int:
        """Tell the peer that nothing more comes; ENDED when said, BLOCKED, or BROKEN."""
        raise NotImplementedError

    def pending(self) -> int:
        """Bytes, or an end, that wait above the socket; 0: the socket tells what comes."""
        return 0

    def queued(self) -> int:
        """Bytes that the kernel has taken for the peer, and the peer not yet."""
        try:
            return _INT.unpack(fcntl.ioctl(self.lease.fd, termios.TIOCOUTQ, bytes(_INT.size)))[0]  # type: ignore[no-any-return]
        except OSError:
            return 0

    def step(self) -> int:
        """How much may be read for this end, so that no more than `CHUNK` is ever held."""
        try:
            memory = self.lease.socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
        except OSError:
            return CHUNK
        counters = _MEMINFO.unpack(memory)
        # The kernel counts its own overhead as well: up to as much again.
        return STRIDE if counters[3] - counters[5] > 2 * STRIDE else CHUNK

    def ready(self, mask: int) -> None:
        """The poller calls this: the socket is ready."""
        out, to = self.out, self.to
        pair = out.pair
        if mask & (READ | TROUBLE):
            if self.write_again:
                self.write_again = False
                to.flush()
            if pair.open:
                out.pump()
        if mask & (WRITE | TROUBLE) and pair.open:
            if self.read_blocked:
                self.read_blocked = False
                out.pump()
            if pair.open:
                to.flush()
        if pair.open:
            self.attend()

    def attend(self) -> None:
        """Be woken for what either flow waits for at this socket."""
        mask = 0
        out, to = self.out, self.to
        if out.held is None and not out.ended:
            mask = WRITE if self.read_blocked else READ
        if to.held is not None or (to.ended and not to.said):
            mask |= READ if self.write_again else WRITE
        self.lease.want(mask)


class PlainEnd(End):
    """A socket without TLS."""

    __slots__ = ("_socket",)

    def __init__(self, lease: Lease) -> None:
        super().__init__(lease)
        self._socket = lease.socket

    def fill(self, slab: Slab, size: int) -> int:
        """See `End.fill`."""
        try:
            count = self._socket.recv_into(slab.view, size)
        except BlockingIOError:
            return AGAIN
        except OSError:
            return BROKEN
        self.drained = count < size
        return count

    def put(self, slab: Slab, size: int) -> int:
        """See `End.put`."""
        try:
            return self._socket.send(slab.view[:size])
        except BlockingIOError:
            return 0
        except OSError:
            return BROKEN

    def finish(self) -> int:
        """See `End.finish`."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            return BROKEN
        return ENDED


class SecureEnd(End):
    """A socket under TLS."""

    __slots__ = ("_corks", "_met", "session")

    def __init__(self, lease: Lease, session: Session) -> None:
        super().__init__(lease)
        self.session = session
        self._corks = lease.socket.family in (socket.AF_INET, socket.AF_INET6)
        #: The last `fill` met, after its bytes, an end that the socket tells nobody again:
        #: OpenSSL has read the close_notify already.
        self._met = False

    def fill(self, slab: Slab, size: int) -> int:
        """See `End.fill`."""
        read = self.session.read
        self._met = False
        count = read(slab, 0, size)
        if count < SHORT:
            self.drained = True
            return count
        filled = count
        while filled < size:
            count = read(slab, filled, size - filled)
            if count <= 0:
                # Whatever it was, the next fill meets it again.
                self.drained = count == AGAIN
                self._met = not self.drained
                return filled
            filled += count
            if count < SHORT and filled < size:
                self.drained = True
                return filled
        self.drained = False
        return filled

    def put(self, slab: Slab, size: int) -> int:
        """See `End.put`."""
        if size <= RECORD or not self._corks:
            return self._put(slab, size)
        # OpenSSL writes each record by itself; corked, the kernel makes full segments of them.
        cork = self.lease.socket.setsockopt
        cork(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        gone = self._put(slab, size)
        cork(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        return gone

    def _put(self, slab: Slab, size: int) -> int:
        write = self.session.write
        count = write(slab, 0, size)
        if count == size:
            return count
        gone = 0
        while count > 0:
            gone += count
            if gone == size:
                return gone
            count = write(slab, gone, size - gone)
        if count == BROKEN:
            return BROKEN
        self.write_again = count == AGAIN
        return gone

    def finish(self) -> int:
        """See `End.finish`."""
        outcome = self.session.end()
        self.write_again = outcome == AGAIN
        return BLOCKED if outcome == AGAIN else outcome

    def pending(self) -> int:
        """See `End.pending`."""
        return self._met or self.session.pending()


class NoEnd(End):
    """Nobody: it has ended, and what is written to it is gone.

    A pair with it gives the other end its last words, and waits for that one's end.
    """

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(cast(Lease, _NoLease()))

    def fill(self, slab: Slab, size: int) -> int:
        """See `End.fill`."""
        return ENDED

    def put(self, slab: Slab, size: int) -> int:
        """See `End.put`."""
        return size

    def finish(self) -> int:
        """See `End.finish`."""
        return ENDED

    def queued(self) -> int:
        """See `End.queued`."""
        return 0

    def step(self) -> int:
        """See `End.step`."""
        return CHUNK


class _NoLease:
    """What a pair asks of nobody's socket."""

    __slots__ = ("on_ready",)

    on_ready: Any

    def want(self, mask: int) -> None:
        """Nothing ever comes."""

    def close(self) -> None:
        """There is nothing to close."""

    abort = close
