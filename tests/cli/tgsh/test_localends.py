"""Tests for `tgsh.localends`."""

from __future__ import annotations

from typing import Any, cast

from tests.cli.tgsh.wires import WireCase, lose, secure, wired
from tlsgate.cli.tgsh.localends import Side, couple
from tlsgate.cli.tgsh.tlspipe import Silent


class CoupleTests(WireCase):
    """Two sides become one connection."""

    def setUp(self) -> None:
        super().setUp()
        self.gate, self.far, self.pipe = secure(self.clock)
        couple(self.program, self.gate)

    def test_bytes(self) -> None:
        """Both directions are carried; what is large goes in several frames."""
        self.program.dataReceived(b"hello")
        self.assertEqual(self.far.take(), b"<hello>")
        self.gate.dataReceived(b"world")
        self.assertEqual(self.local.take(), b"world")
        self.assertTrue(self.gate.spoke)
        self.program.dataReceived(bytes(300 << 10))
        self.assertEqual(self.far.take().count(b"<"), 2)

    def test_back_pressure(self) -> None:
        """Whoever takes no more stops the other from being read."""
        local, far = cast(Any, self.local.producer), cast(Any, self.far.producer)
        local.pauseProducing()
        self.assertFalse(self.far.read)
        local.resumeProducing()
        far.pauseProducing()
        self.assertEqual((self.far.read, self.local.read), (True, False))

    def test_the_program_ends_first(self) -> None:
        """Its end goes on, and the answer still comes."""
        self.program.readConnectionLost()
        self.assertEqual((self.far.take(), self.far.fate), (b"<$>", ""))
        self.gate.dataReceived(b"rest$")
        self.assertEqual((self.local.take(), self.local.fate), (b"rest", "closed"))
        self.assertEqual(self.far.fate, "closed")

    def test_the_gateway_ends_first(self) -> None:
        """Its end goes on, and what the program still says as well."""
        self.gate.dataReceived(b"bye$")
        self.assertEqual((self.local.take(), self.local.fate), (b"bye", "half"))
        self.program.dataReceived(b"late")
        self.assertEqual(self.far.take(), b"<late>")
        self.program.readConnectionLost()
        self.assertEqual((self.local.fate, self.far.fate), ("closed", "closed"))

    def test_cut(self) -> None:
        """A side that is cut takes the other along; one that ended in order does not."""
        self.gate.dataReceived(b"!")
        self.assertEqual(self.far.fate, "cut")
        lose(self.gate)
        self.assertEqual(self.local.fate, "cut")

    def test_gone_after_its_end(self) -> None:
        """A gateway that ended and then is gone lets the program read to the end."""
        self.gate.dataReceived(b"bye$")
        lose(self.gate)
        lose(self.gate)
        self.assertEqual((self.local.take(), self.local.fate), (b"bye", "closed"))

    def test_no_close_notify(self) -> None:
        """The socket's end without TLS's is a cut: something may be missing."""
        self.gate.readConnectionLost()
        self.assertEqual(self.far.fate, "cut")

    def test_program_gone(self) -> None:
        """A program that is cut takes the gateway's side along."""
        lose(self.program)
        self.assertEqual(self.far.fate, "cut")
        self.program.send(b"nobody")
        self.program.finish()
        self.program.close()
        self.program.cut()
        self.assertEqual(self.local.take(), b"")


class SecureTests(WireCase):
    """What is TLS's."""

    def test_early(self) -> None:
        """What came with the handshake comes first; updated keys are answered."""
        side, wire, pipe = secure(self.clock, b"early")
        got: list[bytes] = []
        side.got = got.append
        pipe.waiting = b"key"
        side.begin()
        self.assertEqual((got, wire.take()), ([b"early"], b"key"))

    def test_an_alert_after_bytes(self) -> None:
        """What came before an alert is given on, then the connection is cut."""
        side, wire, pipe = secure(self.clock)
        got: list[bytes] = []
        side.got = got.append
        pipe.broken = OSError("alert")
        side.dataReceived(b"last")
        self.assertEqual((got, wire.fate), ([b"last"], "cut"))

    def test_why(self) -> None:
        """Who owns the side is told why it was cut."""
        side, _, _ = secure(self.clock)
        told: list[Exception | None] = []
        side.lost = told.append
        side.dataReceived(b"!")
        lose(side)
        self.assertEqual(str(told[0]), "alert")
        plain, _ = wired(Side())
        plain.lost = told.append
        lose(plain)
        self.assertIsInstance(told[1], ConnectionResetError)

    def test_silent(self) -> None:
        """A gateway whose pings stop is cut; one without pings never is."""
        side, wire, pipe = secure(self.clock)
        self.clock.advance(1000)
        side.check()
        pipe.silent = 90.0
        side.dataReceived(b"x")
        self.clock.advance(90)
        side.check()
        self.assertEqual(wire.fate, "")
        self.clock.advance(1)
        told: list[Exception | None] = []
        side.lost = told.append
        side.check()
        lose(side)
        self.assertEqual(wire.fate, "cut")
        self.assertIsInstance(told[0], Silent)
