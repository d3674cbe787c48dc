"""Tests for `tlsgate.core.wire.mongodb`."""

from __future__ import annotations

from struct import unpack

from twisted.trial.unittest import SynchronousTestCase

from tests.core.hellos import read_vector
from tlsgate.core.wire import mongodb


class MongoDBTests(SynchronousTestCase):
    """Tests for `mongodb.error_reply`."""

    DOCUMENT = (
        b"\x2e\0\0\0\x01ok\0" + bytes(8) + b"\x02errmsg\0\x07\0\0\0no way\0\x10code\0\x0d\0\0\0\0"
    )

    def test_message(self) -> None:
        """An OP_MSG is answered by one, with the request's number."""
        request = read_vector("openings/mongodb")
        wire = mongodb.error_reply(request, "no way")
        self.assertEqual(unpack("<i", wire[:4])[0], len(wire))
        self.assertEqual(wire[8:12], request[4:8])
        self.assertEqual(wire[12:], b"\xdd\x07\0\0" + bytes(5) + self.DOCUMENT)

    def test_query(self) -> None:
        """An OP_QUERY is answered by an OP_REPLY."""
        request = bytes.fromhex("3b0000002a00000000000000d4070000")
        wire = mongodb.error_reply(request, "no way")
        self.assertEqual(unpack("<iiii", wire[:16]), (len(wire), 0, 42, 1))
        self.assertEqual(wire[16:], bytes(16) + b"\1\0\0\0" + self.DOCUMENT)

    def test_cut_request(self) -> None:
        """Without a whole header the answer is for request 0."""
        wire = mongodb.error_reply(b"\x3b\0", "no way")
        self.assertEqual(unpack("<iiii", wire[:16]), (len(wire), 0, 0, 1))


class IsMessageTests(SynchronousTestCase):
    """Tests for `mongodb.is_message`."""

    #: First bytes, and whether they are a driver's first message.
    CASES = (
        (read_vector("openings/mongodb"), True),
        (bytes.fromhex("3b0000002a00000000000000d4070000"), True),
        (bytes.fromhex("1a0000000100000000000000dd070000"), True),
        (bytes.fromhex("006cdc020100000000000000dd070000"), True),
        (bytes.fromhex("190000000100000000000000dd070000"), False),
        (bytes.fromhex("016cdc020100000000000000dd070000"), False),
        (bytes.fromhex("3b0000000100000001000000dd070000"), False),
        (bytes.fromhex("3b0000000100000000000000d5070000"), False),
        (bytes.fromhex("3b0000000100000000000000dd070100"), False),
    )

    def test_every_split(self) -> None:
        """A message is known by its 16 bytes of header; what is none, as early as may be."""
        for wire, known in self.CASES:
            verdicts = [mongodb.is_message(wire[:end]) for end in range(len(wire) + 1)]
            told = [verdict for verdict in verdicts if verdict is not None]
            with self.subTest(wire=wire):
                self.assertEqual(set(told), {known})
                self.assertEqual(verdicts[-len(told) :], told)
                if known:
                    self.assertEqual(len(verdicts) - len(told), 16)
