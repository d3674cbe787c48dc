"""`tgctl restore`: put a copy of the cluster's state in the place of what is there."""

from __future__ import annotations

from pathlib import Path

import click

from tlsgate.cli.show import amount, plain
from tlsgate.cli.tgctl.call import Call, with_call


@click.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@with_call
def command(call: Call, file: Path) -> None:
    """Put the copy in FILE in the place of the cluster's state, on the auth host.

    The daemon must not run. What was there is set aside under a name with the time; a damaged
    copy changes nothing. DATA/auth.key has to be the one that the copy was made with.
    """
    from tlsgate.service.restoring import restore

    call.show(restore(call.where(), file.absolute()), _text)


def _text(done: dict[str, object]) -> str:
    size = amount(float(str(done["bytes"])))
    return plain(
        f"{done['file']} is the state of the cluster now: {size}, revision {done['revision']}; "
        "start the daemon"
    )
