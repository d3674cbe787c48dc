"""Tests for `tlsgate.core.pgsession`."""

from __future__ import annotations

from struct import pack
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.pgsession import MESSAGE_BYTES, Beginning, beginning
from tlsgate.core.wire.pgmessages import SSL_REQUEST, Key, Message, Startup, read_error
from tlsgate.errors import BadBytes, GateError, TargetRefused, TargetSilent

KEY = bytes(range(36))
SERVER_KEY = Message(b"K", pack(">L", 77) + b"hush").bytes()
LET_IN = Message(b"R", bytes(4)).bytes()
STATUS = Message(b"S", b"server_version\x0017.10\0").bytes()
READY = Message(b"Z", b"I").bytes()

#: What the client gets of the server's usual words.
TOLD = LET_IN + STATUS + Message(b"K", KEY[:8]).bytes() + READY
USUAL = LET_IN + STATUS + SERVER_KEY + READY


class Recorder:
    """Effects in their order."""

    def __init__(self) -> None:
        self.did: list[tuple[Any, ...]] = []

    def to_server(self, some: bytes) -> None:
        self.did.append(("to server", some))

    def secure(self) -> None:
        self.did.append(("secure",))

    def accept(self) -> None:
        self.did.append(("accept",))

    def refuse(self, error: GateError) -> None:
        self.did.append(("refuse", error.reason))

    def give_up(self, words: bytes, error: GateError) -> None:
        self.did.append(("give up", words, error.reason))

    def keyed(self, key: Key) -> None:
        self.did.append(("keyed", key))

    def carry(self, to_client: bytes) -> None:
        self.did.append(("carry", to_client))


def packet(user: str = "app", database: str = "shop", minor: int = 0) -> bytes:
    """A StartupMessage."""
    return Startup(minor, ((b"a", b"1"),), user, database).packet()


