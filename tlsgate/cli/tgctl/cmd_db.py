"""`tgctl db`: the databases that agents offer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from tlsgate.cli.group import Whole
from tlsgate.cli.options import LABELS
from tlsgate.cli.show import Column, key, table
from tlsgate.cli.tgctl.call import Call, with_api


@click.group("db", cls=Whole)
def command() -> None:
    """List the databases that agents offer."""


def pairs(labels: Mapping[str, str]) -> str:
    """Labels as the command line takes them."""
    return ",".join(f"{name}={value}" for name, value in labels.items())


def offered(call: Call, path: str, labels: Mapping[str, str], search: str) -> list[dict[str, Any]]:
    """What the API lists at *path*: all, or what has these labels and words."""
    query = {"labels": pairs(labels), "search": search}
    query = {name: word for name, word in query.items() if word}
    found: list[dict[str, Any]] = call.api().ask("GET", path, query)["items"]
    return found


def _labels(row: Mapping[str, Any]) -> str:
    return pairs(row["labels"]) or "-"


def _addresses(row: Mapping[str, Any]) -> str:
    return ", ".join(row["addresses"]) or "-"


COLUMNS = (
    Column("DATABASE", key("name")),
    Column("PROTOCOL", key("protocol")),
    Column("ADDRESS", _addresses),
    Column("LABELS", _labels),
    Column("AGENT", key("agent")),
    Column("DESCRIPTION", lambda row: row.get("description") or "-"),
)


@command.command("ls")
@click.argument("labels", type=LABELS, default="", metavar="[LABEL=VALUE,...]")
@click.option("--search", default="", help="In names, hostnames and labels, of any case.")
@with_api
def ls(call: Call, labels: dict[str, str], search: str) -> None:
    """List the databases that were heard in the last two minutes: all, or those with labels."""
    rows = offered(call, "/v1/databases", labels, search)
    call.show(rows, lambda _: table(COLUMNS, rows) if rows else "no database")
