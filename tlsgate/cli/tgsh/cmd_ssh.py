"""`tgsh ssh`: the system's ssh with everything set; its exit code is ours."""

from __future__ import annotations

import click

from tlsgate.cli.tgsh.call import Call, with_call
from tlsgate.cli.tgsh.nodes import node_name
from tlsgate.cli.tgsh.sshconf import options
from tlsgate.cli.tgsh.unpacked import place_with_files
from tlsgate.cli.tgsh.wrapped import given, passed_on
from tlsgate.errors import BadAsk

#: Options of ssh's that are passed on: with a value, and without.
_VALUES = {
    "-L": "Forward a port of this machine: [ADDRESS:]PORT:HOST:PORT.",
    "-R": "Forward a port of the node.",
    "-D": "Be a SOCKS proxy on this port.",
    "-o": "An option of ssh's own: NAME=VALUE; it wins over ours.",
    "-p": "The port, where it is not 22.",
    "-l": "The login, where it does not stand before the host.",
}
_FLAGS = {
    "-N": "Run no command: only forward.",
    "-t": "With a terminal; twice: whatever stdin is.",
    "-T": "Without a terminal.",
    "-A": "Forward ssh-agent.",
    "-X": "Forward X11.",
    "-Y": "Forward X11, trusted.",
    "-C": "Compress.",
    "-f": "Go to the background before the command.",
    "-n": "Read nothing from stdin.",
    "-q": "Quiet.",
    "-v": "Have ssh say what it does.",
    "-4": "IPv4 only.",
    "-6": "IPv6 only.",
}


@click.command("ssh", context_settings={"allow_interspersed_args": False})
@click.option("--cluster", help="The cluster; only that of the login so far.")
@passed_on(_VALUES, _FLAGS)
@click.argument("target", metavar="[LOGIN@]HOST")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND]...")
@with_call
def command(
    call: Call, cluster: str | None, target: str, words: tuple[str, ...], **signs: object
) -> None:
    """Run ssh to a node: by its name, or by labels (root@env=prod) that only it has.

    The exit code is that of ssh: of the remote command, or 255.
    """
    login, at, host = target.rpartition("@")
    if not host or login.startswith("-"):
        raise BadAsk(f"{target!r} is no [LOGIN@]HOST")
    chosen = given(signs, _VALUES, _FLAGS)
    with place_with_files(call, cluster) as place:
        name = node_name(call, host, place)
        call.run("ssh", [*chosen, *options(place), "--", f"{login}{at}{name}", *words])
