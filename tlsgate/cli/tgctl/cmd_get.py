"""`tgctl get`: resources as they are kept, ready for `tgctl create`."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from typing import Any

import click

from tlsgate.cli.show import Column, table
from tlsgate.cli.tgctl import resources
from tlsgate.cli.tgctl.call import Call, with_api
from tlsgate.errors import DaemonSaid

COLUMNS = (
    Column("KIND", lambda row: row.get("kind")),
    Column("NAME", resources.name_of),
    Column("REVISION", lambda row: row.get("metadata", {}).get("revision", "-"), right=True),
    Column("LABELS", lambda row: _labels(row) or "-"),
)


def _labels(row: Any) -> str:
    return ", ".join(f"{k}={v}" for k, v in row.get("metadata", {}).get("labels", {}).items())


@click.command("get")
@click.argument("what", metavar="KIND[/NAME][,...]")
@with_api
def command(call: Call, what: str) -> None:
    """Print resources as YAML; `all` is every kind.

    KIND is user, role, token, lock, node, cluster_networking_config (networking),
    cluster_auth_preference (cap) or cert_authority; secrets are in none of them.
    Nodes are not among `all`: they come by themselves.
    """
    api = call.api()
    wanted = [resources.parse(one) for one in what.split(",")]
    found: Iterator[dict[str, Any]]
    if wanted == [("all", None)]:
        found = itertools.chain.from_iterable(_readable(api, kind) for kind in resources.ALL)
    else:
        found = itertools.chain.from_iterable(
            resources.fetch(api, kind, name) for kind, name in wanted
        )
    how = call.format if call.format_written else "yaml"
    if how == "text":
        rows = list(found)
        click.echo(table(COLUMNS, rows) if rows else "nothing")
    elif how == "json":
        _write_json(found)
    else:
        _write_yaml(found)


def _readable(api: Any, kind: str) -> Iterator[dict[str, Any]]:
    """All of *kind*, or none where the roles do not show it."""
    try:
        yield from resources.fetch(api, kind)
    except DaemonSaid as e:
        if e.word != "access_denied":
            raise
        click.echo(f"tgctl: left out: {e}", err=True)


def _write_json(found: Iterator[dict[str, Any]]) -> None:
    """Write an array, one resource after the other: a page is in memory, not all of them."""
    out = sys.stdout
    began = False
    for one in found:
        out.write(",\n" if began else "[\n")
        out.write(json.dumps(one, indent=2))
        began = True
    out.write("\n]\n" if began else "[]\n")
    out.flush()


def _write_yaml(found: Iterator[dict[str, Any]]) -> None:
    from tlsgate.cli.yamltext import to_yaml

    out = sys.stdout
    for number, one in enumerate(found):
        out.write(("---\n" if number else "") + to_yaml(one))
    out.flush()
