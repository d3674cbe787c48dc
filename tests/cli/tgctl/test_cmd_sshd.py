"""Tests for `tgctl sshd`."""

from __future__ import annotations

import json
import os
from pathlib import Path

from click.testing import Result

from tests.cli.tgctl.test_dropin import DropinCase
from tests.support.commandline import run
from tlsgate.cli.tgctl.dropin import MARK


class SshdTests(DropinCase):
    """Tests for `tgctl sshd`."""

    def setUp(self) -> None:
        """An agent's folder."""
        super().setUp()
        self.patch(os, "geteuid", lambda: 0)
        self.ssh = self.folder / "agent" / "ssh"
        self.ssh.mkdir(parents=True)
        for name in ("host_key", "host_key.pub", "host_key-cert.pub", "user_ca.pub", "principals"):
            (self.ssh / name).touch()

    def run_it(self, verb: str, *more: str, data: Path | None = None) -> Result:
        """Run one of the commands."""
        where = ("--agent-data-dir", str(data or self.folder))
        return run(*where, "sshd", verb, "--sshd-config", str(self.main), *more)

    def done(self, verb: str, *more: str) -> str:
        """What it says."""
        found = self.run_it(verb, *more)
        self.assertEqual((found.exit_code, found.stderr), (0, ""))
        return found.stdout

    def refused(self, *more: str) -> str:
        """What `install` says where it does nothing."""
        found = self.run_it("install", *more)
        self.assertEqual((found.exit_code, found.stdout, self.file.exists()), (2, "", False))
        return found.stderr

    def test_life(self) -> None:
        """What is printed is what is installed; each step says what it did."""
        printed = self.done("print")
        self.assertTrue(printed.startswith(f"{MARK}\nHostKey {self.key}\nHostKey {self.ssh}/"))
        would = self.done("install", "--dry-run")
        self.assertEqual(
            (would, self.file.exists()), (f"would write {self.file}:\n{printed}", False)
        )
        told = "no sshd was told: it reads the file when it starts\n"
        self.assertEqual(self.done("install"), f"wrote {self.file}; {told}")
        self.assertEqual(self.file.read_text(), printed)
        nothing = f"nothing to do: {self.file} is as it should be\n"
        self.assertEqual(self.done("install"), nothing)
        self.assertEqual(self.done("uninstall"), f"removed {self.file}; {told}")
        self.assertEqual(self.done("uninstall"), nothing)

    def test_values(self) -> None:
        """Programs get what was done as values."""
        found = json.loads(self.done("install", "--format", "json"))
        self.assertEqual(found, {"file": str(self.file), "changed": True, "reloaded": None})

    def test_told(self) -> None:
        """The process that was told is named."""
        self.sshd.pid_file.write_text("1")
        real = Path.read_text

        def read_text(path: Path) -> str:
            return "sshd\n" if path.name == "comm" else real(path)

        self.patch(Path, "read_text", read_text)
        self.assertIn("sshd (process 1) reads it anew", self.done("install"))
        self.assertEqual(self.done("uninstall", "--no-reload").count("no sshd was told"), 1)

    def test_where(self) -> None:
        """The agent's folder itself may be named, and another file."""
        found = self.run_it("print", data=self.folder / "agent")
        self.assertEqual(found.stdout, self.done("print"))
        self.done("install", "--file", "10-other.conf")
        self.assertTrue((self.file.parent / "10-other.conf").exists())
        other = self.folder / "else.conf"
        found = self.run_it("install", "--dry-run", "--file", str(other))
        self.assertIn(f"would write {other}", found.stdout)

    def test_not_root(self) -> None:
        """Others are told to be root; they may print."""
        self.patch(os, "geteuid", lambda: 1000)
        self.assertIn("sudo tgctl sshd install", self.refused())
        self.assertIn("sudo tgctl sshd uninstall", self.run_it("uninstall").stderr)
        self.done("print")

    def test_print_unasked(self) -> None:
        """Where sshd cannot be asked, its default keys are taken."""
        self.sshd.refuses = "HostKey"
        self.assertIn(f"HostKey {self.ssh}/host_key\n", self.done("print"))

    def test_folders_of_others(self) -> None:
        """sshd is told to trust no file that others could have written."""
        (self.folder / "agent").chmod(0o777)
        self.assertIn(f"others may write in {self.folder}/agent: they could", self.refused())
        (self.folder / "agent").chmod(0o711)
        self.done("install")

    def test_not_joined(self) -> None:
        """Before the agent has joined there is nothing to install, and printing says so."""
        (self.ssh / "host_key-cert.pub").unlink()
        self.assertIn("let it join", self.refused())
        self.assertIn("host_key-cert.pub is not there yet", self.run_it("print").stderr)

    def test_in_the_way(self) -> None:
        """What the machine trusts already is replaced on demand only."""
        self.main.write_text("TrustedUserCAKeys /etc/ssh/ca.pub\n")
        self.assertIn("--replace", self.refused())
        self.done("install", "--replace")

    def test_not_written(self) -> None:
        """A folder that is not there is told."""
        self.assertIn("No such file", self.refused("--dir", str(self.folder / "none")))

    def test_no_sshd(self) -> None:
        """Without an sshd there is nothing to do."""
        import shutil

        self.patch(shutil, "which", lambda *words, **more: None)
        self.assertIn("install openssh-server", self.refused())
