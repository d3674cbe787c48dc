"""Tests for `tgsh version`."""

from __future__ import annotations

import json

import tlsgate
from tests.cli.cluster import CommandCase
from tlsgate.cli.tgsh.cmd_version import command
from tlsgate.errors import Unreachable


class VersionTests(CommandCase):
    """Tests for `tgsh version`."""

    def test_both(self) -> None:
        """Ours, and the gateway's of the profile in use."""
        shown = json.loads(self.terminal.run("version", "--format=json").stdout)
        self.assertEqual((shown["tgsh"], shown["gateway"]), (tlsgate.__version__, "1.0.0"))

    def test_gateway_away(self) -> None:
        """Without an answer ours is printed all the same."""
        self.cluster.refuses = lambda way: Unreachable(str(way.address), "away")
        result = self.terminal.run("version")
        self.assertEqual(result.exit_code, 0)
        self.assertTrue(result.stdout.startswith(f"tgsh    {tlsgate.__version__}"))
        self.assertIn("away", result.stderr)
        self.assertEqual(self.terminal.run("version", "--client").stderr, "")

    def test_name(self) -> None:
        """It is called so, and says what it does."""
        self.assertEqual(command.name, "version")
        self.assertTrue(command.help)
