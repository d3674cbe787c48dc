"""Tests for `tgsh.call`: which gateway a command is about, and as whom."""

from __future__ import annotations

from pathlib import Path

from tests.cli.cluster import NOW, CommandCase
from tlsgate.cli.api import AUTH
from tlsgate.cli.tgsh.call import Call


class WayTests(CommandCase):
    """How a command gets to the API."""

    def test_certificate(self) -> None:
        """By the certificate door, with the profile's files and the cluster's authorities."""
        self.cluster.answers["GET /v1/me/mfa"] = {"devices": []}
        self.terminal.run("mfa", "ls")
        way = self.cluster.ways[-1]
        keys = self.terminal.home / "keys/gate.test"
        self.assertEqual(
            (way.door, way.server_name, way.roots, way.cluster, way.certificate, way.key),
            (
                *(AUTH, "auth.gate.test", self.cluster.ca.pem, "example"),
                *(keys / "alice-x509.pem", keys / "alice"),
            ),
        )

    def test_identity_file(self) -> None:
        """-i needs --proxy; it needs no login."""
        file = Path(self.mktemp()).absolute()
        self.terminal.login(f"--out={file}")
        self.cluster.answers["GET /v1/me/mfa"] = {"devices": []}
        result = self.terminal.run("-i", str(file), "mfa", "ls")
        self.assertEqual(result.exit_code, 2)
        self.assertIn("add --proxy=HOST[:PORT]", result.stderr)
        result = self.terminal.run("-i", str(file), "--proxy=10.0.0.1:443", "mfa", "ls")
        self.assertEqual((result.exit_code, result.stdout), (0, "no second factor\n"))
        way = self.cluster.ways[-1]
        self.assertEqual((way.certificate, way.key, way.server_name), (file, None, None))

    def test_expired(self) -> None:
        """Nothing is sent with a certificate that has expired, or is not valid yet."""
        for now, words in (
            (NOW + 43200, "the certificate of alice expired at 2026-01-02 15:04:05 UTC: run"),
            (NOW - 61, "valid from 2026-01-02 03:03:05 UTC on, and here it is 2026-01-02 03:03:04"),
        ):
            self.terminal.now = now
            result = self.terminal.run("mfa", "ls")
            self.assertEqual((result.exit_code, self.cluster.asked), (1, []))
            self.assertIn(words, result.stderr)

    def test_another_user(self) -> None:
        """--user has to be who is logged in."""
        result = self.terminal.run("--user=bob", "mfa", "ls")
        self.assertEqual(
            result.stderr,
            "tgsh: alice is logged in, not bob: "
            "run `tgsh login --proxy=gate.test:443 --user=bob`\n",
        )

    def test_home(self) -> None:
        """Without TGSH_HOME the profiles are below the user's own folder."""
        self.assertEqual(Call().profiles().folder, Path("~/.tgsh").expanduser())
