"""Tests for `tgsh.main`: what --help says."""

from __future__ import annotations

from tests.cli.cluster import CommandCase
from tlsgate.cli.tgsh.main import COMMANDS


class HelpTests(CommandCase):
    """What --help says."""

    def test_every_command_has_a_sentence(self) -> None:
        """No command stands without its purpose; a misspelt one is guessed."""
        shown = self.terminal.run("--help").stdout
        for name in COMMANDS:
            self.assertRegex(shown, rf"\n  {name} +[A-Z]")
        self.assertIn("Did you mean 'login'?", self.terminal.run("lgoin").stderr)
