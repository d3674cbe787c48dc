"""Tests for `tgctl tokens`."""

from __future__ import annotations

import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.commandline import TableDoor, run
from tlsgate.cli.tgctl.cmd_tokens import Uses

ADDED = {
    "id": "1f2e",
    "secret": "s3cr3t",
    "types": ["node", "db"],
    "uses": 1,
    "pins": ["sha256:ab"],
    "proxy": "gate.test:443",
}


class TokensTests(SynchronousTestCase):
    """Tests for `tgctl tokens`."""

    def test_add(self) -> None:
        """The secret on the first line, then what to do with it."""
        door = TableDoor({"POST /v1/tokens": {**ADDED, "expires": time.time() + 1800.5}})
        result = run("tokens", "add", "--type=node,db", "--labels=env=prod,x=y", door=door)
        self.assertEqual((result.exit_code, result.stderr), (0, ""))
        labels = {"env": "prod", "x": "y"}
        self.assertEqual(
            door.bodies,
            [{"types": ["node", "db"], "ttl_seconds": 1800, "uses": 1, "labels": labels}],
        )
        self.assertEqual(
            result.stdout,
            """\
s3cr3t

is good for node, db, 1 time, for 30 m 0 s; in the configuration of what
joins, with the token in a file of its own:

  teleport:
    proxy_server: gate.test:443
    join_params: {method: token, token_name: /path/to/the/file}
    ca_pin: sha256:ab

to remove it: tgctl tokens rm 1f2e
""",
        )

    def test_uses(self) -> None:
        """A number, or without end; anything else is a mistake."""
        for word, want in (("3", 3), ("unlimited", "unlimited")):
            door = TableDoor({"POST /v1/tokens": {**ADDED, "uses": want, "expires": None}})
            result = run("tokens", "add", "--type=node", f"--uses={word}", door=door)
            self.assertEqual((result.exit_code, door.bodies[0]["uses"]), (0, want))
        for word in ("0", "many", "-1", "1.5", "9" * 400):
            self.assertEqual(run("tokens", "add", "--type=node", f"--uses={word}").exit_code, 2)
        self.assertEqual(Uses().convert(5, None, None), 5)

    def test_ls(self) -> None:
        """By id only; none is said to be none."""
        token = {
            "metadata": {"name": "1f2e", "expires": "2026-01-02T03:04:05Z"},
            "spec": {"types": ["node"], "uses": 2, "used": 1, "labels": {"a": "b"}},
        }
        table = {"GET /v1/resources/token": {"items": [token], "next": None}}
        self.assertEqual(
            run("tokens", "ls", door=TableDoor(table)).stdout.splitlines(),
            [
                "TOKEN  TYPES  USED    LABELS  EXPIRES",
                "1f2e   node   1 of 2  a=b     2026-01-02T03:04:05Z",
            ],
        )
        empty: dict[str, Any] = {"GET /v1/resources/token": {"items": [], "next": None}}
        self.assertEqual(run("tokens", "ls", door=TableDoor(empty)).stdout, "no active token\n")

    def test_rm(self) -> None:
        """By id."""
        table = {"DELETE /v1/resources/token/1f2e": {"kind": "token", "name": "1f2e"}}
        result = run("tokens", "rm", "1f2e", door=TableDoor(table))
        self.assertEqual(result.stdout, "token 1f2e is removed\n")
