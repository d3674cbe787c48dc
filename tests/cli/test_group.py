"""Tests for `cli.group`: a program's commands, and errors as exit codes."""

from __future__ import annotations

import click
from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.cli.group import Commands, Whole
from tlsgate.errors import BadAsk, TargetSilent


class Program(Commands):
    """A program whose commands fail."""

    program = "prog"
    names = ("ask", "wait")

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Make a command that raises."""
        errors = {"ask": BadAsk("two\nlines"), "wait": TargetSilent("t", 3)}

        def run() -> None:
            raise errors[name]

        return click.Command(name, callback=run) if name in errors else None


class CommandsTests(SynchronousTestCase):
    """Tests for `Commands`."""

    def test_errors(self) -> None:
        """An error is a sentence on stderr after the program's name, and an exit code."""
        runner = CliRunner()
        result = runner.invoke(Program("prog"), ["ask"])
        self.assertEqual((result.exit_code, result.stderr), (2, "prog: two\n  lines\n"))
        self.assertEqual(runner.invoke(Program("prog"), ["wait"]).exit_code, 1)

    def test_misspelt(self) -> None:
        """The name that was likely meant is told."""
        result = CliRunner().invoke(Program("prog"), ["wiat"])
        self.assertEqual(result.exit_code, 2)
        self.assertIn("Did you mean 'wait'?", result.stderr)

    def test_sentences(self) -> None:
        """Help has the first sentence of each command whole, however long it is."""
        long = "Do " + "one thing " * 12 + "at last. Nobody reads this."
        group = Whole("prog", commands=[click.Command("ask", help=long)])
        said = " ".join(CliRunner().invoke(group, ["--help"]).stdout.split())
        self.assertIn("one thing at last.", said)
        self.assertNotIn("Nobody", said)
