"""Tests for `tlsgate.tls.sshhost`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.trial.unittest import SynchronousTestCase

from tests.support.sshwire import blob_of, certificate, line
from tlsgate.errors import BadKeyPair
from tlsgate.tls.sshhost import SshHost, SshHostFiles, keep_key


class SshHostTests(SynchronousTestCase):
    """Tests for `keep_key` and `SshHost`."""

    def setUp(self) -> None:
        """A folder of a gateway."""
        self.folder = Path(tempfile.mkdtemp())
        self.key = self.folder / "ssh_host_ed25519_key"
        self.cert = self.folder / "cert"

    def test_key_for_good(self) -> None:
        """The key is made once, readable for its owner only, and found again."""
        made = keep_key(self.key)
        self.assertTrue(made.startswith("ssh-ed25519 "))
        self.assertEqual(self.key.stat().st_mode & 0o777, 0o600)
        self.assertEqual(keep_key(self.key), made)
        host = SshHost.load(SshHostFiles(key_file=str(self.key)))
        self.assertEqual((host.blob, host.certificate), (blob_of(host.key), b""))

    def test_certificate(self) -> None:
        """A host certificate of that key is shown; another key's, or a user's, is refused."""
        keep_key(self.key)
        own = SshHost.load(SshHostFiles(key_file=str(self.key))).blob
        files = SshHostFiles(key_file=str(self.key), cert_file=str(self.cert))
        good = certificate(key=own, kind=2)
        self.cert.write_text(line(good))
        self.assertEqual(SshHost.load(files).certificate, good)
        for bad in (line(certificate(kind=2)), line(certificate(key=own, kind=1)), "nonsense"):
            self.cert.write_text(bad)
            self.assertRaises(BadKeyPair, SshHost.load, files)
        self.cert.unlink()
        self.assertRaises(BadKeyPair, SshHost.load, files)

    def test_no_key(self) -> None:
        """What is no Ed25519 key in PEM is named with its file."""
        other = ec.generate_private_key(ec.SECP256R1())
        pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        for content in (b"", b"nonsense", pem):
            self.key.write_bytes(content)
            error = self.assertRaises(BadKeyPair, keep_key, self.key)
            self.assertEqual(error.file, str(self.key))
