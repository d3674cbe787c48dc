"""What gateways report, and who may read it."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.auth.cluster import BEGIN, NAME, Cluster
from tlsgate.auth import gatewayreports, ledgeranswers, ledgerbodies
from tlsgate.auth.principal import Principal, gateway
from tlsgate.core.claims import Claims

REPORT = "/v1/gateway/report"
ROW = {
    "kind": "user",
    "name": "alice",
    "listener": "ssh",
    "transport": "raw",
    "version": "OpenSSH_9.2",
    "first": BEGIN,
    "last": BEGIN,
    "count": 2,
    "open": 1,
}
BODY = {
    "gateway": "as the file has it",
    "worker": "0",
    "boot": "00112233",
    "started": BEGIN - 5,
    "number": 1,
    "version": "1.0.0",
    "config_version": "v1",
    "mode_in_force": "separate",
    "file": {"path": "/etc/t.yaml", "mode": None, "mode_line": None, "version_line": 1},
    "listeners": [{"name": "ssh", "address": "127.0.0.1:3023", "open": 1}],
    "ledger": [ROW],
}


class LedgerCase(SynchronousTestCase):
    """A cluster with a gateway, an operator and a user."""

    def setUp(self) -> None:
        self.cluster = Cluster(self)
        self.gateway = gateway(NAME, "gw1")
        self.edgar = self.cluster.user("edgar", "editor")
        self.alice = self.cluster.user("alice", "access")

    def ask(self, who: Principal, method: str, path: str, body: Any = None, **query: str) -> Any:
        """Ask, and expect an answer."""
        reply = self.cluster.ask(who, method, path, body, **query)
        self.assertEqual(reply.status, 200, reply.body)
        return reply.body

    def status(self, who: Principal, path: str, body: Any = None, **query: str) -> int:
        """Ask, and give the status."""
        method = "GET" if body is None else "POST"
        return self.cluster.ask(who, method, path, body, **query).status


class ReportTests(LedgerCase):
    """POST /v1/gateway/report and GET /v1/gateways/reports."""

    def test_future(self) -> None:
        """A gateway whose clock is ahead has seen nobody, and has not started, after now."""
        ahead = {**ROW, "first": BEGIN + 1e8, "last": BEGIN + 1e9}
        self.ask(self.gateway, "POST", REPORT, {**BODY, "started": BEGIN + 1e9, "ledger": [ahead]})
        now = self.cluster.clock.seconds()
        (row,) = self.ask(self.edgar, "GET", "/v1/ledger")["items"]
        self.assertEqual((row["first"], row["last"]), (now, now))
        (shown,) = self.ask(self.edgar, "GET", "/v1/gateways/reports")["items"]
        self.assertEqual(shown["started"], now)

    def test_another_clock(self) -> None:
        """Who was there just now was there just now, by whatever clock the gateway has."""
        now = self.cluster.clock.seconds()
        for number, step in enumerate((-3 * 86400.0, 3 * 86400.0), 1):
            row = {**ROW, "first": now + step - 20, "last": now + step - 10, "version": str(step)}
            body = {**BODY, "now": now + step, "number": number, "started": now + step - 30}
            self.ask(self.gateway, "POST", REPORT, {**body, "ledger": [row]})
            rows = self.ask(self.edgar, "GET", "/v1/ledger")["items"]
            (seen,) = [one for one in rows if one["version"] == str(step)]
            self.assertEqual((seen["first"], seen["last"]), (now - 20, now - 10))
            (shown,) = self.ask(self.edgar, "GET", "/v1/gateways/reports")["items"]
            self.assertEqual(shown["started"], now - 30)

    def test_full(self) -> None:
        """Where there is no room for a process it is told to come again: its rows are kept."""
        self.patch(gatewayreports, "MOST", 0)
        self.assertEqual(self.status(self.gateway, REPORT, BODY), 429)

    def test_report(self) -> None:
        """A gateway is known by its certificate's name, whatever it says."""
        self.assertEqual(
            self.ask(self.gateway, "POST", REPORT, BODY), {"known": False, "number": 1}
        )
        self.assertTrue(self.ask(self.gateway, "POST", REPORT, {**BODY, "number": 2})["known"])
        (shown,) = self.ask(self.edgar, "GET", "/v1/gateways/reports")["items"]
        self.assertEqual(
            (shown["gateway"], shown["mode_in_force"], shown["away"], shown["heard"]),
            ("gw1", "separate", False, self.cluster.clock.seconds()),
        )
        self.assertEqual(
            shown["listeners"],
            [
                {
                    "name": "ssh",
                    "address": "127.0.0.1:3023",
                    "public": [],
                    "state": "open",
                    "since": 0.0,
                    "until": None,
                    "open": 1,
                }
            ],
        )

    def test_who(self) -> None:
        """Only gateways report, and only who may change the mode reads it."""
        claims = Claims(cluster=NAME, kind="host", name="db1", system_roles=("node",))
        agent = Principal(kind="host", name="db1", claims=claims)
        for who in (agent, self.edgar):
            self.assertEqual(self.status(who, REPORT, BODY), 403)
        self.assertEqual(self.status(self.cluster.local, REPORT, BODY), 403)
        for path in ("/v1/gateways/reports", "/v1/ledger"):
            self.assertEqual(self.status(self.alice, path), 403)
            self.assertEqual(self.status(self.cluster.local, path), 200)

    def test_bounds(self) -> None:
        """What a gateway says is bounded, and of the words that there are."""
        for wrong in (
            {"ledger": [ROW] * 51},
            {"ledger": [{**ROW, "kind": "ghost"}]},
            {"ledger": [{**ROW, "version": "x" * 65}]},
            {"mode_in_force": "both"},
            {"worker": "a"},
            {"boot": "no"},
        ):
            self.assertEqual(self.status(self.gateway, REPORT, {**BODY, **wrong}), 400, wrong)


