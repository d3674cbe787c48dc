"""Connections that are meant for another worker, passed on before TLS begins.

An agent names the worker that it wants in its ALPN offers, and any of several workers may
accept it. The hello has only been looked at, so that the whole connection is still in the
kernel: its descriptor goes to the worker that is meant (unix(7), SCM_RIGHTS) in one datagram,
with what a PROXY header said before. Where that worker is not there, the one that has the
connection keeps it.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.python.failure import Failure

from tlsgate.config.adminsocket import lasting_name

#: What an agent offers before the plain token, and the worker's number behind it.
_PREFIX: Final = b"tlsgate-reversetunnel/"
#: Of a datagram.
_BYTES: Final = 2048
#: Datagrams that one turn of the reactor takes.
_A_TURN: Final = 32

#: Takes a connection: its socket, the listener's name, the client's and the dialled address.
Take = Callable[[socket.socket, str, Any, Any], None]


def meant_worker(alpn: Sequence[bytes]) -> int | None:
    """Give the worker that the offers name; None: any."""
    for one in alpn:
        number = one[len(_PREFIX) :]
        if one.startswith(_PREFIX) and number.isdigit() and len(number) <= 4:
            return int(number)
    return None


class Passing:
    """The place where one worker takes what others have for it.

    Args:
        reactor: Twisted's.
        folder: of all workers' places, which is the owner's alone.
        index: of this worker.
        take: a connection has come.
    """

    def __init__(self, reactor: Any, folder: Path, index: int, take: Take) -> None:
        self._reactor = reactor
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        #: Short enough for a socket's address however deep the folder is (unix(7)).
        self._name = lasting_name(folder / "0000.sock").rpartition("/")[0]
        self.index = index
        self._take = take
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._open = False

    def start(self) -> None:
        """Take connections from now on.

        Raises:
            OSError: the place cannot be made.
        """
        path = self._place(self.index)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # a worker before us had this number
        self._socket.bind(path)
        os.chmod(path, 0o600)
        self._open = True
        self._reactor.addReader(self)

    def stop(self) -> None:
        """Take none any more, and pass none on."""
        if self._open:
            self._open = False
            self._reactor.removeReader(self)
        self._socket.close()

    def meant(self, alpn: Sequence[bytes]) -> int | None:
        """Give the other worker that the offers name; None: this one will do."""
        worker = meant_worker(alpn)
        return None if worker == self.index or not self._open else worker

    def give(
        self, sock: socket.socket, alpn: Sequence[bytes], listener: str, peer: Any, local: Any
    ) -> bool:
        """Pass a connection on, if it is another worker's; False: it is still ours.

        The caller closes its own descriptor afterwards, and nothing more.
        """
        worker = self.meant(alpn)
        if worker is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
            return False
        return self.hand(worker, sock, listener, peer, local)

    def hand(self, worker: int, sock: socket.socket, listener: str, peer: Any, local: Any) -> bool:
        """Pass a socket on to *worker*; False: nobody is there.

        The caller closes its own descriptor afterwards, and nothing more.
        """
        said = {"listener": listener, "peer": _told(peer), "local": _told(local)}
        try:
            words = [json.dumps(said).encode()]
            path = self._place(worker)
            rights = array("i", [sock.fileno()]).tobytes()
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
            # Not `socket.send_fds`: Python 3.11's forgets the address.
            self._socket.sendmsg(words, ancillary, 0, path)
        except OSError:
            return False
        return True

    def _place(self, worker: int) -> str:
        return f"{self._name}/{worker}.sock"

    # -- IReadDescriptor -------------------------------------------------------------

    def fileno(self) -> int:
        """Twisted calls this."""
        return self._socket.fileno()

    def doRead(self) -> None:
        """Twisted calls this: a worker has something for us."""
        for _ in range(_A_TURN):
            try:
                words, descriptors, _, _ = socket.recv_fds(self._socket, _BYTES, 1)
            except OSError:
                return
            for descriptor in descriptors:
                self._received(words, socket.socket(fileno=descriptor))

    def connectionLost(self, reason: Failure) -> None:
        """Twisted calls this when the reactor drops us; nothing to release."""

    def logPrefix(self) -> str:
        """Twisted calls this for log lines."""
        return "tlsgate.net"

    def _received(self, words: bytes, sock: socket.socket) -> None:
        sock.setblocking(False)
        try:
            said = json.loads(words)
            self._take(sock, str(said["listener"]), _read(said["peer"]), _read(said["local"]))
        except (ValueError, KeyError, TypeError):
            sock.close()


def _told(address: Any) -> list[Any]:
    return [] if isinstance(address, UNIXAddress) else [address.host, address.port]


def _read(told: Any) -> Any:
    if not told:
        return UNIXAddress(None)
    host, port = told
    return (IPv6Address if ":" in host else IPv4Address)("TCP", str(host), int(port))
