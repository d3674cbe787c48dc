"""A Twisted transport over a lent socket, plain or under TLS, for protocols that parse.

Twisted's own TLS has no deadline for the handshake, loses what comes after the peer's
close_notify, and waits for that of a silent peer for ever. The relay's ends have none of
this, so protocols of the gateway itself sit on the same ends, behind the interface that
Twisted's protocols expect. That interface is wide, and stands in this one file as it does there.

Bytes of which a protocol knows the count and not more pass it by: `pour` writes what another end
has read into the slab, and `divert` gives away in the slab what the client sends.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterable
from typing import Any, Final

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IHalfCloseableProtocol,
    IProtocol,
    IPullProducer,
    IPushProducer,
    ISSLTransport,
    ITCPTransport,
)
from twisted.python.failure import Failure
from zope.interface import directlyProvides, implementer

from tlsgate.net.ends import CHUNK, STRIDE, End
from tlsgate.net.poller import READ, TROUBLE, WRITE
from tlsgate.net.refuse import Refusal
from tlsgate.net.relay import TURN, Waits
from tlsgate.net.wheel import Wheel
from tlsgate.tls.fast import AGAIN, BLOCKED, BROKEN, ENDED, Slab
from tlsgate.tls.handshake import Handshake

#: Above this much unwritten output a producer is paused.
HIGH_BYTES: Final = 64 * 1024

#: How long a connection must have been still before a drain ends it.
REST_SECONDS: Final = 2.0

#: Takes so many bytes from the slab's beginning; gives how many may come next.
Taker = Callable[[Slab, int], int]


@implementer(ITCPTransport, IConsumer, IPushProducer)
class ServedTransport:
    """What a served protocol sees as its transport.

    Args:
        end: the socket, plain or secure; owned by the transport from here on.
        secure: the TLS object, or None on a plain socket.
        now: seconds of a monotonic clock.

    Attributes:
        cause: why it ended, once it has; the socket may linger a moment longer.
    """

    disconnecting = False

    def __init__(
        self,
        end: End,
        *,
        secure: Handshake | None,
        negotiated: bytes | None,
        peer: IAddress,
        local: IAddress,
        slab: Slab,
        waits: Waits,
        wheel: Wheel,
        now: Callable[[], float],
    ) -> None:
        self._end = end
        self._secure = secure
        self.negotiatedProtocol = negotiated
        self._peer = peer
        self._local = local
        self._slab = slab
        self._waits = waits
        self._wheel = wheel
        self.cause = ""
        self._protocol: IProtocol | None = None
        self._output = bytearray()
        self._producer: IPushProducer | IPullProducer | None = None
        self._streaming = False
        self._paused = False
        self._half_closing = False
        self._reading = True
        self._read_ended = False
        self._diverted = 0
        self._taker: Taker | None = None
        self.slot = 0
        self.received = 0
        self.sent = 0
        self.connected = True
        #: What `release` could not write any more.
        self.unsent = b""
        self._progress = (0, 0)
        self._taken, self._taken_since = 0, now()
        self._now = now
        self._rest = ((-1, -1), 0.0)
        self._since = self._started = now()
        if secure is not None:
            directlyProvides(self, ISSLTransport)

    def start(self, protocol: IProtocol) -> None:
        """Connect *protocol*; what waits on the socket reaches it at once."""
        self._protocol = protocol
        self._wheel.arm(self, self._waits.next_look(0.0))
        self._end.lease.on_ready = self._ready
        protocol.makeConnection(self)
        if self.connected:
            self._read()
        self._attend()

    def become(self, protocol: IProtocol) -> None:
        """Let *protocol* hear the rest; the one before hears nothing more, not even an end."""
        self._protocol = protocol
        self._producer = None
        protocol.makeConnection(self)
        if not self._reading:
            self.resumeProducing()

    def release(self) -> End:
        """Give the socket up; the protocol hears nothing more, not even an end.

        What is still queued is written as far as the socket takes it. The rest is in
        `unsent`, and has to leave before anything else does. May be called from within
        `dataReceived`; every byte that was not given to the protocol is still in the end.
        """
        end, output = self._end, self._output
        self._push()
        self.unsent = bytes(output)
        self.connected = False
        self._protocol = self._producer = None
        self._wheel.drop(self)
        end.lease.on_ready = _nobody
        end.lease.want(0)
        return end

    def give_up_after(self, seconds: float) -> None:
        """Have the kernel end it when what was sent is not acknowledged for so long.

        For a connection that never has much to say: a slow reader's full socket looks the same.
        """
        with contextlib.suppress(OSError):  # a UNIX socket acknowledges at once
            milliseconds = max(1, round(seconds * 1000))
            self._end.lease.socket.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds
            )

    # -- what the protocol calls (Twisted fixes these names) --------------------------

    def write(self, data: bytes) -> None:
        """Queue *data*; it leaves when the reactor comes round."""
        if self.connected and not self.disconnecting and data:
            self._output += data
            if len(self._output) > HIGH_BYTES:
                self._hold_producer()
            self._attend()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Queue all of *data*."""
        self.write(b"".join(data))

    def pour(self, slab: Slab, count: int) -> int:
        """Write the slab's first *count* bytes at once; what does not leave is queued.

        Returns:
            How many may come next. A streaming producer is paused while any are queued.
        """
        if not self.connected or self.disconnecting:
            return CHUNK
        output, end = self._output, self._end
        if output:
            output += slab.view[:count]
            gone = self._push()
        else:
            gone = end.put(slab, count)
            if gone != BROKEN:
                self.sent += gone
                output += slab.view[gone:count]
        if gone == BROKEN:
            self._lost(Failure(ConnectionLost("connection reset")), "client_reset", reset=True)
            return CHUNK
        if not output:
            return end.step()
        self._hold_producer()
        self._attend()
        return CHUNK

    def divert(self, count: int, taker: Taker) -> None:
        """Give the next *count* bytes that come to *taker*, and not to the protocol."""
        self._diverted, self._taker = count, taker

    def loseConnection(self) -> None:
        """Close in order, once everything queued has left."""
        if self.connected and not self.disconnecting:
            self.disconnecting = True
            self._attend()

    def loseWriteConnection(self) -> None:
        """Close our direction only, once everything queued has left."""
        self._half_closing = True
        self._attend()

    def abortConnection(self) -> None:
        """Reset the connection now."""
        if self.connected:
            self._lost(Failure(ConnectionAborted()), "aborted", reset=True)

    def getPeer(self) -> Any:
        """The client, as a trusted PROXY header tells it."""
        return self._peer

    def getHost(self) -> Any:
        """The address that it dialled."""
        return self._local

    def getPeerCertificate(self) -> object:
        """The client's certificate; `ISSLTransport`."""
        return None if self._secure is None else self._secure.certificate

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Ask *producer* for output, or pause it, as the peer takes it."""
        self._producer, self._streaming, self._paused = producer, streaming, False
        if not self.connected:
            producer.stopProducing()
        elif not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """The producer is done."""
        self._producer = None
        self._attend()

    def pauseProducing(self) -> None:
        """Read no more for now."""
        self._reading = False
        self._attend()

    def resumeProducing(self) -> None:
        """Read again."""
        self._reading = True
        if self._end.pending() and self.connected:
            self._read()
        self._attend()

    def stopProducing(self) -> None:
        """Close."""
        self.loseConnection()

    def getTcpNoDelay(self) -> bool:
        """It is always on."""
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """It is always on."""

    def getTcpKeepAlive(self) -> bool:
        """It is always on."""
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """It is always on."""

    # -- inside ----------------------------------------------------------------------

    def due(self, now: float) -> float | None:
        """The wheel calls this: see whether a wait is over."""
        waits = self._waits
        if waits.lifetime_seconds is not None and now - self._started >= waits.lifetime_seconds:
            self._lost(Failure(ConnectionDone()), "lifetime")
            return None
        # What the client takes is what counts, from us and from the kernel; that it sends
        # (a ping, say) does not: see `relay.Flow.stalled_seconds`.
        taken = self.sent - self._end.queued()
        if taken != self._taken or not self._output:
            self._taken, self._taken_since = taken, now
        elif now - self._taken_since >= waits.write_stall_seconds:
            self._lost(Failure(ConnectionLost("write stalled")), "write_stall", reset=True)
            return None
        progress = (self.received, taken)
        if progress != self._progress:
            self._progress, self._since = progress, now
            return waits.next_look(now - self._started)
        silent = now - self._since
        if self._read_ended and silent >= waits.close_seconds:
            self._lost(Failure(ConnectionLost("close timer")), "close_timer", reset=True)
            return None
        if waits.idle_seconds is not None and silent >= waits.idle_seconds:
            self._lost(Failure(ConnectionDone()), "idle")
            return None
        return waits.next_look(now - self._started)

    def resting(self) -> bool:
        """True when nothing is on its way out and nothing has moved for a moment.

        An idle keep-alive connection is; one whose answer is being made may look like
        it, so the moment is long.
        """
        if self._output or (self._producer is not None and self._paused):
            return False
        moved = (self.received, self.sent)
        now = self._now()
        if moved != self._rest[0]:
            self._rest = (moved, now)
            return False
        return now - self._rest[1] >= REST_SECONDS

    def end_in_order(self, cause: str) -> None:
        """The gateway's own wish: close, whatever the protocol thinks."""
        if self.connected:
            self._lost(Failure(ConnectionDone()), cause)

    def _hold_producer(self) -> None:
        if self._producer is not None and self._streaming and not self._paused:
            self._paused = True
            self._producer.pauseProducing()  # type: ignore[union-attr]

    def _attend(self) -> None:
        if not self.connected:
            return
        end = self._end
        mask = 0
        if not self._read_ended and (self._reading or self.disconnecting):
            mask = WRITE if end.read_blocked else READ
        pulling = self._producer is not None and not self._streaming
        if self._output or self.disconnecting or self._half_closing or pulling:
            mask |= READ if end.write_again else WRITE
        end.lease.want(mask)

    def _ready(self, mask: int) -> None:
        try:
            self._work(mask)
        except Exception:
            # Whoever called logs it, and ends the socket. The protocol has to hear the end, and
            # the wheel to forget what is no more (S58).
            self._lost(Failure(), "failed", reset=True)
            raise
        self._attend()

    def _work(self, mask: int) -> None:
        end = self._end
        if mask & (READ | TROUBLE) or end.read_blocked:
            end.read_blocked = False
            if end.write_again:
                end.write_again = False
                self._write()
            if not self._is_over():
                self._read()
        if not self._is_over() and mask & (WRITE | TROUBLE):
            self._write()

    def _read(self) -> None:
        """Hand over what has come, until the protocol pauses or nothing is left."""
        end, slab = self._end, self._slab
        turn = self.received + TURN
        size = CHUNK
        while self._reading and self.connected and not self._read_ended:
            diverted = self._diverted
            count = end.fill(slab, min(size, diverted) if diverted else CHUNK)
            if count > 0:
                self.received += count
                if self.disconnecting:
                    pass  # nobody hears it any more
                elif diverted:
                    assert self._taker is not None
                    self._diverted = diverted - count
                    size = self._taker(slab, count)
                else:
                    assert self._protocol is not None
                    self._protocol.dataReceived(bytes(slab.view[:count]))
                if self._is_over():
                    return
                if (end.drained or self.received >= turn) and not end.pending():
                    return
            elif count == AGAIN:
                return
            elif count == BLOCKED:
                end.read_blocked = True
                return
            elif count == ENDED:
                self._peer_ended()
                return
            else:
                why = "connection reset" if count == BROKEN else "cut without close_notify"
                cause = "client_reset" if count == BROKEN else "client_cut"
                self._lost(Failure(ConnectionLost(why)), cause)
                return

    def _is_over(self) -> bool:
        """True once the protocol, or anyone else, has ended it."""
        return not self.connected

    def _peer_ended(self) -> None:
        self._read_ended = True
        protocol: Any = self._protocol
        if IHalfCloseableProtocol.providedBy(protocol):
            protocol.readConnectionLost()
        else:
            # As Twisted's TCP does: what is queued still leaves.
            self.loseConnection()

    def _push(self) -> int:
        """Write what is queued; gives how much is left, or BROKEN."""
        end, slab, output = self._end, self._slab, self._output
        while output:
            # What TLS has begun to write has to come again whole, and may be as long as this.
            size = min(len(output), STRIDE)
            slab.view[:size] = output[:size]
            gone = end.put(slab, size)
            if gone == BROKEN:
                return BROKEN
            self.sent += gone
            del output[:gone]
            if gone < size:
                break
        return len(output)

    def _write(self) -> None:
        end = self._end
        left = self._push()
        if left == BROKEN:
            self._lost(Failure(ConnectionLost("connection reset")), "client_reset", reset=True)
            return
        if left:
            return
        producer = self._producer
        if producer is not None and (self._paused or not self._streaming):
            self._paused = False
            producer.resumeProducing()
            return
        if self.disconnecting:
            cause = "client_ended" if self._read_ended else "served"
            self._lost(Failure(ConnectionDone()), cause)
        elif self._half_closing and end.finish() != BLOCKED:
            self._half_closing = False

    def _lost(self, reason: Failure, cause: str, *, reset: bool = False) -> None:
        """Close the socket and tell protocol and gateway, once."""
        if not self.connected:
            return
        self.connected = False
        self._wheel.drop(self)
        self.cause = cause
        end, protocol = self._end, self._protocol
        self._protocol = None
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        if reset or cause in ("client_reset", "client_cut"):
            end.lease.abort()
        else:
            end.finish()
            if self._read_ended:
                end.lease.close()
            else:
                Refusal(end.lease, b"", self._wheel)
        if protocol is not None:
            protocol.connectionLost(reason)


def _nobody(mask: int) -> None:
    """Stand in for the transport once it has given its socket up."""
