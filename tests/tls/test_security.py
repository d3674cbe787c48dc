"""The rules S01 to S15 as far as TLS itself keeps them; each has a test of its name.

What the dispatcher adds to them (refusals before TLS, deadlines) is tested with it.

They stand in one file so that a reader finds every number in its order.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from OpenSSL._util import ffi, lib
from twisted.trial.unittest import SynchronousTestCase

from tests.support import der
from tests.support.certs import pki
from tests.support.handshake import (
    VERSIONS,
    Wire,
    alert_of,
    client_context,
    client_end,
    server_end,
    shake,
)
from tlsgate.core.routing import CertRule
from tlsgate.core.tokens import best_common
from tlsgate.errors import BadCertificate, GateError, HandshakeFailed, NoCertificate
from tlsgate.tls import binding, verify
from tlsgate.tls.authority import Pair
from tlsgate.tls.certs import CertificateStore
from tlsgate.tls.contexts import ContextStore, TlsPolicy

TOKENS = (
    b"http/1.1",
    b"h2",
    b"tlsgate-auth",
    b"tlsgate-join",
    b"tlsgate-reversetunnel",
    b"tlsgate-ssh",
    b"tlsgate-postgres",
    b"postgresql",
    b"tlsgate-kube",
    b"acme-tls/1",
)


def store() -> ContextStore:
    """Two certificates, gw.test and b.test."""
    certs = pki()
    return ContextStore(CertificateStore.load([certs.keypair("server"), certs.keypair("server-b")]))


def policy(rule: CertRule) -> TlsPolicy:
    """The rule over the test CA."""
    return TlsPolicy(rule, (os.fspath(pki().file("ca.pem")),))


def records(flight: bytes) -> list[bytes]:
    """The bodies of TLS records."""
    bodies = []
    while flight:
        length = int.from_bytes(flight[3:5], "big")
        bodies.append(flight[5 : 5 + length])
        flight = flight[5 + length :]
    return bodies


def extensions(hello_flight: bytes) -> set[int]:
    """The extension numbers of the ClientHello that opens *hello_flight*."""
    body = records(hello_flight)[0]
    at = 4 + 2 + 32
    at += 1 + body[at]
    at += 2 + int.from_bytes(body[at : at + 2], "big")
    at += 1 + body[at]
    at += 2
    found = set()
    while at < len(body):
        found.add(int.from_bytes(body[at : at + 2], "big"))
        at += 4 + int.from_bytes(body[at + 2 : at + 4], "big")
    return found


class AlpnTests(SynchronousTestCase):
    """S01 and S02: exactly the chosen token is confirmed."""

    def test_s01_only_the_chosen_token(self) -> None:
        """S01: each chosen token against each that is offered: alert 120 off the diagonal."""
        context = store().server(TlsPolicy(CertRule.NONE), None)
        for chosen, offered in itertools.product(TOKENS, TOKENS):
            for version in VERSIONS:
                client = client_context(version=version, alpn=(offered,))
                wire = shake(client, context, chosen)
                case = (chosen, offered, version)
                expected = None if chosen == offered else 120
                self.assertEqual((case, wire.alert), (case, expected))
                self.assertEqual((case, wire.done), (case, expected is None))

    def test_s01_the_alert_is_in_the_clear(self) -> None:
        """S01: the refusal is a plaintext alert 120, for clients and scanners to read."""
        context = store().server(TlsPolicy(CertRule.NONE), None)
        for version in VERSIONS:
            wire = shake(client_context(version=version, alpn=(b"smtp",)), context, b"h2")
            self.assertEqual(alert_of(wire.to_client), 120)

    def test_s01_nothing_chosen_confirms_nothing(self) -> None:
        """S01: without a chosen token the handshake goes on without ALPN."""
        context = store().server(TlsPolicy(CertRule.NONE), None)
        wire = shake(client_context(alpn=TOKENS), context, None)
        self.assertTrue(wire.done)
        self.assertEqual(wire.client.get_alpn_proto_negotiated(), b"")

    def test_s02_negotiated_is_chosen(self) -> None:
        """S02: whatever is offered in whatever order, the chosen token is the negotiated one."""
        context = store().server(TlsPolicy(CertRule.NONE), None)
        ours = (b"tlsgate-ssh", b"h2", b"http/1.1")
        theirs = (b"http/1.1", b"x-unknown", b"h2", b"tlsgate-ssh", b"tlsgate-kube")
        for count in (2, 3, 4):
            for offered in itertools.permutations(theirs, count):
                token = best_common(ours, offered)
                wire = shake(client_context(alpn=offered), context, token)
                self.assertTrue(wire.done)
                self.assertEqual(wire.server.get_alpn_proto_negotiated(), token or b"")
                self.assertEqual(wire.client.get_alpn_proto_negotiated(), token or b"")

    def test_s02_no_offer_and_a_chosen_token(self) -> None:
        """S02: where OpenSSL never asks us, `recheck` sees that nothing was confirmed."""
        context = store().server(TlsPolicy(CertRule.NONE), None)
        wire = shake(client_context(), context, b"tlsgate-ssh")
        self.assertTrue(wire.done)
        self.assertRaises(HandshakeFailed, recheck, wire, CertRule.NONE, b"tlsgate-ssh")


class FragmentTests(SynchronousTestCase):
    """S03: the cut of a hello changes nothing."""

    def test_s03_records_of_any_size(self) -> None:
        """S03: OpenSSL reads name and offers alike from records of 1 to 200 bytes."""
        context = store().server(policy(CertRule.REQUIRED), None)
        for version in VERSIONS:
            for size in (1, 2, 5, 64, 200):
                for piece in (None, 1, 7):
                    wire = self.recut(context, version, size, piece)
                    self.assertTrue(wire.done)
                    self.assertEqual(wire.server.get_servername(), b"gw.test")
                    self.assertEqual(wire.server.get_alpn_proto_negotiated(), b"x")

    def recut(self, context: SSL.Context, version: int, size: int, piece: int | None) -> Wire:
        """Deliver a hello in records of *size* bytes and segments of *piece*."""
        client = client_end(client_context(pki().alice, version=version, alpn=(b"y", b"x")))
        server = server_end(context, b"x")
        self.assertRaises(SSL.WantReadError, client.do_handshake)
        body = b"".join(records(client.bio_read(65536)))
        flight = b"".join(
            b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part
            for part in (body[at : at + size] for at in range(0, len(body), size))
        )
        step = piece or len(flight)
        for at in range(0, len(flight), step):
            server.bio_write(flight[at : at + step])
            self.assertRaises(SSL.WantReadError, server.do_handshake)
        return Wire(client, server).handshake()


def recheck(
    wire: Wire, rule: CertRule, token: bytes | None = None, name: str = "gw.test"
) -> object:
    """What `verify.recheck` makes of the server's side."""
    return verify.recheck(wire.server, rule=rule, token=token, server_name=name, route="r")


