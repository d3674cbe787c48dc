"""`tgsh ls`: the nodes that the user's roles open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from tlsgate.cli.show import Column, key, plain, table
from tlsgate.cli.tgsh.call import Call, with_call_and
from tlsgate.cli.tgsh.nodes import nodes


@click.command("ls")
@click.argument("labels", nargs=-1)
@click.option("--search", default="", help="Only those whose name, host name or labels have it.")
@click.option("-v", "--verbose", is_flag=True, help="Host names and logins as well.")
@with_call_and("names")
def command(
    call: Call, labels: tuple[str, ...], search: str, verbose: bool, out_format: str | None
) -> None:
    """List the nodes that you may reach; LABELS such as env=prod narrow it down.

    --format=names prints a name a line, for loops of a shell.
    """
    found = nodes(call.api(), labels, search)
    if out_format is not None:
        for node in found:
            click.echo(plain(str(node["name"])))
        return
    call.show({"nodes": found}, lambda _: table(_COLUMNS + (_MORE if verbose else ()), found))


def _labels(node: Mapping[str, Any]) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted(node["labels"].items())) or "-"


def _words(name: str) -> Any:
    return lambda node: ",".join(node[name]) or "-"


_COLUMNS = (
    Column("Node Name", key("name")),
    Column("Address", _words("addresses")),
    Column("Labels", _labels),
)
_MORE = (Column("Hostname", key("hostname")), Column("Logins", _words("logins")))