class BeginningTests(SynchronousTestCase):
    """Tests for `beginning`."""

    def setUp(self) -> None:
        self.link, self.seen = self.make()

    def make(self, key: bytes = KEY) -> tuple[Beginning, Recorder]:
        seen = Recorder()
        return beginning(seen, "app", "shop", "db:5432", key), seen

    def take(self) -> list[tuple[Any, ...]]:
        did, self.seen.did = self.seen.did, []
        return did

    def listen(self) -> None:
        """Go on until the client is listened to."""
        self.link.begun()
        self.link.server_said(b"S")
        self.link.secured()
        want = [("to server", SSL_REQUEST), ("secure",), ("accept",)]
        self.assertEqual(self.take(), want)

    def enter(self, minor: int = 0) -> None:
        """Go on until the server has the start-up message."""
        self.listen()
        self.link.client_said(packet(minor=minor))
        self.assertEqual(self.take(), [("to server", packet(minor=minor))])

    def last_words(self) -> tuple[str, str, str]:
        """SQLSTATE, sentence and reason of the one thing that was done."""
        ((what, words, reason),) = self.take()
        self.assertEqual((what, words[:1]), ("give up", b"E"))
        fields = read_error(words[5:])
        self.assertEqual(fields["S"], "FATAL")
        return fields["C"], fields["M"], reason

    def test_whole(self) -> None:
        """Cut at every byte, a start-up does the same: TLS, names, the key replaced, the relay."""
        for cut in range(max(len(USUAL), len(packet()))):
            self.setUp()
            self.listen()
            self.link.client_said(packet()[:cut])
            if cut < len(packet()):
                self.assertEqual(self.take(), [])
                self.link.client_said(packet()[cut:])
            self.assertEqual(self.take(), [("to server", packet())])
            self.link.server_said(USUAL[:cut])
            self.link.server_said(USUAL[cut:])
            self.assertEqual(self.take(), [("keyed", Key(77, b"hush")), ("carry", TOLD)])

    def test_what_comes_behind(self) -> None:
        """What the server says at once behind its readiness goes to the client."""
        self.enter()
        self.link.server_said(USUAL + b"A\0")
        self.assertEqual(self.take()[-1], ("carry", TOLD + b"A\0"))

    def test_no_database_named(self) -> None:
        """A client that names no database gets the one that was decided about."""
        self.listen()
        body = pack(">L", 3 << 16) + b"user\0app\0\0"
        self.link.client_said(pack(">L", 4 + len(body)) + body)
        want = Startup(0, (), "app", "shop").packet()
        self.assertEqual(self.take(), [("to server", want)])

    def test_long_key(self) -> None:
        """A client of protocol 3.2 gets the whole key, unless the server speaks only 3.0."""
        negotiation = Message(b"v", pack(">LL", 3 << 16, 0)).bytes()
        for said, length in ((b"", 36), (negotiation, 8)):
            self.setUp()
            self.enter(minor=2)
            self.link.server_said(LET_IN + said + SERVER_KEY + READY)
            want = LET_IN + said + Message(b"K", KEY[:length]).bytes() + READY
            self.assertEqual(self.take()[-1], ("carry", want))

    def test_no_key(self) -> None:
        """Where the gateway gives no key the client gets none, and never the server's."""
        self.link, self.seen = self.make(b"")
        self.enter()
        self.link.server_said(USUAL)
        self.assertEqual(self.take()[-1], ("carry", LET_IN + STATUS + READY))

    def test_no_tls(self) -> None:
        """A server without TLS is refused before the client is accepted."""
        self.link.begun()
        self.link.server_said(b"N")
        self.assertEqual(self.take()[1:], [("refuse", "target_without_tls")])

    def test_injected(self) -> None:
        """S45: bytes glued to the server's answer, or another answer, end it."""
        for answer in (b"SX", b"E\0\0\0\x10SFATAL\0", b"", b"NN"):
            self.setUp()
            self.link.begun()
            self.link.server_said(answer)
            self.assertEqual(self.take()[1:], [("refuse", "target_broken")])

    def test_failures_before(self) -> None:
        """Until the client is accepted a failure is refused by the gateway."""
        steps = (
            lambda: None,
            lambda: self.link.begun(),
            lambda: self.link.server_said(b"S"),
        )
        for count in range(1, 4):
            self.setUp()
            for step in steps[:count]:
                step()
            self.link.failed(TargetRefused("db:5432", "no"))
            self.assertEqual(self.take()[-1], ("refuse", "target_refused"))

    def test_failures_behind(self) -> None:
        """From then on it is an ErrorResponse, behind what the client gets anyway."""
        silent = TargetSilent("db:5432", 5.0)
        self.listen()
        self.link.failed(silent)
        self.assertEqual(self.last_words(), ("08006", str(silent), "target_silent"))
        self.setUp()
        self.enter()
        self.link.failed(silent)
        self.assertEqual(self.last_words()[0], "08006")
        self.setUp()
        self.enter()
        self.link.server_said(LET_IN)
        self.link.failed(TargetRefused("db:5432", "it has gone"))
        ((_, words, _),) = self.take()
        self.assertEqual(words[:9], LET_IN)
        self.assertIn(b"C08006\0", words[9:])

    def test_somebody_else(self) -> None:
        """Another user or database than was decided about is refused (S44)."""
        for said, word in ((packet(user="root"), "root"), (packet(database="hr"), "hr")):
            self.setUp()
            self.listen()
            self.link.client_said(said)
            code, sentence, reason = self.last_words()
            self.assertEqual((code, reason), ("28000", "startup_refused"))
            self.assertIn(word, sentence)

    def test_second_startup(self) -> None:
        """Glued to the first one, or later, a second start-up message is refused (S44)."""
        self.listen()
        self.link.client_said(packet() + packet(user="root"))
        self.assertEqual(self.last_words()[0], "08P01")
        for said in (b"", LET_IN):
            self.setUp()
            self.enter()
            self.link.server_said(said)
            self.link.client_said(packet(user="root"))
            ((_, words, reason),) = self.take()
            self.assertIn(b"C08P01\0", words)
            self.assertEqual(reason, "bad_bytes")

    def test_no_startup(self) -> None:
        """What is no start-up message is refused as soon as that is known."""
        for said in (b"\0\0\0\x05", b"GET / HT", SSL_REQUEST, bytes(4)):
            self.setUp()
            self.listen()
            self.link.client_said(said)
            self.assertEqual(self.last_words()[::2], ("08P01", "bad_bytes"))

    def test_password(self) -> None:
        """A server that wants a password gets none, and the sentence says what to change."""
        for code, word in ((3, "a password"), (5, "MD5"), (10, "SCRAM")):
            self.setUp()
            self.enter()
            self.link.server_said(Message(b"R", pack(">L", code) + b"x").bytes())
            sqlstate, sentence, reason = self.last_words()
            self.assertEqual((sqlstate, reason), ("28000", "target_asks"))
            self.assertIn(word, sentence)
            self.assertIn("pg_hba.conf", sentence)

    def test_servers_own_error(self) -> None:
        """What the server refuses with is passed on as it is, whatever came before."""
        error = Message(b"E", b"SFATAL\0C3D000\0Mno such database\0\0").bytes()
        for said in (b"", LET_IN + STATUS, LET_IN + Message(b"N", b"Mhello\0\0").bytes()):
            self.setUp()
            self.enter()
            self.link.server_said(said + error + READY)
            self.assertEqual(self.take(), [("give up", said + error, "target_said")])

    def test_broken_server(self) -> None:
        """A server that says what no server says there is given up."""
        long = b"S" + pack(">L", 4 + MESSAGE_BYTES + 1)
        many = Message(b"S", bytes(60_000)).bytes() * 5
        twice = LET_IN + LET_IN
        for said in (READY, b"T\0\0\0\4", twice, long, many, b"R\0\0\0\4", LET_IN + b"K\0\0\0\4"):
            self.setUp()
            self.enter()
            self.link.server_said(said)
            ((what, _, reason),) = self.take()
            self.assertEqual((what, reason), ("give up", "target_broken"), said[:20])
        self.setUp()
        self.listen()
        self.link.server_said(b"E")
        self.assertEqual(self.last_words()[::2], ("08006", "target_broken"))

    def test_nothing_late(self) -> None:
        """Once it is over nothing does anything."""

        def stop() -> None:
            self.link.stopped()

        def fail() -> None:
            self.link.failed(BadBytes("a", "b"))

        def carry() -> None:
            self.link.server_said(USUAL)

        for end in (stop, fail, carry):
            self.setUp()
            self.enter()
            end()
            self.take()
            self.link.secured()
            self.link.server_said(USUAL)
            self.link.client_said(packet())
            fail()
            stop()
            self.assertEqual(self.take(), [])

    def test_stopped_anywhere(self) -> None:
        """Who is stopped tells nobody anything."""
        steps = (
            lambda: self.link.begun(),
            lambda: self.link.server_said(b"S"),
            lambda: self.link.secured(),
            lambda: self.link.client_said(packet()),
            lambda: self.link.server_said(LET_IN),
        )
        for count in range(len(steps) + 1):
            self.setUp()
            for step in steps[:count]:
                step()
            self.take()
            self.link.stopped()
            self.link.failed(BadBytes("a", "b"))
            self.assertEqual(self.take(), [])

    @settings(max_examples=100)
    @given(some.lists(some.binary(max_size=40), max_size=6))
    def test_any_server(self, parts: list[bytes]) -> None:
        """Whatever a server says, it ends once at most, and with nothing but our own errors."""
        self.setUp()
        self.enter()
        for part in parts:
            self.link.server_said(part)
        ends = [did for did in self.take() if did[0] in ("give up", "carry")]
        self.assertLessEqual(len(ends), 1)
