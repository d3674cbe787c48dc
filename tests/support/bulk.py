"""Many bytes through a connection, and what arrived of them: counts and hashes, no copies.

What is sent is a noise that repeats after a prime number of bytes, so that a piece that is
lost, doubled or moved by any block size changes the hash.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import random
import select
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import field, mutable
from OpenSSL import SSL

from tests.support.certs import pki
from tests.support.echo import Target

#: A prime: no record, page or buffer divides it.
_PERIOD = 1_000_003

_READ = 1 << 18


@functools.cache
def _noise() -> bytes:
    return random.Random(_PERIOD).randbytes(_PERIOD)


def pieces(total: int, sizes: Sequence[int]) -> Iterator[memoryview]:
    """*total* bytes of noise, cut into pieces of *sizes* in turn."""
    twice = memoryview(_noise() * 2)
    at = 0
    for size in itertools.cycle(sizes):
        while size:
            take = min(size, total - at, _PERIOD)
            if not take:
                return
            start = at % _PERIOD
            yield twice[start : start + take]
            at += take
            size -= take


@functools.cache
def digest(total: int) -> str:
    """The hash of *total* bytes of noise."""
    seen = hashlib.sha256()
    for piece in pieces(total, (_PERIOD,)):
        seen.update(piece)
    return seen.hexdigest()


@mutable(eq=False)
class Seen:
    """What arrived on one side: whole only when the end came as well."""

    count: int = 0
    ended: bool = False
    _hash: hashlib._Hash = field(factory=hashlib.sha256)

    def take(self, data: bytes) -> None:
        """Count more bytes; none means the end."""
        self._hash.update(data)
        self.count += len(data)
        self.ended = self.ended or not data

    @property
    def hash(self) -> str:
        """Of all that came so far."""
        return self._hash.hexdigest()

    def __str__(self) -> str:
        return f"{self.count} {self.hash} {'end' if self.ended else 'no end'}"


def whole(total: int) -> str:
    """What `str(Seen)` is when all of *total* bytes and the end arrived."""
    return f"{total} {digest(total)} end"


def echoed(connection: ssl.SSLSocket, total: int, *, seconds: float = 30.0) -> str:
    """Send *total* bytes of noise to an echo; gives the hash of as many that come back.

    Both directions in one thread: OpenSSL's object, without a lock, bears no two.

    Args:
        seconds: for so long, nothing may move.
    """
    again = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
    limit = connection.gettimeout()
    connection.setblocking(False)
    seen, todo = Seen(), pieces(total, (1 << 20,))
    rest = memoryview(b"")
    while seen.count < total:
        rest = rest or next(todo, rest)
        before = len(rest), seen.count
        with contextlib.suppress(*again):
            rest = rest[connection.send(rest) if rest else 0 :]
        with contextlib.suppress(*again):
            seen.take(connection.recv(min(total - seen.count, _READ)))
            if seen.ended:
                raise AssertionError(f"it ended after {seen.count} of {total} bytes")
        if before == (len(rest), seen.count):
            ready = select.select([connection], [connection] if rest else [], [], seconds)
            if not any(ready):
                raise AssertionError(f"nothing moved for {seconds:g} s after {seen.count} bytes")
    connection.settimeout(limit)
    return seen.hash


class Bulk(Target):
    """Sends a volume to each client and hashes what the client sends.

    Args:
        down: bytes of the answer; the end follows.
        sizes: of the pieces that are written.
        after_client: answer when the client has ended, not at once.
        context: TLS towards those who dial; only with *after_client*.
    """

    def __init__(
        self,
        down: int,
        sizes: Sequence[int],
        *,
        after_client: bool = False,
        context: ssl.SSLContext | None = None,
        path: Path | None = None,
    ) -> None:
        super().__init__(context=context, path=path)
        self.down, self.sizes, self.after_client = down, sizes, after_client
        #: What came, one a connection, in the order of accepting.
        self.seen: list[Seen] = []

    def serve(self, connection: socket.socket) -> None:
        """Hash and send, at once or one after the other."""
        seen = Seen()
        self.seen.append(seen)
        sender = threading.Thread(target=self._send, args=(connection,), daemon=True)
        if not self.after_client:
            sender.start()
        while not seen.ended:
            seen.take(connection.recv(_READ))
        if self.after_client:
            sender.start()
        sender.join()

    def _send(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the client tells what it lacks
            for piece in pieces(self.down, self.sizes):
                connection.sendall(piece)
            if isinstance(connection, ssl.SSLSocket):
                connection.unwrap()
            else:
                connection.shutdown(socket.SHUT_WR)


@functools.cache
def _context(version: int, cert: str | None) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.load_verify_locations(str(pki().file("ca.pem")))
    context.set_verify(SSL.VERIFY_PEER)
    if cert is not None:
        pair = pki().keypair(cert)
        context.use_certificate_chain_file(str(pair.cert_file))
        context.use_privatekey_file(str(pair.key_file))
    return context


class BulkClient:
    """A TLS client that can end one direction and go on with the other.

    Python's own `ssl` cannot: its `unwrap` waits for the other side's end.

    Args:
        raw: a connected socket, which it owns.
        context: somebody else's; in place of *cert* and *version*.
    """

    def __init__(
        self,
        raw: socket.socket,
        *,
        alpn: str | None = None,
        name: str = "gw.test",
        cert: str | None = "alice",
        version: int = SSL.TLS1_3_VERSION,
        seconds: float = 60.0,
        context: SSL.Context | None = None,
    ) -> None:
        raw.setblocking(False)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.raw = raw
        self._patience = seconds
        self.tls = tls = SSL.Connection(context or _context(version, cert), raw)
        tls.set_tlsext_host_name(name.encode())
        if alpn is not None:
            tls.set_alpn_protos([alpn.encode()])
        tls.set_connect_state()
        while True:
            try:
                tls.do_handshake()
                return
            except SSL.WantReadError:
                self._wait(select.POLLIN)

    def ask(self, words: bytes, end: bytes) -> bytes:
        """Say a few words; gives what comes up to *end*, and takes no byte more."""
        self.tls.send(words)
        got = b""
        while not got.endswith(end):
            try:
                got += self.tls.recv(1)
            except SSL.WantReadError:
                self._wait(select.POLLIN)
        return got

    def exchange(
        self, up: int, sizes: Sequence[int], *, after_target: bool = False, read_size: int = _READ
    ) -> Seen:
        """Send *up* bytes and the end, and read to the target's end, both at once.

        Args:
            sizes: of the pieces that are written, each in one record or more.
            after_target: send only once the target has ended.
        """
        tls, seen = self.tls, Seen()
        todo = pieces(up, sizes)
        piece: memoryview | None = next(todo, None)
        said = False
        while not (said and seen.ended):
            moved = False
            if not said and (seen.ended or not after_target):
                with contextlib.suppress(SSL.WantReadError, SSL.WantWriteError):
                    if piece is None:
                        tls.shutdown()
                        said = True
                    elif (gone := tls.send(piece)) == len(piece):
                        piece = next(todo, None)
                    else:
                        piece = piece[gone:]
                    moved = True
            if not seen.ended:
                try:
                    seen.take(tls.recv(read_size))
                    moved = True
                except SSL.ZeroReturnError:
                    seen.take(b"")
                    moved = True
                except SSL.WantReadError:
                    pass
            if not moved:
                writes = not said and (seen.ended or not after_target)
                self._wait(select.POLLIN | (select.POLLOUT if writes else 0))
        return seen

    def close(self) -> None:
        """Close the socket."""
        self.raw.close()

    def _wait(self, events: int) -> None:
        poll = select.poll()
        poll.register(self.raw, events)
        if not poll.poll(self._patience * 1000):
            raise AssertionError(f"nothing moved for {self._patience:g} s")
