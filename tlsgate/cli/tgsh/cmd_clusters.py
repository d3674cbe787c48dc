"""`tgsh clusters`: the clusters behind the gateway."""

from __future__ import annotations

from typing import Any

import click

from tlsgate.cli.show import Column, key, table
from tlsgate.cli.tgsh.call import Call, with_call
from tlsgate.errors import Unreachable

COLUMNS = (
    Column("CLUSTER", key("name")),
    Column("STATUS", key("status")),
    Column("TYPE", key("type")),
    Column("SELECTED", lambda row: "*" if row.get("selected") else ""),
)


@click.command("clusters")
@with_call
def command(call: Call) -> None:
    """List the cluster that you are logged in to, and whether it answers."""
    name = "" if call.identity is not None else call.logged_in().profile.cluster
    try:
        name = str(call.api().ask("GET", "/v1/me")["cluster"])
        status = "online"
    except Unreachable as e:
        if not name:
            raise
        status = "offline"
        click.echo(f"tgsh: warning: {e}", err=True)
    rows = [{"name": name, "status": status, "type": "root", "selected": True}]
    call.show(rows, _text)


def _text(rows: list[dict[str, Any]]) -> str:
    return table(COLUMNS, rows)
