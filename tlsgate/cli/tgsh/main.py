"""tgsh: what users do with a cluster. Arguments only; each command is a file of its own."""

from __future__ import annotations

from pathlib import Path

import click

import tlsgate
from tlsgate.cli.group import Commands
from tlsgate.cli.show import FORMATS
from tlsgate.cli.tgsh.call import Call

#: The commands, in the order in which a user needs them: `cmd_<name>.command` each.
COMMANDS = (
    "login",
    "logout",
    "status",
    "ls",
    "ssh",
    "scp",
    "db",
    "apps",
    "config",
    "proxy",
    "clusters",
    "mfa",
    "passwd",
    "register",
    "version",
)


class Verbs(Commands):
    """The commands of tgsh."""

    program = "tgsh"
    package = "tlsgate.cli.tgsh"
    names = COMMANDS


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Options may stand before or after a command. Variables stand for them: TGSH_PROXY, "
    "TGSH_USER, TGSH_IDENTITY_FILE, and TGSH_HOME for the folder of profiles [~/.tgsh]. "
    "TELEPORT_PROXY and TELEPORT_USER count where the first two are not set.",
)
@click.option("--proxy", envvar=["TGSH_PROXY", "TELEPORT_PROXY"], help="The gateway: HOST[:PORT].")
@click.option("--user", envvar=["TGSH_USER", "TELEPORT_USER"], help="The user.")
@click.option(
    "-i",
    "--identity",
    type=click.Path(path_type=Path),
    envvar="TGSH_IDENTITY_FILE",
    help="An identity file instead of a login, from `tgctl auth sign`.",
)
@click.option(
    "--home",
    type=click.Path(path_type=Path),
    envvar="TGSH_HOME",
    help="The folder of profiles [~/.tgsh].",
)
@click.option("--insecure", is_flag=True, help="Do not verify the web certificate.")
@click.option("-d", "--debug", is_flag=True, help="Say on stderr what is done.")
@click.option("--format", "how", type=click.Choice(FORMATS), help="How answers look [text].")
@click.version_option(tlsgate.__version__, prog_name="tlsgate")
@click.pass_context
def tgsh(
    ctx: click.Context,
    proxy: str | None,
    user: str | None,
    identity: Path | None,
    home: Path | None,
    insecure: bool,
    debug: bool,
    how: str | None,
) -> None:
    """Log in to a tlsgate cluster and use what your roles open.

    A login gives a certificate of some hours; it and its key lie in files below the
    folder of profiles, for any program that speaks TLS or SSH.
    """
    call = ctx.ensure_object(Call)
    call.proxy = proxy or call.proxy
    call.user = user or call.user
    call.identity = identity or call.identity
    call.home = home or call.home
    call.insecure = insecure or call.insecure
    call.debug = debug or call.debug
    call.format = how or call.format


def main() -> None:
    """The program `tgsh`."""
    tgsh(prog_name="tgsh")


if __name__ == "__main__":
    main()
