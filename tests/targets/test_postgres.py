"""Tests for `tlsgate.targets.postgres` and `tlsgate.targets.pgstart`.

More than 400 lines, since a session and its cancelling are of one opening, and of one server.
"""

from __future__ import annotations

from typing import Any

from tests.support.certs import pki
from tests.targets.dbhouse import READY, SERVER_KEY, SETTLED, DatabaseCase
from tests.targets.rig import TIMEOUTS
from tlsgate.config.settings import OfferSettings, TargetTls
from tlsgate.core.access import Decision
from tlsgate.core.wire.pgmessages import Key, Message, Startup, cancel_request, read_error
from tlsgate.errors import TargetRefused
from tlsgate.targets import openings, pgstart
from tlsgate.targets.postgres import Postgres

KEY = bytes(range(36))
DETAILS = {"db_user": "app", "db_name": "shop", "key": KEY.hex()}
TOLD = SETTLED + Message(b"K", KEY[:8]).bytes() + READY


def settings(**tls: Any) -> OfferSettings:
    """A database as the agent's file has it."""
    named = {"server_name": "target.test", **tls}
    return OfferSettings(
        kind="db",
        name="orders",
        protocol="postgres",
        addresses=("db.internal:5432",),
        tls=TargetTls(**named),
    )


def packet(user: str = "app", database: str = "shop") -> bytes:
    """A StartupMessage."""
    return Startup(0, (), user, database).packet()


class OpenedCase(DatabaseCase):
    """Sessions of one agent's opening."""

    def setUp(self) -> None:
        super().setUp()
        self.open = Postgres()

    def begin(self, details: dict[str, str] | None = None, **tls: Any) -> Any:
        """Begin; gives what stops it."""
        arrived = self.arrived(
            settings(**tls),
            door=self.door,
            certificate=b"alice's",
            details=DETAILS if details is None else details,
        )
        return self.open(arrived)

    def again(self) -> None:
        """Other sockets, for the next client."""
        lease, self.target = self.lent()
        client, self.client = self.lent()
        self.lease = lease
        self.serving.client.__init__(client)  # type: ignore[misc]
        self.serving.said.clear()
        self.target.setblocking(False)
        self.client.setblocking(False)

    def carried(self) -> tuple[Any, ...]:
        """Go on until the relay begins; gives what was asked of it."""
        server = self.secured()
        self.assertEqual(self.serving.said, [("accept",)])
        self.client.send(packet())
        self.assertEqual(self.read(server), packet())
        server.send(SETTLED + SERVER_KEY + READY)
        self.turn()
        said: tuple[Any, ...] = self.serving.said[-1]
        self.assertEqual(said[0], "carry", said)
        return said

    def refused(self) -> str:
        """The sentence with which it was refused, and nothing else was done."""
        ((what, error),) = self.serving.said
        self.assertEqual(what, "refuse")
        return str(error)

    def words(self) -> tuple[str, str]:
        """SQLSTATE and sentence of the last words."""
        what, words, _ = self.serving.said[-1]
        self.assertEqual((what, words[:1]), ("give_up", b"E"))
        fields = read_error(words[5:])
        return fields["C"], fields["M"]


