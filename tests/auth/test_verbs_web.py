"""What the console shows operators of the migration."""

from __future__ import annotations

from tests.auth.cluster import ADDRESS, PASSWORD
from tests.auth.test_verbs_ledger import BODY, REPORT, ROW, LedgerCase
from tlsgate.auth import verbs_web

PATH = "/v1/web/migration"


class WebTests(LedgerCase):
    """POST /v1/web/migration."""

    def cookie(self, name: str) -> str:
        """Of a login at the console."""
        asked = {
            "user": name,
            "password": PASSWORD,
            "otp": self.cluster.code(name),
            "address": ADDRESS,
        }
        return str(self.ask(self.gateway, "POST", "/v1/web/login", asked)["cookie"])

    def test_operator(self) -> None:
        """An editor sees steps, who uses the separate ports, and how many come."""
        scan = {**ROW, "kind": "unknown", "name": "192.0.2.1"}
        rows = [ROW, {**ROW, "name": "bob", "open": 0}, {**ROW, "listener": "web"}, scan]
        self.ask(self.gateway, "POST", REPORT, {**BODY, "ledger": rows})
        self.patch(verbs_web, "_ROWS", 1)
        body = {"cookie": self.cookie("edgar"), "address": ADDRESS}
        found = self.ask(self.gateway, "POST", PATH, body)
        self.assertEqual((found["user"], found["more"]), ("edgar", 1))
        self.assertEqual([one["name"] for one in found["rows"]], ["alice"])
        self.assertEqual(len(found["migration"]["steps"]), 7)
        self.assertEqual(found["usage"]["ssh"][-1], 6)

    def test_others(self) -> None:
        """Who may not change the mode sees nothing, and nobody without a login."""
        body = {"cookie": self.cookie("alice"), "address": ADDRESS}
        self.assertEqual(self.status(self.gateway, PATH, body), 403)
        self.assertEqual(self.status(self.gateway, PATH, {**body, "cookie": "x" * 43}), 401)
        self.assertEqual(self.status(self.edgar, PATH, body), 403)
