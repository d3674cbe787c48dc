"""Tests for `cli.tgctl.main`: options, formats, help, and how failures end."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click
import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.support.commandline import TableDoor, run
from tests.support.daemon import LISTENERS, RELOADED, STATUS, UPGRADED
from tlsgate.cli.tgctl.main import COMMANDS, tgctl
from tlsgate.errors import DaemonAway, DaemonSaid, DoorClosed, Fault, Place, Problem

ANSWERS = {
    "GET /v1/status": STATUS,
    "GET /v1/listeners": LISTENERS,
    "POST /v1/reload": RELOADED,
    "POST /v1/upgrade": UPGRADED,
}


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

    def test_a_misspelt_command(self) -> None:
        """The command that was likely meant is named; a far one guesses nothing."""
        self.assertIn("No such command 'statsu'. Did you mean 'status'?", run("statsu").stderr)
        self.assertNotIn("Did you mean", run("xyzzy").stderr)

    def test_every_command_has_a_sentence(self) -> None:
        """No command stands without its purpose, and each takes the common options."""
        shown = run("--help").stdout
        for name in COMMANDS:
            self.assertRegex(shown, rf"\n  {name} +[A-Z]")
        for words, command in _leaves():
            self.assertTrue(command.help, words)
            if words != ("completion",):
                for option in ("--format", "--data-dir", "--config"):
                    self.assertIn(option, run(*words, "--help").stdout)


def _leaves() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, with its words."""
    context = click.Context(tgctl)
    for name in COMMANDS:
        command = tgctl.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from (((name, verb), below) for verb, below in command.commands.items())
        else:
            yield (name,), command
