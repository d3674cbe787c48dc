"""`tgsh proxy`: connections for other programs. `entry` runs `ssh` without this file."""

from __future__ import annotations

import click

from tlsgate.cli.tgsh.call import Call, with_call
from tlsgate.errors import BadAsk


@click.group("proxy")
def command() -> None:
    """Connect other programs with what is behind the gateway."""


@command.command("ssh")
@click.option("--cluster", help="The cluster; only that of the login so far.")
@click.argument("target", metavar="[LOGIN@]HOST[:PORT]")
@with_call
def ssh(call: Call, cluster: str | None, target: str) -> None:
    """Connect stdin and stdout with a node's sshd: the ProxyCommand of `tgsh config`."""
    from tlsgate.cli.tgsh.dialssh import Asked, run

    if call.identity is not None:
        raise BadAsk("`tgsh proxy ssh` takes a login, no identity file")
    asked = Asked()
    asked.folder = str(call.profiles().folder)
    asked.proxy, asked.cluster, asked.target = call.proxy, cluster, target
    click.get_current_context().exit(run(asked))
