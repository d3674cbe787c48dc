"""`tgctl listeners`: what is open, and how much goes through it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click

from tlsgate.cli.show import Column, key, table
from tlsgate.cli.tgctl.call import Call, with_call


def _state(row: Mapping[str, Any]) -> object:
    """Whether it serves, or only says where its clients go now, and until when."""
    until = row.get("until")
    if row.get("state") != "refusing" or until is None:
        return row.get("state", "open") if row.get("address") else "closed"
    return f"refusing until {time.strftime('%Y-%m-%d %H:%M', time.localtime(until))}"


def _address(row: Mapping[str, Any]) -> object:
    return row.get("address") or f"closed ({row.get('endpoint')})"


COLUMNS = (
    Column("LISTENER", key("name")),
    Column("PROTOCOL", key("protocol", "all routes")),
    Column("ADDRESS", _address),
    Column("STATE", _state),
    Column("PROXY", lambda row: "on" if row.get("proxy_protocol") else "off"),
    Column("ACTIVE", key("active"), right=True),
    Column("ACCEPTED", key("accepted"), right=True),
    Column("REFUSED", key("refused"), right=True),
)


@click.command("listeners")
@with_call
def command(call: Call) -> None:
    """List the daemon's listeners with their addresses and counts."""
    call.show(call.door().ask("GET", "/v1/listeners"), _text)


def _text(rows: list[dict[str, Any]]) -> str:
    return table(COLUMNS, rows) if rows else "no listener"
