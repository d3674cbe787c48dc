"""OpenSSH's own tools and our certificates: each takes what the other has made."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_ssh_public_key,
)
from twisted.trial.unittest import SynchronousTestCase

from tests.support.authorities import Cluster, p256, spki, ssh_line
from tlsgate.auth.issue import ssh_extensions
from tlsgate.core.wire.sshcert import Kind, SshCertificate, key_blob, parse_line
from tlsgate.errors import BadBytes, GateError, Untrusted
from tlsgate.tls.publickeys import load_ssh_public_key as load_plain
from tlsgate.tls.sshtrust import check_ssh_certificate, verify_signature


def run(*words: str | Path) -> str:
    """The output of a program that ends by itself and well."""
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


class KeygenTests(SynchronousTestCase):
    """ssh-keygen as the authority."""

    def setUp(self) -> None:
        """A folder for keys, and the program."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        keygen = shutil.which("ssh-keygen")
        assert keygen is not None, "ssh-keygen is not installed"
        self.keygen = keygen

    def key(self, name: str, kind: str, bits: str = "") -> Path:
        """A new key of *kind*."""
        file = self.folder / name
        size = ["-b", bits] if bits else []
        run(self.keygen, "-q", "-N", "", "-C", name, "-t", kind, *size, "-f", file)
        return file

    def sign(self, authority: Path, key: Path, *words: str) -> str:
        """The certificate of *key*."""
        public = key.with_name(key.name + ".pub")
        run(self.keygen, "-q", "-s", authority, "-I", "id of it", *words, public)
        return key.with_name(key.name + "-cert.pub").read_text()

    def check(self, line: str, authority: Path, kind: Kind, name: str) -> SshCertificate:
        """Take *line* for *name* now."""
        blob = key_blob(authority.with_name(authority.name + ".pub").read_text())
        text = line.split()
        found = parse_line(line)
        verify_signature(found)
        return check_ssh_certificate(
            base64.b64decode(text[1]), (blob,), kind, time.time(), name, outer=text[0].encode()
        )

    def test_s36_accepted(self) -> None:
        """S36: each kind of key under each kind of authority, as ssh-keygen makes them."""
        kinds = (("ed25519", ""), ("ecdsa", "256"), ("ecdsa", "384"), ("rsa", "2048"))
        authorities = [self.key(f"ca-{kind}{bits}", kind, bits) for kind, bits in kinds]
        keys = [self.key(f"key-{kind}{bits}", kind, bits) for kind, bits in kinds]
        for authority in authorities:
            for key in keys:
                life = ("-V", "-1m:+1h", "-z", "18446744073709551615")
                line = self.sign(authority, key, "-n", "alice,bob", *life)
                found = self.check(line, authority, Kind.USER, "bob")
                self.assertEqual(found.principals, ("alice", "bob"))
                self.assertEqual((found.key_id, found.serial), ("id of it", (1 << 64) - 1))
                self.assertIn("permit-X11-forwarding", found.extensions)
                plain = load_plain(key.with_name(key.name + ".pub").read_text())
                self.assertEqual(load_ssh_public_key(_line(found.key)), plain)
                line = self.sign(authority, key, "-h", "-n", "db1.lan", *life)
                self.check(line, authority, Kind.HOST, "db1.lan")

    def test_s36_refused(self) -> None:
        """S36: what ssh-keygen can make and nobody should take."""
        authority, key = self.key("ca", "ed25519"), self.key("key", "ed25519")
        life = ("-V", "-1m:+1h")
        for words in (
            ("-n", "alice"),  # for ever
            life,  # no principals
            ("-h", "-n", "alice", *life),
            ("-n", "bob", *life),
            ("-n", "alice", "-V", "-2h:-1h"),
            ("-n", "alice", "-V", "+1h:+2h"),
            ("-n", "alice", *life, "-O", "force-command=ls"),
            ("-n", "alice", *life, "-O", "source-address=192.0.2.0/24"),
            ("-n", "alice", *life, "-O", "verify-required"),
            ("-n", "alice", *life, "-O", "critical:x@example.com=1"),
        ):
            line = self.sign(authority, key, *words)
            with self.assertRaises(Untrusted, msg=repr(words)):
                self.check(line, authority, Kind.USER, "alice")
        other = self.key("other", "ed25519")
        line = self.sign(other, key, "-n", "alice", *life)
        with self.assertRaises(Untrusted):
            self.check(line, authority, Kind.USER, "alice")

    def test_sha1_and_other_curves(self) -> None:
        """Kinds that are not listed are refused by their name."""
        big, small = self.key("big", "ecdsa", "521"), self.key("small", "rsa", "2048")
        plain = self.key("plain", "ed25519")
        for line in (
            self.sign(big, plain, "-n", "alice", "-V", "+1h"),
            self.sign(small, big, "-n", "alice", "-V", "+1h"),
            self.sign(small, plain, "-t", "ssh-rsa", "-n", "alice", "-V", "+1h"),
        ):
            with self.assertRaises(BadBytes):
                parse_line(line)

    def test_odd_bytes_are_no_crash(self) -> None:
        """A real certificate with any one byte changed never gets through."""
        authority, key = self.key("ca", "ed25519"), self.key("key", "ed25519")
        line = self.sign(authority, key, "-n", "alice", "-V", "-1m:+1h")
        blob = base64.b64decode(line.split()[1])
        trusted = (key_blob(authority.with_name("ca.pub").read_text()),)
        for place in range(len(blob)):
            changed = blob[:place] + bytes((blob[place] ^ 1,)) + blob[place + 1 :]
            with self.assertRaises(GateError):
                check_ssh_certificate(changed, trusted, Kind.USER, time.time(), "alice")

    def test_shown(self) -> None:
        """`ssh-keygen -L` and `openssl x509 -text` show what the guide says that they show."""
        cluster, key = Cluster(now=float(int(time.time()))), p256()
        claims = cluster.user(roles=("access",), traits={"logins": ("alice", "root")})
        words = ssh_extensions(port_forwarding=True, forward_agent=False)
        issued = cluster.issuer.user_certificates(
            claims, spki(key), ssh_line(key), extensions=words
        )
        assert issued.ssh is not None
        (self.folder / "alice-cert.pub").write_text(issued.ssh + "\n")
        (self.folder / "alice.pem").write_text(issued.tls_pem)
        shown = run(self.keygen, "-L", "-f", self.folder / "alice-cert.pub")
        page = Path(__file__).parents[2] / "docs" / "certificates.md"
        text = page.read_text()
        self.assertEqual(_shape(shown.splitlines()[1:]), _shape(_block(text, "ssh-keygen -L")))
        shown = run("openssl", "x509", "-in", self.folder / "alice.pem", "-noout", "-text")
        self.assertEqual(_shape(shown.splitlines()), _shape(_block(text, "openssl x509")))

    def test_used_by_ssh(self) -> None:
        """ssh-keygen finds the private key and the certificate to be a pair."""
        cluster, key = Cluster(now=time.time()), p256()
        issued = cluster.issuer.user_certificates(cluster.user(), spki(key), ssh_line(key))
        assert issued.ssh is not None
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file = self.folder / "alice"
        file.touch(0o600)
        file.write_bytes(pem)
        (self.folder / "alice-cert.pub").write_text(issued.ssh + "\n")
        public = run(self.keygen, "-y", "-f", file)
        self.assertEqual(public.split()[:2], ssh_line(key).split())


