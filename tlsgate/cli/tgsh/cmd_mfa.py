"""`tgsh mfa`: second factors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from tlsgate.cli.credential import moment
from tlsgate.cli.group import Whole
from tlsgate.cli.show import Column, key, table
from tlsgate.cli.tgsh.call import Call, with_call


@click.group("mfa", cls=Whole)
def command() -> None:
    """Look at your second factors."""


def _time(name: str) -> Callable[[Mapping[str, Any]], object]:
    def cell(row: Mapping[str, Any]) -> object:
        value = row.get(name)
        return moment(value) if isinstance(value, int | float) else value or "never"

    return cell


COLUMNS = (
    Column("NAME", key("name")),
    Column("TYPE", key("type")),
    Column("ADDED", _time("added")),
    Column("LAST USED", _time("last_used")),
)


@command.command("ls")
@with_call
def ls(call: Call) -> None:
    """List your second factors."""
    devices = call.api().ask("GET", "/v1/me/mfa")["devices"]
    call.show(devices, _text)


def _text(rows: list[dict[str, Any]]) -> str:
    return table(COLUMNS, rows) if rows else "no second factor"
