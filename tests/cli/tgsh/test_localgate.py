"""Tests for `tgsh.localgate`, and for the dial that it is given."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.cli.cluster import CommandCase
from tests.cli.tgsh.wires import Wire, at_once
from tlsgate.cli.faults import NotLoggedIn
from tlsgate.cli.tgsh import gatedial
from tlsgate.cli.tgsh.flat import place_of
from tlsgate.cli.tgsh.localends import SecureSide, Side
from tlsgate.cli.tgsh.localgate import PATIENCE_SECONDS, Gateway, Left
from tlsgate.cli.tgsh.tlspipe import TlsPipe
from tlsgate.errors import BadAsk, GateError, Unreachable


class AdoptingClock(Clock):
    """A loop whose sockets are wires."""

    def __init__(self) -> None:
        super().__init__()
        self.wires: list[Wire] = []

    def adoptStreamConnection(self, number: int, family: int, factory: Any) -> None:
        """Take a socket over."""
        side = factory.buildProtocol(None)
        self.wires.append(Wire())
        side.makeConnection(self.wires[-1])


class ReachTests(CommandCase):
    """Tests for `Gateway.reach`."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = AdoptingClock()
        self.said: list[str] = []
        self.dials: list[Any] = []
        self.there = True
        self.gateway = Gateway(
            self.clock, cast(Any, at_once), "gate.test:443", self._dial, self.said.append
        )

    def _dial(self) -> Any:
        found = self.dials.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def reach(self) -> Deferred[Side]:
        """Reach the gateway."""
        return Deferred.fromCoroutine(self.gateway.reach(lambda: self.there))

    def plain(self) -> socket.socket:
        """A socket that is connected."""
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        self.addCleanup(ours.close)
        return ours

    def test_plain_and_secure(self) -> None:
        """A socket becomes a plain side, TLS one that is looked after."""
        self.dials.append(self.plain())
        self.assertIs(type(self.successResultOf(self.reach())), Side)
        pipe = TlsPipe(self.plain(), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "gate.test")
        pipe.framed()
        self.dials.append(pipe)
        self.assertIs(type(self.successResultOf(self.reach())), SecureSide)
        self.clock.pump([5.0] * 20)
        self.assertEqual([wire.fate for wire in self.clock.wires], ["", "cut"])
        self.gateway.stop()
        self.assertFalse(self.clock.getDelayedCalls())

    def test_a_restart(self) -> None:
        """A gateway that is away is tried again; one line says so, one that it is back."""
        self.dials += [ConnectionRefusedError(), ConnectionResetError(), self.plain()]
        told = self.reach()
        self.assertNoResult(told)
        self.clock.advance(0.25)
        self.assertNoResult(told)
        self.clock.advance(0.5)
        self.successResultOf(told)
        self.assertEqual(len(self.said), 2, self.said)
        self.assertTrue(self.said[0].endswith("; trying again"))
        self.assertEqual(self.said[1], "gate.test:443 is back")

    def test_too_long(self) -> None:
        """After a while the program is told."""
        self.dials += [ConnectionRefusedError()] * 100
        told = self.reach()
        self.clock.pump([0.25] * int(4 * PATIENCE_SECONDS + 4))
        self.failureResultOf(told, Unreachable)

    def test_refused(self) -> None:
        """A refusal is final."""
        self.dials.append(NotLoggedIn("it has ended", "tgsh login"))
        self.failureResultOf(self.reach(), NotLoggedIn)
        self.dials.append(ssl.SSLError(1, "[SSL: X] tlsv13 alert certificate required (_ssl.c:1)"))
        error = self.failureResultOf(self.reach(), GateError).value
        self.assertIn("116", str(error))

    def test_left(self) -> None:
        """Nobody dials for a program that has gone."""
        self.dials += [ConnectionRefusedError()]
        told = self.reach()
        self.there = False
        self.clock.advance(0.25)
        self.failureResultOf(told, Left)
        self.dials.append(self.plain())
        self.failureResultOf(self.reach(), Left)

    def test_meaning(self) -> None:
        """An alert means something; a connection that was cut does not."""
        over = NotLoggedIn("it has ended", "tgsh login")
        meaning: Callable[[Exception], GateError | None] = self.gateway.meaning
        self.assertIs(meaning(over), over)
        self.assertIsNone(meaning(ConnectionResetError()))
        self.assertIsNone(meaning(ZeroDivisionError()))
        self.assertIsInstance(meaning(TimeoutError()), Unreachable)


class DialTests(CommandCase):
    """Tests for `gatedial` before anybody is dialled."""

    def test_files(self) -> None:
        """A login whose files are gone or broken is told how to have new ones."""
        place = place_of(str(self.terminal.home), None, None)
        with open(place.certificate, "w") as file:
            file.write("nonsense")
        for call in (
            lambda: gatedial.dial(place, ("a",)),
            lambda: gatedial.dial(place, ("a",), "/nowhere", "/nowhere"),
            lambda: gatedial.dial_web(place, "wiki.gate.test", "/nowhere", "/nowhere"),
        ):
            self.assertIn("tgsh login", str(self.assertRaises(BadAsk, call)))

    def test_web_authorities(self) -> None:
        """The web certificate is believed by whom the login has kept, or by the machine's."""
        place = place_of(str(self.terminal.home), None, None)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        gatedial.trust_web(context, place)
        with open(place.web_authorities, "w") as file:
            file.write(self.cluster.ca.pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        gatedial.trust_web(context, place)
        self.assertEqual(context.cert_store_stats()["x509"], 1)
