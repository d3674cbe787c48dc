"""Tests for `tlsgate.targets.dbcerts`."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from tests.support.certs import pki
from tests.targets.dbhouse import DatabaseCase
from tlsgate.config.settings import OfferSettings, TargetTls
from tlsgate.errors import TargetDenied, Unreachable
from tlsgate.targets.dbcerts import Passport, Passports


class PassportsTests(DatabaseCase):
    """Tests for `Passports`."""

    def setUp(self) -> None:
        super().setUp()
        self.passports = Passports()

    def get(self, db_user: str = "app", name: str = "orders", **more: Any) -> Deferred[Passport]:
        """Ask for one."""
        settings = OfferSettings(kind="db", name=name, protocol="postgres", tls=TargetTls())
        arrived = self.arrived(settings, door=self.door, **more)
        return Deferred.fromCoroutine(self.passports.get(arrived, db_user))

    def held(self) -> list[Deferred[None]]:
        """Have auth wait with what it answers from now on."""
        held: list[Deferred[None]] = []
        self.door.held = held
        return held

    def test_body(self) -> None:
        """Auth hears who wants to be whom, where, and from which address."""
        details = {"db_user": "app", "db_name": "shop"}
        self.get(client="192.0.2.7:4711", certificate=b"x", details=details)
        (body,) = self.door.asked
        self.assertIn("PUBLIC KEY", body["public_key"])
        want = ("orders", "app", "shop", "192.0.2.7", "eA==")
        names = ("database", "db_user", "db_name", "address", "user_certificate")
        self.assertEqual(tuple(body[name] for name in names), want)

    def test_half_its_life(self) -> None:
        """It serves for half of what is left of it, and then the next one is asked for."""
        first = self.successResultOf(self.get())
        self.reactor.advance(1700)
        self.assertIs(self.successResultOf(self.get()), first)
        self.reactor.advance(200)
        self.assertIsNot(self.successResultOf(self.get()), first)
        self.assertEqual(len(self.door.asked), 2)

    def test_other_authorities(self) -> None:
        """After a change of authorities nothing of before is used, not even what was on its way."""
        first = self.successResultOf(self.get())
        self.passports.forget_all()
        self.assertIsNot(self.successResultOf(self.get()), first)
        self.passports.forget_all()
        held = self.held()
        late = self.get()
        self.passports.forget_all()
        held[0].callback(None)
        self.successResultOf(late)
        self.get()
        self.assertEqual(len(self.door.asked), 4)

    def test_one_for_each(self) -> None:
        """Another database, or another user of it, is another certificate."""
        self.get()
        self.get(db_user="other")
        self.get(name="other")
        self.assertEqual(len(self.door.asked), 3)

    def test_one_request(self) -> None:
        """Who comes while one is asked for waits for it."""
        held = self.held()
        asked = [self.get() for _ in range(5)]
        self.assertEqual(len(self.door.asked), 1)
        held[0].callback(None)
        got = {self.successResultOf(one) for one in asked}
        self.assertEqual((len(got), len(self.door.asked)), (1, 1))

    def test_cancelled_waiter(self) -> None:
        """One who waits no longer takes nothing from the others."""
        held = self.held()
        first, second, third = (self.get() for _ in range(3))
        second.cancel()
        self.failureResultOf(second)
        held[0].callback(None)
        self.assertIs(self.successResultOf(first), self.successResultOf(third))

    def test_refused_by_itself(self) -> None:
        """A refusal is one user's: the next one asks with his own certificate."""
        held = self.held()
        first, second = self.get(), self.get()
        self.door.answer = 403, {"error": {"message": "no role allows it"}}
        held[0].callback(None)
        error = self.failureResultOf(first, TargetDenied).value
        self.assertIn("no role allows it", str(error))
        self.door.answer = None
        held[1].callback(None)
        self.successResultOf(second)
        self.assertEqual(len(self.door.asked), 2)

    def test_auth_is_away(self) -> None:
        """Where auth does not answer, all who wait hear it at once, and the next one asks."""
        held = self.held()
        first, second = self.get(), self.get()
        self.door.answer = Unreachable("the auth service", "no")
        held[0].callback(None)
        for one in (first, second):
            self.failureResultOf(one, Unreachable)
        self.door.held, self.door.answer = None, None
        self.successResultOf(self.get())

    def test_odd_answers(self) -> None:
        """Whatever else it says is an error of ours."""
        pem = pki().file("alice.pem").read_text()
        for answer in (
            (500, None),
            (503, {"error": "x"}),
            (200, None),
            (200, {"certificate": pem}),
            (200, {"certificate": pem, "cas": pem}),
            (200, {"certificate": 1, "cas": []}),
            (200, {"certificate": "", "cas": [pem]}),
            (200, {"certificate": pem, "cas": ["x"]}),
            (200, {"certificate": pem, "cas": [pem] * 17}),
            (200, {"certificate": pem + " " * 65536, "cas": [pem]}),
        ):
            self.door.answer = answer
            self.failureResultOf(self.get(), Unreachable)

    def test_bounded(self) -> None:
        """The one that was used longest ago goes first; what was of no use goes at once."""
        first = self.successResultOf(self.get())
        for number in range(255):
            self.get(f"user{number}")
        self.assertIs(self.successResultOf(self.get()), first)
        self.get("more")
        self.assertIs(self.successResultOf(self.get()), first)
        self.assertEqual(len(self.door.asked), 257)
        self.get("user0")
        self.assertEqual(len(self.door.asked), 258)
        self.passports.forget(("orders", "app"))
        self.assertIsNot(self.successResultOf(self.get()), first)

    def test_contexts(self) -> None:
        """A context is made once for each way to verify."""
        passport = self.successResultOf(self.get())
        full, loose = TargetTls(), TargetTls(mode="insecure")
        self.assertIs(passport.context(full, ()), passport.context(full, ()))
        self.assertIsNot(passport.context(full, ()), passport.context(loose, ()))
        self.assertNotIn("BEGIN", repr(passport))
