"""The set-up scripts say what is missing instead of failing half-way."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.child import temporary
from tests.support.harness import ROOT

#: What the scripts need before they look for Python.
_TOOLS = ("sh", "dirname", "cat", "cmp", "sort", "tr", "ls")


class ScriptsTests(SynchronousTestCase):
    """etc/quickstart.sh and etc/test.sh on machines that lack something."""

    def setUp(self) -> None:
        self.folder = temporary("scripts")
        self.addCleanup(shutil.rmtree, self.folder)
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        for tool in _TOOLS:
            path = shutil.which(tool)
            assert path is not None, tool
            (self.bin / tool).symlink_to(path)

    def fake(self, name: str, text: str) -> None:
        """A program in front of all others."""
        path = self.bin / name
        assert not path.is_symlink(), f"{name} is the machine's own"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def run_script(
        self, script: str, *arguments: str, env: dict[str, str] | None = None
    ) -> tuple[int, str]:
        """The exit code of a script, and all that it says."""
        done = subprocess.run(
            [shutil.which("sh") or "sh", ROOT / "etc" / script, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=30,
            check=False,
            text=True,
            cwd=self.folder,
            env={"PATH": str(self.bin), **(env or {})},
        )
        return done.returncode, done.stdout

    def test_without_python(self) -> None:
        """The quickstart names the version it needs and the command that installs it."""
        code, text = self.run_script("quickstart.sh")
        self.assertEqual(code, 1)
        self.assertIn("needs Python 3.11 or newer", text)
        self.assertIn("apt-get install python3 python3-venv", text)

    def test_with_an_old_python(self) -> None:
        """The quickstart says which version it met, and how to name a newer one."""
        self.fake("python3", 'case "$*" in *version_info*) exit 1;; -V) echo Python 3.9.2;; esac')
        code, text = self.run_script("quickstart.sh")
        self.assertEqual(code, 1)
        self.assertIn("python3 is Python 3.9.2; tlsgate needs Python 3.11 or newer", text)
        self.assertIn("PYTHON=python3.12 sh ", text)

    def test_without_venv(self) -> None:
        """On Debian's bare Python the quickstart names the package that lacks."""
        self.fake(
            "python3",
            'case "$*" in *ensurepip*) exit 1;; *print*) echo python3.11-venv;; esac',
        )
        code, text = self.run_script("quickstart.sh")
        self.assertEqual(code, 1)
        self.assertIn("apt-get install python3.11-venv", text)

    def test_unknown_options(self) -> None:
        """A misspelt option is told, not ignored."""
        for script in ("quickstart.sh", "test.sh"):
            code, text = self.run_script(script, "--prot", "1")
            self.assertEqual((code, text.startswith("usage: ")), (2, True), script)
        code, _ = self.run_script("quickstart.sh", "--port", "https")
        self.assertEqual(code, 2)

    def test_missing_packages_are_named_to_users(self) -> None:
        """Who is not root gets one line that installs all that is missing."""
        self.fake("id", "echo 1000")
        code, text = self.run_script("test.sh")
        self.assertEqual(code, 1)
        line = next(line for line in text.splitlines() if "sudo apt-get install" in line)
        for package in ("redis-server", "chromium", "socat", "postgresql-client"):
            self.assertIn(package, line)

    def test_scripts_are_posix(self) -> None:
        """A plain sh reads them; only the CI script may ask for bash."""
        dash = Path("/bin/dash")
        shell = str(dash) if dash.exists() else "sh"
        for script in ("quickstart.sh", "test.sh", "python.sh"):
            done = subprocess.run(
                [shell, "-n", ROOT / "etc" / script], check=False, timeout=10, env=dict(os.environ)
            )
            self.assertEqual(done.returncode, 0, script)
