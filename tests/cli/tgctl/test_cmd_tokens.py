"""Tests for `tgctl tokens`."""

from __future__ import annotations

import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.commandline import TableDoor, run
from tlsgate.cli.tgctl.cmd_tokens import Uses
from tlsgate.config.read import read_text

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

is good for node, db, 1 time, for 30 m 0 s. Where it is to be used, write
it to a file of mode 0600, /etc/tlsgate/token here, and

  version: v3
  teleport:
    proxy_server: gate.test:443
    auth_token: /etc/tlsgate/token
    ca_pin: "sha256:ab"
  ssh_service: {enabled: yes}
  db_service:
    databases:
      - {name: orders, protocol: postgres, uri: pg.internal:5432}

to /etc/tlsgate/agent.yaml. The agent joins at its first start, once for all:

  twistd -n tlsgate -c /etc/tlsgate/agent.yaml

to remove it: tgctl tokens rm 1f2e
""",
        )

    def written(self, **more: Any) -> str:
        """The file that is printed."""
        pin = "sha256:" + "ab" * 32
        answer = {**ADDED, "pins": [pin], "expires": None, **more}
        door = TableDoor({"POST /v1/tokens": answer})
        shown = run("tokens", "add", "--type=node", door=door).stdout
        return "".join(line[2:] + "\n" for line in shown.split("\n\n")[2].splitlines())

    def test_the_file(self) -> None:
        """What is printed is a file as it is: of an agent, or of a gateway."""
        agent = read_text(self.written(types=["node"]))
        assert agent.join is not None
        self.assertTrue(agent.is_agent)
        self.assertEqual(agent.warnings, ())
        self.assertEqual(agent.join.servers, ("gate.test:443",))
        gateway = read_text(self.written(types=["gateway"]).replace("HOST:PORT", "gate.test:443"))
        assert gateway.join is not None
        self.assertFalse(gateway.auth_enabled)
        self.assertEqual(gateway.join.servers, ("gate.test:443",))
        inside = read_text(self.written(types=["node", "db", "app"]))
        assert inside.agent is not None
        self.assertEqual((inside.agent.roles, inside.warnings), (("node", "db", "app"), ()))
        self.assertNotIn("ssh_service", self.written(types=["app"]))
        self.assertIn("proxy_server: HOST:PORT", self.written(types=["app"], proxy=None, pins=[]))

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
            "metadata": {"name": "1f2e", "expires": "2026-01-02T03:04:05.678901Z"},
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
