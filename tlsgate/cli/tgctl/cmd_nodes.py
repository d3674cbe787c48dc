"""`tgctl nodes`: the hosts whose sshd agents offer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from tlsgate.cli.group import Whole
from tlsgate.cli.options import LABELS
from tlsgate.cli.show import Column, table
from tlsgate.cli.tgctl import resources
from tlsgate.cli.tgctl.call import Call, with_api


@click.group("nodes", cls=Whole)
def command() -> None:
    """List the nodes that agents offer."""


def _spec(name: str) -> Any:
    return lambda row: resources.spec_of(row).get(name) or "-"


def labels_of(row: Mapping[str, Any]) -> Mapping[str, str]:
    """The labels of a node."""
    labels = row.get("metadata", {}).get("labels")
    return labels if isinstance(labels, Mapping) else {}


COLUMNS = (
    Column("NODE", resources.name_of),
    Column("HOSTNAME", _spec("hostname")),
    Column("LABELS", lambda row: ",".join(f"{k}={v}" for k, v in labels_of(row).items()) or "-"),
    Column("ADDRESSES", lambda row: ", ".join(resources.spec_of(row).get("addresses", ())) or "-"),
    Column("VERSION", _spec("version")),
)


@command.command("ls")
@click.argument("labels", type=LABELS, default="", metavar="[LABEL=VALUE,...]")
@with_api
def ls(call: Call, labels: dict[str, str]) -> None:
    """List the nodes that have been heard in the last two minutes: all, or those with labels."""
    rows = [
        row
        for row in resources.fetch(call.api(), "node")
        if labels.items() <= dict(labels_of(row)).items()
    ]
    call.show(rows, lambda _: table(COLUMNS, rows) if rows else "no node")
