"""Tests for `tlsgate.tls.identityfile`."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from attrs import evolve
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_ssh_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import load_key_and_certificates
from twisted.trial.unittest import SynchronousTestCase

from tests.support.authorities import Cluster, p256, spki, ssh_line
from tlsgate.errors import BadAsk, BadKeyPair
from tlsgate.tls import identityfile
from tlsgate.tls.identityfile import FORMATS, IdentityFiles, read_identity, write_identity
from tlsgate.tls.secretfile import create_secret


class IdentityTests(SynchronousTestCase):
    """The four formats."""

    def setUp(self) -> None:
        """An identity of alice, and an empty folder."""
        self.cluster = Cluster()
        self.cluster.rotate("host", "init")  # two authorities, as it may be
        self.identity = self.made()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.name = self.folder / "alice"

    def made(self) -> IdentityFiles:
        """A new identity of alice."""
        key = p256()
        issued = self.cluster.issuer.user_certificates(
            self.cluster.user(), spki(key), ssh_line(key)
        )
        return IdentityFiles(
            key=key,
            tls_pem=issued.tls_pem,
            ssh=issued.ssh,
            tls_cas=issued.tls_cas,
            ssh_cas=issued.ssh_cas,
        )

    def write(self, form: str, identity: IdentityFiles | None = None, **more: object) -> list[str]:
        """Write it; gives the names of the files."""
        if form == "pkcs12":
            more.setdefault("password", b"correct horse")
        found = write_identity(form, self.name, identity or self.identity, **more)  # type: ignore[arg-type]
        return [path.name for path in found]

    def test_files(self) -> None:
        """Each format has its files, its owner's alone whatever the umask, and no others."""
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        for form, want in (
            ("file", ["alice"]),
            ("openssh", ["alice", "alice-cert.pub"]),
            ("tls", ["alice.key", "alice.crt", "alice.cas"]),
            ("pkcs12", ["alice.p12"]),
        ):
            self.assertEqual(self.write(form), want)
            self.assertEqual(sorted(os.listdir(self.folder)), sorted(want))
            for name in want:
                path = self.folder / name
                self.assertEqual(path.stat().st_mode & 0o777, 0o600, name)
                path.unlink()
        self.assertEqual(FORMATS, ("file", "openssh", "tls", "pkcs12"))

    def test_read_back(self) -> None:
        """An identity file gives what was written, with or without an OpenSSH certificate."""
        for identity in (self.identity, evolve(self.identity, ssh=None, ssh_cas=())):
            self.write("file", identity, overwrite=True)
            found = read_identity(self.name)
            self.assertEqual(found.key_pem, identity.key_pem)
            self.assertEqual(evolve(found, key=identity.key), identity)

    def test_openssh(self) -> None:
        """The key as OpenSSH writes it, the certificate on one line."""
        self.write("openssh")
        key = load_ssh_private_key(self.name.read_bytes(), None)
        self.assertEqual(key.public_key(), self.identity.key.public_key())
        line = (self.folder / "alice-cert.pub").read_text()
        self.assertEqual(line, f"{self.identity.ssh}\n")
        with self.assertRaises(BadAsk):
            self.write("openssh", evolve(self.identity, ssh=None), overwrite=True)

    def test_tls(self) -> None:
        """What OpenSSL's own loader takes as a client's identity."""
        self.write("tls")
        context = ssl.create_default_context(cafile=self.folder / "alice.cas")
        context.load_cert_chain(self.folder / "alice.crt", self.folder / "alice.key")
        self.assertEqual(context.cert_store_stats()["x509_ca"], 2)
        self.assertIn(b"BEGIN PRIVATE KEY", (self.folder / "alice.key").read_bytes())

    def test_pkcs12(self) -> None:
        """Opens with the password only, which there has to be."""
        self.write("pkcs12")
        content = (self.folder / "alice.p12").read_bytes()
        key, certificate, others = load_key_and_certificates(content, b"correct horse")
        assert key is not None
        self.assertEqual(key.public_key(), self.identity.key.public_key())
        self.assertEqual(certificate, self.identity.certificate)
        self.assertEqual(len(others), 2)
        with self.assertRaises(ValueError):
            load_key_and_certificates(content, b"wrong")
        for form, password in (("pkcs12", None), ("pkcs12", b""), ("tls", b"x")):
            with self.assertRaises(BadAsk):
                write_identity(form, self.name, self.identity, password=password)

    def test_no_such_format(self) -> None:
        """The sentence names those that there are."""
        with self.assertRaises(BadAsk) as caught:
            self.write("kubernetes")
        want = "there is no format 'kubernetes', only file, openssh, tls, pkcs12"
        self.assertEqual(str(caught.exception), want)

    def test_replaces_nothing(self) -> None:
        """One file that is there keeps all from being written; a dangling link counts too."""
        for form, name in (
            ("file", "alice"),
            ("openssh", "alice-cert.pub"),
            ("tls", "alice.cas"),
            ("pkcs12", "alice.p12"),
        ):
            taken = self.folder / name
            taken.symlink_to("nowhere")
            with self.assertRaises(BadAsk) as caught:
                self.write(form)
            self.assertIn(f"{taken} is there already", str(caught.exception))
            self.assertEqual(os.listdir(self.folder), [name])
            self.write(form, overwrite=True)
            for path in self.folder.iterdir():
                path.unlink()

    def test_a_file_that_comes_in_between(self) -> None:
        """Whoever is first keeps the name, and what was written before goes again."""
        create = create_secret

        def racing(path: Path, content: bytes) -> None:
            if path.name == "alice.crt":
                path.write_text("theirs")
            create(path, content)

        self.patch(identityfile, "create_secret", racing)
        with self.assertRaises(BadAsk):
            self.write("tls")
        self.assertEqual(os.listdir(self.folder), ["alice.crt"])
        self.assertEqual((self.folder / "alice.crt").read_text(), "theirs")

    def test_cannot_be_written(self) -> None:
        """The file and the reason are named."""
        self.name = self.folder / "not" / "there"
        for overwrite in (False, True):
            with self.assertRaises(BadAsk) as caught:
                self.write("file", overwrite=overwrite)
            self.assertIn("No such file", str(caught.exception))

    def test_bad_files(self) -> None:
        """Each file that is not whole is refused with its name, and its key is not quoted."""
        self.write("file")
        good = self.name.read_text()
        other = self.made()
        one = self.identity.certificate.public_bytes(Encoding.PEM).decode()
        assert self.identity.ssh is not None
        assert other.ssh is not None
        for bad in (
            "",
            "nonsense",
            good[:-40],
            good[40:],
            good.replace(self.identity.key_pem.decode(), ""),
            good.replace(self.identity.key_pem.decode(), other.key_pem.decode()),
            good.replace(one, other.tls_pem),
            good.replace(self.identity.ssh, other.ssh),
            good.replace(self.identity.ssh, self.identity.ssh + "\n" + other.ssh),
            good.replace(self.identity.ssh, "ssh-ed25519 AAAA"),
            good.replace("PRIVATE KEY-----\n", "PRIVATE KEY-----\nAAAA", 1),
            good + other.key_pem.decode(),
            good + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ):
            self.name.write_text(bad)
            with self.assertRaises(BadKeyPair, msg=bad) as caught:
                read_identity(self.name)
            self.assertTrue(str(caught.exception).startswith(f"{self.name}: "))
            self.assertLess(len(str(caught.exception)), 250)
        self.name.write_bytes(b"\xff")
        with self.assertRaises(BadKeyPair):
            read_identity(self.name)
        self.name.unlink()
        with self.assertRaises(BadKeyPair):
            read_identity(self.name)

    def test_open_to_others(self) -> None:
        """A key that others can read is no longer its owner's."""
        self.write("file")
        self.name.chmod(0o640)
        with self.assertRaises(BadKeyPair) as caught:
            read_identity(self.name)
        self.assertIn("chmod it to 0600", str(caught.exception))

    def test_silent(self) -> None:
        """The key is in no repr."""
        self.assertNotIn("key=", repr(self.identity))
