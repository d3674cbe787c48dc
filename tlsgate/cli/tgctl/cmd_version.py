"""`tgctl version`: what is installed here."""

from __future__ import annotations

import importlib.metadata
import platform

import click

import tlsgate
from tlsgate.cli.show import pairs
from tlsgate.cli.tgctl.call import Call, with_call

#: The distributions whose versions a bug report needs.
PARTS = ("Twisted", "pyOpenSSL", "cryptography")


@click.command("version")
@with_call
def command(call: Call) -> None:
    """Print the versions of tlsgate and of what it stands on."""
    found = {"tlsgate": tlsgate.__version__, "Python": platform.python_version()}
    for part in PARTS:
        found[part] = importlib.metadata.version(part)
    call.show(found, lambda value: pairs(list(value.items())))
