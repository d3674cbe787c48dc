"""Tests for `tlsgate.cli.tgctl.dropin`."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.tgctl.fakesshd import FakeSshd
from tlsgate.cli.tgctl import dropin
from tlsgate.cli.tgctl.dropin import (
    MARK,
    Done,
    Machine,
    is_open,
    missing,
    owned_by_others,
    text,
)
from tlsgate.errors import BadAsk

OURS = f"{MARK}\nTrustedUserCAKeys /x/user_ca.pub\n"


class DropinCase(SynchronousTestCase):
    """A machine whose sshd is ours."""

    def setUp(self) -> None:
        """A configuration without us."""
        self.folder = Path(self.mktemp()).absolute()
        (self.folder / "sshd_config.d").mkdir(parents=True)
        self.main = self.folder / "sshd_config"
        self.key = self.folder / "machine_key"
        self.key.touch()
        self.main.write_text(f"HostKey {self.key}\nHostKey /nowhere/at/all\n")
        self.sshd = FakeSshd(self.main, self.folder / "pid")
        self.patch(subprocess, "run", self.sshd)
        self.file = self.folder / "sshd_config.d" / "50-tlsgate.conf"
        self.machine = Machine(program=Path("/usr/sbin/sshd"), main=self.main, file=self.file)
        self.killed: list[tuple[int, int]] = []
        self.patch(os, "kill", lambda *words: self.killed.append(words))

    def refused(self, content: str = OURS) -> str:
        """Why it is not installed."""
        with self.assertRaises(BadAsk) as caught:
            self.machine.install(content, reload=True)
        return str(caught.exception)


class MachineTests(DropinCase):
    """Tests for `Machine`."""

    def test_install(self) -> None:
        """It is written, and a second time nothing is done; then it is gone again."""
        self.assertEqual(self.machine.install(OURS, reload=True), Done(True, None))
        self.assertEqual(self.file.read_text(), OURS)
        self.assertEqual(self.file.stat().st_mode & 0o777, 0o644)
        self.assertEqual(self.machine.install(OURS, reload=True), Done(False, None))
        self.assertEqual(self.machine.uninstall(reload=True), Done(True, None))
        self.assertFalse(self.file.exists())
        self.assertEqual(self.machine.uninstall(reload=True), Done(False, None))

    def test_refused(self) -> None:
        """What sshd does not take is not there afterwards; what was there is."""
        self.sshd.refuses = "user_ca.pub"
        self.assertEqual(
            self.refused(), "sshd does not take its configuration: bad word user_ca.pub"
        )
        self.assertFalse(self.file.exists())
        before = f"{MARK}\nTrustedUserCAKeys /x/other.pub\n"
        self.file.write_text(before)
        self.refused()
        self.assertEqual((self.file.read_text(), self.killed), (before, []))

    def test_not_read(self) -> None:
        """A file that sshd does not read is not left there."""
        self.sshd.includes = False
        self.assertIn(f"Include {self.file.parent}/*.conf", self.refused())
        self.assertFalse(self.file.exists())

    def test_not_ours(self) -> None:
        """A file of somebody else's is neither replaced nor removed."""
        self.file.write_text("PermitRootLogin no\n")
        self.assertIn("not of tgctl's making", self.refused())
        with self.assertRaises(BadAsk):
            self.machine.uninstall(reload=True)
        self.assertEqual(self.file.read_text(), "PermitRootLogin no\n")

    def test_needed(self) -> None:
        """Where sshd does not take the rest alone, our part is put back."""
        self.machine.install(OURS, reload=False)
        real = self.sshd

        def run(command: list[str], **more: object) -> subprocess.CompletedProcess[str]:
            done = real(command, **more)
            return done if self.file.exists() else subprocess.CompletedProcess(command, 1, "", "")

        self.patch(subprocess, "run", run)
        with self.assertRaises(BadAsk) as caught:
            self.machine.uninstall(reload=True)
        self.assertIn("ends with code 1", str(caught.exception))
        self.assertEqual(self.file.read_text(), OURS)

    def test_reload(self) -> None:
        """The process of the pid file is told if it is sshd, and no other one."""
        self.sshd.pid_file.write_text(f"{os.getpid()}\n")
        comm = Path(f"/proc/{os.getpid()}/comm").read_text().strip()
        self.assertNotEqual(comm, "sshd")
        self.assertEqual(self.machine.install(OURS, reload=True), Done(True, None))
        real = Path.read_text

        def read_text(path: Path) -> str:
            return "sshd\n" if path.name == "comm" else real(path)

        self.patch(Path, "read_text", read_text)
        self.assertEqual(self.machine.uninstall(reload=True), Done(True, os.getpid()))
        self.assertEqual(self.killed, [(os.getpid(), signal.SIGHUP)])

    def test_no_sshd(self) -> None:
        """A program that is not there is told."""
        machine = Machine(program=Path("/nowhere"), main=self.main, file=self.file)
        with self.assertRaises(BadAsk) as caught:
            machine.check()
        self.assertIn("/nowhere cannot be asked", str(caught.exception))

    def test_keys(self) -> None:
        """The machine's keys are those that are there, without ours."""
        ours = self.folder / "agent"
        facts = {"hostkey": [str(self.key), str(ours / "host_key"), "/nowhere/at/all"]}
        self.assertEqual(self.machine.machine_keys(facts, ours), [self.key])

    def test_names_keys(self) -> None:
        """A key is named where the certificate is for the agent's own; it has to be somebody's."""
        ours = self.folder / "agent"
        ours.mkdir()
        self.assertTrue(self.machine.names_keys([self.key], ours))
        line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43
        (ours / "host_key.pub").write_text(f"{line}\n")
        with self.assertRaises(BadAsk) as caught:
            self.machine.names_keys([self.key], ours)
        self.assertIn("add `HostKey", str(caught.exception))
        (self.folder / "machine_key.pub").write_text(f"{line} root@db1\n")
        self.assertFalse(self.machine.names_keys([self.key], ours))
        (self.folder / "machine_key.pub").write_text(line.replace("A" * 43, "B" * 43))
        (ours / "host_key").touch()
        self.assertTrue(self.machine.names_keys([self.key], ours))

    def test_in_the_way(self) -> None:
        """Words of the machine's own that ours would replace, or that shut ours out."""
        ours = Path("/x/agent/ssh")
        for facts in (
            {},
            {"trustedusercakeys": ["none"], "pubkeyauthentication": ["yes"]},
            {"trustedusercakeys": ["/x/agent/ssh/user_ca.pub"]},
            {"casignaturealgorithms": ["rsa-sha2-512,ssh-ed25519"]},
        ):
            self.assertIsNone(self.machine.in_the_way(facts, ours))
        for facts, word in (
            ({"trustedusercakeys": ["/etc/ssh/ca.pub"]}, "trustedusercakeys /etc/ssh/ca.pub"),
            ({"authorizedprincipalsfile": [".ssh/principals"]}, "authorizedprincipalsfile"),
            ({"pubkeyauthentication": ["no"]}, "PubkeyAuthentication no"),
            ({"casignaturealgorithms": ["rsa-sha2-512"]}, "CASignatureAlgorithms"),
        ):
            self.assertIn(word, str(self.machine.in_the_way(facts, ours)))


