"""`tgsh scp`: the system's scp with everything set; its exit code is ours."""

from __future__ import annotations

import click

from tlsgate.cli.tgsh.call import Call, with_call
from tlsgate.cli.tgsh.flat import Place
from tlsgate.cli.tgsh.nodes import node_name
from tlsgate.cli.tgsh.sshconf import options
from tlsgate.cli.tgsh.unpacked import place_with_files
from tlsgate.cli.tgsh.wrapped import given, passed_on

#: Options of scp's that are passed on: with a value, and without.
_VALUES = {
    "-P": "The port, where it is not 22.",
    "-o": "An option of ssh's own: NAME=VALUE; it wins over ours.",
    "-l": "At most so many Kbit a second.",
}
_FLAGS = {
    "-r": "Folders with all that is in them.",
    "-p": "Keep times and modes.",
    "-q": "Quiet.",
    "-C": "Compress.",
    "-O": "Speak the old protocol instead of SFTP.",
    "-v": "Have scp say what it does.",
}


@click.command("scp")
@click.option("--cluster", help="The cluster; only that of the login so far.")
@passed_on(_VALUES, _FLAGS)
@click.argument("paths", nargs=-1, required=True, metavar="SOURCE... TARGET")
@with_call
def command(call: Call, cluster: str | None, paths: tuple[str, ...], **signs: object) -> None:
    """Copy files: a remote one is [LOGIN@]HOST:PATH, with a node's name or its labels.

    The exit code is that of scp.
    """
    if len(paths) < 2:
        raise click.UsageError("name what to copy, and where to")
    with place_with_files(call, cluster) as place:
        words = [_path(call, path, place) for path in paths]
        call.run("scp", [*given(signs, _VALUES, _FLAGS), *options(place), "--", *words])


def _path(call: Call, path: str, place: Place) -> str:
    """*path* with the node's whole name, where it is a remote one as scp reads it."""
    host, colon, rest = path.partition(":")
    if not colon or not host or "/" in host:
        return path
    login, at, name = host.rpartition("@")
    return f"{login}{at}{node_name(call, name, place)}:{rest}"
