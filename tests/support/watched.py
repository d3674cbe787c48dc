"""What a running daemon costs, and crowds of clients that make it cost something."""

from __future__ import annotations

import contextlib
import functools
import os
import select
import socket
import ssl
import statistics
import struct
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

from attrs import field, frozen

from tests.support.certs import pki
from tests.support.child import NotInTime
from tests.support.harness import Gate, receive

#: Where crowds come from: limits for each address see as many clients.
SOURCES = tuple(f"127.0.0.{last}" for last in range(2, 51))

_LOOK_SECONDS = 0.02


def cpu_seconds(pid: int) -> float:
    """Seconds of CPU that a process has used, its own and the kernel's for it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_kib(pid: int) -> int:
    """KiB of memory that a process has for itself (RssAnon)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    raise AssertionError(f"{pid} has no memory")


def descriptors(pid: int) -> int:
    """How many descriptors a process has open, but for UNIX sockets: we ask on one."""
    names = Path("/proc/net/unix").read_text().splitlines()[1:]
    not_these = {f"socket:[{line.split()[6]}]" for line in names}
    count = 0
    for entry in os.scandir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):  # closed meanwhile
            count += os.readlink(entry.path) not in not_these
    return count


@frozen
class Cost:
    """What a daemon has used up to now; two of them tell what the time between cost."""

    pid: int
    memory_kib: int
    cpu_seconds: float
    at: float = field(factory=time.monotonic)

    @classmethod
    def of(cls, pid: int) -> Self:
        """Look at the process *pid*."""
        return cls(pid, memory_kib(pid), cpu_seconds(pid))

    def cpu_share(self) -> float:
        """CPU seconds a second since then."""
        return (cpu_seconds(self.pid) - self.cpu_seconds) / (time.monotonic() - self.at)

    def more_kib(self) -> int:
        """How much larger it is than it was then."""
        return memory_kib(self.pid) - self.memory_kib


def knock(
    port: int, number: int, first: bytes = b"", *, receive_bytes: int | None = None
) -> socket.socket:
    """Client *number* of a crowd: it has connected, and said *first*.

    Args:
        receive_bytes: of the kernel's buffer for it.
    """
    client = socket.socket()
    try:
        client.settimeout(20)
        if receive_bytes is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        client.bind((SOURCES[number % len(SOURCES)], 0))
        client.connect(("127.0.0.1", port))
        if first:
            client.sendall(first)
    except BaseException:
        client.close()
        raise
    return client


@functools.cache
def _context(alpn: str, cert: str | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(pki().file("ca.pem"))
    context.set_alpn_protocols([alpn])
    if cert is not None:
        pair = pki().keypair(cert)
        context.load_cert_chain(pair.cert_file, pair.key_file)
    return context


def enter(raw: socket.socket, alpn: str, cert: str | None = "alice") -> ssl.SSLSocket:
    """TLS over *raw*, for crowds: as `harness.secure`, which makes each client anew."""
    try:
        return _context(alpn, cert).wrap_socket(raw, server_hostname="gw.test")
    except BaseException:
        raw.close()
        raise


def opening(alpn: str) -> bytes:
    """The first bytes of such a client."""
    written = ssl.MemoryBIO()
    tls = _context(alpn, None).wrap_bio(ssl.MemoryBIO(), written, server_hostname="gw.test")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return written.read()


def hang_up_hard(client: socket.socket) -> None:
    """Close with a reset."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


class Crowd:
    """Clients that are held open, and when each came and was sent away."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._here: dict[int, tuple[socket.socket, float]] = {}
        #: How long each that was sent away had been here, in seconds.
        self.stayed: list[float] = []

    def add(self, client: socket.socket) -> None:
        """Hold one more."""
        self._here[client.fileno()] = (client, time.monotonic())
        self._epoll.register(client, select.EPOLLIN)

    def __len__(self) -> int:
        return len(self._here)

    def look(self) -> int:
        """Note who has been sent away, and close them; gives how many are left."""
        now = time.monotonic()
        for fileno, _ in self._epoll.poll(0):
            client, since = self._here[fileno]
            try:
                if client.recv(1 << 16):
                    continue
            except OSError:
                pass  # a reset is a way of being sent away
            self.stayed.append(now - since)
            del self._here[fileno]
            client.close()  # the epoll forgets it
        return len(self._here)

    def until_gone(self, seconds: float, meanwhile: Callable[[], object] = int) -> None:
        """Wait until all have been sent away, and do something *meanwhile*."""
        end = time.monotonic() + seconds
        while self._here:
            self.look()
            meanwhile()
            if time.monotonic() > end:
                raise NotInTime(f"{len(self)} clients are still here after {seconds:g} s")
            time.sleep(_LOOK_SECONDS)

    def close(self) -> None:
        """Let everybody go."""
        for client, _ in self._here.values():
            client.close()
        self._here.clear()
        self._epoll.close()


class Regular:
    """A good client that comes again and again, and is timed.

    Args:
        gate: with a route for ALPN `echo`.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._port = gate.port()
        self.took: list[float] = []

    def come(self) -> None:
        """Connect, have a byte echoed, and leave."""
        began = time.monotonic()
        raw = socket.create_connection(("127.0.0.1", self._port), 20)
        with enter(raw, "echo") as client:
            client.sendall(b"!")
            if receive(client, 1) != b"!":
                raise AssertionError("no echo for a good client")
        self.took.append(time.monotonic() - began)

    def often(self, each_seconds: float = 0.1) -> Callable[[], None]:
        """For `Crowd.until_gone`: come, but only so often."""
        due = time.monotonic()

        def maybe() -> None:
            nonlocal due
            if time.monotonic() >= due:
                due = time.monotonic() + each_seconds
                self.come()

        return maybe

    @property
    def slowest(self) -> float:
        """Seconds of the slowest visit but one in a hundred."""
        return sorted(self.took)[int(len(self.took) * 0.99) - (len(self.took) % 100 == 0)]

    @property
    def usual(self) -> float:
        """Seconds of the middle one."""
        return statistics.median(self.took)


def close_all(clients: Iterable[socket.socket]) -> None:
    """Close each of *clients*."""
    for client in clients:
        with contextlib.suppress(OSError):
            client.close()
