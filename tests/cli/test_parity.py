"""docs/parity.md against the programs: what is called done is there, and all of it is listed."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import click
from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from tests.support.commandline import run

PAGE = Path(__file__).parents[2] / "docs" / "parity.md"

#: The verbs that the page has to speak of, from Teleport's references of tsh and tctl.
TSH = {
    *("login", "logout", "status", "ls", "ssh", "scp", "config", "clusters", "play", "join"),
    *("env", "version", "aliases", "bench", "recordings ls"),
    *(f"proxy {what}" for what in ("ssh", "db", "app", "kube", "aws", "azure", "gcloud")),
    *(f"db {verb}" for verb in ("ls", "login", "logout", "env", "config", "connect")),
    *(f"kube {verb}" for verb in ("ls", "login", "sessions", "exec", "join", "credentials")),
    *(f"apps {verb}" for verb in ("ls", "login", "logout", "config")),
    *(f"mfa {verb}" for verb in ("ls", "add", "rm")),
    *(f"request {verb}" for verb in ("new", "ls", "show", "review")),
}
TCTL = {
    *(f"users {verb}" for verb in ("add", "ls", "update", "rm", "reset")),
    *(f"tokens {verb}" for verb in ("add", "ls", "rm")),
    *("nodes add", "nodes ls", "apps ls", "db ls", "kube ls", "windows_desktops ls"),
    *("get", "create", "rm", "edit", "update", "status", "lock", "requests", "recordings ls"),
    *(f"auth {verb}" for verb in ("export", "sign", "rotate", "ls", "crl")),
    *("top", "alerts", "bots", "sso", "devices", "version", "proxy ls"),
    *(f"inventory {verb}" for verb in ("status", "ls", "ping")),
}


@frozen
class Row:
    """One verb of Teleport's: what it is here, and how far."""

    verb: str
    ours: str
    state: str
    note: str


def rows(section: str) -> Iterator[list[str]]:
    """The cells of the table under the heading that begins with *section*."""
    text = PAGE.read_text().partition(f"\n## {section}")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    for line in lines[2:]:
        yield [cell.strip() for cell in line.strip("|").split("|")]


def verbs(section: str) -> list[Row]:
    """The same as values."""
    return [Row(*cells) for cells in rows(section)]


def commands(program: str) -> set[str]:
    """Every command of *program*, such as "users add"; none where there is no program."""
    if importlib.util.find_spec(f"tlsgate.cli.{program}") is None:
        return set()
    group = getattr(importlib.import_module(f"tlsgate.cli.{program}.main"), program)
    return set(_below(group, click.Context(group)))


def _below(group: click.Group, context: click.Context) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from (f"{name} {verb}" for verb in _below(command, context))
        else:
            yield name


class ParityTests(SynchronousTestCase):
    """The page and the programs."""

    def test_every_verb_is_listed_once(self) -> None:
        """No verb of Teleport's is left out, and none stands there twice."""
        for section, want in (("tctl", TCTL), ("tsh", TSH)):
            found = [row.verb for row in verbs(section)]
            self.assertEqual(sorted(found), sorted(want))

    def test_states(self) -> None:
        """A verb is done, later or not; what is to come has a name, what is not has a reason."""
        for section, program in (("tctl", "tgctl"), ("tsh", "tgsh")):
            for row in verbs(section):
                self.assertIn(row.state, ("done", "later", "not"), row)
                if row.state == "not":
                    self.assertTrue(row.note and not row.ours, row)
                else:
                    self.assertEqual(row.ours.split()[0], program, row)

    def test_done_is_done(self) -> None:
        """What is done is in the program, and what is later is not there yet."""
        for section, program in (("tctl", "tgctl"), ("tsh", "tgsh")):
            there = commands(program)
            for row in verbs(section):
                ours = row.ours.partition(" ")[2]
                self.assertEqual((row.verb, ours in there), (row.verb, row.state == "done"))

    def test_nothing_is_hidden(self) -> None:
        """Every command of ours is on the page: Teleport's, or its own."""
        for section, program in (("tctl", "tgctl"), ("tsh", "tgsh")):
            teleports = {
                row.ours.partition(" ")[2] for row in verbs(section) if row.state == "done"
            }
            own = {cells[0] for cells in rows(f"{program}'s own")}
            self.assertEqual(teleports | own, commands(program))
            self.assertEqual(teleports & own, set())

    def test_help_lists_them(self) -> None:
        """--help shows exactly these commands."""
        shown = run("--help").stdout.partition("Commands:\n")[2].partition("\n\n")[0]
        listed = re.findall(r"^  (\S+)", shown, re.MULTILINE)
        self.assertEqual(set(listed), {name.split()[0] for name in commands("tgctl")})
