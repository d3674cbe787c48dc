"""Tests for `tgsh.wrapped`: options of another program."""

from __future__ import annotations

from typing import Any

import click
from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.cli.tgsh.wrapped import given, passed_on

VALUES, FLAGS = {"-L": "one", "-l": "two"}, {"-t": "three"}


class PassedOnTests(SynchronousTestCase):
    """Tests for `passed_on` and `given`."""

    def test_back_and_forth(self) -> None:
        """What was there is given on, in large and small letters, and as often."""
        found: list[list[str]] = []

        @click.command()
        @passed_on(VALUES, FLAGS)
        def command(**signs: Any) -> None:
            found.append(given(signs, VALUES, FLAGS))

        for line, want in (
            ("", []),
            ("-tt -l x -L y -Lz", ["-L", "y", "-L", "z", "-l", "x", "-t", "-t"]),
        ):
            CliRunner().invoke(command, line.split())
            self.assertEqual(found.pop(), want)