class PolicyTests(SynchronousTestCase):
    """S06: nothing lowers the rule of a policy."""

    def test_s06_no_name_lowers_the_rule(self) -> None:
        """S06: a client without certificate is refused under every name and offer."""
        contexts = store()
        for name, alpn, version in itertools.product(
            ("gw.test", "b.test", "unknown.test", None), ((), (b"x",)), VERSIONS
        ):
            context = contexts.server(policy(CertRule.REQUIRED), name)
            client = client_end(client_context(version=version, alpn=alpn), name)
            wire = Wire(client, server_end(context, b"x" if alpn else None)).handshake()
            self.assertFalse(wire.done)
            self.assertEqual(wire.alert, 40 if version == SSL.TLS1_2_VERSION else 116)

    def test_s06_app_data_that_was_forgotten(self) -> None:
        """S06: a connection without its app data is refused, never waved through."""
        context = store().server(TlsPolicy(CertRule.NONE), None)
        server = SSL.Connection(context, None)
        server.set_accept_state()
        wire = Wire(client_end(client_context(alpn=(b"h2",))), server).handshake()
        self.assertEqual((wire.done, wire.alert), (False, 120))

    def test_s06_a_callback_that_raises_refuses(self) -> None:
        """S06: an error of ours while a certificate is read is a refusal, and is logged."""

        def broken(_der: bytes) -> object:
            raise RuntimeError("a bug")

        for private in (True, False):
            self.patch(binding, "PRIVATE", private)
            self.patch(verify, "judge_leaf", broken)
            for version in VERSIONS:
                context = store().server(policy(CertRule.OPTIONAL), None)
                wire = shake(client_context(pki().alice, version=version), context)
                self.assertFalse(wire.done)
                self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_s06_recheck(self) -> None:
        """S06: a context that lost its verify mode is found out after the handshake."""
        open_context = store().server(TlsPolicy(CertRule.NONE), None)
        lost = shake(client_context(pki().alice), open_context)
        self.assertTrue(lost.done)
        error = self.assertRaises(NoCertificate, recheck, lost, CertRule.REQUIRED)
        self.assertEqual(str(error), "route r needs a client certificate")

    def test_s06_a_foreign_context_gives_no_identity(self) -> None:
        """S06: a certificate that another context took, without our callback, names nobody."""
        lax = SSL.Context(SSL.TLS_SERVER_METHOD)
        lax.use_certificate_chain_file(os.fspath(pki().file("server.pem")))
        lax.use_privatekey_file(os.fspath(pki().file("server-key.pem")))
        lax.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        wire = shake(client_context(pki().mallory), lax)
        self.assertTrue(wire.done)
        self.assertIsNone(verify.identity_of(wire.server))
        self.assertRaises(NoCertificate, recheck, wire, CertRule.REQUIRED)

    def test_s06_the_name_is_the_one_that_was_routed_by(self) -> None:
        """S06: `recheck` compares OpenSSL's reading of the name with ours (F3)."""
        context = store().server(policy(CertRule.REQUIRED), None)
        for sent, name, same in (
            ("gw.test", "gw.test", True),
            ("GW.Test.", "gw.test", True),
            ("gw.test", "b.test", False),
            (None, "gw.test", False),
        ):
            client = client_end(client_context(pki().alice), sent)
            wire = Wire(client, server_end(context)).handshake()
            if same:
                identity = recheck(wire, CertRule.REQUIRED, name=name)
                self.assertEqual(getattr(identity, "name", None), "alice")
            else:
                self.assertRaises(HandshakeFailed, recheck, wire, CertRule.REQUIRED, name=name)


