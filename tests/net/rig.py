"""A whole gateway without a reactor: socket pairs for clients, a UNIX socket for targets.

Nothing runs unless a test turns it (`Rig.turn`, `Rig.until`), and time stands still
unless a test moves the clock, so that every order of events can be made on purpose.

One file: its parts are only of use together.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import shutil
import socket
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.support.certs import pki
from tlsgate import registry
from tlsgate.config.read import read_text
from tlsgate.core.access import Decision, Identity, decide
from tlsgate.core.routing import Route
from tlsgate.interfaces import IAudit, IAuthorizer, IGateProtocol
from tlsgate.net.gate import Gate
from tlsgate.net.gateway import Gateway
from tlsgate.net.noting import ILedger
from tlsgate.net.owner import Owned

#: Turns of the gateway after which a test gives up.
PATIENCE = 20_000

CLIENT = IPv4Address("TCP", "192.0.2.7", 4711)
GATE = IPv4Address("TCP", "198.51.100.1", 443)


class FakeReactor(Clock):
    """A clock that remembers what it should read."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        """Remember *reader*."""
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        """Forget *reader*."""
        self.readers.remove(reader)

    def turn(self) -> bool:
        """Let every reader that is ready read; True when one was."""
        ready = False
        for reader in list(self.readers):
            if isinstance(reader, FakeStream):
                ready = reader.doRead() or ready
            elif select.select([reader.fileno()], [], [], 0)[0]:
                reader.doRead()
                ready = True
        return ready


class FakeStream:
    """A Twisted transport that has bytes and no socket of its own to show.

    What the gateway sees of it is `ITransport`, as of a WebSocket or another TLS.
    """

    def __init__(
        self, reactor: FakeReactor, sock: socket.socket, peer: IAddress, host: IAddress
    ) -> None:
        self._reactor = reactor
        self._sock = sock
        self._peer = peer
        self._host = host
        self._output = b""
        self._reading = True
        self._ending = False
        self._producer: Any = None
        self._full = False
        self.protocol: Any = None
        reactor.addReader(self)

    def fileno(self) -> int:
        """For the reactor."""
        return self._sock.fileno()

    def doRead(self) -> bool:
        """Move what there is to move; False when that is nothing."""
        before = len(self._output)
        with contextlib.suppress(BlockingIOError):
            while self._output:
                self._output = self._output[self._sock.send(self._output) :]
        if self._full and not self._output:
            self._full = False
            self._producer.resumeProducing()
        if self._ending and not self._output:
            self._lose()
            return True
        if not self._reading:
            return len(self._output) != before
        try:
            data = self._sock.recv(30_000)
        except BlockingIOError:
            return len(self._output) != before
        except OSError:
            data = b""
        if data:
            self.protocol.dataReceived(data)
        else:
            self._lose()
        return True

    def _lose(self) -> None:
        self._reactor.removeReader(self)
        self._sock.close()
        self.protocol.connectionLost(Failure(ConnectionDone()))

    def getPeer(self) -> IAddress:
        """Who dialled."""
        return self._peer

    def getHost(self) -> IAddress:
        """What was dialled."""
        return self._host

    def write(self, data: bytes) -> None:
        """Queue *data*; over 64 KiB the producer has to wait."""
        self._output += data
        if self._producer is not None and len(self._output) > 65536 and not self._full:
            self._full = True
            self._producer.pauseProducing()

    def loseConnection(self) -> None:
        """End it once everything is written."""
        self._ending = True

    def pauseProducing(self) -> None:
        """Read no more."""
        self._reading = False

    def resumeProducing(self) -> None:
        """Read again."""
        self._reading = True

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Remember whom to slow down."""
        self._producer = producer

    def unregisterProducer(self) -> None:
        """Nobody is left to slow down."""
        self._producer = None


