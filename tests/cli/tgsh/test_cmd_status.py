"""Tests for `tgsh status`: blocks, values, exit codes, and how little it imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.cluster import NOW, Terminal
from tlsgate.errors import BadAsk

ROOT = Path(__file__).parents[3]


class StatusTests(SynchronousTestCase):
    """Tests for `tgsh status`."""

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.terminal = Terminal(self.home)

    def test_nobody(self) -> None:
        """Not logged in is exit code 1, with the command that heals."""
        result = self.terminal.run("status")
        self.assertEqual(
            (result.exit_code, result.stdout, result.stderr),
            (1, "", "tgsh: you are not logged in: run `tgsh login --proxy=HOST[:PORT]`\n"),
        )

    def test_two_profiles(self) -> None:
        """The one in use comes first and is marked; the other stays usable by --proxy."""
        self.terminal.login(proxy="a.test:443")
        self.terminal.login(proxy="b.test:443", user="bob")
        result = self.terminal.run("status")
        self.assertEqual((result.exit_code, result.stderr), (0, ""))
        marked = [line for line in result.stdout.splitlines() if "URL" in line]
        self.assertEqual(
            marked,
            [
                "> Profile URL:         https://b.test:443",
                "  Profile URL:         https://a.test:443",
            ],
        )
        self.assertIn(
            "Logged in as:        alice", self.terminal.run("status", "--proxy=a.test").stdout
        )

    def test_values(self) -> None:
        """Programs get the same, with every file by its name."""
        self.terminal.login()
        shown = json.loads(self.terminal.run("status", "--format=json").stdout)
        keys = self.home / "keys/gate.test"
        self.assertEqual(
            shown,
            {
                "active": {
                    "profile_url": "https://gate.test:443",
                    "username": "alice",
                    "active": True,
                    "expired": False,
                    "user": "alice",
                    "cluster": "example",
                    "roles": ["access", "editor"],
                    "traits": {"logins": ["alice", "root"]},
                    "valid_until": "2026-01-02T15:04:05Z",
                    "tls_routing_enabled": True,
                    "files": {
                        "key": f"{keys}/alice",
                        "certificate": f"{keys}/alice-x509.pem",
                        "authorities": f"{keys}/cas/example.pem",
                        "web_authorities": f"{keys}/certs.pem",
                        "ssh_certificate": f"{keys}/alice-ssh/example-cert.pub",
                    },
                },
                "profiles": [],
            },
        )

    def test_expired(self) -> None:
        """The block says so, and the exit code is 1."""
        self.terminal.login()
        self.terminal.now = NOW + 43200
        result = self.terminal.run("status")
        self.assertEqual(result.exit_code, 1)
        self.assertIn("2026-01-02 15:04:05 UTC [EXPIRED]", result.stdout)
        self.assertEqual(
            result.stderr,
            "tgsh: the certificate has expired: run `tgsh login --proxy=gate.test:443`\n",
        )

    def test_broken_files(self) -> None:
        """A file that is none of ours is named, with the way out."""
        self.terminal.login()
        certificate = self.home / "keys/gate.test/alice-x509.pem"
        profile = self.home / "gate.test.yaml"
        good = profile.read_text()
        for file, content in (
            (certificate, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            (profile, "[]"),
            (profile, "user: ["),
            (profile, good.replace("alice", "../alice")),
            (profile, good.replace("tls_routing_enabled: true", "tls_routing_enabled: maybe")),
            (certificate, "x" * (1 << 20) + "y"),
        ):
            before = file.read_text()
            file.write_text(content)
            result = self.terminal.run("status")
            self.assertEqual((result.exit_code, result.stdout), (2, ""), content[:50])
            self.assertIn(str(file), result.stderr)
            file.write_text(before)

    def test_edited_by_hand(self) -> None:
        """A profile is YAML: who edits it may write it as YAML is written."""
        self.terminal.login()
        profile = self.home / "gate.test.yaml"
        flow = (
            "# mine\n{web_proxy_addr: 'gate.test:443', user: alice, cluster: example,\n"
            " tls_routing_enabled: no}\n"
        )
        for text in (flow, profile.read_text().replace(": true", ": off")):
            profile.write_text(text)
            result = self.terminal.run("status", "--format=json")
            self.assertEqual((result.exit_code, result.stderr), (0, ""))
            self.assertFalse(json.loads(result.stdout)["active"]["tls_routing_enabled"])

    def test_identity_file(self) -> None:
        """-i shows what the file is; what is none is refused."""
        file = Path(self.mktemp()).absolute()
        self.terminal.login(f"--out={file}")
        result = self.terminal.run("-i", str(file), "status")
        self.assertEqual((result.exit_code, result.stderr), (0, ""))
        self.assertTrue(result.stdout.startswith("Logged in as:        alice\nCluster: "))
        file.write_text("nothing")
        result = self.terminal.run("-i", str(file), "status")
        self.assertEqual(
            (result.exit_code, result.stderr),
            (2, f"tgsh: {file} is no identity file: there is no private key in it\n"),
        )


class ImportsTests(SynchronousTestCase):
    """A shell's prompt may ask for the status: it has to be there at once."""

    def test_status_is_light(self) -> None:
        """No Twisted, no OpenSSL library, no pydantic: neither with a profile nor without."""
        home = Path(self.mktemp()).absolute()
        terminal = Terminal(home)
        program = (
            "import sys\n"
            "from tlsgate.cli.tgsh.main import tgsh\n"
            "tgsh(['status'], standalone_mode=False)\n"
            "heavy = ('twisted', 'OpenSSL', 'pydantic', 'cryptography', 'rich', 'ssl', 'yaml')\n"
            "print(*(name for name in heavy if name in sys.modules), file=sys.stderr)\n"
        )
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, "-c", program],
                env={"TGSH_HOME": str(home), "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            self.assertEqual(done.stderr.splitlines()[-1], "")
            terminal.login()


class PartTests(SynchronousTestCase):
    """Tests for `home.part`."""

    def test_names(self) -> None:
        """Hosts and users pass; what leads elsewhere or hides does not."""
        from tlsgate.cli.tgsh.flat import part

        for name in ("alice", "a@b.test", "::1", "10.0.0.1", "_x+y"):
            self.assertEqual(part(name), name)
        for name in ("", ".", "..", "a/b", "-a", ".a", "a\0", "a\n", "é", "a" * 129):
            self.assertRaises(BadAsk, part, name)
