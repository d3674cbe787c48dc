"""New clients of a process that another one has succeeded: that one has the agents now.

Somebody who came to the old process may go on there for hours, such as an `ssh -J` that is
shared by many sessions, and want another target meanwhile.

1. The old process makes a pair of sockets. One of them goes to the `Place` of its successor in
   one datagram (unix(7), SCM_RIGHTS), with what is asked of the agent; whether its client may
   was decided before, and the agent decides again.
2. The successor reaches the target (`Inherited`), and says whether it has: a length of two
   bytes and as many of JSON.
3. Then the bytes go through both processes. To the successor it is one of its connections: it
   waits for it when it drains itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from array import array
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.address import UNIXAddress
from twisted.python.failure import Failure
from zope.interface import implementer

from tlsgate.config.adminsocket import lasting_name
from tlsgate.core.offers import Asked
from tlsgate.core.routing import Choice, Route
from tlsgate.errors import AgentRefused, BadBytes, GateError, Hangup, NoAgent
from tlsgate.interfaces import IReach
from tlsgate.net.arrival import Arrival
from tlsgate.net.connection import Connection
from tlsgate.net.ends import End, PlainEnd
from tlsgate.net.lease import Lease
from tlsgate.net.owner import Owned
from tlsgate.net.poller import READ, Poller

if TYPE_CHECKING:
    from tlsgate.net.gateway import Gateway

#: Of a datagram: what is asked has two certificates at the most, and of an answer.
_BYTES: Final = 64 * 1024
_ANSWER_BYTES: Final = 2048
#: Datagrams that one turn of the reactor takes.
_A_TURN: Final = 32
_LENGTH: Final = 2
#: What journals and lists call such a connection.
ROUTE: Final = "succession"


class Place:
    """Where a process takes what the one before it has no agents for.

    Args:
        reactor: Twisted's.
        folder: of the places of all workers, which is the owner's alone.
        index: of this worker.
        take: somebody has come: a socket, and what is asked.
    """

    def __init__(
        self, reactor: Any, folder: Path, index: int, take: Callable[[socket.socket, Asked], None]
    ) -> None:
        self._reactor = reactor
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        #: Short enough for a socket's address however deep the folder is (unix(7)).
        self._path = lasting_name(folder / f"{index}.sock")
        self._take = take
        self._socket: socket.socket | None = None

    def start(self) -> None:
        """Take clients from now on, in the place of the process before us.

        Raises:
            OSError: the place cannot be made.
        """
        self._socket = taking = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        taking.setblocking(False)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        taking.bind(self._path)
        os.chmod(self._path, 0o600)
        self._reactor.addReader(self)

    def stop(self) -> None:
        """Take none any more; the name may be our successor's."""
        if self._socket is not None:
            self._reactor.removeReader(self)
            self._socket.close()
            self._socket = None

    def leave(self, asked: Asked, sock: socket.socket) -> bool:
        """Give *sock* to who has the place now; False: nobody has.

        The caller closes its own descriptor afterwards, and nothing more.
        """
        words = json.dumps(asked.told()).encode()
        rights = array("i", [sock.fileno()]).tobytes()
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as giving:
            giving.setblocking(False)
            try:
                # Not `socket.send_fds`: Python 3.11's forgets the address.
                giving.sendmsg([words], ancillary, 0, self._path)
            except OSError:
                return False
        return True

    # -- IReadDescriptor -------------------------------------------------------------

    def fileno(self) -> int:
        """Twisted calls this."""
        return -1 if self._socket is None else self._socket.fileno()

    def doRead(self) -> None:
        """Twisted calls this: somebody has come."""
        for _ in range(_A_TURN):
            if self._socket is None:
                return
            try:
                words, descriptors, _, _ = socket.recv_fds(self._socket, _BYTES, 1)
            except OSError:
                return
            for descriptor in descriptors:
                sock = socket.socket(fileno=descriptor)
                sock.setblocking(False)
                try:
                    asked = Asked.read(json.loads(words))
                except (ValueError, RecursionError, BadBytes):
                    sock.close()
                else:
                    self._take(sock, asked)

    def connectionLost(self, reason: Failure) -> None:
        """Twisted calls this when the reactor drops us; nothing to release."""

    def logPrefix(self) -> str:
        """Twisted calls this for log lines."""
        return "tlsgate.net"


