"""docs/tgsh.md against the program: its commands, variables, files and alerts."""

from __future__ import annotations

import re
from pathlib import Path

import click
from twisted.trial.unittest import SynchronousTestCase

from tests.cli.cluster import Terminal
from tlsgate.cli.tgsh.main import COMMANDS, tgsh

PAGE = (Path(__file__).parents[3] / "docs" / "tgsh.md").read_text()


class PageTests(SynchronousTestCase):
    """What the page says is so."""

    def test_commands(self) -> None:
        """Each command has its line in the table."""
        listed = set(re.findall(r"^\| `tgsh (\w+)", PAGE, re.M))
        self.assertEqual(listed, set(COMMANDS))

    def test_variables(self) -> None:
        """Each variable that counts is named, and each that is named in the table counts."""
        known: set[str] = set()
        for option in tgsh.params:
            if isinstance(option, click.Option) and option.envvar:
                names = option.envvar
                known |= {names} if isinstance(names, str) else set(names)
        table = "".join(line for line in PAGE.splitlines() if line.startswith("| `-"))
        self.assertEqual(set(re.findall(r"`((?:TGSH|TELEPORT)_\w+)`", table)), known)

    def test_files(self) -> None:
        """A login leaves the files of the table, and no other."""
        terminal = Terminal(Path(self.mktemp()).absolute())
        terminal.login()
        found = {
            str(path.relative_to(terminal.home))
            for path in terminal.home.rglob("*")
            if path.is_file()
        }
        part = PAGE.partition("## The files")[2].partition("##")[0]
        named = set(re.findall(r"^\| `([^`]+)`", part, re.M))
        named.add("keys/HOST/USER.pub")
        words = {"HOST": "gate.test", "USER": "alice", "CLUSTER": "example"}
        made = {re.sub("HOST|USER|CLUSTER", lambda m: words[m[0]], name) for name in named}
        self.assertEqual(made, found)

    def test_alerts(self) -> None:
        """Every alert that design names stands in the table."""
        told = "".join(re.findall(r"^\| TLS alert ([\d, ]+) \|", PAGE, re.M))
        numbers = set(re.findall(r"\d+", " ".join(re.findall(r"TLS alert ([\d, ]+)", PAGE))))
        self.assertTrue(told)
        self.assertEqual(numbers, {"40", "42", "45", "46", "48", "112", "116", "120"})
