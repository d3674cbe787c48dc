"""A way to another worker of the same gateway.

What is carried there begins anew: the other worker gets one end of a pair of sockets and takes
it for a connection that it has accepted itself, in the clear.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from zope.interface import implementer

from tlsgate.errors import GateError, NotServed
from tlsgate.interfaces import IReach
from tlsgate.net.ends import PlainEnd
from tlsgate.net.lease import Lease
from tlsgate.net.owner import Owned
from tlsgate.net.passing import Passing
from tlsgate.net.poller import Poller


@implementer(IReach)
class Elsewhere:
    """See the module.

    Args:
        passing: how workers give each other sockets; None: there is no other worker.
        worker: the number of the other one.
        listener: where it takes the connection for one of.
        peer, local: who is meant to have dialled, and what.
    """

    def __init__(
        self,
        passing: Passing | None,
        poller: Poller,
        worker: int,
        listener: str,
        peer: Any,
        local: Any,
    ) -> None:
        self._passing = passing
        self._poller = poller
        self._where = worker, listener, peer, local

    def start(self, reached: Callable[[Any], None], missed: Callable[[GateError], None]) -> None:
        """See `IReach`; it is over before this returns."""
        passing = self._passing
        if passing is not None:
            worker, listener, peer, local = self._where
            ours, theirs = socket.socketpair()
            with theirs:
                there = passing.hand(worker, theirs, listener, peer, local)
            if there:
                ours.setblocking(False)
                reached(PlainEnd(Lease(Owned(ours), self._poller)))
                return
            ours.close()
        missed(NotServed("this", "the worker that is meant is not there"))

    def cancel(self) -> None:
        """See `IReach`; it never takes any time."""
