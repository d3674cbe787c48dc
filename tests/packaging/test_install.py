"""What a user installs lists `tlsgate` among twistd's commands, as a wheel and as a checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import mkdtemp

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parents[2]

#: pip fetches some forty packages, on a bad day slowly.
_SECONDS = 600


def said(*arguments: str | Path, cwd: Path | None = None) -> str:
    """What a command prints; its failure is the test's."""
    done = subprocess.run(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_SECONDS,
        check=False,
        text=True,
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", **_kept()},
    )
    assert done.returncode == 0, f"{arguments} gave {done.returncode}:\n{done.stdout[-8000:]}"
    return done.stdout


def _kept() -> dict[str, str]:
    """Settings of pip and of the network that the machine gives; PYTHONPATH is not among them."""
    words = ("PIP_", "SSL_", "HTTP", "http", "no_proxy", "NO_PROXY", "HOME")
    return {key: value for key, value in os.environ.items() if key.startswith(words)}


class InstallTests(SynchronousTestCase):
    """Installs from a copy of the tree, each into an environment of its own."""

    def setUp(self) -> None:
        self.folder = Path(mkdtemp(prefix="tlsgate-install-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.tree = self.folder / "tree"
        self.tree.mkdir()
        for name in ("tlsgate", "twisted"):
            shutil.copytree(
                ROOT / name, self.tree / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, self.tree)
        said(sys.executable, "-m", "venv", self.folder / "venv")
        self.bin = self.folder / "venv" / "bin"

    def check_commands(self) -> None:
        """From an empty folder, so that only what is installed can answer."""
        empty = self.folder / "empty"
        empty.mkdir()
        listed = [line.split()[:1] for line in said(self.bin / "twistd", "--help").splitlines()]
        self.assertIn(["tlsgate"], listed)
        self.assertIn("--config", said(self.bin / "twistd", "tlsgate", "--help", cwd=empty))
        self.assertIn("check", said(self.bin / "tgctl", "--help", cwd=empty))

    def test_a_wheel_brings_the_commands(self) -> None:
        """After `pip install` of the wheel, twistd lists tlsgate and tgctl runs."""
        pip = (self.bin / "python", "-m", "pip", "--quiet")
        said(*pip, "wheel", "--no-deps", "--wheel-dir", self.folder, self.tree)
        (wheel,) = self.folder.glob("tlsgate-*.whl")
        names = set(zipfile.ZipFile(wheel).namelist())
        self.assertIn("twisted/plugins/tlsgate_plugin.py", names)
        self.assertIn("tlsgate/py.typed", names)
        foreign = {"twisted/__init__.py", "twisted/plugins/__init__.py"} & names
        self.assertEqual(foreign, set())
        self.assertEqual([name for name in names if name.startswith("tests")], [])
        data = {
            str(path.relative_to(self.tree))
            for path in (self.tree / "tlsgate").rglob("*")
            if path.suffix in (".html", ".css", ".js", ".svg")
        }
        self.assertEqual(data - names, set())
        said(*pip, "install", f"{wheel}[cli]")
        self.check_commands()

    def test_an_editable_install_brings_the_commands(self) -> None:
        """With `editable_mode=compat` the search for plug-ins finds the checkout."""
        mode = ("--config-settings", "editable_mode=compat")
        pip = (self.bin / "python", "-m", "pip", "--quiet")
        said(*pip, "install", *mode, "--editable", f"{self.tree}[cli]")
        self.check_commands()
        where = said(self.bin / "python", "-c", "import tlsgate; print(tlsgate.__file__)")
        self.assertEqual(where.strip(), str(self.tree / "tlsgate" / "__init__.py"))
