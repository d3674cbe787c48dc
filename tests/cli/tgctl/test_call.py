"""Tests for `cli.tgctl.call`: which daemon a command is about."""

from __future__ import annotations

import time
from pathlib import Path

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from tests.cli.cluster import NOW, Terminal
from tests.support.commandline import TableDoor, run
from tests.support.daemon import RELOADED, STATUS
from tlsgate.cli.api import AUTH
from tlsgate.cli.tgctl.call import Call
from tlsgate.cli.tgctl.main import tgctl

ANSWERS = {"GET /v1/status": STATUS, "POST /v1/reload": RELOADED}


class WhichDaemonTests(SynchronousTestCase):
    """Which data directory a command is about."""

    def opened(self, *words: str, env: dict[str, str] | None = None) -> list[Path]:
        door = TableDoor(ANSWERS)
        result = run(*words, door=door, env=env)
        self.assertEqual((result.exit_code, result.stderr), (0, ""))
        return door.opened

    def config(self, text: str) -> Path:
        file = Path(self.mktemp())
        file.write_text(text)
        return file.absolute()

    def test_option(self) -> None:
        """--data-dir says it, before or after the command's name."""
        self.assertEqual(self.opened("--data-dir", "/a", "status"), [Path("/a")])
        self.assertEqual(
            self.opened("--data-dir", "/a", "status", "--data-dir", "/b"), [Path("/b")]
        )

    def test_config(self) -> None:
        """--config says it by its data_dir, relative to the file; either block's name will do."""
        file = self.config("teleport: {data_dir: here}")
        self.assertEqual(self.opened("status", "-c", str(file)), [file.parent / "here"])
        file = self.config("tlsgate:\n  data_dir: /abs")
        self.assertEqual(self.opened("status", "-c", str(file)), [Path("/abs")])

    def test_config_with_problems(self) -> None:
        """A file with problems still leads to the daemon that runs."""
        file = self.config("version: v9\nnonsense: 1\nteleport: {data_dir: /run/gate}")
        self.assertEqual(self.opened("reload", "-c", str(file)), [Path("/run/gate")])

    def test_config_without(self) -> None:
        """A file that names none means the default."""
        file = self.config("version: v3")
        self.assertEqual(self.opened("status", "-c", str(file)), [Path("/var/lib/tlsgate")])

    def test_config_that_is_no_yaml(self) -> None:
        """A file from which no data directory can be read is told with its place."""
        for text in ("a: [\n", None):
            file = Path(self.mktemp()).absolute()
            if text is not None:
                file.write_text(text)
            result = run("status", "-c", str(file))
            self.assertEqual((result.exit_code, result.stdout), (2, ""))
            self.assertIn(f"tgctl: {file}:", result.stderr)

    def test_data_dir_that_was_made_by_init(self) -> None:
        """A tlsgate.yaml in the data directory is the configuration."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        (folder / "tlsgate.yaml").write_text("version: v9\n")
        result = run("check", "--data-dir", str(folder))
        self.assertEqual(result.exit_code, 2)
        self.assertIn(f"{folder / 'tlsgate.yaml'}:1:10", result.stdout)

    def test_environment(self) -> None:
        """Variables stand for the options."""
        self.assertEqual(self.opened("status", env={"TLSGATE_DATA_DIR": "/e"}), [Path("/e")])


class WhichClusterTests(SynchronousTestCase):
    """Which door of the API a command takes."""

    def setUp(self) -> None:
        self.terminal = Terminal(Path(self.mktemp()).absolute(), now=time.time())
        self.cluster = self.terminal.cluster
        self.cluster.ahead = time.time() - NOW
        self.cluster.answers["GET /v1/resources/lock"] = {"items": [], "next": None}

    def get(self, *words: str) -> tuple[Result, TableDoor]:
        """Run `tgctl get lock` with the terminal's home."""
        door = TableDoor({"GET /v1/resources/lock": {"items": [], "next": None}})
        call = Call(open_door=door.open, open_way=self.cluster.open)
        env = {"TGSH_HOME": str(self.terminal.home), "TLSGATE_CONFIG": "", "TLSGATE_DATA_DIR": ""}
        return CliRunner().invoke(tgctl, [*words, "get", "lock"], obj=call, env=env), door

    def test_socket(self) -> None:
        """Without a profile, and wherever a data directory is named, the admin socket."""
        self.assertEqual(len(self.get()[1].asked), 1)
        self.terminal.login()
        result, door = self.get("--data-dir=/d")
        self.assertEqual((result.exit_code, door.opened), (0, [Path("/d")]))

    def test_profile(self) -> None:
        """Where this user may not use the socket, the profile in use; or that of --proxy."""
        self.terminal.login()
        for words in ((), ("--proxy=gate.test",)):
            self.cluster.asked.clear()
            result, door = self.get(*words)
            self.assertEqual((result.exit_code, door.asked), (0, []))
            self.assertEqual(self.cluster.asked, [(AUTH, "GET /v1/resources/lock", None)])

    def test_identity(self) -> None:
        """An identity file needs the gateway's address."""
        file = Path(self.mktemp()).absolute()
        self.terminal.login(f"--out={file}")
        self.assertEqual(self.get(f"--identity={file}", "--proxy=gate.test:443")[0].exit_code, 0)
        self.assertEqual(self.cluster.ways[-1].certificate, file)
        self.assertEqual(self.get(f"--identity={file}")[0].exit_code, 2)

    def test_expired(self) -> None:
        """An expired login is told with the command that heals."""
        self.cluster.ahead -= 50000
        self.terminal.now -= 50000
        self.terminal.login()
        result, _ = self.get()
        self.assertEqual(result.exit_code, 1)
        self.assertIn("run `tgsh login --proxy=gate.test:443`", result.stderr)
