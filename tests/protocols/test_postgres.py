"""Tests for `tlsgate.protocols.postgres`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.errors import ERRORS
from tlsgate.core.outcome import More
from tlsgate.core.sniff import Opening, sniff
from tlsgate.core.wire import postgres
from tlsgate.errors import NoRoute, NotServed
from tlsgate.protocols.postgres import Postgres


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
