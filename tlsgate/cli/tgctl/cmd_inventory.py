"""`tgctl inventory`: which agent came to which gateway, and how."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import click

from tlsgate.cli.door import Asks
from tlsgate.cli.group import Whole
from tlsgate.cli.show import Column, key, span, table
from tlsgate.cli.tgctl.call import Call, with_api
from tlsgate.cli.tgctl.resources import PAGE


@click.group("inventory", cls=Whole)
def command() -> None:
    """List agents and their tunnels."""


def _ago(row: Mapping[str, Any]) -> str:
    return f"{span(max(0.0, time.time() - float(row.get('last_seen') or 0.0)))} ago"


def gateway_of(row: Mapping[str, Any]) -> str:
    """Where an agent's tunnel ends."""
    gateway, worker = row.get("gateway"), row.get("worker")
    if not gateway:
        return "no tunnel"
    return f"{gateway}/{worker}" if worker else str(gateway)


COLUMNS = (
    Column("AGENT", key("name")),
    Column("SERVICES", lambda row: ", ".join(row.get("roles", ())) or "-"),
    Column("VERSION", key("version")),
    Column("GATEWAY", gateway_of),
    Column("LISTENER", key("listener")),
    Column("TRANSPORT", key("transport")),
    Column("ADDRESS", key("address")),
    Column("STREAMS", key("streams"), right=True),
    Column("SEEN", _ago),
)


@command.command("ls")
@with_api
def ls(call: Call) -> None:
    """List agents with the gateway, listener and transport that each came by."""
    rows = list(fetch(call.api()))
    call.show(rows, lambda _: table(COLUMNS, rows) if rows else "no agent")


def fetch(api: Asks) -> Iterator[dict[str, Any]]:
    """All agents, page by page."""
    after = ""
    while True:
        query = {"limit": str(PAGE), **({"after": after} if after else {})}
        page = api.ask("GET", "/v1/inventory", query)
        yield from page["items"]
        following = page.get("next")
        if not following or following == after:
            return
        after = following
