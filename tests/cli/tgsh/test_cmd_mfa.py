"""Tests for `tgsh mfa`."""

from __future__ import annotations

from tests.cli.cluster import NOW, CommandCase
from tlsgate.cli.tgsh.cmd_mfa import command

DEVICES = [{"name": "otp", "type": "totp", "added": NOW, "last_used": None}]


class MfaTests(CommandCase):
    """Tests for `tgsh mfa ls`."""

    def test_list(self) -> None:
        """A line a device, with times for people."""
        self.cluster.answers["GET /v1/me/mfa"] = {"devices": DEVICES}
        self.assertEqual(
            self.terminal.run("mfa", "ls").stdout.splitlines(),
            [
                "NAME  TYPE  ADDED                    LAST USED",
                "otp   totp  2026-01-02 03:04:05 UTC  never",
            ],
        )

    def test_name(self) -> None:
        """It is called so, and says what it does."""
        self.assertEqual(command.name, "mfa")
        self.assertTrue(command.help)
