"""Tests of what each protocol says when it refuses: in its own words, and not too much."""

from __future__ import annotations

import json
from struct import pack, unpack_from

from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.web.clients import answers
from tlsgate import registry
from tlsgate.core.sniff import Opening, Then, sniff
from tlsgate.core.wire import mysql, postgres, ssh
from tlsgate.errors import (
    CannotListen,
    Denied,
    Draining,
    GateError,
    NoCertificate,
    NoRoute,
    NotServed,
    TargetRefused,
    TargetSilent,
    TooLate,
    TooMany,
    UnknownOpening,
)
from tlsgate.interfaces import RelayTo
from tlsgate.protocols.lastword import HEAD_LIMIT_BYTES
from tlsgate.protocols.words import SENTENCE_LIMIT, told
from tlsgate.testing import Conversation, FakeContext, connect, route

PROTOCOLS = registry.load(None).protocols

#: One of each kind that a protocol may have to put in words.
ERRORS: tuple[GateError, ...] = (
    Denied("db", "bob", "no rule names this certificate"),
    NoCertificate("db"),
    NotServed("x", "use something else"),
    NoRoute("web", "n\u00e4me\r\nX: y", (b"\xff\r\n",)),
    UnknownOpening("web", b"\r\n\r\n"),
    TooMany("connections", 3),
    TooLate("opening_seconds", 10),
    Draining(),
    TargetRefused("tcp:10.0.0.5:5432", "connection refused"),
    TargetSilent("tcp:10.0.0.5:5432", 5),
    CannotListen("web", "tcp:1", "hunter2"),
    GateError(),
)


class ToldTests(SynchronousTestCase):
    """Tests for `words.told`."""

    def test_clients_faults_are_told(self) -> None:
        """What a client can change it is told whole."""
        self.assertEqual(
            told(Denied("db", "bob", "no rule names this certificate")),
            "'bob' may not use route db: no rule names this certificate",
        )

    def test_targets_are_not_named(self) -> None:
        """Where a target is, and why it fails, is none of a client's business."""
        self.assertEqual(
            [told(error) for error in ERRORS[8:10]],
            [
                "the server behind this gateway cannot be reached",
                "the server behind this gateway does not answer",
            ],
        )

    def test_own_faults_are_not_told(self) -> None:
        """Of a fault of the gateway or its operator a client learns nothing."""
        for error in ERRORS[10:]:
            self.assertEqual(told(error), "the gateway failed; its log says why")

    def test_bounded(self) -> None:
        """However long the fault, the sentence is short."""
        self.assertEqual(len(told(Denied("db", "b" * 100_000, "x"))), SENTENCE_LIMIT)


class EveryTests(SynchronousTestCase):
    """What holds for every protocol."""

    def test_never_fails(self) -> None:
        """Every protocol can say every error, and never gives a secret or an address away."""
        for name, protocol in PROTOCOLS.items():
            for error in ERRORS:
                words = protocol.refusal(error)
                self.assertIsInstance(words, bytes, (name, error))
                for hidden in (b"10.0.0.5", b"hunter2", b"X: y\r\n"):
                    self.assertNotIn(hidden, words, (name, error))

    def test_advice(self) -> None:
        """A protocol with a port of its own that is not built says what to do instead."""
        for name, protocol in PROTOCOLS.items():
            if protocol.listener is not None and name != "web":
                self.assertIn("not part of this release; ", protocol.advice, name)

    def test_routes_are_relayed(self) -> None:
        """A static route with any protocol but the web's leads to its target."""
        for name, protocol in PROTOCOLS.items():
            if name != "web":
                taken = route(protocol=name, target="tcp:127.0.0.1:1")
                self.assertEqual(
                    protocol.build(FakeContext(route=taken)), RelayTo(target="tcp:127.0.0.1:1")
                )

    def test_no_settings(self) -> None:
        """A key under a built-in protocol that has none is refused with a sentence."""
        for name in ("raw", "ssh", "postgres"):
            error = self.assertRaises(ValueError, PROTOCOLS[name].settings, {"colour": 1})
            self.assertEqual(str(error), f"colour is not a setting of {name}; it takes none")
            self.assertIsNone(PROTOCOLS[name].settings({}))

    def test_ports(self) -> None:
        """The separate ports are those that Teleport's users know."""
        specs = [one.listener for one in PROTOCOLS.values() if one.listener is not None]
        self.assertEqual(
            {spec.key: (spec.port, sorted(spec.versions), spec.public_key) for spec in specs},
            {
                "web_listen_addr": (3080, ["v1", "v2", "v3"], "public_addr"),
                "listen_addr": (3023, ["v1"], "ssh_public_addr"),
                "tunnel_listen_addr": (3024, ["v1"], "tunnel_public_addr"),
                "kube_listen_addr": (3026, [], "kube_public_addr"),
                "mysql_listen_addr": (3036, [], "mysql_public_addr"),
                "postgres_listen_addr": (5432, [], "postgres_public_addr"),
                "mongo_listen_addr": (27017, [], "mongo_public_addr"),
            },
        )


