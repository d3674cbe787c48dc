"""Tests for `tgctl nodes` and `tgctl rm node/NAME`."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.commandline import TableDoor, run


def node(name: str, **labels: str) -> dict[str, Any]:
    """A node as the API gives it."""
    spec = {"hostname": f"{name}.local", "addresses": ["127.0.0.1:22"], "version": "1.0"}
    return {"kind": "node", "metadata": {"name": name, "labels": labels}, "spec": spec}


NODES = [node("db1", env="prod", disk="ssd"), node("web1")]


class NodesTests(SynchronousTestCase):
    """Tests for `tgctl nodes`."""

    def test_ls(self) -> None:
        """A table; none is said to be none; JSON is the resources."""
        table = {"GET /v1/resources/node": {"items": NODES, "next": None}}
        self.assertEqual(
            run("nodes", "ls", door=TableDoor(table)).stdout.splitlines(),
            [
                "NODE  HOSTNAME    LABELS             ADDRESSES     VERSION",
                "db1   db1.local   env=prod,disk=ssd  127.0.0.1:22  1.0",
                "web1  web1.local  -                  127.0.0.1:22  1.0",
            ],
        )
        shown = run("nodes", "ls", "env=prod", "--format=json", door=TableDoor(table)).stdout
        self.assertEqual(json.loads(shown), NODES[:1])
        self.assertEqual(run("nodes", "ls", "env=x", door=TableDoor(table)).stdout, "no node\n")
        self.assertEqual(run("nodes", "ls", "env", door=TableDoor(table)).exit_code, 2)

    def test_get(self) -> None:
        """`get` knows the kind by its plural, as by any of its names."""
        table = {"GET /v1/resources/nodes": {"items": NODES, "next": None}}
        result = run("get", "nodes", "--format=json", door=TableDoor(table))
        self.assertEqual(json.loads(result.stdout), NODES)

    def test_rm(self) -> None:
        """What is removed is locked, and how to undo that is said."""
        gone = {"kind": "node", "name": "db1", "lock": "77"}
        door = TableDoor({"DELETE /v1/resources/node/db1": gone})
        result = run("rm", "node/db1", door=door)
        self.assertEqual(
            result.stdout,
            "node db1 is removed, and its agent is locked; to undo that: tgctl rm lock/77\n",
        )
