"""A socket lent by the Twisted transport that owns it.

While it is lent, the transport is paused and watches nothing; the borrower reads and
writes the socket itself and hears of it through `on_ready`. Every end of a lent
connection goes through the owner (`close`, `abort`), so that its protocol hears
`connectionLost` and counts stay right. The descriptor is never duplicated: a copy would
be shut down or reset together with the original anyway.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final, Protocol

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure

from tlsgate.net.poller import Poller

_DONE: Final = Failure(ConnectionDone())
_ABORTED: Final = Failure(ConnectionAborted())


class Owner(Protocol):
    """The part of Twisted's socket transports that a lease relies on."""

    def getHandle(self) -> socket.socket: ...
    def pauseProducing(self) -> None: ...
    def connectionLost(self, reason: Failure) -> None: ...
    def getPeer(self) -> IAddress: ...
    def getHost(self) -> IAddress: ...


class Lease:
    """One borrowed socket.

    Attributes:
        socket: the owner's; non-blocking.
        on_ready: the borrower's, called with the poller's mask.
        want: change what to be woken for (READ, WRITE, both, or 0 for nothing).
    """

    __slots__ = ("_mask", "_owner", "_poller", "fd", "on_ready", "socket")

    def __init__(self, owner: Owner, poller: Poller) -> None:
        owner.pauseProducing()
        self._owner = owner
        self._poller = poller
        self._mask = 0
        self.socket = owner.getHandle()
        self.fd = self.socket.fileno()
        self.on_ready: Callable[[int], None] = _nobody

    def ready(self, mask: int) -> None:
        """The poller calls this."""
        self.on_ready(mask)

    def want(self, mask: int) -> None:
        """Be woken for *mask* from now on; 0: for nothing."""
        old = self._mask
        if mask == old:
            return
        self._mask = mask
        if not old:
            self._poller.watch(self, mask)
        elif mask:
            self._poller.change(self.fd, mask)
        else:
            self._poller.forget(self.fd)

    def local(self) -> IAddress:
        """The owner's own address."""
        return self._owner.getHost()

    @property
    def open(self) -> bool:
        """True until `close` or `abort`, or the owner's own end."""
        return self.fd != -1

    def close(self) -> None:
        """End it in order; the owner's protocol hears ConnectionDone."""
        self._end(_DONE)

    def abort(self) -> None:
        """Reset it; the owner's protocol hears ConnectionAborted."""
        self._end(_ABORTED)

    def _end(self, reason: Failure) -> None:
        if self.fd == -1:
            return
        self.want(0)
        self.fd = -1
        self.on_ready = _nobody
        self._owner.connectionLost(reason)


def _nobody(mask: int) -> None:
    """Stand in for a borrower that is not there (yet, or any more)."""
