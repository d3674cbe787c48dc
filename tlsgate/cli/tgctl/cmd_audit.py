"""`tgctl audit`: what has happened in the cluster."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator, Mapping
from typing import Any

import click

from tlsgate.cli.credential import instant
from tlsgate.cli.door import Asks
from tlsgate.cli.group import Whole
from tlsgate.cli.options import MOMENT
from tlsgate.cli.show import Column, key, table
from tlsgate.cli.tgctl.call import Call, with_api


@click.group("audit", cls=Whole)
def command() -> None:
    """Read the audit trail."""


#: What has a column of its own, or says nothing to people.
_SHOWN = {"time", "code", "event", "user", "success", "uid", "ei", "cluster_name"}


def _outcome(row: Mapping[str, Any]) -> str:
    if "success" not in row:
        return "-"
    return "yes" if row["success"] else "no"


def _who(row: Mapping[str, Any]) -> str:
    """Whose doing it was: what connections do says so in another word."""
    return str(row.get("user") or row.get("identity") or "-")


def _more(row: Mapping[str, Any]) -> str:
    left = {k: v for k, v in row.items() if k not in _SHOWN}
    if left.get("identity") == _who(row):
        del left["identity"]
    if isinstance(left.get("expires"), int | float):
        left["expires"] = instant(left["expires"])
    return " ".join(f"{k}={v}" for k, v in left.items()) or "-"


COLUMNS = (
    Column("TIME", key("time")),
    Column("CODE", key("code")),
    Column("EVENT", key("event")),
    Column("USER", _who),
    Column("OK", _outcome),
    Column("MORE", _more),
)


@command.command("ls")
@click.option("--since", type=MOMENT, default="1h", show_default=True, help="1h (ago), or a date.")
@click.option("--until", type=MOMENT, help="The same, for the end.")
@click.option("--event", help="Only events of this name: user.login.")
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=1000, show_default=True, help="At most."
)
@with_api
def ls(call: Call, since: Any, until: Any, event: str | None, limit: int) -> None:
    """List events, the oldest first."""
    query = {
        name: f"{_epoch(when):.3f}"
        for name, when in (("since", since), ("until", until))
        if when is not None
    }
    if event:
        query["event"] = event
    rows = list(_pages(call.api(), query, limit))
    call.show(rows, lambda _: table(COLUMNS, rows) if rows else "no event")
    if len(rows) == limit:
        click.echo(f"tgctl: there may be more than --limit={limit} events", err=True)


def _epoch(when: Any) -> float:
    if isinstance(when, datetime.timedelta):
        return time.time() - when.total_seconds()
    return float(when)


def _pages(api: Asks, query: dict[str, str], limit: int) -> Iterator[dict[str, Any]]:
    after = ""
    left = limit
    while left > 0:
        asked = {**query, "limit": str(min(left, 1000)), **({"after": after} if after else {})}
        page = api.ask("GET", "/v1/audit", asked, seconds=60.0)
        yield from page["events"][:left]
        left -= len(page["events"])
        following = page.get("next")
        if not following or following == after:
            return
        after = following
