"""One channel of a connection: a window each way, and an end for the relay's `Pair`.

1. `Channel` keeps what the client has sent and the target has not taken: at most a window,
   which opens again only as the target takes (RFC 4254 section 5.2).
2. `ChannelEnd` is what a `Pair` reads from and writes to; a channel's EOF is the end of one
   direction, and CLOSE the end of both (R11).
3. `_Lease` stands for the socket that a channel has not: it wakes the pair for what the
   channel is ready for, and the pair's end through it is the channel's end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime

from tlsgate.core.wire.sshmessages import Message, numbers, string
from tlsgate.errors import BadBytes
from tlsgate.net.ends import CHUNK, End
from tlsgate.net.poller import READ, WRITE
from tlsgate.protocols.jump.transport import JumpTransport
from tlsgate.tls.fast import AGAIN, BROKEN, ENDED, Slab

#: What a client may send on a channel before the target has taken any of it.
WINDOW: Final = 128 * 1024
#: In one message; OpenSSH's own number, and what RFC 4253 section 6.1 has everybody take.
PACKET: Final = 32 * 1024

_STDERR: Final = 1
_MOST_WINDOW: Final = (1 << 32) - 1


class Channel:
    """One channel, from the client's wish to both sides' CLOSE.

    Args:
        transport: to send on.
        number, theirs: ours, and the client's for it.
        window, most: what the client takes, in all and in one message.
        clock: to wake the pair in another turn.
        over: called once, with the cause, when the channel carries nothing more.
    """

    def __init__(
        self,
        transport: JumpTransport,
        number: int,
        theirs: int,
        window: int,
        most: int,
        clock: IReactorTime,
        over: Callable[[Channel], None],
    ) -> None:
        self.number = number
        self._transport = transport
        self._theirs = theirs
        self._window = window
        self._most = min(most, PACKET)
        self._over: Callable[[Channel], None] | None = over
        self._inbound = bytearray()
        #: What the client may still send, and what was taken and not told yet.
        self._granted = WINDOW
        self._taken = 0
        self._read_ended = False
        self._said_end = False
        #: CLOSE was sent; CLOSE has come.
        self.closed = self.closed_by_client = False
        self.end: ChannelEnd = ChannelEnd(self, clock)
        #: For `channels`: what is asked of it, and the pair when it is there.
        self.purpose: Any = None

    # -- what comes from the client --------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Keep *data* for the target.

        Raises:
            BadBytes: it is more than the client was told to send.
        """
        if len(data) > self._granted or len(data) > PACKET or self._read_ended:
            raise BadBytes("SSH channel", "with more bytes than its window, or after its end")
        self._granted -= len(data)
        if self.closed:
            return  # it has crossed our CLOSE
        self._inbound += data
        self.end.lease.poke()

    def granted(self, more: int) -> None:
        """The client takes *more* bytes.

        Raises:
            BadBytes: that is more than a window can be.
        """
        self._window += more
        if self._window > _MOST_WINDOW:
            raise BadBytes("SSH channel", "with a window that is larger than any")
        self.end.lease.poke()

    def ended(self) -> None:
        """The client sends no more."""
        self._read_ended = True
        self.end.lease.poke()

    def close_received(self) -> None:
        """The client wants nothing more of it."""
        self.closed_by_client = True
        self.end.lease.poke()

    # -- what the pair does ------------------------------------------------------------------

    def take(self, slab: Slab, size: int) -> int:
        """Move up to *size* bytes to *slab*; see `End.fill`."""
        inbound = self._inbound
        if not inbound:
            if self._read_ended:
                return ENDED
            return BROKEN if self.closed_by_client or self.closed else AGAIN
        count = min(size, len(inbound))
        slab.view[:count] = inbound[:count]
        del inbound[:count]
        self._taken += count
        if self._taken >= WINDOW // 2 and not (self._read_ended or self.closed):
            self._granted += self._taken
            self._send(Message.CHANNEL_WINDOW_ADJUST, numbers(self._taken))
            self._taken = 0
        return count

    @property
    def waiting(self) -> bool:
        """Whether something of the client's, or its end, waits to be read."""
        return bool(self._inbound) or self._read_ended or self.closed_by_client

    @property
    def waiting_bytes(self) -> int:
        """How much the client has sent that the target has not taken."""
        return len(self._inbound)

    @property
    def room(self) -> int:
        """How much may be sent to the client now."""
        return self._window if self._transport.ready else 0

    def give(self, slab: Slab, size: int) -> int:
        """Send up to *size* bytes of *slab*; see `End.put`."""
        if self.closed or self.closed_by_client:
            return BROKEN
        gone = 0
        while gone < size and (room := min(self.room, self._most, size - gone)):
            self._window -= room
            data = bytes(slab.view[gone : gone + room])
            self._send(Message.CHANNEL_DATA, string(data))
            gone += room
        return gone

    def say_end(self) -> None:
        """Tell the client that nothing more comes."""
        if not (self._said_end or self.closed):
            self._said_end = True
            self._send(Message.CHANNEL_EOF)

    def complain(self, text: str) -> None:
        """Put *text* on the client's standard error, as far as the window goes."""
        data = f"{text}\r\n".encode()[: min(self.room, self._most)]
        if data and not self.closed:
            self._window -= len(data)
            self._send(Message.CHANNEL_EXTENDED_DATA, numbers(_STDERR) + string(data))

    def exit(self, status: int) -> None:
        """Say how the program of a session has ended; there is none, but clients ask."""
        if not self.closed:
            content = string(b"exit-status") + b"\0" + numbers(status)
            self._send(Message.CHANNEL_REQUEST, content)

    def answer(self, *, good: bool) -> None:
        """Answer a request of the client's."""
        number = Message.CHANNEL_SUCCESS if good else Message.CHANNEL_FAILURE
        if not self.closed:
            self._transport.answer(number, numbers(self._theirs))

    def close(self) -> None:
        """Carry nothing more; may be called again."""
        over, self._over = self._over, None
        if over is not None:
            over(self)
        if not self.closed:
            self.closed = True
            self._inbound.clear()
            self._send(Message.CHANNEL_CLOSE)
            # Nobody takes from it any more, and what has crossed our CLOSE is let pass.

    def drop(self) -> None:
        """The connection is gone: as `close`, and nobody is told."""
        self.closed = True
        self._inbound.clear()
        over, self._over = self._over, None
        if over is not None:
            over(self)

    def forget(self) -> None:
        """Both sides have closed it: no cycle waits for the collector (S57)."""
        self.end.forget()
        self.purpose = None

    def _send(self, number: Message, content: bytes = b"") -> None:
        self._transport.sendPacket(number, numbers(self._theirs) + content)