class ModelTests(SynchronousTestCase):
    """What a report says, and what is shown of it."""

    def test_report(self) -> None:
        """A gateway that says the least is taken; what it does not say is told as nothing."""
        least = {"boot": "0" * 8, "started": 1.0, "mode_in_force": "multiplex"}
        body = ledgerbodies.ReportBody.model_validate(least)
        self.assertEqual(
            (body.worker, body.workers, body.ledger, body.leaving), ("0", 1, [], False)
        )
        self.assertIsNone(body.file.mode_line)

    def test_row(self) -> None:
        """A row that is told is a row that may be read."""
        self.assertEqual(ledgeranswers.LedgerRow.model_validate(ROW).model_dump(), ROW)


class LedgerTests(LedgerCase):
    """GET /v1/ledger."""

    def test_rows(self) -> None:
        """Rows are chosen by what is asked, and come page by page."""
        rows = [{**ROW, "name": f"user{number}"} for number in range(5)]
        rows.append({**ROW, "kind": "agent", "listener": "tunnel", "transport": "tls", "open": 0})
        self.ask(self.gateway, "POST", REPORT, {**BODY, "ledger": rows})
        seen, after = [], ""
        for _ in range(3):
            page = self.ask(self.edgar, "GET", "/v1/ledger", limit="2", after=after)
            seen += page["items"]
            after = page["next"] or ""
        self.assertEqual((page["next"], page["lost"]), (None, 0))
        self.assertEqual(sorted(one["name"] for one in seen), sorted(one["name"] for one in rows))
        for query, count in (
            ({"kind": "agent"}, 1),
            ({"listener": "ssh"}, 5),
            ({"transport": "tls", "listener": "ssh"}, 0),
            ({"name": "user1"}, 1),
            ({"since": str(BEGIN + 1)}, 5),
        ):
            self.assertEqual(
                len(self.ask(self.edgar, "GET", "/v1/ledger", **query)["items"]), count, query
            )

    def test_words(self) -> None:
        """A word that no row has is a mistake of who asks."""
        self.assertEqual(self.status(self.edgar, "/v1/ledger", kind="ghost"), 400)
        self.assertEqual(self.status(self.edgar, "/v1/ledger", transport="udp"), 400)
