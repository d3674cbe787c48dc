"""An epoll of our own beside Twisted's: lent sockets wake their borrower here.

Twisted's reactor keeps one object a descriptor and spends some microseconds of logging
context on every event. A relay has two or more events for each exchange, so the borrowed
sockets sit in a second epoll, and the transport that owns a socket stays its owner, with
neither reader nor writer registered while it is lent.

Of two epolls one is in the other. Where the reactor is Twisted's usual one, its own is in
ours, and a lent socket wakes us with nothing of the reactor's in between. That takes two names
which Twisted does not promise (`_poller`, `doIteration`): with any other reactor, and for a
second poller of the same one, ours is in the reactor's, as any descriptor is.
"""

from __future__ import annotations

import select
from typing import Any, Protocol

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
#: epoll reports these without being asked: reset, or both directions ended.
TROUBLE = select.EPOLLERR | select.EPOLLHUP


class Watched(Protocol):
    """What the poller watches: a lent socket."""

    fd: int

    def ready(self, mask: int) -> None:
        """The socket is ready for *mask*."""

    def abort(self) -> None:
        """`ready` raised: end this connection."""


_BATCH = 256  # events of one turn; the rest is reported in the next one


@implementer(IReadDescriptor)
class Poller:
    """Watches lent sockets for one reactor.

    A descriptor is watched for READ, WRITE or both, never for nothing: epoll reports
    TROUBLE even then, again and again. Borrowers that want nothing are not registered.
    """

    _log = Logger()

    def __init__(self, reactor: IReactorFDSet) -> None:
        self._reactor: Any = reactor
        self._epoll = select.epoll()
        self._watched: dict[int, Watched] = {}
        #: Descriptors that came during the current batch: an event of the batch that
        #: bears their number is the former owner's.
        self._fresh: set[int] = set()
        self._inner = -1  #: the reactor's epoll, when it is in ours
        if type(self._reactor) is EPollReactor and "doIteration" not in vars(reactor):
            own = getattr(reactor, "_poller", None)
            if isinstance(own, select.epoll):
                self._inner = own.fileno()
        if self._inner == -1:
            reactor.addReader(self)
        else:
            self._epoll.register(self._inner, READ)
            self._reactor.doIteration = self._iterate

    def watch(self, lent: Watched, mask: int) -> None:
        """Call `lent.ready` whenever its socket is ready for any of *mask*."""
        self._epoll.register(lent.fd, mask)
        self._watched[lent.fd] = lent
        self._fresh.add(lent.fd)

    def change(self, fd: int, mask: int) -> None:
        """Watch *fd*, which is watched already, for *mask* instead."""
        self._epoll.modify(fd, mask)

    def forget(self, fd: int) -> None:
        """Stop watching *fd*; must come before it is closed."""
        del self._watched[fd]
        self._epoll.unregister(fd)

    def watched(self) -> int:
        """How many descriptors are watched now."""
        return len(self._watched)

    def close(self) -> None:
        """Leave the reactor."""
        if self._inner == -1:
            self._reactor.removeReader(self)
        else:
            vars(self._reactor).pop("doIteration", None)
        self._epoll.close()

    def _iterate(self, timeout: float | None) -> None:
        """Wait for what is watched, and for the reactor's own where that is in ours.

        Args:
            timeout: in seconds; None: until something comes.
        """
        watched, fresh = self._watched, self._fresh
        fresh.clear()
        for fd, mask in self._epoll.poll(-1 if timeout is None else timeout, _BATCH):
            if fd in fresh:
                continue
            lent = watched.get(fd)
            if lent is None:
                if fd == self._inner:
                    self._reactor.doPoll(0)
                continue
            try:
                lent.ready(mask)
            except Exception:
                # No exception of one connection may touch another (S58).
                self._log.failure("a lent connection failed; this is a bug")
                lent.abort()

    # -- IReadDescriptor -------------------------------------------------------------

    def fileno(self) -> int:
        """Twisted calls this: the epoll's own descriptor, -1 once closed."""
        return -1 if self._epoll.closed else self._epoll.fileno()

    def doRead(self) -> None:
        """Twisted calls this: some watched descriptor is ready."""
        self._iterate(0)

    def connectionLost(self, reason: Failure) -> None:
        """Twisted calls this when the reactor drops us; nothing to release."""

    def logPrefix(self) -> str:
        """Twisted calls this for log lines."""
        return "tlsgate.net"