@implementer(IAudit, IAuthorizer, ILedger)
class Witness:
    """Audit, authoriser and ledger that remember."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Mapping[str, object]]] = []
        self.seen: list[tuple[str, str, str]] = []

    def emit(self, event: str, fields: Mapping[str, object]) -> None:
        """See `IAudit`."""
        self.events.append((event, fields))

    def decide(self, route: Route, identity: Identity | None, address: str | None) -> Decision:
        """See `IAuthorizer`."""
        return decide(route.allow, identity)

    def opened(self, connection: Any) -> None:
        """See `ILedger`."""
        self.seen.append(("opened", connection.listener, connection.transport_kind))

    def known(self, connection: Any) -> None:
        """See `ILedger`."""
        self.seen.append(("known", connection.listener, connection.transport_kind))

    def closed(self, connection: Any) -> None:
        """See `ILedger`."""
        self.seen.append(("closed", connection.listener, connection.transport_kind))


class Rig:
    """A gateway of one configuration, to be turned by hand.

    Args:
        routes: YAML of `proxy_service.routes`; {unix} stands for the target's endpoint.
        bridged: clients come through a stream without a socket.
        extra: more YAML lines of proxy_service, each with its own two spaces.
    """

    def __init__(
        self,
        routes: str = "[]",
        *,
        extra: str = "",
        version: str = "v2",
        binding: bool = True,
        bridged: bool = False,
        protocols: Mapping[str, IGateProtocol] | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="rig-"))
        self.path = str(self.folder / "target.sock")
        certs = pki()
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(self.path)
        self.listening.listen(100)
        self.listening.setblocking(False)
        text = f"""
version: {version}
teleport: {{data_dir: "{self.folder}/data"}}
proxy_service:
  web_listen_addr: "127.0.0.1:443"
  public_addr: gw.test:443
  https_keypairs:
    - {{cert_file: "{certs.file("server.pem")}", key_file: "{certs.file("server-key.pem")}"}}
  client_ca_files: ["{certs.file("ca.pem")}"]
{extra}
  routes: {routes.replace("{unix}", "unix:" + self.path)}
"""
        (self.folder / "data").mkdir(mode=0o700)
        self.settings = read_text(text, str(self.folder / "tlsgate.yaml"))
        self.reactor = FakeReactor()
        self.witness = Witness()
        self.journal: list[Mapping[str, object]] = []
        self.gateway = Gateway(
            self.reactor,
            audit=self.witness,
            authorizer=self.witness,
            ledger=self.witness,
            journal=self.journal.append,
            binding=binding,
        )
        known = registry.load(None).protocols if protocols is None else protocols
        self.gateway.take(Gate.build(self.settings, known))
        self._bridged = bridged
        self._mine: list[Any] = [self.listening]

    def close(self) -> None:
        """End everything."""
        self.gateway.close()
        for mine in self._mine:
            mine.close()
        shutil.rmtree(self.folder)

    # -- time and events ---------------------------------------------------------------

    def turn(self) -> bool:
        """Let the gateway handle what is ready now."""
        return self.reactor.turn()

    def settle(self) -> None:
        """Turn until nothing is ready any more.

        Raises:
            AssertionError: something is always ready: the gateway spins.
        """
        for _ in range(PATIENCE):
            if not self.turn():
                return
        raise AssertionError("the gateway spins")

    def until(self, what: Callable[[], object]) -> Any:
        """Turn until *what* gives something true; give that."""
        for _ in range(PATIENCE):
            if got := what():
                return got
            self.turn()
        raise AssertionError("it never came")

    def advance(self, seconds: float) -> None:
        """Move the clock, a quarter of a second at a time."""
        for _ in range(int(seconds * 4) + 1):
            self.reactor.advance(0.25)
            self.turn()

    # -- both sides ----------------------------------------------------------------------

    def connect(
        self, listener: str = "web", *, peer: IAddress = CLIENT, host: IAddress = GATE
    ) -> socket.socket:
        """Dial the gateway; the client's end of the connection."""
        ours, theirs = socket.socketpair()
        for one in (ours, theirs):
            one.setblocking(False)
        self._mine.append(ours)
        transport: Any = Owned(theirs, peer, host)
        if self._bridged:
            transport = FakeStream(self.reactor, theirs, peer, host)
        transport.protocol = self.gateway.factory(listener).buildProtocol(peer)
        transport.protocol.makeConnection(transport)
        return ours

    def accept(self) -> socket.socket:
        """The target's end of the connection that the gateway dials next."""

        def take() -> socket.socket | None:
            with contextlib.suppress(BlockingIOError):
                return self.listening.accept()[0]
            return None

        got: socket.socket = self.until(take)
        got.setblocking(False)
        self._mine.append(got)
        return got

    def secure(
        self,
        *,
        alpn: tuple[bytes, ...] = (),
        name: str | None = "gw.test",
        cert: str | None = "alice",
        version: int = SSL.TLS1_3_VERSION,
        listener: str = "web",
        before: bytes = b"",
        peer: IAddress = CLIENT,
    ) -> Client:
        """Dial the gateway with TLS; the handshake is not done yet."""
        sock = self.connect(listener, peer=peer)
        if before:
            sock.send(before)
        return Client(self, sock, alpn=alpn, name=name, cert=cert, version=version)


