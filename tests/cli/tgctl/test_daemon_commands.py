"""Tests for the commands about a running daemon: what they ask, and what they print."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.support.commandline import TableDoor, run
from tests.support.daemon import CONNECTIONS, LISTENERS, RELOADED, STATUS, UPGRADED
from tlsgate.errors import DaemonAway, DaemonSaid, DoorClosed, Fault, Place, Problem

ANSWERS = {
    "GET /v1/status": STATUS,
    "GET /v1/listeners": LISTENERS,
    "GET /v1/connections": CONNECTIONS,
    "POST /v1/reload": RELOADED,
    "POST /v1/upgrade": UPGRADED,
}


class TextTests(SynchronousTestCase):
    """Each answer as people read it."""

    def text(self, *words: str) -> str:
        result = run(*words, door=TableDoor(ANSWERS))
        self.assertEqual((result.exit_code, result.stderr), (0, ""))
        return result.stdout

    def test_listeners(self) -> None:
        """One line a listener; one that is not open says what it should have opened."""
        self.assertEqual(
            self.text("listeners"),
            "LISTENER  PROTOCOL    ADDRESS            PROXY  ACTIVE  ACCEPTED  REFUSED\n"
            "web       all routes  [::]:3080          on          2        17        1\n"
            "ssh       ssh         closed (tcp:3023)  off         0         0        0\n",
        )

    def test_connections(self) -> None:
        """The oldest first; what is not known yet is a dash."""
        self.assertEqual(
            self.text("connections"),
            "PEER             LISTENER  ROUTE      IDENTITY  ASKED FOR          "
            "TO TARGET  TO CLIENT    SINCE\n"
            "192.0.2.8:50001  web       echo       alice     gw.test demo-echo  "
            "  2.0 KiB    3.0 GiB  1 h 2 m\n"
            "192.0.2.7:50000  web       (opening)  -         -                  "
            "      0 B        0 B    0.2 s\n",
        )

    def test_connections_of_one_identity(self) -> None:
        """A filter leaves the others out."""
        shown = self.text("connections", "--identity", "alice", "--format", "json")
        self.assertEqual(json.loads(shown), [CONNECTIONS[1]])

    def test_reload(self) -> None:
        """What changed is named, and warnings are not lost."""
        self.assertEqual(
            self.text("reload"),
            "reloaded; opened: postgres; closed: ssh, tunnel\n"
            "warning: tlsgate.yaml:3:1 is not served\n",
        )

    def test_upgrade(self) -> None:
        """The new process is named."""
        self.assertEqual(self.text("upgrade"), "process 43 of version 1.0.1 has taken over\n")

    def test_status(self) -> None:
        """One fact a line."""
        lines = self.text("status").splitlines()
        self.assertEqual(lines[0], "version      1.0.0")
        self.assertIn("ready        yes", lines)

    def test_nothing_there(self) -> None:
        """An empty list is a sentence, not an empty table."""
        door = TableDoor({"GET /v1/connections": [], "GET /v1/listeners": []})
        self.assertEqual(run("connections", door=door).stdout, "no connection\n")
        self.assertEqual(run("listeners", door=door).stdout, "no listener\n")

    def test_a_peer_cannot_steer_the_terminal(self) -> None:
        """Control characters and markup in what a peer sent are shown, not obeyed."""
        row = {**CONNECTIONS[1], "identity": "\x1b[31mroot\u202e[bold]"}
        shown = run("connections", door=TableDoor({"GET /v1/connections": [row]})).stdout
        self.assertIn("\\x1b[31mroot\\u202e[bold]", shown)
        self.assertNotIn("\x1b", shown)


class FormatTests(SynchronousTestCase):
    """Each answer as programs read it."""

    def test_json_and_yaml(self) -> None:
        """Both formats give the daemon's answer whole, wherever the option stands."""
        for ask, words in (
            ("GET /v1/status", ["status"]),
            ("GET /v1/listeners", ["listeners"]),
            ("POST /v1/reload", ["reload"]),
            ("POST /v1/upgrade", ["upgrade"]),
        ):
            for result in (
                run(*words, "--format", "json", door=TableDoor(ANSWERS)),
                run("--format", "json", *words, door=TableDoor(ANSWERS)),
            ):
                self.assertEqual(json.loads(result.stdout), ANSWERS[ask])
            result = run(*words, "--format", "yaml", door=TableDoor(ANSWERS))
            self.assertEqual(yaml.safe_load(result.stdout), ANSWERS[ask])

    def test_the_later_format_wins(self) -> None:
        """An option after the command's name beats the same one before it."""
        result = run("--format", "yaml", "upgrade", "--format", "json", door=TableDoor(ANSWERS))
        self.assertEqual(json.loads(result.stdout), UPGRADED)


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

    def test_environment(self) -> None:
        """Variables stand for the options."""
        self.assertEqual(self.opened("status", env={"TLSGATE_DATA_DIR": "/e"}), [Path("/e")])