class _Lease:
    """What a `Pair` wants of a socket's lease; see the module."""

    __slots__ = ("_channel", "_clock", "_due", "_mask", "fd", "on_ready", "open")

    def __init__(self, channel: Channel, clock: IReactorTime) -> None:
        self._channel = channel
        self._clock = clock
        self._mask = 0
        self._due: Any = None
        self.fd = -1
        self.open = True
        self.on_ready: Callable[[int], None] = _nobody

    def want(self, mask: int) -> None:
        """Be woken for *mask*; what is ready already wakes in another turn."""
        self._mask = mask
        if self._due is None and self._ready():
            self._due = self._clock.callLater(0, self._woken)

    def poke(self) -> None:
        """Something has come: wake for it at once."""
        if self._due is None and (mask := self._ready()):
            self.on_ready(mask)

    def close(self) -> None:
        """The pair's end in order."""
        self._end()

    def abort(self) -> None:
        """The pair's end otherwise; a channel has no reset."""
        self._end()

    def forget(self) -> None:
        """The channel is over."""
        self._end()
        del self._channel

    def _ready(self) -> int:
        channel = self._channel
        mask = 0
        if self._mask & READ and channel.waiting:
            mask |= READ
        if self._mask & WRITE and (channel.room or channel.closed_by_client):
            mask |= WRITE
        return mask

    def _woken(self) -> None:
        self._due = None
        if mask := self._ready():
            self.on_ready(mask)

    def _end(self) -> None:
        if not self.open:
            return
        self.open = False
        self._mask = 0
        self.on_ready = _nobody
        if self._due is not None:
            self._due.cancel()
            self._due = None
        self._channel.close()


class ChannelEnd(End):
    """The client's side of a pair."""

    __slots__ = ("_channel",)

    lease: Any

    def __init__(self, channel: Channel, clock: IReactorTime) -> None:
        super().__init__(_Lease(channel, clock))  # type: ignore[arg-type]
        self._channel = channel

    def forget(self) -> None:
        """The channel is over."""
        self.lease.forget()
        del self._channel

    def fill(self, slab: Slab, size: int) -> int:
        """See `End.fill`."""
        count = self._channel.take(slab, size)
        self.drained = not self._channel.waiting
        return count

    def put(self, slab: Slab, size: int) -> int:
        """See `End.put`."""
        return self._channel.give(slab, size)

    def finish(self) -> int:
        """See `End.finish`."""
        self._channel.say_end()
        return ENDED

    def queued(self) -> int:
        """Nothing is in a kernel; what the transport holds is for all channels."""
        return 0

    def step(self) -> int:
        """See `End.step`."""
        return CHUNK


def _nobody(mask: int) -> None:
    """Stand in for a pair that is not there (yet, or any more)."""
