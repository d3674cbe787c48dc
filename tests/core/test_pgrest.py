"""Tests for `tlsgate.core.pgrest`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.pgrest import PgRest
from tlsgate.core.wire.postgres import error_response


def message(kind: bytes, body: bytes = b"") -> bytes:
    """One message."""
    return kind + (4 + len(body)).to_bytes(4, "big") + body


IDLE, BUSY, FAILED = (message(b"Z", one) for one in (b"I", b"T", b"E"))
QUERY = message(b"Q", b"select 1\0")
ROW = message(b"D", b"\0\1\0\0\0\1" + b"1")
DONE = message(b"C", b"SELECT 1\0")
#: The end of a start-up, as servers send it.
BEGUN = message(b"R", bytes(4)) + message(b"S", b"a\0b\0") + message(b"K", bytes(8)) + IDLE
#: Prepared, bound, described, executed; Sync is what is answered.
EXTENDED = b"".join(message(kind, b"\0" * 6) for kind in (b"P", b"B", b"D", b"E")) + message(b"S")


class PgRestTests(SynchronousTestCase):
    """Whether a session rests."""

    def setUp(self) -> None:
        self.rest = PgRest()

    def ask(self, wire: bytes, piece: int = 0) -> None:
        """The client says *wire*."""
        for some in pieces(wire, piece):
            self.rest.to_target(some)

    def hear(self, wire: bytes, piece: int = 0) -> bool:
        """The server says *wire*; whether the session rests then."""
        for some in pieces(wire, piece):
            self.rest.to_client(some)
        return self.rest.resting()

    def test_start(self) -> None:
        """It rests from the first ReadyForQuery on, however the network cuts what comes."""
        self.assertFalse(self.rest.resting())
        for piece in range(len(BEGUN) + 1):
            self.rest = PgRest()
            self.assertFalse(self.hear(BEGUN[:-1], piece))
            self.assertTrue(self.hear(BEGUN[-1:]))

    def test_query(self) -> None:
        """A query ends the rest at its first byte, and its answer's last byte begins it."""
        self.hear(BEGUN)
        answer = ROW * 400 + DONE + IDLE
        for piece in (1, 2, 3, 5, 7, 1000, 0):
            self.ask(QUERY[:1])
            self.assertFalse(self.rest.resting())
            self.ask(QUERY[1:], piece)
            self.assertFalse(self.rest.resting())
            self.assertFalse(self.hear(answer[:-1], piece))
            self.assertTrue(self.hear(answer[-1:]))

    def test_transaction(self) -> None:
        """Within a transaction, failed or not, it does not rest."""
        self.hear(BEGUN)
        for state in (BUSY, FAILED):
            self.ask(QUERY)
            self.assertFalse(self.hear(DONE + state))
        self.ask(QUERY)
        self.assertTrue(self.hear(DONE + IDLE))

    def test_pipeline(self) -> None:
        """Who asks for more before the answer has come is waited for until the last one."""
        self.hear(BEGUN)
        for piece in range(40):
            self.ask((EXTENDED + QUERY + message(b"F", bytes(8))), piece)
            one = ROW + DONE + IDLE
            self.assertFalse(self.hear(one, piece))
            self.assertFalse(self.hear(one[:-1], piece))
            self.assertFalse(self.hear(one[-1:], piece))
            self.assertFalse(self.hear(message(b"N", b"M.\0\0"), piece))
            self.assertFalse(self.hear(one[:-1], piece))
            self.assertTrue(self.hear(one[-1:], piece))

    def test_pipeline_at_once(self) -> None:
        """Answers that come together are counted, however they are cut."""
        self.hear(BEGUN)
        answers = (ROW + DONE + IDLE) * 3
        for piece in range(1, len(answers)):
            self.ask(EXTENDED * 3)
            self.assertFalse(self.hear(answers[:-1], piece))
            self.assertTrue(self.hear(answers[-1:]))

    def test_unasked(self) -> None:
        """What a server says unasked ends no rest, but in its midst nobody else may speak."""
        self.hear(BEGUN)
        for unasked in (message(b"A", bytes(9)), message(b"S", b"a\0b\0"), message(b"N", b"M\0")):
            for cut in range(1, len(unasked)):
                self.assertFalse(self.hear(unasked[:cut]))
                self.assertTrue(self.hear(unasked[cut:]))
            self.ask(QUERY)
            self.assertTrue(self.hear(DONE + IDLE + unasked * 2))
            self.ask(QUERY)
            self.assertFalse(self.hear(DONE + IDLE + unasked[:-1]))
            self.assertTrue(self.hear(unasked[-1:]))

    def test_farewell(self) -> None:
        """A server that says something else unasked has ended it, or nobody understands it."""
        for odd in (message(b"E", b"SFATAL\0\0"), b"N\0\0\0\1"):
            self.rest = PgRest()
            self.assertTrue(self.hear(BEGUN))
            self.assertFalse(self.hear(odd))

    def test_not_at_the_end(self) -> None:
        """A ReadyForQuery somewhere within rows, or before what was asked for, is none."""
        self.hear(BEGUN)
        self.ask(QUERY)
        self.assertFalse(self.hear(message(b"D", b"x" * 9 + IDLE + b"y" * 30)))
        self.assertFalse(self.hear(IDLE + b"N\0\0\0\1"))
        self.assertTrue(self.hear(DONE + IDLE))

    def test_odd_client(self) -> None:
        """Where nobody knows where the client's messages begin, it never rests."""
        for odd in (b"Q\0\0\0\3", b"Q\0\0", b"Q\0\0\0\x09a"):
            for piece in (0, 1, 2):
                self.rest = PgRest()
                self.hear(BEGUN)
                self.ask(odd, piece)
                self.assertFalse(self.hear(DONE + IDLE))
        self.rest = PgRest()
        self.hear(BEGUN)
        self.ask(b"Q\0\0")
        self.ask(b"\0\3")
        self.ask(QUERY)
        self.assertFalse(self.hear(DONE + IDLE))

    def test_copy(self) -> None:
        """Data that the client copies in are passed over, and the end of it is waited for."""
        self.hear(BEGUN)
        self.ask(QUERY)
        self.assertFalse(self.hear(message(b"G", b"\0\0\0")))
        self.ask((message(b"d", b"Q" * 300)) * 9 + message(b"c"), 100)
        self.assertTrue(self.hear(DONE + IDLE))

    def test_last_words(self) -> None:
        """The client reads what a server says that is shut down; the server, that it ends."""
        words, end = self.rest.last_words()
        sentence = "terminating connection due to administrator command: the gateway stops"
        self.assertEqual(words, error_response("57P01", sentence))
        self.assertEqual(end, b"X\0\0\0\4")


def pieces(wire: bytes, size: int) -> list[memoryview]:
    """*wire* in pieces of *size* bytes; 0: as one."""
    size = size or len(wire) or 1
    return [memoryview(wire)[at : at + size] for at in range(0, len(wire), size)]
