"""Tests for `tgsh.unpacked`: what ssh finds where an identity file stands for a login."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path

from attrs import evolve
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import Encoding

from tests.cli.cluster import NOW, SSH_LINE, CommandCase
from tlsgate.cli.tgsh import unpacked
from tlsgate.cli.tgsh.call import Call
from tlsgate.cli.tgsh.flat import place_of
from tlsgate.cli.tgsh.main import tgsh
from tlsgate.core.claims import Claims
from tlsgate.errors import BadAsk, NotServed


class UnpackedCase(CommandCase):
    """An identity file, a machine where nobody is logged in, and what ssh was given."""

    def setUp(self) -> None:
        super().setUp()
        self.file = Path(self.mktemp()).absolute()
        self.terminal.login(f"--out={self.file}")
        self.cluster.asked.clear()
        self.cluster.ways.clear()
        self.memory = Path(self.mktemp()).absolute()
        self.memory.mkdir()
        self.patch(os, "environ", {**os.environ, "XDG_RUNTIME_DIR": str(self.memory)})
        self.ran: list[list[str]] = []
        self.found: dict[str, tuple[int, str]] = {}
        self.call = Call(
            home=Path(self.mktemp()).absolute(),
            proxy="gate.test:443",
            identity=self.file,
            open_way=self.cluster.open,
            now=lambda: NOW,
            attend=self.attend,
        )

    def attend(self, program: str, words: Sequence[str]) -> int:
        """Be ssh: look at the files."""
        self.ran.append([program, *words])
        (folder,) = self.memory.iterdir()
        self.found = {
            str(file.relative_to(folder)): (stat.S_IMODE(file.stat().st_mode), file.read_text())
            for file in folder.rglob("*")
            if file.is_file()
        }
        self.place = place_of(str(folder), "gate.test", 443)
        return 7


class PlaceTests(UnpackedCase):
    """Tests for `place_with_files`."""

    def test_files(self) -> None:
        """All that a login writes and SSH needs, for us alone, until the program has ended."""
        with self.assertRaises(SystemExit) as caught, unpacked.place_with_files(self.call) as place:
            self.call.run("ssh", ["-F", place.key])
        self.assertEqual(caught.exception.code, 7)
        self.assertEqual(list(self.memory.iterdir()), [])
        self.assertFalse((self.call.home or Path()).exists())
        self.assertEqual(
            sorted(self.found),
            [
                *("current-profile", "gate.test.yaml", "keys/gate.test/alice"),
                *("keys/gate.test/alice-ssh/example-cert.pub", "keys/gate.test/alice-x509.pem"),
                "keys/gate.test/alice.pub",
                *("keys/gate.test/cas/example.pem", "keys/gate.test/certs.pem"),
                *("keys/gate.test/ping.json", "known_hosts"),
            ],
        )
        self.assertEqual({mode for mode, _ in self.found.values()}, {0o600})
        texts = {name.rpartition("/")[2]: text for name, (_, text) in self.found.items()}
        whole = self.file.read_text()
        for name in ("alice", "alice-x509.pem"):
            self.assertIn(texts[name], whole)
        self.assertRegex(texts["alice"], r"\A-----BEGIN PRIVATE KEY-----\n[^-]+-----END.*-----\n\Z")
        self.assertTrue(texts["alice.pub"].startswith("ecdsa-sha2-nistp256 AAAA"))
        self.assertEqual(texts["example-cert.pub"], f"{SSH_LINE}user\n")
        self.assertEqual(texts["example.pem"], self.cluster.ca.pem)
        self.assertEqual(texts["certs.pem"], self.cluster.web.pem)
        self.assertRegex(
            texts["known_hosts"], rf"\A@cert-authority gate.test,\S+ {SSH_LINE}host\n\Z"
        )
        self.assertEqual((self.place.user, self.place.told), ("alice", "multiplex"))

    def test_whom_it_believes(self) -> None:
        """The cluster's authorities vouch for the web certificate; else the machine's do."""
        with unpacked.place_with_files(self.call):
            pass
        asked, ping = self.cluster.ways
        self.assertEqual((asked.roots, asked.cluster), (self.cluster.ca.pem, "example"))
        self.assertEqual((ping.roots, ping.anyone), (self.cluster.web.pem, False))
        self.cluster.answers["GET /webapi/certificates"] = NotServed("web", "no")
        with unpacked.place_with_files(self.call) as place:
            self.assertEqual(Path(place.web_authorities).read_text(), "system\n")
        self.assertIsNone(self.cluster.ways[-1].roots)

    def test_a_login(self) -> None:
        """Without an identity file it is the login's own files, which stay."""
        call = evolve(self.call, home=self.terminal.home, identity=None)
        with unpacked.place_with_files(call, "example") as place:
            self.assertEqual(place.folder, str(self.terminal.home))
        self.assertTrue(Path(place.key).exists())

    def test_no_such_folder(self) -> None:
        """Where the machine has no folder in memory, or none of ours, it is the usual one."""
        self.patch(tempfile, "tempdir", str(self.memory))
        for named in ("", "/nowhere", "/proc/1"):
            os.environ["XDG_RUNTIME_DIR"] = named
            with unpacked.place_with_files(self.call) as place:
                self.assertEqual(Path(place.folder).parent, self.memory)

    def test_refused(self) -> None:
        """What is no identity for SSH leaves nothing behind, and says why."""
        whole = self.file.read_text()
        for text, call, said in (
            (whole, evolve(self.call, proxy=None), "names no gateway: add --proxy"),
            (whole.replace(f"{SSH_LINE}user", ""), self.call, "nothing for ssh in it"),
            (whole.replace("@cert-authority", "#"), self.call, "nothing for ssh in it"),
            (whole.replace("END PRIVATE", "END"), self.call, "nothing for ssh in it"),
            (
                whole.replace("BEGIN PRIVATE KEY-----\n", "BEGIN PRIVATE KEY-----\nx"),
                self.call,
                "ssh cannot",
            ),
            (whole, evolve(self.call, now=lambda: NOW + 43200), "has expired|expired at"),
        ):
            self.file.write_text(text)
            with self.assertRaisesRegex(Exception, said), unpacked.place_with_files(call):
                pass
            self.assertEqual(list(self.memory.iterdir()), [])
        with self.assertRaisesRegex(BadAsk, "is for example, not for leaf"):
            unpacked.place_with_files(self.call, "leaf").__enter__()
        claims = Claims(cluster="example", kind="user", name="alice", routes={"app": "wiki"})
        self.file.write_text(
            f"-----BEGIN PRIVATE KEY-----\n{self.pem(claims)}{self.cluster.ca.pem}"
        )
        with self.assertRaisesRegex(BadAsk, "for one database or application"):
            unpacked.place_with_files(self.call).__enter__()

    def pem(self, claims: Claims) -> str:
        """A certificate of the cluster's."""
        return self.cluster.ca.issue(claims).public_bytes(Encoding.PEM).decode()


class CommandTests(UnpackedCase):
    """`tgsh -i FILE ssh` and `scp`."""

    def test_both(self) -> None:
        """They run with those files; the exit code is theirs."""
        for words in (("ssh", "root@db1", "true"), ("scp", "x", "root@db1:y")):
            done = CliRunner().invoke(tgsh, words, obj=evolve(self.call))
            self.assertEqual((done.exit_code, done.stderr), (7, ""))
            ran = self.ran.pop()
            self.assertEqual(ran[0], words[0])
            self.assertIn(f'IdentityFile="{self.place.key}"', ran)
            self.assertTrue(any("db1.example" in one for one in ran))
        self.assertEqual(list(self.memory.iterdir()), [])
