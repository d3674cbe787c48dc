"""Tests for `tgctl db` and `tgctl apps`."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.commandline import TableDoor, run
from tlsgate.cli.tgctl import cmd_apps, cmd_db

ROW: dict[str, Any] = {
    "protocol": "postgres",
    "description": "",
    "labels": {"env": "prod"},
    "addresses": ["pg.internal:5432"],
    "facts": {"protocol": "postgres"},
    "hostname": "pg.local",
    "agent": "pg",
    "version": "1.0",
    "last_seen": 5.0,
}


class ListTests(SynchronousTestCase):
    """Tests for `ls` of both."""

    def test_databases(self) -> None:
        """A table; none is said to be none; JSON is the rows; what is asked goes to the API."""
        rows = [{**ROW, "name": "orders"}, {**ROW, "name": "x", "labels": {}, "description": "X"}]
        door = TableDoor({"GET /v1/databases": {"items": rows}})
        self.assertEqual(
            run("db", "ls", door=door).stdout.splitlines(),
            [
                "DATABASE  PROTOCOL  ADDRESS           LABELS    AGENT  DESCRIPTION",
                "orders    postgres  pg.internal:5432  env=prod  pg     -",
                "x         postgres  pg.internal:5432  -         pg     X",
            ],
        )
        shown = run("db", "ls", "a=b,c=d", "--search=x", "--format=json", door=door)
        self.assertEqual(json.loads(shown.stdout), rows)
        none = TableDoor({"GET /v1/databases": {"items": []}})
        self.assertEqual(run("db", "ls", door=none).stdout, "no database\n")
        self.assertEqual(run("db", "ls", "env", door=none).exit_code, 2)
        self.assertEqual(cmd_db.pairs({"a": "b", "c": "d"}), "a=b,c=d")

    def test_applications(self) -> None:
        """The same of applications, with the URL of each."""
        place = {"public_addr": "", "host": "wiki.gate", "url": "https://wiki.gate"}
        rows = [{**ROW, **place, "protocol": "http", "name": "wiki"}]
        door = TableDoor({"GET /v1/apps": {"items": rows}})
        head = "APPLICATION  PROTOCOL  URL                TARGET            LABELS    AGENT"
        self.assertEqual(
            run("apps", "ls", door=door).stdout.splitlines(),
            [
                f"{head}  DESCRIPTION",
                "wiki         http      https://wiki.gate  pg.internal:5432  env=prod  pg     -",
            ],
        )
        door = TableDoor({"GET /v1/apps": {"items": [{**rows[0], "protocol": "tcp"}]}})
        self.assertNotIn("https://", run("apps", "ls", door=door).stdout)
        none = TableDoor({"GET /v1/apps": {"items": []}})
        self.assertEqual(run("apps", "ls", door=none).stdout, "no application\n")
        self.assertEqual(cmd_apps.command.name, "apps")
