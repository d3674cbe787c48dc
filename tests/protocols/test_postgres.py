"""Tests for `tlsgate.protocols.postgres`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.errors import ERRORS
from tlsgate.core.access import Decision, Identity
from tlsgate.core.offers import Offer
from tlsgate.core.outcome import More
from tlsgate.core.sniff import Opening, sniff
from tlsgate.core.wire import postgres
from tlsgate.errors import AgentRefused, NoAgent, NoRoute, NotServed
from tlsgate.interfaces import RelayTo
from tlsgate.protocols.postgres import Postgres
from tlsgate.testing import (
    FakeCluster,
    FakeContext,
    FakeTunnels,
    connect,
    holder,
    member,
    route,
    settings,
)


class OpeningTests(SynchronousTestCase):
    """What PostgreSQL's clients send before TLS."""

    def test_each(self) -> None:
        """Each first packet is known as soon as it can be, and answered as servers do."""
        for head, name, then, consumes, answer in (
            (b"\0\0\0\x08\x04\xd2\x16\x2f", "postgres-sslrequest", "tls", 8, b"S"),
            (b"\0\0\0\x08\x04\xd2\x16\x30", "postgres-gssencrequest", "again", 8, b"N"),
            (b"\0\0\0\x20\0\x03\0\0user\0", "postgres-startup", "take", 0, b""),
            (b"\0\0\0\x10\x04\xd2\x16\x2e" + bytes(8), "postgres-cancel", "take", 0, b""),
        ):
            found = sniff(head, Postgres().openings)
            assert isinstance(found, Opening)
            self.assertEqual(
                (found.name, found.then.value, found.consumes, found.answer),
                (name, then, consumes, answer),
            )
            self.assertIsInstance(sniff(head[:4], Postgres().openings), More)


class RefusalTests(SynchronousTestCase):
    """Errors that psql prints."""

    def test_own_port(self) -> None:
        """The separate port answers with an ErrorResponse of its state."""
        protocol = Postgres()
        error = NotServed("postgres", protocol.advice)
        self.assertEqual(protocol.refusal(error), postgres.error_response("0A000", str(error)))

    def test_in_the_clear(self) -> None:
        """A start-up without TLS is told that TLS is wanted."""
        self.assertEqual(
            Postgres().refusal(NoRoute("web", None, ())),
            postgres.error_response(
                "28000", "this gateway takes PostgreSQL under TLS only; use sslmode=verify-full"
            ),
        )

    def test_states(self) -> None:
        """Each error has the state by which a client library knows what to do."""
        states = [
            words[words.index(b"C") + 1 :][:5]
            for error in ERRORS
            if (words := Postgres().refusal(error).replace(b"FATAL", b""))
        ]
        self.assertEqual(
            b" ".join(states),
            b"28000 28000 0A000 28000 XX000 53300 XX000 57P03 08006 08006 XX000 XX000",
        )


def first(code: bytes, body: bytes = b"") -> bytes:
    """A first packet."""
    return (8 + len(body)).to_bytes(4, "big") + code + body


def startup(*, minor: int = 0, **said: str) -> bytes:
    """A StartupMessage."""
    body = b"".join(b"%b\0%b\0" % (key.encode(), value.encode()) for key, value in said.items())
    return first(b"\0\3\0" + bytes([minor]), body + b"\0")


CANCEL = b"\x04\xd2\x16\x2e"
ORDERS = Offer(kind="db", name="orders", facts={"protocol": "postgres"})
ALICE = member("alice", routes={"db": "orders", "db_user": "app", "db_name": "live"})


class ClusterCase(SynchronousTestCase):
    """Clients of a gateway in a cluster."""

    def setUp(self) -> None:
        self.protocol = Postgres()
        self.tunnels, self.cluster = FakeTunnels(ORDERS), FakeCluster()

    def context(self, identity: Identity | None = ALICE, **more: Any) -> FakeContext:
        """One connection."""
        return FakeContext(
            settings=settings(workers=2),
            cluster=self.cluster,
            tunnels=self.tunnels,
            identity=identity,
            der=b"der",
            **more,
        )

    def plain(self) -> FakeContext:
        """One in the clear."""
        return self.context(None, route=route(protocol="postgres", plain=True, own_login=True))

    def say(self, wire: bytes, context: FakeContext, pieces: int | None = None) -> FakeContext:
        """Let a client begin with *wire*."""
        self.talk = connect(self.protocol, context)
        self.talk.send(wire, pieces=pieces)
        return context

    def refused(self, context: FakeContext) -> tuple[str, bytes]:
        """The reason and the words of a refusal."""
        assert context.refused is not None
        self.assertIsNone(context.relayed)
        error, words, _ = context.refused
        return error.reason, words

    def asked(self) -> Mapping[str, str]:
        """The details of the newest request to an agent."""
        return self.tunnels.reaches[-1].asked.details


