"""Targets that run in threads of the test itself: an echo, and one that writes down what came.

Both listen on a free TCP port of loopback or on a UNIX path, plain or with TLS, and
serve each connection until the client has ended its side.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.child import until

_CHUNK = 1 << 16


class Target:
    """A server with one thread a connection; `serve` says what it does.

    Args:
        path: a UNIX socket to listen on; None: a free port of 127.0.0.1.
        context: TLS towards those who dial; None: plain.
        host: the address to listen on.
    """

    def __init__(
        self,
        *,
        path: Path | None = None,
        context: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.path = path
        self.host = host
        self._context = context
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        #: How many connections were accepted.
        self.accepted = 0

    def start(self) -> Self:
        """Listen; the backlog takes clients before the first accept."""
        if self.path is not None:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.bind(str(self.path))
        else:
            self._socket = socket.socket(
                socket.AF_INET6 if ":" in self.host else socket.AF_INET, socket.SOCK_STREAM
            )
            self._socket.bind((self.host, 0))
        self._socket.listen(1024)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    @property
    def endpoint(self) -> str:
        """Where a route finds us, as a client endpoint string without TLS."""
        if self.path is not None:
            return f"unix:{self.path}"
        return f"tcp:{self.host}:{self.port}".replace("::1", r"\:\:1")

    @property
    def active(self) -> int:
        """How many connections are open."""
        return len(self._open)

    def serve(self, connection: socket.socket) -> None:
        """Talk to one client; returning ends the connection."""
        raise NotImplementedError

    def stop(self) -> None:
        """Close the port and every connection."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return  # stopped
            self.accepted += 1
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)
        try:
            if connection.family != socket.AF_UNIX:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is None:
                self.serve(connection)
            else:
                with self._context.wrap_socket(
                    connection.dup(), server_side=True, suppress_ragged_eofs=True
                ) as wrapped:
                    self.serve(wrapped)
        except OSError:
            pass  # the client's business: a reset, a failed handshake
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()


class Echo(Target):
    """Gives back what it gets, and then its own end of the connection."""

    def serve(self, connection: socket.socket) -> None:
        """Send each piece back until the client's side has ended."""
        while data := connection.recv(_CHUNK):
            connection.sendall(data)


class Recorder(Target):
    """Writes down what each client sent; greets first and answers last, if told so."""

    def __init__(
        self,
        *,
        greeting: bytes = b"",
        answer: bytes = b"",
        path: Path | None = None,
        context: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        super().__init__(path=path, context=context, host=host)
        self._greeting = greeting
        self._answer = answer
        #: What came, one a connection, in the order of accepting; it grows meanwhile.
        self.received: list[bytearray] = []
        #: Connections whose client has ended its side.
        self.ended = 0

    def serve(self, connection: socket.socket) -> None:
        """Greet, write down everything until the client's end, answer."""
        mine = bytearray()
        with self._lock:
            self.received.append(mine)
        if self._greeting:
            connection.sendall(self._greeting)
        while data := connection.recv(_CHUNK):
            mine += data
        self.ended += 1
        if self._answer:
            connection.sendall(self._answer)

    def wait_for(self, wanted: bytes, which: int = 0) -> bytes:
        """What connection *which* sent, once *wanted* is in it."""
        until(
            lambda: len(self.received) > which and wanted in self.received[which],
            f"{wanted!r} from connection {which}",
            said=lambda: repr(self.received),
        )
        return bytes(self.received[which])
