"""A TLS handshake between two connections in memory, and what came of it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence

from attrs import define, field
from OpenSSL import SSL

from tests.support.certs import pki
from tlsgate.tls.authority import Pair
from tlsgate.tls.select import Confirm

#: The two versions that are spoken.
VERSIONS = (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION)


@define(eq=False)
class Wire:
    """A client and a server whose bytes are carried by hand.

    Attributes:
        client_error: what ended the client's side, None while all is well.
        server_error: the same for the server's side.
        to_client: every byte that the server has sent.
        to_server: every byte that the client has sent.
        server_cpu_seconds: what the server's side has cost.
    """

    client: SSL.Connection
    server: SSL.Connection
    client_error: SSL.Error | None = None
    server_error: SSL.Error | None = None
    to_client: bytes = b""
    to_server: bytes = b""
    server_cpu_seconds: float = 0.0
    _settled: list[SSL.Connection] = field(factory=list)

    def handshake(self, record_bytes: int | None = None) -> Wire:
        """Shake hands until neither side has more to say.

        Args:
            record_bytes: hand the client's bytes over in pieces of that many.
        """
        for _ in range(20):
            self.client_error = self.client_error or self._step(self.client)
            moved = self._carry(self.client, self.server, record_bytes)
            began = time.thread_time()
            self.server_error = self.server_error or self._step(self.server)
            self.server_cpu_seconds += time.thread_time() - began
            moved |= self._carry(self.server, self.client, None)
            if not moved:
                break
        return self

    @property
    def alert(self) -> int | None:
        """The fatal alert that the client got, by its number."""
        clear = alert_of(self.to_client)
        if clear is not None:
            return clear
        said = str(self.client_error).partition(" alert ")[2].rstrip("')]")
        return _ALERT_NAMES.get(said)

    @property
    def done(self) -> bool:
        """Both sides have finished and nothing went wrong."""
        both = self.client in self._settled and self.server in self._settled
        return both and self.client_error is None and self.server_error is None

    def deliver(self) -> None:
        """Let the client read what the server wrote after the handshake (tickets, alerts)."""
        try:
            self._carry(self.server, self.client, None)
            self.client.recv(65536)
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            self.client_error = self.client_error or error

    def say(self, data: bytes) -> bytes:
        """Send *data* to the server; gives what it read."""
        self.client.send(data)
        self._carry(self.client, self.server, None)
        return self.server.recv(65536)

    def _step(self, side: SSL.Connection) -> SSL.Error | None:
        if side in self._settled:
            if side is self.client:  # a TLS 1.3 client hears of its refusal only by reading
                try:
                    side.recv(1)
                except SSL.WantReadError:
                    pass
                except SSL.Error as error:
                    return error
            return None
        try:
            side.do_handshake()
        except SSL.WantReadError:
            return None
        except SSL.Error as error:
            return error
        self._settled.append(side)
        return None

    def _carry(self, source: SSL.Connection, sink: SSL.Connection, piece_bytes: int | None) -> bool:
        moved = False
        while True:
            try:
                data = source.bio_read(65536)
            except SSL.WantReadError:
                return moved
            moved = True
            if sink is self.client:
                self.to_client += data
            else:
                self.to_server += data
            size = piece_bytes or len(data)
            for start in range(0, len(data), size):
                sink.bio_write(data[start : start + size])


#: OpenSSL's names of the alerts that our servers send encrypted.
_ALERT_NAMES = {
    "handshake failure": 40,
    "bad certificate": 42,
    "unsupported certificate": 43,
    "certificate revoked": 44,
    "certificate expired": 45,
    "certificate unknown": 46,
    "illegal parameter": 47,
    "unknown ca": 48,
    "decrypt error": 51,
    "internal error": 80,
    "certificate required": 116,
    "no application protocol": 120,
}


def alert_of(records: bytes) -> int | None:
    """The number of the first fatal alert among plaintext *records*, None without one."""
    while len(records) >= 5:
        length = int.from_bytes(records[3:5], "big")
        body = records[5 : 5 + length]
        if records[0] == 21 and length == 2 and body[0] == 2:
            return body[1]
        records = records[5 + length :]
    return None


def client_context(
    pair: Pair | None = None,
    *,
    version: int | None = None,
    alpn: Sequence[bytes] = (),
    ciphers: bytes = b"DEFAULT:@SECLEVEL=0",
) -> SSL.Context:
    """A client that trusts the test CA, shows *pair*, and is less strict than our servers."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    if version is not None:
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
    context.set_cipher_list(ciphers)
    context.load_verify_locations(os.fspath(pki().file("ca.pem")))
    context.set_verify(SSL.VERIFY_PEER)
    if pair is not None:
        with tempfile.NamedTemporaryFile() as file:
            file.write(pair.cert_pem + pair.key_pem)
            file.flush()
            context.use_certificate_chain_file(file.name)
            context.use_privatekey_file(file.name)
    if alpn:
        context.set_alpn_protos(list(alpn))
    return context


def client_end(context: SSL.Context, name: str | None = "gw.test") -> SSL.Connection:
    """A client that is about to ask for *name*."""
    client = SSL.Connection(context, None)
    client.set_connect_state()
    if name is not None:
        client.set_tlsext_host_name(name.encode("ascii"))
    return client


def server_end(context: SSL.Context, token: bytes | None = None) -> SSL.Connection:
    """A server that is to confirm *token*."""
    server = SSL.Connection(context, None)
    server.set_accept_state()
    server.set_app_data(Confirm(token))
    return server


def shake(client: SSL.Context, server: SSL.Context, token: bytes | None = None) -> Wire:
    """One handshake between two contexts, for gw.test."""
    return Wire(client_end(client), server_end(server, token)).handshake()