def _line(blob: bytes) -> bytes:
    kind = blob[4 : 4 + int.from_bytes(blob[:4], "big")]
    return kind + b" " + base64.b64encode(blob)


#: What differs from one certificate to the next; dates first, as a time looks like hex.
_VARIES = (
    (re.compile(r"\b[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4} GMT"), "DATE"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"), "DATE"),
    (re.compile(r"\b[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2})+:?"), "HEX"),
    (re.compile(r"SHA256:[\w+/]{43}"), "HASH"),
    (re.compile(r"serialNumber = [0-9a-f]{16}"), "serialNumber = ID"),
    (re.compile(r"Serial: \d+"), "Serial: NUMBER"),
)


def _shape(lines: Iterable[str]) -> list[str]:
    """*lines* without what varies, and without the number of lines that hex takes."""
    found: list[str] = []
    for text in lines:
        for pattern, word in _VARIES:
            text = pattern.sub(word, text)
        text = text.strip()
        if text and found[-1:] != [text]:
            found.append(text)
    return found


def _block(page: str, command: str) -> list[str]:
    """What the guide shows below the line that begins with *command*."""
    for block in re.findall(r"^```\n(.*?)^```", page, re.M | re.S):
        first, *rest = str(block).splitlines()
        if first.startswith(f"$ {command}"):
            return rest
    raise AssertionError(command)
