"""Tests for `tlsgate.net.dispatcher`: what a connection's first bytes lead to."""

from __future__ import annotations

import contextlib

from OpenSSL import SSL
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from tests.net.rig import GATE, Client, Rig, read_some
from tlsgate.core.proxyline import write_v1, write_v2

ROUTES = """
    - {name: echo, alpn: [echo], target: "{unix}", allow: [{cn: alice}]}
    - {name: open, alpn: [open], target: "{unix}", client_cert: none, unsafe_anyone: yes}
    - {name: db, sni: [db.test], protocol: postgres, target: "{unix}", allow: [{cn: alice}]}
    - {name: v1, alpn: [v1], target: "{unix}", allow: [{cn: alice}], send_proxy: v1}
    - {name: v2, alpn: [v2], target: "{unix}", allow: [{cn: alice}], send_proxy: v2}
"""

SSL_REQUEST = bytes.fromhex("0000000804d2162f")
GSSENC_REQUEST = bytes.fromhex("0000000804d21630")


class DispatcherCase(SynchronousTestCase):
    """A rig with the routes above."""

    extra = ""
    bridged = False

    def setUp(self) -> None:
        """Build the gateway."""
        self.rig = Rig(ROUTES, extra=self.extra, bridged=self.bridged)
        self.addCleanup(self.rig.close)

    def refused(self) -> object:
        """The reason of the last refusal."""
        self.rig.settle()
        self.rig.advance(2.5)  # as long as the refused socket may linger
        return self.rig.journal[-1]["cause"]


class ChoiceTests(DispatcherCase):
    """One choice, confirmed, and nothing is built before it."""

    def test_token_is_confirmed(self) -> None:
        """The chosen token, and only it, comes back in the handshake."""
        client = self.rig.secure(alpn=(b"nonsense", b"echo")).shake()
        self.assertEqual(client.tls.get_alpn_proto_negotiated(), b"echo")
        self.rig.accept()
        self.assertEqual(self.rig.journal, [])

    def test_no_dial_before_the_certificate(self) -> None:
        """A client without a certificate reaches no target, not even as a connection."""
        client = self.rig.secure(alpn=(b"echo",), cert=None)
        self.assertIn("certificate required", client.alert())
        with self.assertRaises(BlockingIOError):
            self.rig.listening.accept()
        self.assertEqual(self.refused(), "no_certificate")

    def test_alerts(self) -> None:
        """No, an expired, a foreign and a host's certificate end with their own alert."""
        for version, wanted in (
            (SSL.TLS1_3_VERSION, "certificate required"),
            (SSL.TLS1_2_VERSION, "handshake failure"),
        ):
            for cert, alert in (
                (None, wanted),
                ("expired", "certificate expired"),
                ("mallory", "unknown ca"),
                ("host", "unsupported certificate"),
            ):
                client = self.rig.secure(alpn=(b"echo",), cert=cert, version=version)
                self.assertIn(alert, client.alert(), f"{cert} {version}")
        with self.assertRaises(BlockingIOError):
            self.rig.listening.accept()

    def test_alert_arrives_behind_early_bytes(self) -> None:
        """Bytes that the client wrote at once do not cost it the alert."""
        for size in (0, 100, 20_000):
            client = self.rig.secure(alpn=(b"echo",), cert="expired").shake()
            with contextlib.suppress(SSL.WantWriteError):
                client.tls.send(bytes(size) or b"x")
            self.assertIn("certificate expired", client.alert())

    def test_denied(self) -> None:
        """A good certificate that no rule names gets nothing, in order."""
        client = self.rig.secure(alpn=(b"echo",), cert="bob").shake()
        self.assertEqual(client.read_end(), b"")
        self.assertEqual(self.refused(), "denied")

    def test_no_common_protocol(self) -> None:
        """An unknown token ends with alert 120, before there is a TLS object."""
        client = self.rig.secure(alpn=(b"nonsense",))
        self.assertIn("no application protocol", client.alert())
        self.assertEqual(self.refused(), "no_route")

    def test_every_split_of_the_hello(self) -> None:
        """However the network cuts it, the hello leads to the same route."""
        wire = hello()
        for at in [*range(1, 60), *range(60, len(wire), 37)]:
            sock = self.rig.connect()
            sock.send(wire[:at])
            self.rig.settle()
            sock.send(wire[at:])
            self.rig.settle()
            self.assertEqual(sock.recv(5)[:1], b"\x16")
            sock.close()
            self.rig.settle()


