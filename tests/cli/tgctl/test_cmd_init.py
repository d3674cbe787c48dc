"""Tests for `tgctl init`: the directory is whole, private, and never overwritten."""

from __future__ import annotations

import json
import shlex
import shutil
import stat
from pathlib import Path

from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from tests.support.commandline import run
from tlsgate.config.read import read_file
from tlsgate.core.access import Kind, Rule
from tlsgate.core.routing import CertRule
from tlsgate.tls.authority import Authority

FILES = {
    *("alice.key", "alice.pem", "ca.key", "ca.pem", "server.key", "server.pem"),
    *("plugins", "tlsgate.yaml", "try.txt"),
}


class InitTests(SynchronousTestCase):
    """Tests for `tgctl init`."""

    def folder(self, name: str = "gate") -> Path:
        folder = Path(self.mktemp()).absolute() / name
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)  # its plug-in is forgotten
        return folder

    def init(self, folder: Path, *words: str) -> str:
        result = run("init", str(folder), *words)
        self.assertEqual((result.exit_code, result.stderr), (0, ""))
        return result.stdout

    def test_files(self) -> None:
        """Everything is there; keys and the directory itself are the owner's alone."""
        folder = self.folder()
        self.init(folder)
        self.assertEqual({path.name for path in folder.iterdir()}, FILES)
        for path in (folder, folder / "plugins"):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o700)
        for path in folder.glob("*.key"):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)

    def test_configuration(self) -> None:
        """The file is good as it stands, and says what the issue's example says."""
        folder = self.folder()
        self.init(folder, "--port", "4430", "--name", "GW.example.com")
        checked = run("check", str(folder / "tlsgate.yaml"))
        self.assertEqual(checked.stdout, f"{folder / 'tlsgate.yaml'}: good\n")
        settings = read_file(folder / "tlsgate.yaml")
        self.assertEqual(settings.data_dir, folder)
        self.assertEqual(settings.public.web, ("gw.example.com:4430",))
        self.assertEqual(
            [one.endpoint for one in settings.listeners], ["tcp:4430:interface=127.0.0.1"]
        )
        (echo,) = settings.routes
        self.assertEqual(
            (echo.name, echo.alpn, echo.client_cert, echo.client_ca_files, echo.allow),
            (
                *("echo", (b"demo-echo",), CertRule.REQUIRED, (str(folder / "ca.pem"),)),
                (Rule(Kind.CN, "alice"),),
            ),
        )

    def test_certificate(self) -> None:
        """It covers applications below a name that has a dot, and brings its authority along."""
        for name, names in (
            ("gw.example.com", ["gw.example.com", "*.gw.example.com", "localhost"]),
            ("localhost", ["localhost"]),
        ):
            folder = self.folder(name)
            self.init(folder, "--name", name)
            leaf, root = x509.load_pem_x509_certificates((folder / "server.pem").read_bytes())
            said = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            self.assertEqual(said.get_values_for_type(x509.DNSName), names)
            self.assertEqual(root, x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes()))

    def test_explains_itself(self) -> None:
        """Alice's certificate is let in by what was made, without a daemon."""
        folder = self.folder()
        self.init(folder)
        result = run(
            *("explain", "--config", str(folder / "tlsgate.yaml"), "--alpn", "demo-echo"),
            *("--sni", "localhost", "--cert", str(folder / "alice.pem")),
        )
        self.assertEqual(result.stdout.splitlines()[-1], "allowed: served by demo-echo")

    def test_never_overwrites(self) -> None:
        """A second run changes nothing and says so."""
        folder = self.folder()
        self.init(folder)
        before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        result = run("init", str(folder))
        self.assertEqual((result.exit_code, result.stdout), (2, ""))
        self.assertIn("is there already; nothing was changed", result.stderr)
        self.assertEqual({path: path.read_bytes() for path in before}, before)

    def test_after_an_interruption(self) -> None:
        """Without a configuration the directory is completed; its authority is kept."""
        folder = self.folder()
        self.init(folder)
        (folder / "tlsgate.yaml").unlink()
        authority = Authority.load(folder / "ca.pem", folder / "ca.key")
        self.init(folder)
        self.assertEqual((folder / "ca.pem").read_bytes(), authority.cert_pem)

    def test_where(self) -> None:
        """--data-dir names the directory as well; without either it asks for one."""
        folder = self.folder()
        self.assertEqual(run("init", "--data-dir", str(folder)).exit_code, 0)
        self.assertTrue((folder / "tlsgate.yaml").exists())
        result = run("init")
        self.assertEqual(result.exit_code, 2)
        self.assertIn("tgctl init DIRECTORY", result.stderr)

    def test_cannot_write(self) -> None:
        """A directory that cannot be made is the operator's to mend."""
        folder = self.folder("file")
        folder.parent.mkdir(parents=True)
        folder.write_text("a file")
        result = run("init", str(folder))
        self.assertEqual(result.exit_code, 2)
        self.assertIn(f"tgctl: {folder}: ", result.stderr)

    def test_bad_name(self) -> None:
        """What is no host name makes no certificate."""
        folder = self.folder()
        result = run("init", str(folder), "--name", "not a name")
        self.assertEqual(result.exit_code, 2)
        self.assertFalse(folder.exists())

    def test_commands(self) -> None:
        """Three commands, each verifying the gateway, whole words even with spaces in the path."""
        folder = self.folder("a gate's data")
        self.init(folder)
        lines = (folder / "try.txt").read_text().splitlines()
        commands = [line[2:] for line in lines if line.startswith("  ")]
        self.assertEqual(len(commands), 3)
        for command in commands:
            words = shlex.split(command)
            self.assertIn(str(folder / "ca.pem"), words)
            self.assertNotIn("-k", words)
        again = self.folder()
        made = json.loads(self.init(again, "--format", "json"))
        self.assertEqual(made["config"], str(again / "tlsgate.yaml"))
        self.assertEqual(len(made["try"]), 3)
