"""Tests for `tlsgate.service.sshfiles`."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ed25519
from twisted.trial.unittest import SynchronousTestCase

from tests.support.authorities import Cluster, p256, spki, ssh_line
from tlsgate.errors import BadBytes, BadKeyPair
from tlsgate.service import sshfiles
from tlsgate.service.sshfiles import SshFiles, put
from tlsgate.tls.secretfile import create_secret


class SshFilesTests(SynchronousTestCase):
    """Tests for `SshFiles`."""

    def setUp(self) -> None:
        """Nothing is there yet."""
        self.folder = Path(self.mktemp()) / "ssh"
        self.machine = self.folder.parent / "machine.pub"
        self.files = self.another()
        self.cluster = Cluster()
        self.addCleanup(os.umask, os.umask(0o077))

    def another(self) -> SshFiles:
        """The same of another process."""
        return SshFiles(self.folder, self.machine)

    def certificate(self, public: str) -> str:
        """The cluster's certificate for a host key."""
        issued = self.cluster.issuer.host_certificate(
            self.cluster.host("db1", "node"), spki(p256()), ssh_public_key=public
        )
        assert issued.ssh is not None
        return issued.ssh

    def mode(self, name: str) -> int:
        """Of a file."""
        return (self.folder / name).stat().st_mode & 0o777

    def test_key(self) -> None:
        """One key is made, which nobody else may read; later calls give the same."""
        public = self.files.public_key()
        self.assertTrue(public.startswith("ssh-ed25519 "))
        self.assertEqual(self.files.public_key(), public)
        self.assertEqual(self.another().public_key(), public)
        self.assertEqual((self.folder / "host_key.pub").read_text(), f"{public}\n")
        self.assertEqual((self.mode("host_key"), self.mode("host_key.pub")), (0o600, 0o644))
        self.assertEqual(self.folder.stat().st_mode & 0o777, 0o711)

    def test_machines(self) -> None:
        """The machine's own Ed25519 key is certified; another kind is not taken for one."""
        self.folder.mkdir(parents=True)
        line = ssh_line(ed25519.Ed25519PrivateKey.generate())
        self.machine.write_text(f"{line} root@db1\n")
        self.assertEqual(self.files.public_key(), line)
        self.assertFalse((self.folder / "host_key").exists())
        self.assertEqual((self.folder / "host_key.pub").read_text(), f"{line}\n")
        self.assertFalse(self.files.is_certified)
        self.files.keep(self.certificate(line), [])
        self.assertTrue(self.files.is_certified)
        for other in (ssh_line(p256()), "no key", ""):
            self.machine.write_text(f"{other}\n")
            self.assertNotIn(self.files.public_key(), (line, other))
            self.assertFalse(self.files.is_certified)

    def test_two_at_once(self) -> None:
        """Of two that make a key one wins, and both have it."""

        def create(path: Path, content: bytes) -> None:
            self.patch(sshfiles, "create_secret", create_secret)
            self.first = self.another().public_key()
            create_secret(path, content)

        self.patch(sshfiles, "create_secret", create)
        self.assertEqual(self.files.public_key(), self.first)

    def test_no_key(self) -> None:
        """What is no key is left alone, and told."""
        self.folder.mkdir(parents=True)
        (self.folder / "host_key").write_text("no key")
        with self.assertRaises(BadKeyPair):
            self.files.public_key()
        self.assertEqual((self.folder / "host_key").read_text(), "no key")

    def test_keep(self) -> None:
        """The certificate and the authorities are written, and only what is another one."""
        line = self.certificate(self.files.public_key())
        one, two = (ssh_line(ed25519.Ed25519PrivateKey.generate()) for _ in range(2))
        self.assertTrue(self.files.keep(line, [f"{one} a comment", two]))
        self.assertEqual((self.folder / "host_key-cert.pub").read_text(), f"{line}\n")
        self.assertEqual((self.folder / "user_ca.pub").read_text(), f"{one}\n{two}\n")
        self.assertEqual((self.mode("user_ca.pub"), self.mode("host_key-cert.pub")), (0o644,) * 2)
        before = (self.folder / "user_ca.pub").stat().st_ino
        self.assertFalse(self.files.keep(line, [one, two]))
        self.assertEqual((self.folder / "user_ca.pub").stat().st_ino, before)
        self.assertFalse(self.files.keep(None, [two]))
        self.assertEqual((self.folder / "user_ca.pub").read_text(), f"{two}\n")
        self.assertFalse(self.files.keep(None, []))
        self.assertEqual((self.folder / "user_ca.pub").read_text(), f"{two}\n")

    def test_another_keys(self) -> None:
        """A certificate for another key is refused; what was there stays."""
        line = self.certificate(self.files.public_key())
        self.files.keep(line, [])
        other = self.certificate(ssh_line(ed25519.Ed25519PrivateKey.generate()))
        for wrong in (other, "nothing", self.files.public_key()):
            with self.assertRaises(BadBytes):
                self.files.keep(wrong, [])
        self.assertEqual((self.folder / "host_key-cert.pub").read_text(), f"{line}\n")

    def test_authorities_are_keys(self) -> None:
        """A line that is no plain key, such as one with options, is refused whole."""
        key = ssh_line(ed25519.Ed25519PrivateKey.generate())
        for wrong in (f"cert-authority {key}", f"{key}\n{key}", "", "#"):
            with self.assertRaises(BadBytes):
                self.files.keep(None, [key, wrong])
        self.assertFalse((self.folder / "user_ca.pub").exists())

    def test_put(self) -> None:
        """What cannot be put leaves nothing beside."""
        self.folder.mkdir(parents=True)
        (self.folder / "x").mkdir()
        with self.assertRaises(OSError):
            put(self.folder / "x", b"text", durable=False)
        self.assertEqual([file.name for file in self.folder.iterdir()], ["x"])
