"""Tests for `tgctl check`: problems with their places, warnings, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.support.certs import pki
from tests.support.commandline import run

GOOD = """\
version: v2
teleport: {data_dir: data}
proxy_service:
  web_listen_addr: "127.0.0.1:0"
"""
BAD = """\
version: v2
teleport: {data_dir: data}
proxy_service:
  web_listen_addr: "127.0.0.1:0"
  idel: 5
  workers: many
"""


class CheckTests(SynchronousTestCase):
    """Tests for `tgctl check`."""

    def file(self, text: str) -> Path:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        file = folder / "gate.yaml"
        file.write_text(text)
        return file

    def test_good(self) -> None:
        """A good file is exit code 0 and one line; nothing is left behind."""
        file = self.file(GOOD)
        result = run("check", str(file))
        self.assertEqual((result.exit_code, result.stdout), (0, f"{file}: good\n"))
        self.assertEqual([path.name for path in file.parent.iterdir()], ["gate.yaml"])

    def test_every_problem(self) -> None:
        """All problems are printed at once, each with its place; exit code 2."""
        file = self.file(BAD)
        result = run("check", str(file))
        self.assertEqual(result.exit_code, 2)
        first, second, last = result.stdout.splitlines()
        self.assertTrue(first.startswith(f"{file}:5:3 proxy_service.idel: "), first)
        self.assertTrue(second.startswith(f"{file}:6:12 proxy_service.workers: "), second)
        self.assertEqual(last, f"{file}: cannot be used (2 problems)")

    def test_warnings(self) -> None:
        """What is known and not served is a warning, and no problem."""
        file = self.file(GOOD + "ssh_service: {}\n")
        result = run("check", str(file))
        self.assertEqual(result.exit_code, 0)
        self.assertIn("5:1 ssh_service: warning: ", result.stdout)
        self.assertTrue(result.stdout.endswith("good (1 warning)\n"))

    def test_json_and_yaml(self) -> None:
        """Programs get the same as values."""
        file = self.file(BAD)
        result = run("check", str(file), "--format", "json")
        self.assertEqual(result.exit_code, 2)
        found = json.loads(result.stdout)
        self.assertEqual((found["file"], found["ok"]), (str(file), False))
        self.assertEqual(
            [(one["line"], one["column"], one["path"]) for one in found["problems"]],
            [(5, 3, "proxy_service.idel"), (6, 12, "proxy_service.workers")],
        )
        self.assertEqual(yaml.safe_load(run("check", str(file), "--format", "yaml").stdout), found)

    def test_no_such_file(self) -> None:
        """A file that is not there is a problem like any other."""
        result = run("check", "/nowhere/gate.yaml")
        self.assertEqual(result.exit_code, 2)
        self.assertIn("/nowhere/gate.yaml:1:1: cannot be read", result.stdout)

    def test_more_than_the_text(self) -> None:
        """A key that is not its certificate's, and a broken plug-in, are found as well."""
        certs = pki()
        pair = f"{{cert_file: {certs.file('server.pem')}, key_file: {certs.file('bob-key.pem')}}}"
        file = self.file(GOOD + f"  https_keypairs: [{pair}]\n")
        result = run("check", str(file))
        self.assertEqual(result.exit_code, 2)
        self.assertIn("is not the key of", result.stdout)
        plugins = file.parent / "data" / "plugins"
        plugins.mkdir(parents=True)
        (plugins / "broken_one.py").write_text("import nothing_of_that_name\n")
        file.write_text(GOOD)
        result = run("check", str(file))
        self.assertEqual(result.exit_code, 0)
        self.assertIn("broken_one.py", result.stdout)
        self.assertIn("nothing_of_that_name", result.stdout)

    def test_expired_certificates(self) -> None:
        """A certificate whose time is over is a warning with the day: a start would take it."""
        file = self.file(GOOD + "  https_keypairs: [{cert_file: s.pem, key_file: s.key}]\n")
        pair = pki().ca.issue("gw.test", dns=("gw.test",), server=True, days=-1)
        pair.write(file.parent / "s.pem", file.parent / "s.key")
        result = run("check", str(file))
        self.assertEqual(result.exit_code, 0)
        self.assertIn(f"warning: {file.parent / 's.pem'}: expired on ", result.stdout)

    def test_the_file_of_the_option(self) -> None:
        """Without an argument --config's file is meant; without either it says so."""
        file = self.file(GOOD)
        self.assertEqual(run("-c", str(file), "check").stdout, f"{file}: good\n")
        self.assertEqual(run("check", env={"TLSGATE_CONFIG": str(file)}).exit_code, 0)
        result = run("check")
        self.assertEqual((result.exit_code, result.stdout), (2, ""))
        self.assertIn("name a configuration file", result.stderr)
