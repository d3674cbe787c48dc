"""`tgctl upgrade`: hand the listeners to a new process of the installed code."""

from __future__ import annotations

from typing import Any

import click

from tlsgate.cli.show import plain
from tlsgate.cli.tgctl.call import Call, with_call

#: The new process imports, loads and opens everything before it says that it is ready.
SECONDS = 120.0


@click.command("upgrade")
@with_call
def command(call: Call) -> None:
    """Hand over to a new process of the installed code.

    No connection is lost: the old process serves its own to their end. When the new one
    fails, the old one goes on as if nothing had happened.
    """
    call.show(call.door().ask("POST", "/v1/upgrade", seconds=SECONDS), _text)


def _text(done: dict[str, Any]) -> str:
    return plain(f"process {done.get('pid')} of version {done.get('version')} has taken over")