@implementer(IReach)
class Onward:
    """A way to an agent's target through the process that has succeeded this one.

    Args:
        place: that process has it now.
        poller: of this process.
        asked: of the agent.
    """

    def __init__(self, place: Place, poller: Poller, asked: Asked) -> None:
        self._place = place
        self._poller = poller
        self._asked = asked
        self._lease: Lease | None = None
        self._heard = b""
        #: Whom to tell; None: it has not begun, or it is over.
        self._told: tuple[Callable[[Any], None], Callable[[GateError], None]] | None = None

    def start(self, reached: Callable[[Any], None], missed: Callable[[GateError], None]) -> None:
        """See `IReach`."""
        ours, theirs = socket.socketpair()
        with theirs:
            there = self._place.leave(self._asked, theirs)
        if not there:
            ours.close()
            missed(NoAgent(self._asked.kind, self._asked.name))
            return
        ours.setblocking(False)
        self._told = reached, missed
        self._lease = Lease(Owned(ours), self._poller)
        self._lease.on_ready = self._answer
        self._lease.want(READ)

    def cancel(self) -> None:
        """See `IReach`."""
        self._told = None
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.abort()

    def _answer(self, mask: int) -> None:
        """Read the answer, and not a byte of what comes after it."""
        lease = self._lease
        assert lease is not None
        size = _LENGTH
        if len(self._heard) >= _LENGTH:
            size += int.from_bytes(self._heard[:_LENGTH], "big")
        try:
            data = lease.socket.recv(size - len(self._heard))
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._heard += data
        if not data or size > _ANSWER_BYTES:
            self._miss(NoAgent(self._asked.kind, self._asked.name))
        elif size > _LENGTH and len(self._heard) == size:
            self._said(lease)

    def _said(self, lease: Lease) -> None:
        try:
            said = json.loads(self._heard[_LENGTH:])
            reason, why = str(said["reason"]), str(said["why"])
        except (ValueError, KeyError, TypeError):
            self._miss(NoAgent(self._asked.kind, self._asked.name))
            return
        if reason:
            self._miss(AgentRefused(self._asked.name, reason, why))
            return
        told, self._told, self._lease = self._told, None, None
        assert told is not None
        lease.want(0)
        told[0](PlainEnd(lease))

    def _miss(self, error: GateError) -> None:
        told = self._told
        assert told is not None
        self.cancel()
        told[1](error)


class Inherited(Connection):
    """A client of the process before us, on its way to a target.

    Args:
        gateway: ours.
        listener: by which the client has come there.
        asked: of the agent.
    """

    inside = True

    def __init__(self, gateway: Gateway, listener: str, asked: Asked) -> None:
        super().__init__(gateway, listener)
        self._asked = asked
        self._reach: IReach | None = None

    def connectionMade(self) -> None:
        """The socket is ours: reach what is asked for."""
        gateway, asked = self.gateway, self._asked
        self.lease = lease = Lease(self.transport, gateway.poller)
        self.peer = UNIXAddress(None)
        self.arrival = Arrival(lease, self.listener, self.peer, lambda _: None)
        self.choice = Choice(Route(name=ROUTE, protocol="raw", unsafe_anyone=True), None)
        self.trace, self.stage = asked.trace or None, "dialling"
        gateway.arrived(self)
        if gateway.draining or gateway.tunnels is None:
            lease.close()
            return
        lease.on_ready = self._look
        lease.want(READ)
        reach = self._reach = gateway.tunnels.reach(asked)
        reach.start(self._found, self._missing)

    def _look(self, mask: int) -> None:
        """Before the target is there nothing comes but the end."""
        try:
            if self.lease.socket.recv(1, socket.MSG_PEEK):
                self.lease.want(0)
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._over()
        self._drop(Hangup(0))

    def _over(self) -> None:
        reach, self._reach = self._reach, None
        if reach is not None:
            reach.cancel()

    def _found(self, end: End) -> None:
        self._reach = None
        self.lease.want(0)
        self._tell({"reason": "", "why": ""})
        self.stage = "relaying"
        self.pair = self.paired(PlainEnd(self.lease), end)
        self.pair.start()

    def _missing(self, error: GateError) -> None:
        self._reach = None
        self._tell({"reason": error.reason, "why": str(error)[:512]})
        self.error, self.cause = error, error.reason
        self.lease.close()

    def _tell(self, said: Mapping[str, str]) -> None:
        words = json.dumps(said).encode()
        with contextlib.suppress(OSError):  # whoever has gone is found out by the relay
            self.lease.socket.send(len(words).to_bytes(_LENGTH, "big") + words)

    def connectionLost(self, reason: Failure = Failure(Exception("closed"))) -> None:  # noqa: B008
        """Twisted's name: the socket is closed."""
        self._over()
        super().connectionLost(reason)


def inherit(gateway: Gateway, listener: str, sock: socket.socket, asked: Asked) -> None:
    """Take a client of the process before us.

    Args:
        listener: of ours; the one by which the client has come there may be gone.
    """
    transport = Owned(sock)
    connection = Inherited(gateway, listener, asked)
    transport.protocol = connection
    connection.makeConnection(transport)
