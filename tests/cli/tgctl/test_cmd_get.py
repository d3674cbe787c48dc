"""Tests for `tgctl get` and `tgctl rm`."""

from __future__ import annotations

import json
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.support.commandline import TableDoor, run
from tlsgate.cli.tgctl.cmd_get import command
from tlsgate.cli.tgctl.cmd_rm import command as rm
from tlsgate.cli.tgctl.resources import ALL, parse
from tlsgate.errors import BadAsk, DaemonSaid, Fault


def role(name: str) -> dict[str, Any]:
    return {
        "kind": "role",
        "version": "v7",
        "metadata": {"name": name, "revision": 3, "labels": {"a": "b"}},
        "spec": {"allow": {"logins": ["{{internal.logins}}", "on"]}},
    }


TABLE = {
    "GET /v1/resources/role": {"items": [role("a"), role("b")], "next": None},
    "GET /v1/resources/roles/a": role("a"),
}


class GetTests(SynchronousTestCase):
    """Tests for `tgctl get`."""

    def test_yaml(self) -> None:
        """YAML unless asked otherwise: a document a resource, as `create` reads it."""
        result = run("get", "role", door=TableDoor(TABLE))
        self.assertEqual(list(yaml.safe_load_all(result.stdout)), [role("a"), role("b")])
        self.assertTrue(result.stdout.startswith("kind: role\nversion: v7\nmetadata:\n  name: a\n"))

    def test_json(self) -> None:
        """A list, of one as well, and an empty one of none."""
        result = run("get", "roles/a,role", "--format=json", door=TableDoor(TABLE))
        self.assertEqual(json.loads(result.stdout), [role("a"), role("a"), role("b")])
        none: dict[str, Any] = {"GET /v1/resources/lock": {"items": [], "next": None}}
        result = run("--format=json", "get", "lock", door=TableDoor(none))
        self.assertEqual(json.loads(result.stdout), [])

    def test_text(self) -> None:
        """Names and revisions."""
        result = run("get", "role", "--format=text", door=TableDoor(TABLE))
        self.assertEqual(
            result.stdout.splitlines(),
            [
                "KIND  NAME  REVISION  LABELS",
                "role  a            3  a=b",
                "role  b            3  a=b",
            ],
        )

    def test_all(self) -> None:
        """Every kind that the roles show; what they do not is said."""
        empty: dict[str, Any] = {"items": [], "next": None}
        table: dict[str, Any] = {f"GET /v1/resources/{kind}": empty for kind in ALL}
        table |= TABLE
        table["GET /v1/resources/token"] = DaemonSaid("access_denied", Fault.CLIENT, "no")
        result = run("get", "all", door=TableDoor(table))
        self.assertEqual(len(list(yaml.safe_load_all(result.stdout))), 2)
        self.assertEqual((result.exit_code, result.stderr), (0, "tgctl: left out: no\n"))

    def test_names(self) -> None:
        """KIND or KIND/NAME; a name may have slashes, an empty one is a mistake."""
        self.assertEqual((parse("a"), parse("a/b/c")), (("a", None), ("a", "b/c")))
        for bad in ("", "/a", "a/"):
            self.assertRaises(BadAsk, parse, bad)
        self.assertEqual((command.name, rm.name), ("get", "rm"))

    def test_rm(self) -> None:
        """Several at once; a setting is called by its kind; --force goes along."""
        table = {
            "DELETE /v1/resources/role/a": {"kind": "role", "name": "a"},
            "DELETE /v1/resources/networking/networking": {
                "kind": "cluster_networking_config",
                "name": "networking",
            },
        }
        door = TableDoor(table)
        result = run("rm", "role/a", "networking", "-f", door=door)
        self.assertEqual(
            result.stdout,
            "role a is removed\ncluster_networking_config networking is removed\n",
        )
        self.assertEqual({str(query) for _, query in door.asked}, {"{'force': '1'}"})
