"""Refusals over real TCP arrive: the right alert, whatever the client has written meanwhile.

A gateway that closes a socket with unread bytes in it sends a reset, and a reset throws the
alert away; so each client here writes behind its last handshake message before it reads.
"""

from __future__ import annotations

import socket
from collections import Counter
from typing import Any

from OpenSSL import SSL

from tests.support.certs import pki
from tests.support.child import sized
from tests.support.echo import Echo
from tests.support.harness import CLIENT_SECONDS, Gate, GateCase, drain
from tests.support.house import UNLIMITED

#: Bytes that a client writes at once, behind its certificate.
WRITTEN = (0, 100, 20_000)

#: How often each certificate is tried, and how often everything else.
TIMES = 100
FEWER = sized(20, 100)

#: What one record takes.
_RECORD = 16_384

VERSIONS = (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION)

#: What TLS says to a certificate, in 1.2 and in 1.3: RFC 5246 section 7.2, RFC 8446 section 6.
MISSING = (40, 116)
EXPIRED = (45, 45)
UNKNOWN_CA = (48, 48)
NO_APPLICATION_PROTOCOL = (120, 120)
UNRECOGNIZED_NAME = (112, 112)

#: Where a connection's own facts are kept.
_Seen = list[int]


def context(cert: str | None, version: int, alpn: str) -> SSL.Context:
    """A client's context for exactly this version; it notes the alerts that it reads."""
    made = SSL.Context(SSL.TLS_CLIENT_METHOD)
    made.set_min_proto_version(version)
    made.set_max_proto_version(version)
    made.load_verify_locations(str(pki().file("ca.pem")))
    made.set_verify(SSL.VERIFY_PEER, lambda *found: bool(found[-1]))
    made.set_alpn_protos([alpn.encode()])
    if cert:
        pair = pki().keypair(cert)
        made.use_certificate_chain_file(str(pair.cert_file))
        made.use_privatekey_file(str(pair.key_file))

    def note(connection: SSL.Connection, where: int, number: int) -> None:
        if where == SSL.SSL_CB_READ_ALERT:
            seen: _Seen = connection.get_app_data()
            seen.append(number & 0xFF)

    made.set_info_callback(note)
    return made


def told(raw: socket.socket, using: SSL.Context, written: int, name: str = "gw.test") -> str:
    """How a connection ends for a client that writes *written* bytes at once.

    They leave with the client's last handshake message, in one piece. In TLS 1.2 nobody
    can encrypt them yet, so they only look like records.

    Returns:
        the alerts in order; then "reset" if the end of the connection was not orderly.
    """
    client = SSL.Connection(using, None)
    seen: _Seen = []
    client.set_app_data(seen)
    client.set_tlsext_host_name(name.encode())
    client.set_connect_state()
    flights = 0
    done = False
    try:
        while not seen:
            try:
                if not done:
                    client.do_handshake()
                    done = True
                    if written:
                        client.sendall(bytes(written))
                client.recv(1)
            except SSL.WantReadError:
                flight = b""
                while piece := _pending(client):
                    flight += piece
                if flight:
                    flights += 1
                    if flights == 2 and not done:
                        flight += _records(written)
                    raw.sendall(flight)
                if not (data := raw.recv(1 << 16)):
                    break
                client.bio_write(data)
    except SSL.Error:
        pass  # the alert is in *seen*
    ends = [str(number) for number in seen]
    try:
        drain(raw)
    except ConnectionError:
        ends.append("reset")
    return " ".join(ends)


def _pending(client: SSL.Connection) -> bytes:
    try:
        return client.bio_read(1 << 16)
    except SSL.WantReadError:
        return b""


def _records(size: int) -> bytes:
    """Records of application data with *size* bytes in all."""
    sizes = [_RECORD] * (size // _RECORD) + [size % _RECORD] * (size % _RECORD > 0)
    return b"".join(b"\x17\x03\x03" + one.to_bytes(2, "big") + bytes(one) for one in sizes)


class RefusalCase(GateCase):
    """A daemon with one route that demands alice's certificate."""

    def demanding(self, **proxy: Any) -> Gate:
        self.echo = self.serve(Echo())
        route = {"name": "echo", "alpn": ["demo-echo"], "target": self.echo.endpoint}
        return self.gate(routes=[route], proxy={"limits": UNLIMITED, **proxy})

    def dial(self, address: str) -> socket.socket:
        """A plain connection to "host:port" or a path."""
        raw = socket.socket(socket.AF_UNIX if address.startswith("/") else socket.AF_INET)
        self.addCleanup(raw.close)
        raw.settimeout(CLIENT_SECONDS)
        host, _, port = address.rpartition(":")
        raw.connect(address if address.startswith("/") else (host, int(port)))
        return raw

    def check(
        self,
        gate: Gate,
        alerts: tuple[int, int],
        cert: str | None,
        *,
        alpn: str = "demo-echo",
        name: str = "gw.test",
        times: int = TIMES,
    ) -> None:
        """Every client reads its alert and then the end, for each amount of bytes."""
        address = gate.address()
        for version, alert in zip(VERSIONS, alerts, strict=True):
            using = context(cert, version, alpn)
            for written in WRITTEN:
                ends: Counter[str] = Counter()
                for _ in range(times):
                    with self.dial(address) as raw:
                        ends[told(raw, using, written, name)] += 1
                self.assertEqual(ends, {str(alert): times}, (hex(version), written))
        self.assertEqual(self.echo.accepted, 0)


class AlertsTests(RefusalCase):
    """Alerts of the handshake: all of 100, for 0, 100 and 20,000 bytes, in both versions."""

    def test_without_certificate(self) -> None:
        """A missing certificate is 116 in TLS 1.3 and 40 in TLS 1.2."""
        self.check(self.demanding(), MISSING, None)

    def test_expired_certificate(self) -> None:
        """An expired certificate is 45."""
        self.check(self.demanding(), EXPIRED, "expired")

    def test_foreign_certificate(self) -> None:
        """A certificate of another authority is 48."""
        self.check(self.demanding(), UNKNOWN_CA, "mallory")

    def test_no_common_token(self) -> None:
        """A token that nobody serves is 120."""
        self.check(self.demanding(), NO_APPLICATION_PROTOCOL, "alice", alpn="nonsense", times=FEWER)

    def test_unknown_name(self) -> None:
        """A name that nobody serves is 112 under `strict_sni`."""
        gate = self.demanding(strict_sni="yes")
        unknown = {"alpn": "h2", "name": "else.example"}
        self.check(gate, UNRECOGNIZED_NAME, "alice", times=FEWER, **unknown)

    def test_on_a_unix_socket(self) -> None:
        """It is no different where the listener is a path."""
        path = self.folder() / "gate.sock"
        gate = self.demanding(web_listen_addr=f"unix:{path}")
        self.check(gate, EXPIRED, "expired", times=FEWER)
