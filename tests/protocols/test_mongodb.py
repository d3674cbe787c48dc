"""Tests for `tlsgate.protocols.mongodb`."""

from __future__ import annotations

from struct import pack, unpack_from

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.errors import NotServed
from tlsgate.protocols.mongodb import MongoDB
from tlsgate.testing import FakeContext, connect, route


class MongoDBTests(SynchronousTestCase):
    """The port that only refuses."""

    def test_own_port(self) -> None:
        """A driver gets the error as the answer to its first message, and to no other."""
        for kind, number in ((2013, 7), (2004, 99)):
            hello = pack("<iiii", 58, number, 0, kind) + bytes(42)
            for pieces in (1, 15, 16, 58):
                talk = connect(MongoDB(), FakeContext(route=route(), listener="mongo"))
                talk.send(hello, pieces=pieces)
                self.assertEqual(unpack_from("<i", talk.received, 8), (number,))
                words = str(NotServed("mongodb", MongoDB.advice)).encode()
                self.assertIn(words, talk.received)
                self.assertTrue(talk.closed)
