"""The API's client against real TLS: whom it believes before it says a word, and by which door."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any

from attrs import evolve
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from twisted.trial.unittest import SynchronousTestCase

from tests.cli.cluster import Authority
from tlsgate.cli.api import AUTH, JOIN, WEB, Address, Remote, Way
from tlsgate.cli.faults import ClockWrong, GatewayRefused
from tlsgate.core.claims import Claims
from tlsgate.errors import DaemonSaid, Unreachable, Untrusted

#: For any one step; nothing here takes a tenth of it.
SECONDS = 20.0
GATEWAY = Claims(cluster="example", kind="host", name="gw1", system_roles=("gateway",))
NODE = Claims(cluster="example", kind="host", name="n1", system_roles=("node",))


class Server:
    """Answers every request with *answer*, one connection after the other, and counts bytes."""

    def __init__(self, context: ssl.SSLContext, status: int = 200) -> None:
        self._context = context
        self._status = status
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(SECONDS)
        self.port = self._listening.getsockname()[1]
        self.heard = b""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                plain, _ = self._listening.accept()
            except OSError:
                return
            plain.settimeout(SECONDS)
            with self._context.wrap_socket(
                plain, server_side=True, do_handshake_on_connect=False
            ) as client:
                try:
                    client.do_handshake()
                    self._serve(client)
                except OSError:
                    self._refuse(client)

    def _refuse(self, client: ssl.SSLSocket) -> None:
        """Let the alert arrive: a socket that is closed over unread bytes resets it away."""
        try:
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass
        except OSError:
            return

    def _serve(self, client: ssl.SSLSocket) -> None:
        data = b""
        # The question ends with its body, an object.
        while not data.endswith(b"}"):
            more = client.recv(65536)
            if not more:
                return
            data += more
            self.heard += more
        error = {"error": {"reason": "locked", "fault": "client", "message": "alice is locked"}}
        value = {"token": client.selected_alpn_protocol(), "name": data.split(b"\r\n")[1].decode()}
        body = json.dumps(value if self._status < 300 else error).encode()
        head = f"HTTP/1.1 {self._status} X\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)

    def stop(self) -> None:
        """Take no more connections, and wait for the last one's end."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(SECONDS)


