"""tgctl: what operators do with a gateway. Arguments only; each command is a file of its own."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

import tlsgate
from tlsgate.cli.report import exit_code, sentences
from tlsgate.cli.show import FORMATS
from tlsgate.cli.tgctl.call import Call
from tlsgate.errors import GateError

#: The commands, in the order in which a user needs them: `cmd_<name>.command` each.
COMMANDS = (
    "init",
    "check",
    "status",
    "listeners",
    "connections",
    "explain",
    "reload",
    "upgrade",
    "export",
    "completion",
    "version",
)


class Commands(click.Group):
    """Commands that are imported when they are chosen; errors of ours become exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in our order, not in the alphabet's."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the command *name*."""
        if name not in COMMANDS:
            return None
        found: click.Command = importlib.import_module(f"tlsgate.cli.tgctl.cmd_{name}").command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; of a misspelt one say what may be meant, as click does of options."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as e:
            from tlsgate.config.findings import nearest

            if (hint := nearest(args[0], COMMANDS)) is None:
                raise
            raise click.UsageError(f"{e.message} Did you mean '{hint}'?", ctx) from e

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; say what went wrong on stderr."""
        try:
            return super().invoke(ctx)
        except GateError as e:
            config = ctx.obj.config_file(needed=False) if isinstance(ctx.obj, Call) else None
            first, *rest = sentences(e, None if config is None else str(config))
            click.echo(f"tgctl: {first}", err=True)
            for line in rest:
                click.echo(f"  {line}", err=True)
            ctx.exit(exit_code(e))


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Options may stand before or after a command. TLSGATE_CONFIG and TLSGATE_DATA_DIR "
    "stand for the first two. Tab completion: tgctl completion --help.",
)
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    envvar="TLSGATE_CONFIG",
    help="The configuration file [/etc/tlsgate/tlsgate.yaml].",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    envvar="TLSGATE_DATA_DIR",
    help="The daemon's data directory [what the configuration says].",
)
@click.option("--format", "how", type=click.Choice(FORMATS), help="How answers look [text].")
@click.version_option(tlsgate.__version__, prog_name="tlsgate")
@click.pass_context
def tgctl(ctx: click.Context, config: Path | None, data_dir: Path | None, how: str | None) -> None:
    """Look after a tlsgate gateway.

    Commands about a running daemon reach it through the admin socket in its data
    directory, as root or as the daemon's user.
    """
    call = ctx.ensure_object(Call)
    call.config = config or call.config
    source = ctx.get_parameter_source("config")
    call.config_written = config is not None and source is ParameterSource.COMMANDLINE
    call.data_dir = data_dir or call.data_dir
    call.format = how or call.format


def main() -> None:
    """The program `tgctl`."""
    tgctl(prog_name="tgctl")


if __name__ == "__main__":
    main()
