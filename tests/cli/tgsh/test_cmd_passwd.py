"""Tests for `tgsh passwd`."""

from __future__ import annotations

from tests.cli.cluster import NOW, CommandCase
from tlsgate.cli.tgsh.cmd_passwd import command

DEVICES = [{"name": "otp", "type": "totp", "added": NOW, "last_used": None}]


class PasswdTests(CommandCase):
    """Tests for `tgsh passwd`."""

    def test_change(self) -> None:
        """The old one, the new one twice, a code."""
        self.cluster.answers["GET /v1/me/mfa"] = {"devices": DEVICES}
        self.cluster.answers["POST /v1/me/password"] = {}
        self.terminal.types = ["old one", "new one", "new one", "654321"]
        result = self.terminal.run("passwd")
        self.assertEqual((result.exit_code, result.stdout), (0, ""))
        self.assertEqual(
            self.cluster.asked[-1][2], {"old": "old one", "new": "new one", "otp": "654321"}
        )

    def test_typed_in_two_ways(self) -> None:
        """Two new passwords that differ change nothing."""
        self.cluster.answers["GET /v1/me/mfa"] = {"devices": DEVICES}
        self.terminal.types = ["old one", "new one", "new 0ne"]
        result = self.terminal.run("passwd")
        self.assertEqual(
            (result.exit_code, result.stderr),
            (2, "tgsh: the two are not the same; nothing was changed\n"),
        )
        self.assertEqual(len(self.cluster.asked), 1)

    def test_name(self) -> None:
        """It is called so, and says what it does."""
        self.assertEqual(command.name, "passwd")
        self.assertTrue(command.help)
