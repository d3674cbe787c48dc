"""Tests for `tlsgate.auth.verbs_account`: one's own password and second factor in a browser."""

from __future__ import annotations

from typing import Any

from tests.auth.cluster import ADDRESS, PASSWORD
from tests.auth.test_verbs_ledger import LedgerCase
from tlsgate.auth.sessions import bearer_of

NEW = "a different password"


class AccountCase(LedgerCase):
    """alice is logged in."""

    def setUp(self) -> None:
        super().setUp()
        asked = {"user": "alice", "password": PASSWORD, "otp": self.code(), "address": ADDRESS}
        self.cookie = str(self.ask(self.gateway, "POST", "/v1/web/login", asked)["cookie"])

    def code(self) -> str:
        """The next one of her authenticator."""
        self.cluster.clock.advance(30)
        return str(self.cluster.code("alice"))

    def body(self, **fields: Any) -> dict[str, Any]:
        """What her browser sends by the gateway."""
        return {
            "cookie": self.cookie,
            "bearer": bearer_of(self.cookie),
            "address": ADDRESS,
            "old": PASSWORD,
            "otp": self.code(),
            **fields,
        }

    def refusals(self, path: str, **more: str) -> None:
        """Nobody else's session, page or proof is enough."""
        for fields, status in (
            ({"cookie": "x" * 43}, 401),
            ({"bearer": "x" * 43}, 403),
            ({"old": "not the right one"}, 401),
            ({"otp": None}, 401),
        ):
            self.assertEqual(
                self.status(self.gateway, path, self.body(**{**more, **fields})), status
            )
        self.assertEqual(self.status(self.edgar, path, self.body(**more)), 403)


class PasswordTests(AccountCase):
    """POST /v1/web/password."""

    def test_changed(self) -> None:
        """The new one counts, and the session is over."""
        path = "/v1/web/password"
        self.refusals(path, new=NEW)
        self.assertEqual(self.status(self.gateway, path, self.body(new="short")), 400)
        self.assertEqual(
            self.ask(self.gateway, "POST", path, self.body(new=NEW)), {"user": "alice"}
        )
        self.assertEqual(self.status(self.gateway, path, self.body(old=NEW, new=PASSWORD)), 401)
        asked = {"user": "alice", "password": NEW, "otp": self.code(), "address": ADDRESS}
        self.assertEqual(self.status(self.gateway, "/v1/web/login", asked), 200)


class FactorTests(AccountCase):
    """POST /v1/web/factor."""

    def test_link(self) -> None:
        """It is of the user who has asked, for a reset, and soon over."""
        path = "/v1/web/factor"
        self.refusals(path)
        link = self.ask(self.gateway, "POST", path, self.body())
        begun = self.ask(self.gateway, "POST", "/v1/invites/begin", {"token": link["token"]})
        self.assertEqual((link["user"], begun["user"], begun["kind"]), ("alice", "alice", "reset"))
        self.assertTrue(begun["secret"])
