"""Tests for `tgsh.localtunnel`."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from tests.cli.tgsh.test_localpg import CANCEL, SSL, STARTUP
from tests.cli.tgsh.wires import WireCase, lose
from tlsgate.cli.faults import NotLoggedIn
from tlsgate.cli.tgsh.localends import Side
from tlsgate.cli.tgsh.localgate import Left
from tlsgate.cli.tgsh.localtunnel import PRELUDE_SECONDS, Postgres, Straight

OVER = NotLoggedIn("the login has ended", "tgsh login")


class StraightTests(WireCase):
    """Bytes as they are."""

    def begin(self, kind: type[Straight] = Straight) -> Straight:
        """A program has connected."""
        return kind(self.program, self.gateway, self.clock, self.said.append, self.refused.append)

    def test_carried(self) -> None:
        """The program is read once the gateway is there; what came early is given on."""
        side, wire, _ = self.prepare(b"hello")
        reaching: Deferred[Side] = Deferred()
        self.gateway.sides[:] = [reaching]
        self.begin()
        self.assertFalse(self.local.read)
        reaching.callback(side)
        self.assertEqual((self.local.read, self.local.take()), (True, b"hello"))
        self.program.dataReceived(b"hi")
        self.assertEqual(wire.take(), b"<hi>")

    def test_refused(self) -> None:
        """A refusal is said to people, and the program cut."""
        self.gateway.sides.append(OVER)
        self.begin()
        self.assertEqual((self.said, self.refused), ([str(OVER)], [OVER]))
        self.assertEqual(self.local.fate, "cut")

    def test_left(self) -> None:
        """A program that has gone while the gateway was tried costs nothing more."""
        reaching: Deferred[Side] = Deferred()
        self.gateway.sides.append(reaching)
        self.begin()
        reaching.errback(Left())
        self.assertEqual((self.said, self.local.fate), ([], ""))

    def test_a_fault_of_ours(self) -> None:
        """Whatever else goes wrong cuts the program, and nobody waits."""
        reaching: Deferred[Side] = Deferred()
        self.gateway.sides.append(reaching)
        self.begin()
        reaching.errback(ZeroDivisionError())
        self.assertEqual(self.local.fate, "cut")


class PostgresTests(StraightTests):
    """PostgreSQL's messages before a session."""

    def test_session(self) -> None:
        """TLS is not spoken here; the start-up goes on as it is, and the rest after it."""
        _, wire, _ = self.prepare()
        self.begin(Postgres)
        self.program.dataReceived(SSL)
        self.assertEqual((self.local.take(), self.gateway.asked), (b"N", 0))
        self.program.dataReceived(STARTUP)
        self.assertEqual(wire.take(), b"<" + STARTUP + b">")
        self.program.dataReceived(b"Q")
        self.assertEqual(wire.take(), b"<Q>")
        self.assertFalse(self.clock.getDelayedCalls())

    def test_cancel(self) -> None:
        """A CancelRequest has a connection of its own."""
        _, wire, _ = self.prepare()
        self.begin(Postgres)
        self.program.dataReceived(CANCEL)
        self.assertEqual(wire.take(), b"<" + CANCEL + b">")

    def test_glued(self) -> None:
        """Bytes glued to an SSLRequest end it, in a sentence (S45)."""
        self.begin(Postgres)
        self.program.dataReceived(SSL + STARTUP)
        self.assertIn(b"should have waited", self.local.take())
        self.assertEqual((self.local.fate, self.gateway.asked), ("closed", 0))

    def test_words(self) -> None:
        """psql shows why the gateway cannot be had."""
        self.gateway.sides.append(OVER)
        self.begin(Postgres)
        self.program.dataReceived(STARTUP)
        words = self.local.take()
        self.assertEqual(words[:1], b"E")
        self.assertIn(str(OVER).encode(), words)
        self.assertEqual(self.local.fate, "closed")

    def test_refused_after_the_handshake(self) -> None:
        """In TLS 1.3 a refusal comes as the first thing; later it is only a cut."""
        for spoke in (False, True):
            self.setUp()
            side, _, _ = self.prepare()
            self.begin(Postgres)
            self.program.dataReceived(STARTUP)
            if spoke:
                side.dataReceived(b"R")
                self.local.take()
            side.dataReceived(b"!")
            lose(side)
            self.assertEqual(self.local.fate, "cut" if spoke else "closed")
            self.assertEqual(self.local.take()[:1], b"" if spoke else b"E")
            self.assertEqual(len(self.refused), 0 if spoke else 1)

    def test_silence(self) -> None:
        """A program that says nothing is cut after a while (S46), and leaves nothing."""
        self.begin(Postgres)
        self.clock.advance(PRELUDE_SECONDS)
        self.assertEqual(self.local.fate, "cut")
        self.setUp()
        self.begin(Postgres)
        lose(self.program)
        self.assertFalse(self.clock.getDelayedCalls())

    def test_an_end(self) -> None:
        """A program that ends before it has begun is let go."""
        self.begin(Postgres)
        self.program.readConnectionLost()
        self.assertEqual(self.local.fate, "closed")
