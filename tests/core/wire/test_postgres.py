"""Tests for `tlsgate.core.wire.postgres`."""

from __future__ import annotations

from struct import unpack_from

from twisted.trial.unittest import SynchronousTestCase

from tests.core.hellos import read_vector
from tlsgate.core.wire import postgres


class PostgresTests(SynchronousTestCase):
    """Tests for `postgres.error_response`."""

    def test_bytes(self) -> None:
        """The answer is one whole FATAL ErrorResponse."""
        self.assertEqual(
            postgres.error_response("28000", "no way"),
            b"E\0\0\0\x22SFATAL\0VFATAL\0C28000\0Mno way\0\0",
        )

    def test_nul_cannot_end_a_field(self) -> None:
        """A NUL in the sentence does not cut it into fields."""
        wire = postgres.error_response("28000", "a\0Cb")
        self.assertEqual(unpack_from(">L", wire, 1)[0], len(wire) - 1)
        self.assertIn(b"MaCb\0\0", wire)


class MatchersTests(SynchronousTestCase):
    """Tests for the four requests that may come first."""

    MATCHERS = (
        postgres.is_ssl_request,
        postgres.is_gssenc_request,
        postgres.is_cancel_request,
        postgres.is_startup,
    )

    #: First bytes, and the place in MATCHERS of the one that knows them.
    CASES = (
        (read_vector("openings/postgres-ssl"), 0),
        (bytes.fromhex("0000000804d21630"), 1),
        (bytes.fromhex("0000001004d2162e") + bytes(8), 2),
        (bytes.fromhex("0000010c04d2162e") + bytes(260), 2),
        (read_vector("openings/postgres-startup"), 3),
        (bytes.fromhex("0000000900030002") + bytes(1), 3),
        (bytes.fromhex("0000271000030000"), 3),
        (bytes.fromhex("0000000904d2162f"), None),
        (bytes.fromhex("0000000f04d2162e"), None),
        (bytes.fromhex("0000010d04d2162e"), None),
        (bytes.fromhex("0000000800030000"), None),
        (bytes.fromhex("0000271100030000"), None),
        (bytes.fromhex("0000000900020000"), None),
        (b"\0\1", None),
        (b"GET ", None),
    )

    def test_every_split(self) -> None:
        """Each request is known by its own matcher only, and not before its code is there."""
        for wire, place in self.CASES:
            for number, match in enumerate(self.MATCHERS):
                verdicts = [match(wire[:end]) for end in range(len(wire) + 1)]
                with self.subTest(wire=wire, number=number):
                    self.assertIs(verdicts[0], None)
                    self.assertIs(verdicts[-1], number == place)
                    told = [verdict for verdict in verdicts if verdict is not None]
                    self.assertEqual(set(told), {number == place})
                    self.assertEqual(verdicts[-len(told) :], told)