class ErrorTests(SynchronousTestCase):
    """Each failure: its exit code, its sentence, and the way out."""

    def failed(self, error: Exception, *words: str) -> tuple[int, list[str]]:
        door = TableDoor({"POST /v1/reload": error, "GET /v1/status": error})
        result = run(*words, door=door)
        self.assertEqual(result.stdout, "")
        return result.exit_code, result.stderr.splitlines()

    def test_no_daemon(self) -> None:
        """It says how to start one."""
        error = DaemonAway("/d/admin.sock", "there is no such socket")
        self.assertEqual(
            self.failed(error, "--data-dir", "/d", "-c", "/d/gate.yaml", "status"),
            (
                2,
                [
                    "tgctl: no daemon answers on /d/admin.sock: there is no such socket",
                    "  start it with: twistd tlsgate --config /d/gate.yaml",
                    "  or name the data directory of the one that runs: tgctl --data-dir DIR ...",
                ],
            ),
        )

    def test_no_permission(self) -> None:
        """It says who may."""
        error = DoorClosed("/d/admin.sock", "root and the user tlsgate")
        self.assertEqual(
            self.failed(error, "status"),
            (
                2,
                [
                    "tgctl: /d/admin.sock is open to root and the user tlsgate only",
                    "  run tgctl as that user, for instance with sudo",
                ],
            ),
        )

    def test_refused_reload(self) -> None:
        """Every problem of the new file is printed; the exit code is the operator's."""
        problems = (
            Problem(Place("g.yaml", 3, 5), "version", "is v9"),
            Problem(Place("g.yaml", 7, 3), "", "what\x1b[2J"),
        )
        error = DaemonSaid("bad_settings", Fault.OPERATOR, "two", problems)
        self.assertEqual(
            self.failed(error, "reload"),
            (
                2,
                [
                    "tgctl: g.yaml:3:5 version: is v9",
                    "  g.yaml:7:3: what\\x1b[2J",
                    "  2 problems; nothing was changed",
                ],
            ),
        )

    def test_a_bug_of_the_daemon(self) -> None:
        """What the operator cannot mend has the other exit code."""
        error = DaemonSaid("error", Fault.GATE, "a bug of tlsgate")
        self.assertEqual(self.failed(error, "reload"), (1, ["tgctl: a bug of tlsgate"]))

    def test_usage(self) -> None:
        """A wrong word is a usage error, exit code 2."""
        self.assertEqual(run("relaod").exit_code, 2)
        self.assertEqual(run("status", "--format", "xml").exit_code, 2)


class HelpTests(SynchronousTestCase):
    """What --help says."""

    def test_every_command_has_a_sentence(self) -> None:
        """No command stands without its purpose, and each takes the common options."""
        shown = run("--help").stdout
        for name in ("check", "status", "listeners", "connections", "reload", "upgrade"):
            self.assertRegex(shown, rf"\n  {name} +[A-Z]")
            self.assertIn("--format", run(name, "--help").stdout)

    def test_version(self) -> None:
        """What a bug report needs."""
        found = json.loads(run("version", "--format", "json").stdout)
        self.assertEqual(list(found), ["tlsgate", "Python", "Twisted", "pyOpenSSL", "cryptography"])

    def test_completion(self) -> None:
        """Each shell gets a script for the program's name."""
        for shell in ("bash", "zsh", "fish"):
            self.assertIn("_TGCTL_COMPLETE", run("completion", shell).stdout)