class ResumptionTests(SynchronousTestCase):
    """S07: no session is ever resumed, whatever is presented where."""

    def session(self, client: SSL.Context, server: SSL.Context, name: str) -> SSL.Session | None:
        """A handshake's session as the client keeps it, its tickets read."""
        wire = Wire(client_end(client, name), server_end(server)).handshake()
        if not wire.done:
            return None
        wire.deliver()
        session = wire.client.get_session()
        for side in (wire.client, wire.server):
            # OpenSSL spoils the session of a connection that is freed without its end.
            side.set_shutdown(SSL.SENT_SHUTDOWN | SSL.RECEIVED_SHUTDOWN)
        return session

    def present(
        self, client: SSL.Context, server: SSL.Context, name: str, session: SSL.Session
    ) -> Wire:
        """A handshake in which the client presents *session*."""
        end = client_end(client, name)
        end.set_session(session)
        return Wire(end, server_end(server)).handshake()

    def test_s07_every_ticket_under_every_name(self) -> None:
        """S07: tickets of each policy, shown to each policy, name and restart: never reused."""
        certs = pki()
        first, restarted = store(), store()
        rotated = TlsPolicy(CertRule.REQUIRED, (os.fspath(certs.file("other-ca.pem")),))
        places = [
            (contexts.server(rule, name), name, rule)
            for contexts in (first, restarted)
            for rule in (*map(policy, CertRule), rotated)
            for name in ("gw.test", "b.test")
        ]
        presented = 0
        for version, pair in itertools.product(VERSIONS, (None, certs.alice)):
            client = client_context(pair, version=version)
            for issuing, name, _ in places:
                session = self.session(client, issuing, name)
                if session is None:
                    continue
                for context, elsewhere, rule in places:
                    wire = self.present(client, context, elsewhere, session)
                    self.assertFalse(binding.resumed(wire.server))
                    self.assertFalse(binding.resumed(wire.client))
                    plain = Wire(client_end(client, elsewhere), server_end(context)).handshake()
                    self.assertEqual((wire.done, wire.alert), (plain.done, plain.alert))
                    taken = rule.client_cert is not CertRule.REQUIRED or (
                        pair is not None and rule is not rotated
                    )
                    self.assertEqual(wire.done, taken)
                    presented += 41 in extensions(wire.to_server)  # pre_shared_key
        self.assertGreater(presented, 300)

    def test_s07_this_test_can_fail(self) -> None:
        """S07: the same steps against stock contexts do resume, so the test above has teeth."""
        for version in VERSIONS:
            client = client_context(pki().alice, version=version)
            stock = stock_context()
            session = self.session(client, stock, "gw.test")
            assert session is not None
            wire = self.present(client, stock, "gw.test", session)
            self.assertTrue(binding.resumed(wire.server))
            self.assertRaises(HandshakeFailed, recheck, wire, CertRule.REQUIRED)

    def test_s07_tls12_hands_out_nothing(self) -> None:
        """S07: in TLS 1.2 there is neither a session id nor a ticket."""
        context = store().server(policy(CertRule.REQUIRED), None)
        wire = shake(client_context(pki().alice, version=SSL.TLS1_2_VERSION), context)
        messages = b"".join(records(wire.to_client)[:1])
        self.assertEqual(messages[0], 2)  # ServerHello
        self.assertEqual(messages[4 + 2 + 32], 0)  # the length of its session id
        kinds, at = [], 0
        clear = b"".join(records(wire.to_client.partition(b"\x14\x03\x03")[0]))
        while at < len(clear):
            kinds.append(clear[at])
            at += 4 + int.from_bytes(clear[at + 1 : at + 4], "big")
        self.assertNotIn(4, kinds)  # NewSessionTicket