class RemoteTests(SynchronousTestCase):
    """Tests for `Remote`."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.ca = Authority(now=time.time())

    def pair(
        self,
        name: str,
        claims: Claims | None,
        ca: Authority,
        start: float | None = None,
        end: float | None = None,
    ) -> Path:
        """A file with a certificate, its authority and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = ("gate.test", "gw1.gateway.example")
        made = ca.issue(claims, key.public_key(), names=names, start=start, end=end)
        file = self.folder / f"{name}.pem"
        file.write_bytes(
            made.public_bytes(Encoding.PEM)
            + ca.pem.encode()
            + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        return file

    def serve(
        self,
        claims: Claims | None = GATEWAY,
        *,
        wants: bool = False,
        status: int = 200,
        start: float | None = None,
        end: float | None = None,
    ) -> Server:
        """A gateway with such a certificate; *wants* one of clients."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pair("server", claims, self.ca, start, end))
        context.set_alpn_protocols([WEB, AUTH, JOIN])
        if wants:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=self.ca.pem)
        server = Server(context, status)
        self.addCleanup(server.stop)
        return server

    def ask(self, server: Server, way: Way) -> Any:
        """Ask the server, wherever *way* leads."""
        way = evolve(way, address=Address("127.0.0.1", server.port))
        body = {"password": "right horse"}
        return Remote(way).ask("POST", "/v1/login", body=body, seconds=SECONDS)

    def refused(self, kind: type[Exception], server: Server, way: Way) -> str:
        """The error, after which the server has not heard a byte of the question."""
        error = self.assertRaises(kind, self.ask, server, way)
        self.assertEqual(server.heard, b"")
        return str(error)

    def test_pin(self) -> None:
        """The pinned authority is in the chain and has signed a gateway's certificate."""
        server = self.serve()
        told = self.ask(server, Way(_ANY, JOIN, pins=("sha256:" + "0" * 64, self.ca.pin)))
        self.assertEqual(told["token"], JOIN)
        self.assertIn(b"right horse", server.heard)

    def test_wrong_pin(self) -> None:
        """Another pin: nothing is sent."""
        way = Way(_ANY, JOIN, pins=(Authority().pin,))
        self.assertIn("pinned key", self.refused(Untrusted, self.serve(), way))

    def test_pinned_but_not_signed(self) -> None:
        """An authority that is only shown, and has signed nothing, proves nothing."""
        other = Authority("other", now=time.time())
        file = self.pair("liar", GATEWAY, other)
        # The pinned certificate is public: anybody can put it behind one of his own.
        file.write_bytes(file.read_bytes().replace(other.pem.encode(), self.ca.pem.encode()))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        context.set_alpn_protocols([JOIN])
        server = Server(context)
        self.addCleanup(server.stop)
        self.refused(Untrusted, server, Way(_ANY, JOIN, pins=(self.ca.pin,)))

    def test_not_a_gateway(self) -> None:
        """A node's certificate of the pinned authority is refused (S10); so is a leaf's."""
        for claims in (NODE, None, evolve(GATEWAY, cluster="leaf")):
            way = Way(_ANY, JOIN, pins=(self.ca.pin,), cluster="example")
            self.refused(Untrusted, self.serve(claims), way)

    def test_clock(self) -> None:
        """A gateway's certificate that is not valid here and now is the clock's matter (R16)."""
        now = time.time()
        for start, end in ((now + 300.0, None), (now - 900.0, now - 300.0)):
            way = Way(_ANY, JOIN, pins=(self.ca.pin,))
            said = self.refused(ClockWrong, self.serve(GATEWAY, start=start, end=end), way)
            self.assertIn("check the clock", said)

    def test_certificate_door(self) -> None:
        """With a client's certificate, by the cluster's authorities."""
        file = self.pair("alice", Claims(cluster="example", kind="user", name="alice"), self.ca)
        way = Way(_ANY, AUTH, roots=self.ca.pem, cluster="example", certificate=file)
        self.assertEqual(self.ask(self.serve(wants=True), way)["token"], AUTH)

    def test_alerts(self) -> None:
        """No certificate, and one of another cluster: the alert as a sentence."""
        way = Way(_ANY, AUTH, roots=self.ca.pem)
        error = self.assertRaises(GatewayRefused, self.ask, self.serve(wants=True), way)
        self.assertIn("(TLS alert 116): it wants a certificate", str(error))
        foreign = self.pair("bob", None, Authority("foreign", now=time.time()))
        error = self.assertRaises(
            GatewayRefused, self.ask, self.serve(wants=True), evolve(way, certificate=foreign)
        )
        self.assertIn("(TLS alert 48): your certificate is of another cluster", str(error))

    def test_web(self) -> None:
        """The web certificate by its name; a private one is not believed without its root."""
        server = self.serve(None)
        self.assertIn("--ca-pin", self.refused(Untrusted, server, Way(_ANY)))
        said = self.refused(Untrusted, server, Way(_ANY, roots=self.ca.pem))
        self.assertIn("names another host", said)
        self.assertEqual(self.ask(server, Way(_ANY, anyone=True))["token"], WEB)

    def test_refusal(self) -> None:
        """A refusal of the API is told in its words."""
        way = Way(_ANY, anyone=True)
        error = self.assertRaises(DaemonSaid, self.ask, self.serve(status=403), way)
        self.assertEqual((error.word, str(error)), ("locked", "alice is locked"))

    def test_nobody(self) -> None:
        """A port where nobody listens, and one that speaks no TLS."""
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        listening.close()
        remote = Remote(Way(Address("127.0.0.1", port)))
        error = self.assertRaises(Unreachable, remote.ask, "GET", "/v1/cas", seconds=SECONDS)
        self.assertIn("nobody listens there", str(error))


#: Put in its place by `ask`.
_ANY = Address("127.0.0.1", 1)
