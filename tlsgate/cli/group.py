"""A program of many commands: each is imported when it is chosen; errors become exit codes."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import click

from tlsgate.errors import GateError

#: Longer than any first sentence of a command.
_SENTENCE = 200


class Whole(click.Group):
    """Commands whose first sentences stand whole in the help; click cuts them off at a line."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each command with what it does, over several lines where it takes them."""
        found = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        rows = [
            (name, command.get_short_help_str(_SENTENCE))
            for name, command in found
            if command is not None and not command.hidden
        ]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


class Commands(Whole):
    """Commands of a package: `cmd_<name>.command` each, in their own order."""

    #: What the program is called in messages.
    program = ""
    #: Where the commands are.
    package = ""
    names: Sequence[str] = ()

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in our order, not in the alphabet's."""
        return list(self.names)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the command *name*."""
        if name not in self.names:
            return None
        found: click.Command = importlib.import_module(f"{self.package}.cmd_{name}").command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; of a misspelt one say what may be meant, as click does of options."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as e:
            from tlsgate.config.findings import nearest

            if (hint := nearest(args[0], self.names)) is None:
                raise
            raise click.UsageError(f"{e.message} Did you mean '{hint}'?", ctx) from e

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; say what went wrong on stderr."""
        try:
            return super().invoke(ctx)
        except GateError as e:
            from tlsgate.cli.report import exit_code, sentences

            first, *rest = sentences(e, self.config_of(ctx))
            click.echo(f"{self.program}: {first}", err=True)
            for line in rest:
                click.echo(f"  {line}", err=True)
            ctx.exit(exit_code(e))

    def config_of(self, ctx: click.Context) -> str | None:
        """The configuration file that the advice is to name."""
        return None
