"""Tests for `tlsgate.core.wire.pgmessages`."""

from __future__ import annotations

from struct import pack

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from tests.core.hellos import read_vector
from tlsgate.core.outcome import More
from tlsgate.core.wire import pgmessages, postgres
from tlsgate.core.wire.pgmessages import Key, Message, Startup
from tlsgate.errors import BadBytes


def startup(*words: bytes, version: int = 3 << 16, end: bytes = b"\0") -> bytes:
    """A StartupMessage of these words."""
    body = pack(">L", version) + b"".join(word + b"\0" for word in words) + end
    return pack(">L", 4 + len(body)) + body


class StartupTests(SynchronousTestCase):
    """Tests for `read_startup`."""

    def test_captured(self) -> None:
        """What libpq sends is read, and written again as the same set of parameters."""
        packet = read_vector("openings/postgres-startup")
        read = pgmessages.read_startup(packet)
        self.assertEqual(pgmessages.read_startup(read.packet()), read)
        self.assertEqual(len(read.packet()), len(packet))

    def test_values(self) -> None:
        """User, database and the others; the version's minor part is the client's."""
        packet = startup(
            *(b"client_encoding", b"UTF8", b"user", "jürgen".encode(), b"database", b"shop"),
            *(b"options", b"", b"_pq_.x", b"1", b"replication", b"off"),
            version=(3 << 16) + 2,
        )
        others = ((b"client_encoding", b"UTF8"), (b"options", b""), (b"_pq_.x", b"1"))
        self.assertEqual(
            pgmessages.read_startup(packet), Startup(2, others, "jürgen", "shop", named=True)
        )

    def test_no_database(self) -> None:
        """Without a database, or with an empty one, it is the user's own, as the server has it."""
        for words in ((b"user", b"app"), (b"user", b"app", b"database", b"")):
            read = pgmessages.read_startup(startup(*words))
            self.assertEqual(read, Startup(0, (), "app", "app", named=False))

    def test_with_names(self) -> None:
        """The packet for the server names user and database in so many words."""
        read = pgmessages.read_startup(startup(b"user", b"a", b"x", b"1"))
        self.assertEqual(
            read.with_names("app", "shop").packet(),
            startup(b"user", b"app", b"database", b"shop", b"x", b"1"),
        )

    def test_application(self) -> None:
        """The program's name is text of bounded length, whatever bytes the client has put there."""
        user = (b"user", b"app")
        for words, want in (
            ((), ""),
            ((b"application_name", b"psql"), "psql"),
            ((b"application_name", b"\xff" + b"x" * 99), "\ufffd" + "x" * 62),
        ):
            read = pgmessages.read_startup(startup(*user, *words))
            self.assertEqual(read.application, want)

    def test_bad(self) -> None:
        """Whatever a server could understand in another way is refused (S44)."""
        user = (b"user", b"app")
        for why, packet in {
            "another version": startup(*user, version=2 << 16),
            "no parameters": startup(),
            "no user": startup(b"database", b"app"),
            "an empty user": startup(b"user", b""),
            "user twice": startup(*user, *user),
            "a name without a value": startup(*user, b"x"),
            "an empty name": startup(*user, b"", b"x"),
            "no end": startup(*user, end=b""),
            "an end too early": startup(*user, b"", b"", b"database", b"x"),
            "a name that is cut": startup(b"user", b"a" * 64),
            "a database that is cut": startup(*user, b"database", b"a" * 64),
            "a name with a line end": startup(b"user", b"a\nb"),
            "a name that is not UTF-8": startup(b"user", b"\xff"),
            "replication": startup(*user, b"replication", b"database"),
            "replication, shortened": startup(*user, b"replication", b"TR"),
            "replication, on": startup(*user, b"replication", b"on"),
            "too many": startup(*user, *(b"%d" % number for number in range(1000, 1300))),
            "cut": startup(*user)[:-1],
            "longer than it says": startup(*user) + b"\0",
            "longer than any": startup(*user, b"x", b"y" * 10_000),
            "of no length": b"",
        }.items():
            with self.assertRaises(BadBytes, msg=why):
                pgmessages.read_startup(packet)

    def test_replication_refused_in_words(self) -> None:
        """Of a replication connection the sentence says why."""
        packet = startup(b"user", b"app", b"replication", b"1")
        with self.assertRaises(BadBytes) as caught:
            pgmessages.read_startup(packet)
        self.assertIn("every database", str(caught.exception))

    @settings(max_examples=150)
    @given(some.binary(max_size=60))
    def test_any_bytes(self, tail: bytes) -> None:
        """Any bytes are read or refused, and what is read is written as the same."""
        packet = pack(">LL", 8 + len(tail), 3 << 16) + tail
        try:
            read = pgmessages.read_startup(packet)
        except BadBytes:
            return
        again = pgmessages.read_startup(read.with_names(read.user, read.database).packet())
        self.assertEqual((again.user, again.database), (read.user, read.database))
        self.assertEqual(again.parameters, read.parameters)


