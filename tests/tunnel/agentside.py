"""An agent's connections without sockets: a session in memory, a lease, and their other side."""

from __future__ import annotations

from typing import Any

from tlsgate.core.frames import Frame, FrameKind, Frames, frame, message
from tlsgate.core.greetings import GatewayHello
from tlsgate.tls.fast import AGAIN, BLOCKED, ENDED, Slab


class FakeLease:
    """A lent socket of which only the wishes matter."""

    def __init__(self) -> None:
        self.mask = 0
        self.ended = ""
        self.on_ready: Any = None

    def want(self, mask: int) -> None:
        """Be woken for it."""
        self.mask = mask

    def close(self) -> None:
        """End it in order."""
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        """Reset it."""
        self.ended = self.ended or "aborted"


class FakeSession:
    """TLS in memory: what a test says comes, what is written is kept."""

    def __init__(self) -> None:
        self.incoming = bytearray()
        self.written = bytearray()
        self.after = AGAIN  #: what a read meets when nothing more is there
        self.room = 1 << 30  #: what a write takes before it blocks
        self.refuses = BLOCKED

    def read(self, slab: Slab, at: int, size: int) -> int:
        """See `tls.fast.Session`."""
        count = min(size, len(self.incoming))
        if not count:
            return self.after
        slab.view[at : at + count] = self.incoming[:count]
        del self.incoming[:count]
        return count

    def write(self, slab: Slab, at: int, size: int) -> int:
        """See `tls.fast.Session`."""
        count = min(size, self.room)
        if not count:
            return self.refuses
        self.written += slab.view[at : at + count]
        self.room -= count
        return count

    def say(self, words: bytes) -> int:
        """See `tls.fast.Session`."""
        raise NotImplementedError

    def pending(self) -> int:
        """See `tls.fast.Session`."""
        return 0

    def end(self) -> int:
        """See `tls.fast.Session`."""
        return ENDED

    def said(self) -> list[Frame]:
        """The frames that were written since the last call."""
        found = Frames().feed(bytes(self.written))
        self.written.clear()
        return found


def hello(**more: Any) -> GatewayHello:
    """What a gateway says first."""
    return GatewayHello(**{"gateway": "gw1", "version": "1", "session": "s1", **more})


def control(said: Any) -> bytes:
    """A word of the gateway."""
    return message(FrameKind.CONTROL, said.told())


def ping(body: bytes = b"12345678") -> bytes:
    """A ping."""
    return frame(FrameKind.PING, body)
