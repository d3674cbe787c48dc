"""`tgctl ledger`: who uses which listener, how, and with which client."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator, Mapping
from typing import Any

import click

from tlsgate.cli.door import Asks
from tlsgate.cli.group import Whole
from tlsgate.cli.options import MOMENT
from tlsgate.cli.show import Column, key, span, table
from tlsgate.cli.tgctl.call import Call, with_api
from tlsgate.cli.tgctl.resources import PAGE
from tlsgate.core.ledger import KINDS, TRANSPORTS


@click.group("ledger", cls=Whole)
def command() -> None:
    """Read who uses which listener."""


def _ago(name: str) -> Any:
    return lambda row: f"{span(max(0.0, time.time() - float(row.get(name) or 0.0)))} ago"


def _version(row: Mapping[str, Any]) -> str:
    return str(row.get("version") or "-")


COLUMNS = (
    Column("LISTENER", key("listener")),
    Column("KIND", key("kind")),
    Column("NAME", key("name")),
    Column("TRANSPORT", key("transport")),
    Column("CLIENT", _version),
    Column("OPEN", key("open"), right=True),
    Column("COUNT", key("count"), right=True),
    Column("FIRST", _ago("first")),
    Column("LAST", _ago("last")),
)


@command.command("ls")
@click.option("--listener", help="Only this one: ssh, tunnel, postgres.")
@click.option("--kind", type=click.Choice(KINDS), help="Only users, agents, or addresses.")
@click.option("--transport", type=click.Choice(TRANSPORTS), help="Only who came this way.")
@click.option("--name", help="Only this user, agent or address.")
@click.option(
    "--since", type=MOMENT, help="Only who was seen since then, or is connected: 1h (ago), a date."
)
@with_api
def ls(
    call: Call,
    listener: str | None,
    kind: str | None,
    transport: str | None,
    name: str | None,
    since: Any,
) -> None:
    """List who uses which listener, those that were seen last first."""
    wanted = {"listener": listener, "kind": kind, "transport": transport, "name": name}
    query = {word: value for word, value in wanted.items() if value}
    if since is not None:
        query["since"] = f"{_epoch(since):.3f}"
    rows = sorted(
        fetch(call.api(), query),
        key=lambda row: (row["listener"], -float(row["last"]), row["kind"], row["name"]),
    )
    call.show(rows, lambda _: table(COLUMNS, rows) if rows else "nobody")


def _epoch(when: Any) -> float:
    if isinstance(when, datetime.timedelta):
        return time.time() - when.total_seconds()
    return float(when)


def fetch(api: Asks, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """All rows that *query* chooses, page by page."""
    after = ""
    while True:
        asked = {**query, "limit": str(PAGE), **({"after": after} if after else {})}
        page = api.ask("GET", "/v1/ledger", asked)
        yield from page["items"]
        following = page.get("next")
        if not following or following == after:
            return
        after = following