class TextTests(DropinCase):
    """Tests for `text` and what it looks at."""

    def test_open(self) -> None:
        """Where sshd may read the files, it does; the machine's keys come first."""
        self.patch(dropin, "is_open", lambda folder: True)
        self.assertEqual(
            text(Path("/x/ssh"), [Path("/etc/ssh/key")]),
            f"{MARK}\n"
            "HostKey /etc/ssh/key\n"
            "HostKey /x/ssh/host_key\n"
            "HostCertificate /x/ssh/host_key-cert.pub\n"
            "TrustedUserCAKeys /x/ssh/user_ca.pub\n"
            "AuthorizedPrincipalsFile /x/ssh/principals/%u\n",
        )

    def test_no_keys(self) -> None:
        """Where the machine's own key is certified, none is named."""
        self.patch(dropin, "is_open", lambda folder: True)
        self.assertTrue(text(Path("/x/ssh"), None).startswith(f"{MARK}\nHostCertificate /x/ssh/"))

    def test_closed(self) -> None:
        """Where it may not, another program reads them as their owner."""
        folder = self.folder / "ssh"
        folder.mkdir(mode=0o700)
        found = text(folder, [])
        self.assertIn(f"cat {folder}/principals/%u\n", found)
        self.assertTrue(found.endswith(f"\nAuthorizedPrincipalsCommandUser {folder.owner()}\n"))
        self.assertNotIn("AuthorizedPrincipalsFile", found)

    def test_odd_paths(self) -> None:
        """A path that sshd would read as something else is refused."""
        for path in ("/x y", "/x%u", '/x"', "/x\ny"):
            with self.assertRaises(BadAsk):
                text(Path(path), [])

    def test_is_open(self) -> None:
        """A folder that anybody may write, or that is closed, is not open."""
        self.assertTrue(is_open(Path("/usr/bin/nothing-of-that-name")))
        self.assertFalse(is_open(Path("/tmp/x")))
        self.assertFalse(is_open(Path("/proc/self/cmdline/x")))

    def test_owned_by_others(self) -> None:
        """Whoever may write in a folder above could take the agent's place there."""
        folder = self.folder / "data" / "ssh"
        folder.mkdir(parents=True)
        self.assertIsNone(owned_by_others(folder))
        folder.parent.chmod(0o1777)  # as /tmp is: what is there is its owner's
        self.assertIsNone(owned_by_others(folder))
        folder.chmod(0o1777)
        self.assertIn("others may write in", str(owned_by_others(folder)))
        folder.chmod(0o755)
        link = self.folder / "link"
        link.symlink_to(folder)
        folder.parent.chmod(0o777)
        self.assertEqual(owned_by_others(link), f"others may write in {folder.parent}")
        folder.parent.chmod(0o755)
        real = Path.stat

        def stat(path: Path, **more: Any) -> Any:
            found = real(path, **more)
            mode, uid, gid = found.st_mode, found.st_uid, found.st_gid
            if path == folder.parent:
                mode, uid, gid = self.stands
            return SimpleNamespace(st_mode=mode, st_uid=uid, st_gid=gid)

        self.patch(Path, "stat", stat)
        for self.stands, whole in (
            ((0o40775, os.getuid(), 0), True),
            ((0o40775, os.getuid(), 4711), False),
            ((0o40755, 4711, 4711), False),
        ):
            self.assertEqual(owned_by_others(folder) is None, whole, self.stands)

    def test_missing(self) -> None:
        """What the agent has not written is named."""
        folder = self.folder / "ssh"
        folder.mkdir()
        names = ["host_key.pub", "host_key-cert.pub", "user_ca.pub", "principals"]
        self.assertEqual([path.name for path in missing(folder)], names)
        for name in names:
            (folder / name).touch()
        self.assertEqual(missing(folder), [])
