"""A gateway for tests of `tgsh proxy ssh`: TLS, /webapi/ping, one CONNECT, and a script.

It is the standard library in threads, so it shares no code with the real one. What it shows
and says can be wrong in every way that a test needs.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from tests.cli.cluster import PING, Authority
from tests.support.harness import CLIENT_SECONDS
from tlsgate.core.claims import Claims

GATEWAY = Claims(cluster="example", kind="host", name="gw1", system_roles=("gateway",))
ALICE = Claims(cluster="example", kind="user", name="alice", roles=("access",))


class Secured:
    """The server's end of a connection: both directions end on their own."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        sock.settimeout(CLIENT_SECONDS)
        self.sock = sock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_side=True)
        self.framed = False
        self._frame = b""
        self._wait(self.tls.do_handshake)
        self.flush()

    def _wait(self, step: Callable[[], Any]) -> Any:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self.flush()
                read = self.sock.recv(65536)
                if read:
                    self._in.write(read)
                else:
                    self._in.write_eof()
            except ssl.SSLError:
                self.flush()
                raise

    def flush(self) -> None:
        """Send what waits."""
        while self._out.pending:
            self.sock.sendall(self._out.read())

    def _raw(self) -> bytes:
        try:
            found: bytes = self._wait(lambda: self.tls.read(65536))
        except ssl.SSLZeroReturnError:
            return b""
        return found

    def read(self) -> bytes:
        """What comes next, whole frames; b"" at the end."""
        if not self.framed:
            return self._raw()
        while len(self._frame) < 4 or len(self._frame) < 4 + int.from_bytes(self._frame[:4], "big"):
            more = self._raw()
            if not more:
                return b""
            self._frame += more
        end = 4 + int.from_bytes(self._frame[:4], "big")
        found, self._frame = self._frame[4:end], self._frame[end:]
        return found

    def read_all(self) -> bytes:
        """Everything up to the client's end."""
        found = b""
        while more := self.read():
            found += more
        return found

    def write(self, data: bytes) -> None:
        """Send *data*; a frame where these are spoken."""
        self.tls.write(len(data).to_bytes(4, "big") + data if self.framed else data)
        self.flush()

    def ping(self) -> None:
        """An empty frame."""
        self.tls.write(bytes(4))
        self.flush()

    def end(self) -> None:
        """Say that nothing follows, and read on."""
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        self.flush()


def echo(client: Secured) -> None:
    """Give back what comes, and end when it ends."""
    while read := client.read():
        client.write(read)
    client.end()


class SshGate:
    """The gateway; `stop` has to be called.

    Attributes:
        claims, names: of the certificate that is shown.
        tokens: that it speaks.
        answer: to CONNECT; *then* follows a 200.
        ping: what it says at /webapi/ping.
        heads: of every CONNECT.
        pinged: how often it was asked.
    """

    def __init__(
        self,
        *,
        claims: Claims = GATEWAY,
        names: tuple[str, ...] = ("gate.test", "localhost"),
        tokens: tuple[str, ...] = ("tlsgate-ssh-ping", "tlsgate-ssh", "http/1.1"),
        then: Callable[[Secured], None] = echo,
    ) -> None:
        self.ca = Authority("host ca", now=time.time())
        self.claims, self.names, self.tokens, self.then = claims, names, tokens, then
        self.answer = b"HTTP/1.1 200 OK\r\n\r\n"
        self.ping: dict[str, Any] = {**PING, "proxy": {**PING["proxy"]}}
        self.heads: list[bytes] = []
        self.pinged = 0
        self.stopped = False
        self.folder: Path | None = None
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listening.getsockname()[1]
        self._threads: list[threading.Thread] = []

    @property
    def where(self) -> str:
        """HOST:PORT."""
        return f"localhost:{self.port}"

    def start(self, home: Path) -> None:
        """Listen, and have alice logged in at *home*."""
        home.mkdir(parents=True, exist_ok=True)
        keys = home / "keys/localhost"
        (keys / "cas").mkdir(parents=True)
        (keys / "alice-ssh").mkdir()
        (home / "current-profile").write_text("localhost\n")
        (home / "localhost.yaml").write_text(
            f'web_proxy_addr: "{self.where}"\nuser: alice\ncluster: example\n'
            "tls_routing_enabled: true\n"
        )
        (keys / "cas/example.pem").write_text(self.ca.pem)
        (keys / "certs.pem").write_text(self.ca.pem)
        (home / "known_hosts").touch()
        self.issue(keys / "alice-x509.pem", keys / "alice", ALICE)
        self.folder = home
        made = home / "gateway"
        self.issue(made.with_suffix(".pem"), made, self.claims, self.names)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(made.with_suffix(".pem"), made)
        self._context.load_verify_locations(cadata=self.ca.pem)
        self._context.verify_mode = ssl.CERT_OPTIONAL
        self._context.set_alpn_protocols([*self.tokens])
        threading.Thread(target=self._accept, daemon=True).start()

    def issue(
        self, file: Path, key_file: Path, claims: Claims, names: Any = (), **when: Any
    ) -> None:
        """Write a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        made: x509.Certificate = self.ca.issue(claims, key.public_key(), names=names, **when)
        file.write_bytes(made.public_bytes(Encoding.PEM))
        key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    def stop(self) -> None:
        """Listen no more, and wait for what runs."""
        self.stopped = True
        socket.create_connection(("127.0.0.1", self.port)).close()
        self.listening.close()
        for one in self._threads:
            one.join(CLIENT_SECONDS)

    def _accept(self) -> None:
        while True:
            sock, _ = self.listening.accept()
            if self.stopped:
                sock.close()
                return
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            try:
                client = Secured(sock, self._context)
                token = client.tls.selected_alpn_protocol()
                client.framed = token == "tlsgate-ssh-ping"
                head = b""
                while b"\r\n\r\n" not in head:
                    more = client.read()
                    if not more:
                        return
                    head += more
                if head.startswith(b"GET /webapi/ping "):
                    self.pinged += 1
                    body = json.dumps(self.ping).encode()
                    length = f"Content-Length: {len(body)}\r\n\r\n".encode()
                    client.write(b"HTTP/1.1 200 OK\r\n" + length + body)
                    client.end()
                    return
                self.heads.append(head)
                client.write(self.answer)
                if self.answer.startswith(b"HTTP/1.1 200"):
                    self.then(client)
                else:
                    client.end()
            except OSError:
                return  # a client that has gone is what some tests want
