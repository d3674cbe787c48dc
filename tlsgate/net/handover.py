"""From a served protocol to the relay: a client whose target is being reached.

1. The protocol has read what is its own; `start` puts a `Handover` in its place, on the same
   transport, which goes on to hold the client to its waits and to notice when it goes.
2. What the client says before the target is there is kept, at most some 64 KiB of it; then
   its socket is not read. A client that has only ended its own direction is still there.
3. The reach succeeds, misses, or takes too long, and the connection hears of it once; or
   the client goes, and the reach is cancelled.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from tlsgate.errors import GateError, TargetSilent
from tlsgate.interfaces import IReach
from tlsgate.net.ends import CHUNK, End
from tlsgate.net.transport import ServedTransport
from tlsgate.net.wheel import Wheel


@implementer(IHalfCloseableProtocol)
class Handover(Protocol):
    """Waits for one target; see the module.

    Args:
        unread: what the protocol has read of what is the target's.
        target: what it is called, should it be silent.
        seconds: how long to wait for it.
        reached: takes the target's end, and what the client has said to it so far.
        missed: takes the reason; the transport is the caller's again.
    """

    def __init__(
        self,
        served: ServedTransport,
        reach: IReach,
        unread: bytes,
        *,
        target: str,
        seconds: float,
        wheel: Wheel,
        reached: Callable[[End, bytes], None],
        missed: Callable[[GateError], None],
    ) -> None:
        self._served = served
        self._reach: IReach | None = reach
        self._unread = bytearray(unread)
        self._target = target
        self._seconds = seconds
        self._wheel = wheel
        self._reached = reached
        self._missed = missed
        self.slot = 0

    def start(self) -> None:
        """Begin; it may be over before this returns."""
        reach = self._reach
        assert reach is not None
        if not self._served.connected or self._served.disconnecting:
            self._reach = None
            return
        self._served.become(self)
        if self._served.connected:
            self._bound()
            self._wheel.arm(self, self._seconds)
            reach.start(self._found, self._failed)

    def due(self, now: float) -> float | None:
        """The wheel calls this: the target takes too long."""
        if self._reach is not None:
            self._reach.cancel()
            self._failed(TargetSilent(self._target, self._seconds))
        return None

    # -- Twisted calls these -----------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        """Keep what is the target's."""
        if self._reach is not None:
            self._unread += data
            self._bound()

    def readConnectionLost(self) -> None:
        """The client has said everything; it still listens."""

    def writeConnectionLost(self) -> None:
        """We have; nothing of ours asks for it."""

    def connectionLost(self, reason: Failure = Failure(Exception("closed"))) -> None:  # noqa: B008
        """The client is gone."""
        reach = self._over()
        if reach is not None:
            reach.cancel()

    # -- inside --------------------------------------------------------------------------

    def _bound(self) -> None:
        if len(self._unread) >= CHUNK:
            self._served.pauseProducing()

    def _over(self) -> IReach | None:
        """Wait no more; gives the reach the first time."""
        self._wheel.drop(self)
        reach, self._reach = self._reach, None
        return reach

    def _found(self, end: End) -> None:
        if self._over() is not None:
            self._reached(end, bytes(self._unread))

    def _failed(self, error: GateError) -> None:
        if self._over() is not None:
            self._missed(error)
