"""`tgctl backup`: a copy of the cluster's state, made while it runs."""

from __future__ import annotations

from pathlib import Path

import click

from tlsgate.cli.show import amount, plain
from tlsgate.cli.tgctl.call import Call, with_call

#: Large stores take their time.
SECONDS = 600.0


@click.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@with_call
def command(call: Call, file: Path) -> None:
    """Copy the cluster's state to FILE, on the auth host.

    The copy is whole and of one moment. Authorities' keys in it are encrypted: what opens
    them is DATA/auth.key, which belongs somewhere else.
    """
    answer = call.door().ask(
        "POST", "/v1/backup", body={"file": str(file.absolute())}, seconds=SECONDS
    )
    size = amount(float(answer["bytes"]))
    said = f"{answer['file']}: {size}, revision {answer['revision']}"
    call.show(answer, lambda _: plain(said))
