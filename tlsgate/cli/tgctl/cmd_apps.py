"""`tgctl apps`: the applications that agents offer."""

from __future__ import annotations

import click

from tlsgate.cli.group import Whole
from tlsgate.cli.options import LABELS
from tlsgate.cli.show import Column, key, table
from tlsgate.cli.tgctl.call import Call, with_api
from tlsgate.cli.tgctl.cmd_db import offered, pairs


@click.group("apps", cls=Whole)
def command() -> None:
    """List the applications that agents offer."""


COLUMNS = (
    Column("APPLICATION", key("name")),
    Column("PROTOCOL", key("protocol")),
    # No browser opens what speaks TCP: its users take `tgsh proxy app`.
    Column("URL", lambda row: (row.get("protocol") != "tcp" and row.get("url")) or "-"),
    Column("TARGET", lambda row: ", ".join(row["addresses"]) or "-"),
    Column("LABELS", lambda row: pairs(row["labels"]) or "-"),
    Column("AGENT", key("agent")),
    Column("DESCRIPTION", lambda row: row.get("description") or "-"),
)


@command.command("ls")
@click.argument("labels", type=LABELS, default="", metavar="[LABEL=VALUE,...]")
@click.option("--search", default="", help="In names, hostnames and labels, of any case.")
@with_api
def ls(call: Call, labels: dict[str, str], search: str) -> None:
    """List the applications that were heard in the last two minutes: all, or those with labels."""
    rows = offered(call, "/v1/apps", labels, search)
    call.show(rows, lambda _: table(COLUMNS, rows) if rows else "no application")
