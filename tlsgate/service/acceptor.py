"""Accept connections on a listening socket, and stop in time when descriptors run out.

1. `Acceptor.doRead` accepts what waits, a bounded number a turn, and hands each socket to
   the listener's factory on Twisted's own transport.
2. A new descriptor has the lowest free number, so its number says how full the table is.
   At the line that `Descriptors` draws, every acceptor stops reading: clients wait in the
   kernel's queue, and what is left serves targets, files and the admin socket (S48, R06).
3. It looks again every 50 ms and lets them go on when a lower number is free.

Twisted's own port is not used: when it runs out it accepts and drops clients, with two log
lines each, and on its end it shuts a socket down that another process may have inherited,
or removes a UNIX socket's name that is not its own.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress, IProtocolFactory, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

#: Descriptors that clients never get; targets, files and the admin socket do.
RESERVE = 64
#: The part of the table that clients may fill.
FULL_PERCENT = 95
#: How soon a full table is looked at again; nobody's wait is longer for it.
LOOK_SECONDS = 0.05
#: At most one line in so many seconds says that the table is full, or an accept failed.
QUIET_SECONDS = 10.0
#: Connections that one turn accepts; more wait until the others have had theirs.
MOST_A_TURN = 128

#: Errors of the connection that was to be accepted; accept(2) says to go on.
_OF_THE_CLIENT = frozenset(
    {
        errno.ECONNABORTED,
        errno.EPERM,
        errno.EPROTO,
        errno.ENETDOWN,
        errno.ENOPROTOOPT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EOPNOTSUPP,
        errno.ENETUNREACH,
        errno.EINTR,
    }
)


#: Makes an owner of a socket, for the given peer; it gets the protocol as an attribute.
Own = Callable[[socket.socket, IAddress], Any]


class Descriptors:
    """How full the table of descriptors is; one for the process.

    Args:
        reactor: for its clock.
        limit: how many descriptors the process may have (RLIMIT_NOFILE).
        reserve: how many of them its acceptors leave to others.
    """

    log = Logger()

    def __init__(self, reactor: Any, limit: int, reserve: int = RESERVE) -> None:
        self._reactor = reactor
        self.limit = limit
        #: A descriptor with this number or a higher one means: full.
        self.line = limit
        if reserve:
            self.line = max(min(limit * FULL_PERCENT // 100, limit - reserve), limit // 2)
        self.full = False
        self.times_full = 0
        self._acceptors: set[Acceptor] = set()
        self._told = float("-inf")

    def enter(self, acceptor: Acceptor) -> None:
        """Let *acceptor* read, now or when there is room."""
        self._acceptors.add(acceptor)
        if not self.full:
            self._reactor.addReader(acceptor)

    def leave(self, acceptor: Acceptor) -> None:
        """*acceptor* reads no more."""
        self._acceptors.discard(acceptor)
        self._reactor.removeReader(acceptor)

    def stop_all(self, why: str) -> None:
        """The table is full, or as good as that: nobody accepts until there is room."""
        if self.full:
            return
        self.full = True
        self.times_full += 1
        for acceptor in self._acceptors:
            self._reactor.removeReader(acceptor)
        now = self._reactor.seconds()
        if now - self._told >= QUIET_SECONDS:
            self._told = now
            self.log.warn(  # noqa: G010 -- Twisted's name
                "accepting waits: {why}; {limit} descriptors allowed, clients get {line}",
                why=why,
                limit=self.limit,
                line=self.line,
            )
        self._reactor.callLater(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        if not self._room():
            self._reactor.callLater(LOOK_SECONDS, self._look)
            return
        self.full = False
        for acceptor in self._acceptors:
            self._reactor.addReader(acceptor)

    def _room(self) -> bool:
        """Whether a number below the line is free."""
        try:
            trial = fcntl.fcntl(self._probe(), fcntl.F_DUPFD_CLOEXEC, 0)
        except OSError:
            return False
        os.close(trial)
        return trial < self.line

    def _probe(self) -> int:
        """Any open descriptor."""
        return next((acceptor.fileno() for acceptor in self._acceptors), 2)


@implementer(IReadDescriptor)
class Acceptor:
    """Accepts on one listening socket.

    It borrows the socket: whoever opened it closes it, after `stop`.

    Args:
        most: how many connections one turn accepts; few when other processes accept on the
            same socket, so that a burst is shared.
        own: makes the owner of an accepted socket, when the protocol borrows it at once and
            never gives it back, as a dispatcher does: that costs a tenth of Twisted's
            transport, which is the owner otherwise.

    Attributes:
        factory: builds the protocol of each connection; may be exchanged at any time.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        name: str,
        listening: socket.socket,
        factory: IProtocolFactory,
        descriptors: Descriptors,
        most: int = MOST_A_TURN,
        own: Own | None = None,
    ) -> None:
        self.name = name
        self.factory = factory
        self._reactor = reactor
        self._socket = listening
        self._descriptors = descriptors
        self._count = 0
        self._batch = 1
        self._most = most
        self._own = own
        self._told = float("-inf")
        self._unix = listening.family == socket.AF_UNIX
        self._six = listening.family == socket.AF_INET6

    def start(self) -> None:
        """Accept from now on."""
        self._descriptors.enter(self)

    def stop(self) -> None:
        """Accept no more; what waits in the kernel's queue stays there."""
        self._descriptors.leave(self)

    def finish(self) -> None:
        """Accept what waits already, and no more: nobody else will take it."""
        self._descriptors.leave(self)
        while self._accept(MOST_A_TURN) == MOST_A_TURN:
            if self._descriptors.full:
                return

    # -- IReadDescriptor (Twisted calls these) -------------------------------------------

    def fileno(self) -> int:
        """The listening descriptor."""
        return self._socket.fileno()

    def doRead(self) -> None:
        """Somebody waits."""
        batch = self._batch
        accepted = self._accept(batch)
        # With one client at a time, asking again only to hear "nobody" costs as much as
        # the accept itself.
        self._batch = min(batch * 2, self._most) if accepted == batch else max(accepted, 1)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has dropped us, which it does to sockets that are broken."""
        self._descriptors.leave(self)
        self.log.error("listener {name} is lost: {why}", name=self.name, why=str(reason.value))

    def logPrefix(self) -> str:
        """How Twisted calls us in its own lines."""
        return f"listener {self.name}"

    # -- inside ------------------------------------------------------------------------------

    def _accept(self, most: int) -> int:
        """Accept at most *most* connections; give how many."""
        for accepted in range(most):
            try:
                client, address = self._socket.accept()
            except BlockingIOError:
                return accepted
            except OSError as e:
                if e.errno in _OF_THE_CLIENT:
                    continue
                self._trouble(e)
                return accepted
            try:
                self._serve(client, address)
            except Exception:
                # No exception of one connection may touch the others (S58).
                self.log.failure("listener {name}: a connection failed", name=self.name)
                client.close()
            # Its descriptor may be gone by now; then there is room.
            if client.fileno() >= self._descriptors.line:
                self._descriptors.stop_all("the table is full")
                return accepted + 1
        return most

    def _serve(self, client: socket.socket, address: Any) -> None:
        peer = self._peer(address)
        protocol = self.factory.buildProtocol(peer)
        if protocol is None:
            client.close()
            return
        if self._own is not None:
            client.setblocking(False)
            owner = self._own(client, peer)
            owner.protocol = protocol
            protocol.makeConnection(owner)
            return
        self._count += 1
        kind = unix.Server if self._unix else tcp.Server
        # Without a port of Twisted's the transport has no name of its own.
        transport = kind(
            client,
            protocol,
            address,
            None,  # type: ignore[arg-type]  # as for any adopted socket of Twisted's
            self._count,
            self._reactor,
        )
        transport.repstr = f"<connection #{self._count} on listener {self.name}>"
        protocol.makeConnection(transport)

    def _peer(self, address: Any) -> IAddress:
        if self._unix:
            return UNIXAddress(address or None)
        if self._six:
            return IPv6Address("TCP", *address)
        return IPv4Address("TCP", *address)

    def _trouble(self, error: OSError) -> None:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS):
            self._descriptors.stop_all(os.strerror(error.errno))
            return
        now = self._reactor.seconds()
        if now - self._told >= QUIET_SECONDS:
            self._told = now
            self.log.error("listener {name} cannot accept: {why}", name=self.name, why=str(error))
        # A broken listening socket stays readable: better to wait than to spin.
        self._descriptors.stop_all(str(error))
