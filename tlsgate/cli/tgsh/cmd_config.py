"""`tgsh config`: the block for ~/.ssh/config that works in the mode of the moment."""

from __future__ import annotations

import os
from pathlib import Path

import click

from tlsgate.cli.files import read_some
from tlsgate.cli.tgsh.call import Call, with_call
from tlsgate.cli.tgsh.nodes import place_for, way_for
from tlsgate.cli.tgsh.sshconf import block, placed
from tlsgate.errors import BadAsk

#: No file of that kind comes near it.
_LIMIT_BYTES = 4 << 20


@click.command("config")
@click.option("--file", type=click.Path(path_type=Path), help="Put it into FILE instead.")
@with_call
def command(call: Call, file: Path | None) -> None:
    """Print what ssh, scp, sftp, rsync and Ansible need to reach the cluster's nodes.

    `tgsh config >> ~/.ssh/config` once; later `tgsh config --file ~/.ssh/config` replaces its
    own lines, which two marks enclose, and keeps everything else.
    """
    place = place_for(call)
    made = block(place, way_for(call, place))
    if file is None:
        click.echo(made, nl=False)
        return
    real = Path(os.path.realpath(file))  # a link stays one
    try:
        there = read_some(real, _LIMIT_BYTES)
        _replace(real, placed(there or "", made, place))
    except OSError as e:
        raise BadAsk(f"{file} cannot be written: {e.strerror}") from e
    except ValueError as e:
        raise BadAsk(f"{file} is no configuration of ssh") from e
    call.show({"file": str(file)}, lambda _: f"{file} is written")


def _replace(file: Path, text: str) -> None:
    """Write *file* as a whole, with the mode that it has."""
    from tlsgate.cli.files import write_private

    try:
        mode = file.stat().st_mode & 0o7777
    except FileNotFoundError:
        mode = 0o600
    write_private(file, text.encode())
    file.chmod(mode)
