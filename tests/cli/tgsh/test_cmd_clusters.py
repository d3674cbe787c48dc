"""Tests for `tgsh clusters`."""

from __future__ import annotations

import json

from tests.cli.cluster import CommandCase
from tlsgate.cli.tgsh.cmd_clusters import command
from tlsgate.errors import Unreachable


class ClustersTests(CommandCase):
    """Tests for `tgsh clusters`."""

    def test_online(self) -> None:
        """The cluster that answers is online."""
        self.cluster.answers["GET /v1/me"] = {"cluster": "example"}
        self.assertEqual(
            self.terminal.run("clusters").stdout.splitlines(),
            ["CLUSTER  STATUS  TYPE  SELECTED", "example  online  root  *"],
        )

    def test_offline(self) -> None:
        """One that does not is still shown, and why is said."""
        self.cluster.answers["GET /v1/me"] = Unreachable("gate.test:443", "nobody listens there")
        result = self.terminal.run("clusters", "--format=json")
        self.assertEqual(
            json.loads(result.stdout),
            [{"name": "example", "status": "offline", "type": "root", "selected": True}],
        )
        self.assertIn("nobody listens there", result.stderr)

    def test_name(self) -> None:
        """It is called so, and says what it does."""
        self.assertEqual(command.name, "clusters")
        self.assertTrue(command.help)