def unserved(name: str) -> GateError:
    """What a protocol's own port refuses with while nobody has routed it."""
    return NotServed(name, PROTOCOLS[name].advice)


class OwnPortTests(SynchronousTestCase):
    """What each separate port says while its protocol is not built."""

    def test_ssh(self) -> None:
        """The SSH port speaks first: a disconnect with the sentence."""
        protocol = PROTOCOLS["ssh"]
        assert protocol.listener is not None
        self.assertTrue(protocol.listener.speaks_first)
        error = unserved("ssh")
        self.assertEqual(protocol.refusal(error), ssh.disconnect(str(error)[:SENTENCE_LIMIT]))

    def test_mysql(self) -> None:
        """The MySQL port speaks first: an ERR packet in the greeting's place."""
        protocol = PROTOCOLS["mysql"]
        assert protocol.listener is not None
        self.assertTrue(protocol.listener.speaks_first)
        error = unserved("mysql")
        self.assertEqual(protocol.refusal(error), mysql.err_packet(str(error)))

    def test_postgres(self) -> None:
        """The PostgreSQL port answers with an ErrorResponse of its state."""
        error = unserved("postgres")
        self.assertEqual(
            PROTOCOLS["postgres"].refusal(error), postgres.error_response("0A000", str(error))
        )

    def test_postgres_in_the_clear(self) -> None:
        """A start-up without TLS is told that TLS is wanted."""
        self.assertEqual(
            PROTOCOLS["postgres"].refusal(NoRoute("web", None, ())),
            postgres.error_response(
                "28000", "this gateway takes PostgreSQL under TLS only; use sslmode=verify-full"
            ),
        )

    def test_postgres_states(self) -> None:
        """Each error has the state by which a client library knows what to do."""
        states = [
            words[words.index(b"C") + 1 :][:5]
            for error in ERRORS
            if (words := PROTOCOLS["postgres"].refusal(error).replace(b"FATAL", b""))
        ]
        self.assertEqual(
            b" ".join(states),
            b"28000 28000 0A000 28000 XX000 53300 XX000 57P03 08006 08006 XX000 XX000",
        )

    def test_tunnel(self) -> None:
        """An agent that speaks SSH is told in SSH, one under TLS in HTTP."""
        tunnel = PROTOCOLS["tunnel"]
        opening = sniff(b"SSH-2.0-Go\r\n", tunnel.openings)
        assert isinstance(opening, Opening)
        self.assertEqual(opening.then, Then.REFUSE)
        self.assertEqual(opening.answer, ssh.disconnect(str(unserved("tunnel"))))
        [answer] = answers(tunnel.refusal(unserved("tunnel")))
        self.assertEqual(
            (answer.code, json.loads(answer.body)),
            (503, {"error": {"message": str(unserved("tunnel"))}}),
        )

    def test_mongodb(self) -> None:
        """A driver gets the error as the answer to its first message, and to no other."""
        for kind, number in ((2013, 7), (2004, 99)):
            hello = pack("<iiii", 58, number, 0, kind) + bytes(42)
            for pieces in (1, 15, 16, 58):
                talk = self.port("mongodb")
                talk.send(hello, pieces=pieces)
                self.assertEqual(unpack_from("<i", talk.received, 8), (number,))
                self.assertIn(str(unserved("mongodb")).encode(), talk.received)
                self.assertTrue(talk.closed)

    def test_kubernetes(self) -> None:
        """The user of kubectl gets a Status object as the answer to its first request."""
        talk = self.port("kubernetes")
        talk.send(b"GET /api HTTP/1.1\r\nHost: kube\r\n")
        self.assertEqual(talk.received, b"")
        talk.send(b"\r\n")
        [answer] = answers(talk.received)
        self.assertEqual(
            (answer.code, json.loads(answer.body)),
            (
                503,
                {
                    "kind": "Status",
                    "apiVersion": "v1",
                    "metadata": {},
                    "status": "Failure",
                    "message": str(unserved("kubernetes")),
                    "reason": "ServiceUnavailable",
                    "code": 503,
                },
            ),
        )
        self.assertTrue(talk.closed)

    def test_kubernetes_codes(self) -> None:
        """A program tells a right that lacks from a certificate that lacks."""
        codes = [json.loads(self.refused(error))["reason"] for error in ERRORS]
        self.assertEqual(
            " ".join(codes),
            "Forbidden Unauthorized ServiceUnavailable ServiceUnavailable ServiceUnavailable "
            "TooManyRequests ServiceUnavailable ServiceUnavailable ServiceUnavailable "
            "ServiceUnavailable InternalError InternalError",
        )

    def refused(self, error: GateError) -> bytes:
        """The body of a refusal by the Kubernetes protocol."""
        [answer] = answers(PROTOCOLS["kubernetes"].refusal(error))
        return answer.body

    def test_web(self) -> None:
        """The web protocol refuses in HTTP, with constant words and a status that fits."""
        codes = [answers(PROTOCOLS["web"].refusal(error))[0].code for error in ERRORS]
        self.assertEqual(codes, [403, 403, 503, 400, 400, 503, 408, 503, 502, 504, 500, 500])

    def test_http_in_the_clear(self) -> None:
        """Plain HTTP on the TLS port is told to come with TLS, and not redirected."""
        opening = sniff(b"GET / HTTP/1.1\r\n", PROTOCOLS["web"].openings)
        assert isinstance(opening, Opening)
        [answer] = answers(opening.answer)
        self.assertEqual((opening.then, answer.code), (Then.REFUSE, 400))
        self.assertIn(b"https://", answer.body)
        self.assertNotIn(b"location", answer.headers)

    def port(self, name: str) -> Conversation:
        """Connect to a protocol's own port that nobody has routed."""
        self.context = FakeContext(route=route(name=name, protocol=name), listener=name)
        return connect(PROTOCOLS[name], self.context)

    def test_silence(self) -> None:
        """Who asks nothing there is let go after `opening_seconds`."""
        for name in ("mongodb", "kubernetes"):
            talk = self.port(name)
            self.context.clock.advance(9)
            self.assertFalse(talk.closed)
            self.context.clock.advance(2)
            self.assertEqual((talk.closed, talk.received), (True, b""))
            self.assertEqual(self.context.clock.getDelayedCalls(), [])

    def test_endless(self) -> None:
        """A request that does not end is cut off without an answer."""
        talk = self.port("kubernetes")
        talk.send(b"x" * HEAD_LIMIT_BYTES, pieces=4096)
        self.assertEqual((talk.closed, talk.received), (True, b""))

    def test_glued(self) -> None:
        """What comes behind the first request is not answered again."""
        talk = self.port("kubernetes")
        talk.send(b"GET /api HTTP/1.1\r\n\r\n" * 5)
        self.assertEqual(len(answers(talk.received)), 1)