class PostgresTests(OpenedCase):
    """Tests for `postgres`."""

    def test_session(self) -> None:
        """Certificate, TLS, start-up, and the relay with the gateway's key for the client."""
        self.begin()
        _, client, target, to_client, to_target, _ = self.carried()
        self.assertIs(client, self.serving.client)
        self.assertEqual((to_client, to_target), (TOLD, b""))
        name = target.session.connection.get_certificate(as_cryptography=True).subject
        self.assertEqual(name.rfc4514_string(), "CN=app")
        (asked,) = self.door.asked
        self.assertEqual((asked["database"], asked["db_user"]), ("orders", "app"))
        self.assertEqual(asked["user_certificate"], "YWxpY2Uncw==")
        self.assertEqual(self.means.wheel.waiting(), 0)

    def test_agents_have_it(self) -> None:
        """It is what agents do with databases that speak postgres."""
        self.assertIn(("db", "postgres"), openings())

    def test_second_session(self) -> None:
        """The next session of the same database user asks auth for nothing."""
        self.begin()
        self.carried()
        self.again()
        self.begin()
        self.carried()
        self.assertEqual(len(self.door.asked), 1)

    def test_no_names(self) -> None:
        """A request without a database user is refused before the server hears anything."""
        for details in ({}, {"db_user": "app"}, {"db_name": "shop"}):
            self.again()
            self.begin(details)
            self.assertIn("names no database user", self.refused())
            self.assertEqual(self.heard(self.target), b"")

    def test_auth_refuses(self) -> None:
        """What auth says is what the user is told."""
        self.door.answer = 403, {"error": {"message": "no role of alice's allows app"}}
        self.begin()
        self.assertIn("no role of alice's allows app", self.refused())

    def test_no_tls(self) -> None:
        """A server without TLS, or with more than its answer, is refused (S45)."""
        for answer, word in ((b"N", "no TLS"), (b"SX", "S45"), (b"E", "S45")):
            self.again()
            self.begin()
            self.asked_for_tls(answer)
            self.assertIn(word, self.refused())

    def test_gone_at_once(self) -> None:
        """A server that hangs up when it is asked is refused, in words."""
        self.begin()
        self.turn()
        self.target.close()
        self.turn()
        self.assertIn("asked for TLS", self.refused())

    def test_wrong_name(self) -> None:
        """A server of another name is refused, unless only its authority counts."""
        self.begin(server_name="other.test")
        self.secured()
        self.assertIn("not for other.test", self.refused())
        for mode in ("verify-ca", "insecure"):
            self.again()
            self.begin(server_name="other.test", mode=mode)
            self.carried()

    def test_wrong_authority(self) -> None:
        """A server of another authority is refused, unless anybody is believed."""
        ca_file = str(pki().file("other-ca.pem"))
        self.begin(ca_file=ca_file)
        self.secured()
        self.assertIn("not trusted", self.refused())
        # Another authority could be in force by now: it is asked again.
        self.again()
        self.begin(ca_file=ca_file, mode="insecure")
        self.carried()
        self.assertEqual(len(self.door.asked), 2)

    def test_ca_file_at_fault(self) -> None:
        """A file that cannot be used refuses the client."""
        self.begin(ca_file="/nowhere/ca.pem")
        self.asked_for_tls()
        self.assertIn("/nowhere/ca.pem", self.refused())

    def test_certificate_is_not_taken(self) -> None:
        """A server that breaks off TLS does not trust our authority, and we ask again later."""
        self.door.answer = None
        self.begin()
        server = self.secured()
        self.target.send(b"\x15\x03\x03\x00\x02\x02\x30")  # no record of this connection
        self.turn()
        del server
        self.assertIn("ssl_ca_file", self.words()[1])
        self.again()
        self.begin()
        self.carried()
        self.assertEqual(len(self.door.asked), 2)

    def redialled(self) -> None:
        """The target is dialled once more, and is there."""
        what, reached, _ = self.serving.said.pop()
        self.assertEqual(what, "redial")
        lease, self.target = self.lent()
        self.target.setblocking(False)
        reached(lease)

    def test_rotated_server(self) -> None:
        """A server whose authority is another one by now is dialled once more, and believed."""
        self.begin()
        self.carried()
        self.again()
        self.begin()
        self.secured("mallory")
        self.redialled()
        self.assertEqual(self.carried()[0], "carry")
        self.assertEqual(len(self.door.asked), 2)
        # Once, and not again with what was just issued.
        self.again()
        self.begin()
        self.secured("mallory")
        self.redialled()
        self.secured("mallory")
        self.assertIn("not trusted", self.refused())

    def rejected(self) -> None:
        """Be a server that believes no certificate, and says so when the client was accepted."""
        self.secured()
        self.target.send(b"\x15\x03\x03\x00\x02\x02\x30")
        self.turn()

    def test_rotated_client(self) -> None:
        """A server that believes another authority by now is shown another certificate.

        Whatever the client has said is said again.
        """
        self.begin()
        self.carried()
        for early in (False, True):
            self.again()
            self.begin()
            if early:
                self.secured()
                self.client.send(packet())
                self.turn()
                self.target.send(b"\x15\x03\x03\x00\x02\x02\x30")
                self.turn()
            else:
                self.rejected()
            self.redialled()
            self.assertEqual(self.serving.said, [("accept",)])
            server = self.secured()
            if not early:
                self.client.send(packet())
            self.assertEqual(self.read(server), packet())
            server.send(SETTLED + SERVER_KEY + READY)
            self.turn()
            self.assertEqual([said[0] for said in self.serving.said], ["accept", "carry"])

    def test_rotated_in_vain(self) -> None:
        """Who was accepted before a second dial reads why that failed."""
        self.begin()
        self.carried()
        self.again()
        self.begin()
        self.rejected()
        _, _, missed = self.serving.said.pop()
        self.client.send(packet())
        self.turn()
        missed(TargetRefused("db.internal:5432", "nobody is there"))
        self.assertEqual(self.words()[0], "08006")
        self.assertEqual(self.means.wheel.waiting(), 0)

    def test_server_ends(self) -> None:
        """A server that ends while it is expected to speak is told of."""
        self.begin()
        server = self.secured()
        self.client.send(packet())
        self.read(server)
        server.shutdown()
        self.turn()
        self.assertEqual(self.words()[0], "08006")

    def test_other_names(self) -> None:
        """A start-up for somebody else is an ErrorResponse."""
        self.begin()
        self.secured()
        self.client.send(packet(user="root"))
        self.turn()
        self.assertEqual(self.words()[0], "28000")

    def test_servers_own_words(self) -> None:
        """The server's refusal is passed on as it is."""
        error = Message(b"E", b"SFATAL\0C3D000\0Mno\0\0").bytes()
        self.begin()
        server = self.secured()
        self.client.send(packet())
        self.read(server)
        server.send(SETTLED + error)
        self.turn()
        what, words, reason = self.serving.said[-1]
        self.assertEqual((what, words), ("give_up", SETTLED + error))
        self.assertEqual(reason.reason, "target_said")

    def test_client_ends(self) -> None:
        """A client that goes before the server is ready ends it."""
        self.begin()
        self.secured()
        self.client.close()
        self.turn()
        self.assertEqual(self.serving.said[-1][0], "give_up")
        self.assertEqual(self.means.wheel.waiting(), 0)

    def test_deadline(self) -> None:
        """S46: whoever is silent at whatever stage is given up after the same time."""
        seconds = TIMEOUTS.opening_seconds + 1
        self.door.held = []
        self.begin()
        self.reactor.advance(seconds)
        self.assertIn("did not answer", self.refused())
        self.door.held[0].callback(None)
        self.turn()
        self.door.held = None
        self.again()
        self.begin()
        self.turn()
        self.reactor.advance(seconds)
        self.assertIn("did not answer", self.refused())
        self.again()
        self.begin()
        self.secured()
        self.reactor.advance(seconds)
        self.assertEqual(self.words()[0], "08006")

    def test_stopped(self) -> None:
        """Who is stopped at whatever stage does nothing more."""
        self.door.held = []
        stop = self.begin()
        stop()
        self.door.held[0].callback(None)
        self.turn()
        self.assertEqual(self.serving.said, [])
        self.door.held = None
        self.again()
        stop = self.begin()
        self.secured()
        stop()
        self.assertEqual(self.serving.said, [("accept",)])
        self.assertEqual(self.means.wheel.waiting(), 0)

    def test_odd_key(self) -> None:
        """A key that is none gives the client none, and the server's stays hidden all the same."""
        for digits in ("", "zz", "00" * 35, "00" * 37):
            self.assertEqual(pgstart.key_of(digits), b"")
            self.again()
            self.begin({**DETAILS, "key": digits})
            self.assertEqual(self.carried()[3], SETTLED + READY)