class FirstPacketTests(SynchronousTestCase):
    """Tests for `first_packet`."""

    def test_every_split(self) -> None:
        """It says how much lacks, and never more than that."""
        packet = startup(b"user", b"app")
        for end in range(len(packet)):
            lacks = (4 if end < 4 else len(packet)) - end
            self.assertEqual(pgmessages.first_packet(packet[:end]), More(lacks))
        self.assertEqual(pgmessages.first_packet(packet + b"more"), len(packet))

    def test_lengths(self) -> None:
        """A length that no server takes is refused before its bytes come."""
        for size in (0, 7, 10_001, 1 << 31):
            with self.assertRaises(BadBytes):
                pgmessages.first_packet(pack(">L", size))


class KeyTests(SynchronousTestCase):
    """Tests for keys and the requests to cancel."""

    def test_cancel(self) -> None:
        """Both lengths of keys are written and read."""
        for secret in (b"1234", bytes(range(32)), bytes(256)):
            key = Key(0xDEADBEEF, secret)
            packet = pgmessages.cancel_request(key)
            self.assertEqual(pgmessages.read_cancel(packet), key)
            self.assertIs(postgres.is_cancel_request(packet), True)
            self.assertEqual(pgmessages.read_key(key.bytes()), key)

    def test_bad_cancel(self) -> None:
        """Another code, and keys of other lengths, are none."""
        good = pgmessages.cancel_request(Key(1, b"1234"))
        long = pgmessages.cancel_request(Key(1, bytes(257)))
        short = pgmessages.cancel_request(Key(1, b"123"))
        for packet in (good[:-1], good + b"\0", startup(b"user", b"app"), long, short):
            with self.assertRaises(BadBytes):
                pgmessages.read_cancel(packet)

    def test_key_message(self) -> None:
        """A client of protocol 3.0 gets four bytes of the secret, one of 3.2 all."""
        key = bytes(range(36))
        self.assertEqual(pgmessages.key_message(key, 0), b"K\0\0\0\x0c" + key[:8])
        self.assertEqual(pgmessages.key_message(key, 2), b"K\0\0\0\x28" + key)

    def test_secrets_are_not_shown(self) -> None:
        """A log that has the value does not have the secret."""
        self.assertNotIn("hush", repr(Key(1, b"hush")) + repr(Message(b"K", b"hush")))


class MessageTests(SynchronousTestCase):
    """Tests for `next_message` and what is in messages."""

    def test_every_split(self) -> None:
        """A message is read when it is whole, wherever it stands."""
        wire = Message(b"R", b"\0\0\0\0").bytes() + Message(b"Z", b"I").bytes()
        for end in range(len(wire) + 1):
            first = pgmessages.next_message(wire[:end], 0, 10)
            second = pgmessages.next_message(wire[:end], 9, 10)
            lacks = (5 if end < 5 else 9) - end
            more = (14 if end < 14 else 15) - end
            want = Message(b"R", bytes(4)) if end >= 9 else More(lacks)
            self.assertEqual(first, want)
            want = Message(b"Z", b"I") if end == 15 else More(more)
            self.assertEqual(second, want)

    def test_lengths(self) -> None:
        """A length below its own, or above the limit, is refused at once."""
        for size in (0, 3, 15):
            with self.assertRaises(BadBytes):
                pgmessages.next_message(b"N" + pack(">L", size), 0, 10)

    def test_wanted(self) -> None:
        """What the server asks the client for is said in words."""
        for body, want in (
            (bytes(4), ""),
            (pack(">L", 3), "a password"),
            (pack(">L", 5) + b"salt", "an MD5 password"),
            (pack(">L", 10) + b"SCRAM-SHA-256\0\0", "a SCRAM password"),
            (pack(">L", 99), "authentication of kind 99"),
        ):
            self.assertEqual(pgmessages.wanted(body), want)
        with self.assertRaises(BadBytes):
            pgmessages.wanted(b"\0\0\0")

    def test_agreed_minor(self) -> None:
        """The version that is left is read with and without its major part."""
        for version in (3 << 16, 0):
            self.assertEqual(pgmessages.agreed_minor(pack(">LL", version + 2, 0)), 2)
        with self.assertRaises(BadBytes):
            pgmessages.agreed_minor(bytes(7))

    def test_read_error(self) -> None:
        """An error's fields are there for a log, whatever is in it."""
        self.assertEqual(
            pgmessages.read_error(b"SFATAL\0C3D000\0Mno such database\0Mtwice\0\0"),
            {"S": "FATAL", "C": "3D000", "M": "no such database"},
        )
        self.assertEqual(pgmessages.read_error(b"M\xff" + b"x" * 9000)["M"][0], "\ufffd")
