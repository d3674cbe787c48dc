"""`tgctl status`: what runs, in a dozen lines."""

from __future__ import annotations

import time
from typing import Any

import click

from tlsgate.cli.show import pairs, span
from tlsgate.cli.tgctl.call import Call, with_call


@click.command("status")
@with_call
def command(call: Call) -> None:
    """Print what the daemon runs and whether it is well."""
    call.show(call.door().ask("GET", "/v1/status"), _text)


def _text(status: dict[str, Any]) -> str:
    shown: list[tuple[str, object]] = [
        (name.replace("_", " "), value)
        for name, value in status.items()
        if name not in ("started", "warnings", "last_reload") and not isinstance(value, dict | list)
    ]
    started = status.get("started")
    if isinstance(started, int | float):
        shown.append(("running", span(max(0.0, time.time() - started))))
    if isinstance(last := status.get("last_reload"), dict):
        ago = span(max(0.0, time.time() - float(last.get("time") or 0)))
        said = "taken" if last.get("ok") else f"refused: {_first(str(last.get('why')))}"
        shown.append(("last reload", f"{ago} ago, {said}"))
    shown += [("warning", warning) for warning in status.get("warnings", ())]
    return pairs([(name, _word(value)) for name, value in shown])


def _first(why: str) -> str:
    """The first of several problems; a whole list belongs to `tgctl check`."""
    first, *rest = why.splitlines() or [""]
    return f"{first} (and {len(rest)} more; see tgctl check)" if rest else first


def _word(value: object) -> object:
    match value:
        case None:
            return "-"
        case True:
            return "yes"
        case False:
            return "no"
        case _:
            return value