class StartupTests(ClusterCase):
    """From the StartupMessage to the agent."""

    def test_relayed(self) -> None:
        """However it comes in, the agent gets it whole, with what follows, and a key."""
        wire = startup(user="app", database="live") + b"more"
        for pieces in (None, 1):
            context = self.say(wire, self.context(), pieces)
            if pieces is None:
                assert context.relayed is not None
                reach, answer, unread, target, _ = context.relayed
                self.assertEqual((unread, target), (wire, "db/orders"))
                self.assertEqual(answer(None), b"")
                self.assertIn(b"C57P03\0", answer(NoAgent("db", "orders")))
                self.assertEqual(reach.asked.certificate, b"der")
            self.assertEqual((self.asked()["db_user"], self.asked()["db_name"]), ("app", "live"))
            self.assertEqual(len(bytes.fromhex(self.asked()["key"])), 36)
        self.assertEqual(len({one.asked.details["key"] for one in self.tunnels.reaches}), 2)

    def test_told(self) -> None:
        """Auditors hear which database it is, and as whom; a drain, when the session rests."""
        context = self.say(startup(user="app"), self.context())
        about = context.relayed_about
        assert about is not None and about.rest is not None
        fields = {"db_service": "orders", "db_protocol": "postgres"}
        self.assertEqual(about.fields, {**fields, "db_user": "app", "db_name": "live"})
        self.assertFalse(about.rest.resting())
        about.rest.to_client(memoryview(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"))
        self.assertTrue(about.rest.resting())
        context = self.say(startup(user="root", database="other"), self.context())
        self.refused(context)
        assert context.relayed_about is not None
        told = {**fields, "db_user": "root", "db_name": "other"}
        self.assertEqual(context.relayed_about.fields, told)

    def test_program(self) -> None:
        """The ledger hears by what program a client comes, where it says so."""
        for said, want in (("psql", "psql"), ("pgAdmin 4 - DB:live", "pgAdmin 4"), ("", "")):
            context = self.say(startup(user="app", application_name=said), self.context())
            self.assertEqual(context.program, want)
        self.assertEqual(self.say(startup(user="app"), self.context()).program, "")

    def test_refusals(self) -> None:
        """Each refusal has its state and a sentence that says what to do."""
        good = startup(user="app", database="live")
        for wire, identity, state, sentence in (
            (good, None, b"28000", b"tgsh db login"),
            (good, member("alice"), b"3D000", b"tgsh db login"),
            (startup(user="bob"), ALICE, b"28000", b"for the user app, not for bob"),
            (startup(user="app", database="x"), ALICE, b"28000", b"for the database live"),
            (good, member("alice", routes={"db": "away"}), b"57P03", b"likely offline"),
            (first(b"\0\2\0\0", b"\0"), ALICE, b"08P01", b"protocol 2.0"),
            (b"\xff\xff\xff\xff", ALICE, b"08P01", b"would have"),
            (first(b"\x04\xd2\x16\x2f"), ALICE, b"08P01", b""),
        ):
            _, words = self.refused(self.say(wire, self.context(identity)))
            self.assertIn(b"C" + state + b"\0", words)
            self.assertIn(sentence, words)
        self.assertEqual(self.tunnels.reaches, [])

    def test_denied(self) -> None:
        """Without a role there is a sentence, and audit is told which database was meant."""
        self.cluster.decision = Decision(False, "no role allows it")
        context = self.say(startup(user="app"), self.context())
        self.assertEqual(self.refused(context)[0], "target_denied")
        assert context.refused is not None
        self.assertEqual(context.refused[2], "db/orders")
        self.assertIn(b"may not reach database orders: no role allows it", context.refused[1])

    def test_agents_words(self) -> None:
        """What the agent has decided is a denial; what it could not do is a failed connection."""
        for said, state in (("denied", b"28000"), ("target_refused", b"08006")):
            words = self.protocol.refusal(AgentRefused("orders", said, "so it is"))
            self.assertIn(b"C" + state + b"\0", words)

    def test_s44_odd_names(self) -> None:
        """Names that the server could take for others are refused before anybody is asked."""
        for user in ("a" * 64, "a\nb"):
            wire = startup(user=user)
            identity = member("alice", routes={"db": "orders"})
            _, words = self.refused(self.say(wire, self.context(identity)))
            self.assertIn(b"C08P01\0", words)
        twice = first(b"\0\3\0\0", b"user\0app\0user\0root\0\0")
        self.assertIn(b"C08P01\0", self.refused(self.say(twice, self.context()))[1])
        self.assertEqual(self.tunnels.reaches, [])

    def test_s46_silence(self) -> None:
        """Whoever is silent is told so in time; sooner where nobody knows who it is."""
        for identity, seconds in ((ALICE, 10.0), (None, 5.0)):
            context = self.say(b"\0\0", self.context(identity))
            context.clock.advance(seconds - 0.1)
            self.assertIsNone(context.refused)
            context.clock.advance(0.2)
            self.assertEqual(self.refused(context)[0], "deadline")
        self.talk.send(startup(user="app"))
        self.assertEqual(self.tunnels.reaches, [])

    def test_gone(self) -> None:
        """A client that goes leaves no timer behind."""
        context = self.say(b"\0\0", self.context())
        self.talk.hang_up()
        self.assertEqual(context.clock.getDelayedCalls(), [])

    def test_in_the_clear(self) -> None:
        """Nobody starts a session without TLS."""
        _, words = self.refused(self.say(startup(user="app"), self.plain()))
        self.assertIn(b"under TLS only", words)

    def test_no_cluster(self) -> None:
        """Where there are no agents the port says so; a static route leads on."""
        self.assertRaises(NotServed, self.protocol.build, FakeContext())
        context = FakeContext(route=route(target="tcp:db:5432"))
        self.assertEqual(self.protocol.build(context), RelayTo(target="tcp:db:5432"))

    def test_names(self) -> None:
        """Databases have names below ours, where an authority may sign for them."""
        self.assertEqual(
            self.protocol.server_names(["gate.test", "localhost"]), ("*.db.gate.test",)
        )


class CancelTests(ClusterCase):
    """Cancelling: the right session, and no other (S44)."""

    def begun(self, **more: Any) -> tuple[bytes, FakeContext]:
        """The key of a session that has begun, and its connection."""
        context = self.say(startup(user="app", database="live", **more), self.context(worker=1))
        return bytes.fromhex(self.asked()["key"]), context

    def cancelled(self, key: bytes, context: FakeContext) -> bool:
        """Whether an agent hears of it; else the client hears nothing."""
        before = len(self.tunnels.reaches)
        self.say(first(CANCEL, key), context)
        if len(self.tunnels.reaches) == before:
            self.assertEqual(self.refused(context), ("unknown_cancel_key", b""))
            return False
        return True

    def test_each_way(self) -> None:
        """In the clear, under TLS without a certificate, and with that of the same user."""
        key, _ = self.begun()
        for context in (self.plain(), self.context(None), self.context()):
            context.worker = 1
            self.assertTrue(self.cancelled(key[:8], context))
            assert context.relayed is not None
            reach, answer, unread, target, _ = context.relayed
            asked = {"db_user": "app", "db_name": "live", "cancel": key.hex()}
            self.assertEqual(dict(self.asked()), asked)
            self.assertEqual((reach.asked.user, reach.asked.certificate), ("alice", b"der"))
            self.assertEqual((unread, target, context.emitted), (b"", "", []))
            self.assertIs(reach.beside, self.tunnels.reaches[0])
            self.assertEqual((answer(None), answer(NoAgent("db", "orders"))), (b"", b""))
            told = {
                "target": "db/orders",
                "user": "alice",
                "success": True,
                "db_service": "orders",
                "db_protocol": "postgres",
                "db_user": "app",
                "db_name": "live",
                "session_trace": "0123456789abcdef",
            }
            failed = {**told, "success": False, "error": str(NoAgent("db", "orders"))}
            events = [("db.session.cancel", told), ("db.session.cancel", failed)]
            self.assertEqual(context.emitted, events)

    def test_s44_others(self) -> None:
        """A wrong key, another user's certificate, and a session that is over: nothing."""
        key, session = self.begun()
        wrong = key[:7] + bytes([key[7] ^ 1])
        self.assertFalse(self.cancelled(wrong, self.context(worker=1)))
        bob = self.context(member("bob"), worker=1)
        self.assertFalse(self.cancelled(key[:8], bob))
        stranger = self.context(holder("alice"), worker=1)
        self.assertFalse(self.cancelled(key[:8], stranger))
        for listener in session.endings:
            listener()
        self.assertFalse(self.cancelled(key[:8], self.context(worker=1)))

    def test_long(self) -> None:
        """A client of protocol 3.2 has the whole key; one of 3.0 never got it."""
        key, _ = self.begun()
        self.assertFalse(self.cancelled(key, self.context(worker=1)))
        wire = startup(minor=2, user="app", database="live")
        self.say(wire, self.context(worker=1))
        key = bytes.fromhex(self.asked()["key"])
        self.assertTrue(self.cancelled(key, self.context(worker=1)))

    def test_elsewhere(self) -> None:
        """Another worker's key goes to that worker, as it came."""
        key, _ = self.begun()
        context = self.say(first(CANCEL, key[:8]), self.plain())
        assert context.relayed is not None
        self.assertIs(context.relayed[0], context.ways[1])
        self.assertEqual(context.relayed[2], first(CANCEL, key[:8]))
        nobody = b"\x7f" + key[1:8]
        self.assertFalse(self.cancelled(nobody, self.plain()))