class AuditTests(OpenedCase):
    """Tests for the watch beside the relay."""

    def test_not_audited(self) -> None:
        """Without the role's option no direction is watched."""
        self.begin()
        watch = self.carried()[-1]
        self.assertEqual((watch.to_target, watch.to_client), (None, None))

    def test_audited(self) -> None:
        """With it each query is an event, with who asked and of what; rows are not looked at."""
        arrived = self.arrived(settings(), door=self.door, details=DETAILS)
        decision = Decision(True, "a role", audit_queries=True)
        object.__setattr__(arrived, "decision", decision)
        self.open(arrived)
        watch = self.carried()[-1]
        self.assertIs(watch.to_client, None)
        watch.to_target(memoryview(Message(b"Q", b"select 1\0").bytes()))
        fields = {
            "db_service": "orders",
            "db_protocol": "postgres",
            "db_user": "app",
            "db_name": "shop",
            "db_query": "select 1",
            "db_query_cut": False,
            "db_query_kind": "simple",
            "db_query_statement": "",
            "db_query_parameters_count": None,
        }
        self.assertEqual(self.serving.said[-1], ("emit", "db.session.query", fields))


class CancelTests(OpenedCase):
    """Tests for requests to cancel."""

    def cancel(self, **more: str) -> None:
        """Ask for it, with sockets of its own."""
        self.again()
        self.begin({"cancel": KEY.hex(), **more})

    def test_cancel(self) -> None:
        """The server gets its own key under TLS, and its end is the answer."""
        self.begin()
        self.carried()
        self.cancel()
        server = self.secured()
        self.assertEqual(self.read(server), cancel_request(Key(77, b"hush")))
        self.assertEqual([said[0] for said in self.serving.said], ["accept", "carry"])
        self.assertEqual(len(self.door.asked), 1)

    def test_unknown(self) -> None:
        """S44: a key of nobody's, of another user's, or of a session that is over, is refused."""
        self.cancel()
        self.assertIn("no session", self.refused())
        self.again()
        self.begin()
        watch = self.carried()[-1]
        self.again()
        other = self.arrived(settings(), door=self.door, details={"cancel": KEY.hex()})
        object.__setattr__(other.asked, "user", "mallory")
        self.open(other)
        self.assertIn("no session", self.refused())
        watch.over()
        self.cancel()
        self.assertIn("no session", self.refused())