class OpeningTests(DispatcherCase):
    """Protocols that open before TLS."""

    def test_ssl_request(self) -> None:
        """SSLRequest is answered S, and what follows is routed among postgres routes."""
        sock = self.rig.connect()
        for request in (GSSENC_REQUEST, SSL_REQUEST):
            sock.send(request)
            answer = read_some(self.rig, sock, 1)
        self.assertEqual(answer, b"S")
        client = Client(
            self.rig, sock, alpn=(), name="db.test", cert="alice", version=SSL.TLS1_3_VERSION
        ).shake()
        target = self.rig.accept()
        client.write(b"startup")
        self.assertEqual(read_some(self.rig, target, 7), b"startup")

    def test_s45_bytes_before_the_answer(self) -> None:
        """What is glued to SSLRequest is not under TLS, and ends the connection."""
        sock = self.rig.connect()
        sock.send(SSL_REQUEST + hello())
        self.rig.settle()
        self.assertEqual(self.refused(), "bad_bytes")

    def test_s46_silence_after_each_prelude(self) -> None:
        """The one deadline covers every prelude: nobody gets more time by saying a little."""
        for first in (b"", SSL_REQUEST[:3], SSL_REQUEST, GSSENC_REQUEST):
            sock = self.rig.connect()
            if first:
                sock.send(first)
            self.rig.settle()
            self.rig.advance(5.5)
            self.assertEqual(self.rig.gateway.connections(), [])
            sock.close()


class ProxyTests(DispatcherCase):
    """PROXY headers: mandatory where they are on, and from trusted peers only."""

    extra = '  proxy_protocol: {mode: "on", trusted: [192.0.2.0/24]}'

    def test_both_versions(self) -> None:
        """The client's address is the header's, the hello behind it is not touched."""
        for make in (write_v1, write_v2):
            header = make(("203.0.113.9", 1234), ("198.51.100.1", 443))
            client = self.rig.secure(alpn=(b"open",), before=header).shake()
            target = self.rig.accept()
            client.write(b"x")
            read_some(self.rig, target, 1)
            self.assertEqual(self.rig.gateway.connections()[-1]["peer"], "203.0.113.9:1234")

    def test_every_split(self) -> None:
        """A header that comes in pieces is read whole."""
        header = write_v2(("203.0.113.9", 1234), ("198.51.100.1", 443))
        wire = header + hello()
        for at in range(1, len(header) + 6):
            sock = self.rig.connect()
            sock.send(wire[:at])
            self.rig.settle()
            sock.send(wire[at:])
            self.assertEqual(read_some(self.rig, sock, 1), b"\x16")
            sock.close()
            self.rig.settle()

    def test_s17_missing_or_untrusted(self) -> None:
        """Without a header, or from elsewhere, there is no connection; the log has the peer."""
        sock = self.rig.connect()
        sock.send(hello())
        self.rig.settle()
        self.assertEqual(self.refused(), "bad_proxy_header")
        stranger = IPv4Address("TCP", "198.18.0.1", 1)
        sock = self.rig.connect(peer=stranger)
        with contextlib.suppress(BrokenPipeError):  # it may be gone already
            sock.send(write_v1(("203.0.113.9", 1234), ("198.51.100.1", 443)) + hello())
        self.assertEqual(self.refused(), "bad_proxy_header")
        self.assertEqual(self.rig.journal[-1]["peer"], "198.18.0.1:1")

    def test_unix_peers_are_trusted(self) -> None:
        """Who reaches the UNIX socket has been let in by the file's mode."""
        client_header = write_v1(("203.0.113.9", 1234), ("198.51.100.1", 443))
        client = self.rig.secure(
            alpn=(b"open",), before=client_header, peer=UNIXAddress(None)
        ).shake()
        self.rig.accept()
        self.assertTrue(client)


