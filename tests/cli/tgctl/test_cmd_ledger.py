"""Tests for `tgctl ledger`."""

from __future__ import annotations

import json
import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.commandline import TableDoor, run


def row(name: str, **more: Any) -> dict[str, Any]:
    """A row as the API gives it."""
    now = time.time()
    return {
        "kind": "user",
        "name": name,
        "listener": "ssh",
        "transport": "raw",
        "version": "OpenSSH_9.2p1",
        "first": now - 7200.5,
        "last": now - 12.5,
        "count": 4,
        "open": 1,
        **more,
    }


class LedgerTests(SynchronousTestCase):
    """Tests for `tgctl ledger ls`."""

    def test_ls(self) -> None:
        """By listener, those that were seen last first."""
        now = time.time()
        items = [
            row("bob", last=now - 60.5, version=""),
            row("alice"),
            row("db1", kind="agent", listener="tunnel", transport="tls", version="tlsgate/1.0"),
        ]
        table = {"GET /v1/ledger": {"items": items, "next": None, "lost": 0}}
        lines = run("ledger", "ls", door=TableDoor(table)).stdout.splitlines()
        self.assertEqual(
            [" ".join(line.split()) for line in lines],
            [
                "LISTENER KIND NAME TRANSPORT CLIENT OPEN COUNT FIRST LAST",
                "ssh user alice raw OpenSSH_9.2p1 1 4 2 h 0 m ago 12 s ago",
                "ssh user bob raw - 1 4 2 h 0 m ago 1 m 0 s ago",
                "tunnel agent db1 tls tlsgate/1.0 1 4 2 h 0 m ago 12 s ago",
            ],
        )
        shown = json.loads(run("ledger", "ls", "--format=json", door=TableDoor(table)).stdout)
        self.assertEqual([one["name"] for one in shown], ["alice", "bob", "db1"])
        empty: dict[str, Any] = {"GET /v1/ledger": {"items": [], "next": None, "lost": 0}}
        self.assertEqual(run("ledger", "ls", door=TableDoor(empty)).stdout, "nobody\n")

    def test_wishes(self) -> None:
        """What is chosen is asked of the auth service, page by page."""
        queries: list[dict[str, str]] = []

        def page(query: Any, body: Any) -> dict[str, Any]:
            queries.append(dict(query))
            if query.get("after"):
                return {"items": [row("bob")], "next": "k1", "lost": 0}
            return {"items": [row("alice")], "next": "k1", "lost": 0}

        door = TableDoor({"GET /v1/ledger": page})
        asked = ("--listener=ssh", "--kind=user", "--transport=raw", "--since=1h", "--name=alice")
        lines = run("ledger", "ls", *asked, door=door).stdout.splitlines()
        self.assertEqual(len(lines), 3)
        since = float(queries[0].pop("since"))
        self.assertLess(abs(time.time() - 3600 - since), 5.0)
        self.assertEqual(
            queries[0],
            {
                "listener": "ssh",
                "kind": "user",
                "transport": "raw",
                "name": "alice",
                "limit": queries[0]["limit"],
            },
        )
        self.assertEqual(queries[1]["after"], "k1")
        run("ledger", "ls", "--since=2026-01-01", door=door)
        self.assertEqual(queries[2]["since"], "1767225600.000")
