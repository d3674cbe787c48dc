"""Tests for `tgsh config`; tests/integration/test_ssh_config.py has ssh read it."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from tests.cli.cluster import CommandCase
from tlsgate.cli.tgsh.flat import place_of
from tlsgate.cli.tgsh.sshconf import block, program
from tlsgate.core.sshway import SEPARATE

SEPARATE_PROXY = {"tls_routing_enabled": False, "ssh": {"listen_addr": "0.0.0.0:3023"}}
FIRST = "# begin tgsh config gate.test:443"
LAST = "# end tgsh config gate.test:443"


class ConfigTests(CommandCase):
    """Tests for `tgsh config`."""

    def made(self) -> str:
        """What it prints."""
        result = self.terminal.run("config")
        self.assertEqual(result.exit_code, 0, result.stderr)
        return result.stdout

    def test_multiplex(self) -> None:
        """The marks, who we are, and tgsh with the gateway's port."""
        text = self.made()
        self.assertTrue(text.startswith(f"{FIRST}: "))
        self.assertTrue(text.endswith(f"\n{LAST}\n"))
        (host,) = re.findall(r"^Host .*$", text, re.M)
        self.assertEqual(host, "Host *.example *.gate.test !gate.test")
        self.assertIn("\n    ProxyCommand /", text)
        self.assertIn("proxy ssh --proxy=gate.test:443 --cluster=example %r@%h:%p\n", text)
        self.assertIn("    HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com,", text)

    def test_separate(self) -> None:
        """A jump through the SSH listener, without tgsh, in the second that the mode changes.

        The gateway is asked afresh, and the profile is set right.
        """
        self.cluster.ping["proxy"] = SEPARATE_PROXY
        text = self.made()
        self.assertIn("\nHost *.example *.gate.test gate.test\n    UserKnownHostsFile ", text)
        self.assertIn("\nHost gate.test\n    User alice\n    Port 3023\nHost *.example", text)
        self.assertIn("!gate.test\n    ProxyJump alice@gate.test:3023\n", text)
        self.assertNotIn("ProxyCommand", text)
        self.assertIn(
            "tls_routing_enabled: false", (self.terminal.home / "gate.test.yaml").read_text()
        )

    def test_address(self) -> None:
        """A gateway without a name is told by the cluster's."""
        place = place_of(str(self.terminal.home), None, None)
        place.host = "10.0.0.7"
        text = block(place, (SEPARATE, "10.0.0.7", 3023))
        self.assertIn(
            "\nHost 10.0.0.7\n    User alice\n    Port 3023\n    HostKeyAlias example", text
        )
        self.assertIn("\nHost *.example !10.0.0.7\n", text)

    def test_in_place(self) -> None:
        """--file replaces its own lines, and keeps all others, the mode and a link."""
        file = Path(self.mktemp()).absolute()
        file.mkdir()
        real, link = file / "real", file / "config"
        link.symlink_to(real)
        for before, after in (
            ("", ""),
            ("Host a\n  User b", ""),
            ("Host a\n", "\nHost c\n  User d\n"),
        ):
            old = f"{FIRST}: old\nHost x\n{LAST}\n" if after else ""
            real.write_text(before + old + after)
            real.chmod(0o644)
            result = self.terminal.run("config", f"--file={link}")
            self.assertEqual((result.exit_code, result.stdout), (0, f"{link} is written\n"))
            gap = "" if after or not before else "\n\n"
            self.assertEqual(real.read_text(), before + gap + self.made() + after)
            self.assertEqual(stat.S_IMODE(real.stat().st_mode), 0o644)
            self.assertTrue(link.is_symlink())
            self.terminal.run("config", f"--file={link}")
            self.assertEqual(real.read_text(), before + gap + self.made() + after)

    def test_new_file(self) -> None:
        """A file that is not there is made, for its owner only."""
        file = Path(self.mktemp()).absolute() / "config"
        self.terminal.run("config", f"--file={file}")
        self.assertEqual(file.read_text(), self.made())
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)

    def test_broken_marks(self) -> None:
        """A block without an end is left alone: what follows would be lost."""
        file = Path(self.mktemp()).absolute()
        for text in (f"{FIRST}: x\nHost a\n", f"{LAST}\n", f"{LAST}\n{FIRST}: x\n"):
            file.write_text(text)
            result = self.terminal.run("config", f"--file={file}")
            self.assertEqual((result.exit_code, file.read_text()), (2, text))
            self.assertIn("do not make one block", result.stderr)
        file.write_bytes(b"\xff")
        self.assertEqual(self.terminal.run("config", f"--file={file}").exit_code, 2)

    def test_program(self) -> None:
        """The installed program is called by its absolute path."""
        self.patch(__import__("sys"), "argv", [f"{self.terminal.home}/tgsh"])
        self.terminal.home.joinpath("tgsh").touch(mode=0o755)
        self.assertEqual(program(), [f"{self.terminal.home}/tgsh"])
        self.assertTrue(re.search(r"ProxyCommand \S+/tgsh --home=", self.made()))