def stock_context() -> SSL.Context:
    """A server as pyOpenSSL makes it: tickets, cache, and a demand for a certificate."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate_chain_file(os.fspath(pki().file("server.pem")))
    context.use_privatekey_file(os.fspath(pki().file("server-key.pem")))
    context.load_verify_locations(os.fspath(pki().file("ca.pem")))
    context.set_verify(SSL.VERIFY_PEER)
    context.set_session_id(b"stock")
    lib.SSL_CTX_set_max_early_data(context._context, 16384)
    return context


class HandshakeOnceTests(SynchronousTestCase):
    """S12 and S13: one handshake, and no data before it."""

    def test_s12_no_renegotiation(self) -> None:
        """S12: a TLS 1.2 client that renegotiates is told that nobody does."""
        context = store().server(policy(CertRule.REQUIRED), None)
        wire = shake(client_context(pki().alice, version=SSL.TLS1_2_VERSION), context)
        self.assertTrue(wire.done)
        self.assertEqual(wire.say(b"one"), b"one")
        errors: list[str] = []
        self.assertTrue(wire.client.renegotiate())
        for _ in range(4):
            for side in (wire.client, wire.server):
                try:
                    side.do_handshake() if side is wire.client else side.recv(100)
                except SSL.WantReadError:
                    pass
                except SSL.Error as error:
                    errors.append(str(error))
            wire._carry(wire.client, wire.server, None)
            wire._carry(wire.server, wire.client, None)
        self.assertIn("no renegotiation", errors[0])
        # Nor may the server begin one; its own option says so, not only OpenSSL's default.
        self.assertRaises(SSL.Error, wire.server.renegotiate)
        self.assertEqual(wire.server.total_renegotiations(), 0)

    def test_s12_no_certificate_is_asked_for_later(self) -> None:
        """S12: nor does a TLS 1.3 server ask again: the context has no such mode."""
        context = store().server(policy(CertRule.OPTIONAL), None)
        self.assertEqual(context.get_verify_mode(), SSL.VERIFY_PEER)

    def test_s13_no_early_data_is_offered(self) -> None:
        """S13: no ticket of ours allows a byte of early data."""
        for rule in CertRule:
            context = store().server(policy(rule), None)
            wire = shake(client_context(pki().alice, version=SSL.TLS1_3_VERSION), context)
            wire.deliver()
            session = wire.client.get_session()
            assert session is not None
            self.assertEqual(lib.SSL_SESSION_get_max_early_data(session._session), 0)

    def test_s13_early_data_is_dropped(self) -> None:
        """S13: early data under a ticket of a laxer server never reaches the reader."""
        client = client_context(pki().alice, version=SSL.TLS1_3_VERSION)
        lax = Wire(client_end(client), server_end(stock_context())).handshake()
        lax.deliver()
        session = lax.client.get_session()
        assert session is not None
        self.assertGreater(lib.SSL_SESSION_get_max_early_data(session._session), 0)
        end = client_end(client)
        end.set_session(session)
        written = ffi.new("size_t *")
        early = b"GET /pay HTTP/1.1\r\n\r\n"
        sent = lib.SSL_write_early_data(end._ssl, early, len(early), written)
        self.assertEqual((sent, written[0]), (1, len(early)))
        wire = Wire(end, server_end(store().server(policy(CertRule.REQUIRED), None))).handshake()
        self.assertTrue(wire.done)
        self.assertRaises(SSL.WantReadError, wire.server.recv, 100)
        self.assertEqual(wire.say(b"after"), b"after")


class CostTests(SynchronousTestCase):
    """S15: what a client's certificates may cost."""

    #: CPU seconds of the server's side; the machine that measures may be busy.
    LIMIT = 0.020

    def big_key(self) -> object:
        """An RSA key of 8192 bits; see the file."""
        file = Path(__file__).parents[1] / "vectors" / "keys" / "rsa-8192.pem"
        return load_pem_private_key(file.read_bytes(), None, unsafe_skip_rsa_key_validation=True)

    def refuse(self, pair: Pair, tries: int = 3) -> list[GateError | int | None]:
        """How *pair* is refused in TLS 1.2 and 1.3, and within the limit."""
        outcome: list[GateError | int | None] = []
        for version in VERSIONS:
            context = store().server(policy(CertRule.OPTIONAL), None)
            client = client_context(pair, version=version)
            cheapest = 9.0
            for _ in range(tries):
                wire = shake(client, context)
                cheapest = min(cheapest, wire.server_cpu_seconds)
            self.assertLess(cheapest, self.LIMIT)
            if wire.done:
                outcome.append(self.assertRaises(BadCertificate, verify.identity_of, wire.server))
            else:
                outcome.append(wire.alert)
        return outcome

    def test_s15_rsa_of_8192_bits(self) -> None:
        """S15: a leaf, and an issuer, with an RSA key over 4096 bits is refused with alert 42."""
        certs = pki()
        key = self.big_key()
        leaf = der.certificate(certs.ca, key=key)
        # The client's signature costs a third of a second: one try each.
        self.assertEqual(self.refuse(leaf, 1), [42, 42])
        above = der.certificate(
            certs.ca,
            key=key,
            subject=der.name((der.COMMON_NAME, der.UTF8, b"big")),
            extensions=(der.basic(ca=True),),
        )
        big_ca = type(certs.ca).load(*self.files(above))
        below = der.certificate(big_ca, algorithm=der.RSA_SHA256)
        self.assertEqual(
            self.refuse(Pair(below.cert_pem + above.cert_pem, below.key_pem)), [42, 42]
        )

    def files(self, pair: Pair) -> tuple[Path, Path]:
        """Write *pair*."""
        folder = Path(self.mktemp())
        folder.mkdir()
        pair.write(folder / "cert.pem", folder / "key.pem")
        return folder / "cert.pem", folder / "key.pem"

    def test_s15_long_chains(self) -> None:
        """S15: a client may send 8 certificates, not 9 and not 100."""
        certs = pki()
        stuffing = b"".join(
            certs.ca.intermediate(f"number {number}").chain_pem for number in range(99)
        )
        step = len(stuffing) // 99
        for count, taken in ((8, True), (9, False), (100, False)):
            parts = stuffing.split(b"-----END CERTIFICATE-----\n")[: count - 1]
            chain = b"".join(part + b"-----END CERTIFICATE-----\n" for part in parts)
            self.assertGreater(len(chain), (count - 2) * step // 2)
            pair = Pair(certs.alice.cert_pem + chain, certs.alice.key_pem)
            if taken:
                context = store().server(policy(CertRule.OPTIONAL), None)
                wire = shake(client_context(pair), context)
                self.assertEqual(binding.peer_certificates(wire.server), count)
                self.assertIsNotNone(verify.identity_of(wire.server))
            else:
                for error in self.refuse(pair):
                    self.assertIn("certificates came, 8 are allowed", str(error))

    def test_s15_a_certificate_message_over_100_kib(self) -> None:
        """S15: OpenSSL does not even read a certificate message over 100 KiB."""
        names = der.san(*((2, b"n%05d.test" % number) for number in range(9000)))
        huge = der.certificate(pki().ca, extensions=(der.basic(ca=False), names))
        self.assertEqual(self.refuse(huge), [47, 47])

    def test_s15_curves_by_number(self) -> None:
        """S15: a curve that is given by its numbers is refused (CVE-2022-0778)."""
        self.assertEqual(self.refuse(explicit_curve_pair()), [42, 42])

    def test_s15_no_growth(self) -> None:
        """S15: refusing 400 expensive clients leaves no memory behind."""
        names = der.san(*((2, b"n%05d.test" % number) for number in range(4000)))
        pairs = (
            der.certificate(pki().ca, extensions=(der.basic(ca=False), names)),
            explicit_curve_pair(),
            pki().mallory,
        )
        context = store().server(policy(CertRule.REQUIRED), None)
        clients = [client_context(pair) for pair in pairs]

        def rounds(count: int) -> int:
            for _ in range(count):
                for client in clients:
                    self.assertFalse(shake(client, context).done)
            return int(Path("/proc/self/statm").read_text().split()[1]) * 4

        before = rounds(40)
        self.assertLess(rounds(95) - before, 8192)  # KiB


def explicit_curve_pair() -> Pair:
    """A client's certificate and key whose curve has no name."""
    key = pki().other_ca.key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    pair = der.certificate(pki().ca, key=key, public=der.explicit_p256(key))
    # OpenSSL compares the forms, so the key has to give its curve the same way.
    return Pair(pair.cert_pem, der.explicit_key_pem(key))