class SendProxyTests(DispatcherCase):
    """The target learns who the client is."""

    def test_header_comes_first(self) -> None:
        """PROXY v1 and v2 are written before the client's bytes."""
        for token, make in ((b"v1", write_v1), (b"v2", write_v2)):
            client = self.rig.secure(alpn=(token,)).shake()
            target = self.rig.accept()
            wanted = make(("192.0.2.7", 4711), (GATE.host, GATE.port))
            self.assertEqual(read_some(self.rig, target, len(wanted)), wanted)
            client.write(b"then")
            self.assertEqual(read_some(self.rig, target, 4), b"then")


class LimitTests(DispatcherCase):
    """Limits count addresses until a connection is authenticated."""

    extra = "  limits: {connections: 6, unauthenticated: 4, unauthenticated_per_address: 2}"

    def test_per_address(self) -> None:
        """The third silent socket of one address is closed; another address is served."""
        socks = [self.rig.connect() for _ in range(3)]
        self.rig.settle()
        self.assertEqual(len(self.rig.gateway.connections()), 2)
        self.assertEqual(self.refused(), "limit")
        self.rig.connect(peer=IPv4Address("TCP", "192.0.2.8", 1))
        self.assertEqual(len(self.rig.gateway.connections()), 3)
        self.assertTrue(socks)

    def test_authenticated_do_not_count(self) -> None:
        """Users behind one address come in one after another, as many as there are."""
        for _ in range(5):
            self.rig.secure(alpn=(b"echo",)).shake()
            self.rig.accept()
        self.assertEqual(len(self.rig.gateway.connections()), 5)

    def test_whole_process(self) -> None:
        """Over `connections` nobody comes in, authenticated or not."""
        for _ in range(6):
            self.rig.secure(alpn=(b"echo",)).shake()
            self.rig.accept()
        self.rig.connect()
        self.assertEqual(self.refused(), "limit")
        self.assertEqual(len(self.rig.gateway.connections()), 6)


class ListenerLimitTests(DispatcherCase):
    """A listener's own limits take the place of the process's."""

    extra = (
        "  limits: {unauthenticated_per_address: 2}\n"
        "  listeners: {web: {limits: {unauthenticated_per_address: 3}}}"
    )

    def test_per_address(self) -> None:
        """The fourth silent socket of one address is closed; an ended one makes room."""
        socks = [self.rig.connect() for _ in range(4)]
        self.rig.settle()
        self.assertEqual(len(self.rig.gateway.connections()), 3)
        self.assertEqual(self.refused(), "limit")
        socks[0].close()
        self.rig.settle()
        self.rig.connect()
        self.rig.settle()
        self.assertEqual(len(self.rig.gateway.connections()), 3)


class TargetTests(SynchronousTestCase):
    """Targets that do not answer."""

    def test_refused(self) -> None:
        """A target that is not there ends the connection in order, and the line says it."""
        rig = Rig(
            '[{name: gone, alpn: [gone], target: "unix:/nonexistent/x", allow: [{cn: alice}]}]'
        )
        self.addCleanup(rig.close)
        client = rig.secure(alpn=(b"gone",)).shake()
        self.assertEqual(client.read_end(), b"")
        rig.advance(2.5)
        line = rig.journal[-1]
        self.assertEqual((line["cause"], line["fault"]), ("target_refused", "target"))


def hello() -> bytes:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_alpn_protos([b"open"])
    connection = SSL.Connection(context, None)
    connection.set_tlsext_host_name(b"gw.test")
    connection.set_connect_state()
    with contextlib.suppress(SSL.WantReadError):
        connection.do_handshake()
    return connection.bio_read(65536)