class Client:
    """A TLS client on one end of a socket pair."""

    def __init__(
        self,
        rig: Rig,
        sock: socket.socket,
        *,
        alpn: tuple[bytes, ...],
        name: str | None,
        cert: str | None,
        version: int,
    ) -> None:
        self.rig = rig
        self.sock = sock
        self.tls = SSL.Connection(client_context(version), sock)
        if cert is not None:
            certificate, key = client_pair(cert)
            self.tls.use_certificate(certificate)
            self.tls.use_privatekey(key)
        if alpn:
            self.tls.set_alpn_protos(list(alpn))
        if name is not None:
            self.tls.set_tlsext_host_name(name.encode("ascii"))
        self.tls.set_connect_state()

    def _try(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except (SSL.WantReadError, SSL.WantWriteError):
            return None

    def shake(self) -> Client:
        """Finish the handshake, as far as the client can tell."""

        def step() -> bool:
            try:
                self.tls.do_handshake()
            except (SSL.WantReadError, SSL.WantWriteError):
                return False
            return True

        self.rig.until(step)
        return self

    def write(self, data: bytes) -> None:
        """Write all of *data*, turning the gateway as needed."""
        rest = data
        while rest:
            rest = rest[self._send(rest) :]

    def _send(self, data: bytes) -> int:
        sent: int = self.rig.until(lambda: self._try(lambda: self.tls.send(data)))
        return sent

    def read(self, size: int) -> bytes:
        """Read exactly *size* bytes."""
        got = b""
        while (lacks := size - len(got)) > 0:
            got += self._receive(lacks)
        return got

    def _receive(self, most: int) -> bytes:
        got: bytes = self.rig.until(lambda: self._try(lambda: self.tls.recv(most)))
        return got

    def read_end(self) -> bytes:
        """Read until the gateway's close_notify."""
        got = b""
        while True:
            try:
                got += self._receive(65536)
            except SSL.ZeroReturnError:
                return got

    def alert(self) -> str:
        """The reason that OpenSSL gives for the handshake's or the connection's end."""
        try:
            self.shake()
            self.read_end()
        except SSL.Error as error:
            reasons = error.args[0] if error.args else []
            return str(reasons[0][2]) if reasons and not isinstance(reasons, int) else repr(error)
        return "no alert"


@functools.cache
def client_context(version: int) -> SSL.Context:
    """A client that trusts the test CA; the same for all, so that they share sessions."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    context.load_verify_locations(str(pki().file("ca.pem")))
    context.set_verify(SSL.VERIFY_PEER)
    return context


@functools.cache
def client_pair(cert: str) -> tuple[x509.Certificate, Any]:
    """The certificate and the key of *cert*."""
    certificate = x509.load_pem_x509_certificate(pki().file(f"{cert}.pem").read_bytes())
    key = serialization.load_pem_private_key(pki().file(f"{cert}-key.pem").read_bytes(), None)
    return certificate, key


def _receive(sock: socket.socket, most: int) -> bytes | None:
    with contextlib.suppress(BlockingIOError):
        return sock.recv(most)
    return None


def read_all(rig: Rig, sock: socket.socket) -> bytes:
    """Read a plain socket until its end."""
    got: list[bytes] = []

    def ended() -> bool:
        if data := _receive(sock, 65536):
            got.append(data)
        return data == b""

    rig.until(ended)
    return b"".join(got)


def read_some(rig: Rig, sock: socket.socket, size: int) -> bytes:
    """Read exactly *size* bytes from a plain socket."""
    got = bytearray()

    def enough() -> bool:
        got.extend(_receive(sock, size - len(got)) or b"")
        return len(got) >= size

    rig.until(enough)
    return bytes(got)


def write_all(rig: Rig, sock: socket.socket, data: bytes) -> None:
    """Write all of *data* to a plain socket, turning the gateway as needed."""
    rest = memoryview(data)

    def written() -> bool:
        nonlocal rest
        with contextlib.suppress(BlockingIOError):
            rest = rest[sock.send(rest[:65536]) :]
        return not rest

    rig.until(written)


def noise(size: int) -> bytes:
    """Bytes that show when they are lost, doubled or swapped."""
    return os.urandom(4096) * (size // 4096) + os.urandom(size % 4096)
