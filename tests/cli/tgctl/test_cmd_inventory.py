"""Tests for `tgctl inventory`."""

from __future__ import annotations

import json
import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.commandline import TableDoor, run


def agent(name: str, **more: Any) -> dict[str, Any]:
    """An agent as the API gives it."""
    return {
        "name": name,
        "roles": ["node"],
        "version": "1.0",
        "hostname": name,
        "listener": "web",
        "transport": "alpn",
        "address": "192.0.2.9:4000",
        "worker": "0",
        "since": 5.0,
        "streams": 2,
        "gateway": "gw1",
        "last_seen": time.time() - 12.5,
        **more,
    }


def unheld(name: str) -> dict[str, Any]:
    """One that no gateway has."""
    return agent(name, gateway=None, worker="", listener="", transport="", address="", streams=0)


class InventoryTests(SynchronousTestCase):
    """Tests for `tgctl inventory ls`."""

    def test_ls(self) -> None:
        """Each agent with the way by which it came; one without a tunnel is said to have none."""
        items = [agent("db1"), agent("db2", worker=""), unheld("web1")]
        table = {"GET /v1/inventory": {"items": items, "next": None}}
        lines = run("inventory", "ls", door=TableDoor(table)).stdout.splitlines()
        self.assertEqual(
            [" ".join(line.split()) for line in lines],
            [
                "AGENT SERVICES VERSION GATEWAY LISTENER TRANSPORT ADDRESS STREAMS SEEN",
                "db1 node 1.0 gw1/0 web alpn 192.0.2.9:4000 2 12 s ago",
                "db2 node 1.0 gw1 web alpn 192.0.2.9:4000 2 12 s ago",
                "web1 node 1.0 no tunnel - - - 0 12 s ago",
            ],
        )
        shown = run("inventory", "ls", "--format=json", door=TableDoor(table)).stdout
        self.assertEqual(json.loads(shown), items)
        empty: dict[str, Any] = {"GET /v1/inventory": {"items": [], "next": None}}
        self.assertEqual(run("inventory", "ls", door=TableDoor(empty)).stdout, "no agent\n")

    def test_pages(self) -> None:
        """All pages are asked for, and one that leads nowhere is the last."""

        def page(query: Any, body: Any) -> dict[str, Any]:
            if not query.get("after"):
                return {"items": [agent("a")], "next": "a"}
            return {"items": [agent("b")], "next": "a"}

        door = TableDoor({"GET /v1/inventory": page})
        shown = run("inventory", "ls", "--format=json", door=door).stdout
        self.assertEqual([one["name"] for one in json.loads(shown)], ["a", "b"])
