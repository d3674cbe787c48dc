"""tgctl: what operators do with a gateway. Arguments only; each command is a file of its own."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

import tlsgate
from tlsgate.cli.group import Commands
from tlsgate.cli.show import FORMATS
from tlsgate.cli.tgctl.call import Call

#: The commands, in the order in which a user needs them: `cmd_<name>.command` each.
COMMANDS = (
    "init",
    "check",
    "status",
    "users",
    "tokens",
    "nodes",
    "db",
    "apps",
    "inventory",
    "ledger",
    "migration",
    "get",
    "create",
    "edit",
    "rm",
    "auth",
    "lock",
    "audit",
    "backup",
    "restore",
    "sshd",
    "listeners",
    "connections",
    "explain",
    "reload",
    "upgrade",
    "export",
    "completion",
    "version",
)


class Verbs(Commands):
    """The commands of tgctl."""

    program = "tgctl"
    package = "tlsgate.cli.tgctl"
    names = COMMANDS

    def config_of(self, ctx: click.Context) -> str | None:
        """The configuration file that was named or found."""
        config = ctx.obj.config_file(needed=False) if isinstance(ctx.obj, Call) else None
        return None if config is None else str(config)


@click.group(
    cls=Verbs,
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
@click.option(
    "--agent-data-dir",
    type=click.Path(path_type=Path),
    help="The data directory of this machine's agent, for sshd [the same].",
)
@click.option(
    "-i",
    "--identity",
    type=click.Path(path_type=Path),
    help="An identity file, to ask a cluster from afar; --proxy says where.",
)
@click.option("--proxy", help="The gateway of that cluster: HOST[:PORT].")
@click.option("--format", "how", type=click.Choice(FORMATS), help="How answers look [text].")
@click.version_option(tlsgate.__version__, prog_name="tlsgate")
@click.pass_context
def tgctl(
    ctx: click.Context,
    config: Path | None,
    data_dir: Path | None,
    agent_data_dir: Path | None,
    identity: Path | None,
    proxy: str | None,
    how: str | None,
) -> None:
    """Look after a tlsgate gateway and its cluster.

    Commands about a running daemon reach it through the admin socket in its data
    directory, as root or as the daemon's user. Those about a cluster work from anywhere,
    with an identity file or the profile of `tgsh login`.
    """
    call = ctx.ensure_object(Call)
    call.config = config or call.config
    source = ctx.get_parameter_source("config")
    call.config_written = config is not None and source is ParameterSource.COMMANDLINE
    call.data_dir = data_dir or call.data_dir
    call.agent_data_dir = agent_data_dir or call.agent_data_dir
    call.identity = identity or call.identity
    call.proxy = proxy or call.proxy
    call.format_written = how is not None
    call.format = how or call.format


def main() -> None:
    """The program `tgctl`."""
    tgctl(prog_name="tgctl")


if __name__ == "__main__":
    main()
