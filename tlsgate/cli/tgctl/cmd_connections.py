"""`tgctl connections`: who is connected to what, the oldest first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from tlsgate.cli.show import Column, amount, key, span, table
from tlsgate.cli.tgctl.call import Call, with_call


def _asked(row: Mapping[str, Any]) -> object:
    """What it asked for: what the protocol calls it; else the name, then the token."""
    if target := row.get("target"):
        return target
    return " ".join(str(row[part]) for part in ("sni", "alpn") if row.get(part)) or "-"


COLUMNS = (
    Column("PEER", key("peer")),
    Column("LISTENER", key("listener")),
    Column("ROUTE", key("route", "(opening)")),
    Column("IDENTITY", key("identity")),
    Column("ASKED FOR", _asked),
    Column("TO TARGET", lambda row: amount(row.get("to_target") or 0), right=True),
    Column("TO CLIENT", lambda row: amount(row.get("to_client") or 0), right=True),
    Column("SINCE", lambda row: span(row.get("seconds") or 0), right=True),
)


@click.command("connections")
@click.option("--route", help="Only those of this route.")
@click.option("--identity", help="Only those of this identity.")
@click.option("--listener", help="Only those of this listener.")
@with_call
def command(call: Call, route: str | None, identity: str | None, listener: str | None) -> None:
    """List the open connections, the oldest first."""
    rows: list[dict[str, Any]] = call.door().ask("GET", "/v1/connections")
    wanted = {"route": route, "identity": identity, "listener": listener}
    for name, value in wanted.items():
        if value is not None:
            rows = [row for row in rows if row.get(name) == value]
    rows = sorted(rows, key=lambda row: row.get("seconds") or 0, reverse=True)
    call.show(rows, _text)


def _text(rows: list[dict[str, Any]]) -> str:
    return table(COLUMNS, rows) if rows else "no connection"
