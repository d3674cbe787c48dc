"""`tgctl migration agents`: where each agent's tunnels are, where they should be, who moves now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from tlsgate.cli.options import LABELS
from tlsgate.cli.show import Column, key, table
from tlsgate.cli.tgctl.call import Call, with_api
from tlsgate.cli.tgctl.cmd_inventory import gateway_of
from tlsgate.errors import BadAsk

_PATH = "/v1/migration/agents"
#: What is not as it should be yet.
_OPEN = ("old", "moving", "unknown")

COLUMNS = (
    Column("AGENT", key("name")),
    Column("SERVICES", lambda row: ", ".join(row.get("roles", ())) or "-"),
    Column("GATEWAY", gateway_of),
    Column("NOW", key("listener")),
    Column("TRANSPORT", key("transport")),
    Column("SHOULD", key("should")),
    Column("STATE", lambda row: row.get("state") or "unknown"),
    Column("WHY", key("why")),
)


@click.command("agents")
@click.option("--percent", type=click.IntRange(0, 100), help="Move so many of the agents.")
@click.option("--labels", type=LABELS, help="Move those alone that have these: a=b,c=d.")
@click.option("--all", "every", is_flag=True, help="Move all, those that could not before too.")
@click.option("--pause", is_flag=True, help="Move nobody until this is said again.")
@with_api
def command(
    call: Call, percent: int | None, labels: dict[str, str] | None, every: bool, pause: bool
) -> None:
    """List agents with the listener that each came by, and where it should be.

    Agents move by themselves when the mode changes: one first, then more, each when those
    before it have a tunnel that works. --percent and --labels hold the others back; an agent
    that cannot move stays where it is, is named, and holds all others back until it can, or
    until one of these options is given again.

    Exit code 0: all are where they should be; 3: one cannot move; 4: some have not yet.
    """
    if every and (percent is not None or labels is not None or pause):
        raise BadAsk("--all is for itself: it moves every agent")
    api = call.api()
    if every:
        percent, labels = 100, {}
    if percent is not None or labels is not None or pause:
        api.ask("POST", _PATH, body={"percent": percent, "labels": labels, "paused": pause})
    told = api.ask("GET", _PATH)
    call.show(told, lambda _: _text(told))
    counts = told["counts"]
    if counts.get("cannot"):
        click.get_current_context().exit(3)
    if any(counts.get(state) for state in _OPEN):
        click.get_current_context().exit(4)


#: As `tgctl migration` has it among its commands.
agents = command


def _text(told: Mapping[str, Any]) -> str:
    rows, counts = told["agents"], told["counts"]
    listed = table(COLUMNS, rows) if rows else "no agent"
    counted = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return "\n\n".join(filter(None, (listed, counted, _advice(told["advice"]))))


def _advice(advice: Mapping[str, Any]) -> str:
    """What is not as it is where nobody has said anything; "": nothing."""
    labels = ",".join(f"{name}={value}" for name, value in advice["labels"].items())
    words = [
        *(
            ["nobody is asked to move (--pause); `tgctl migration agents --all` goes on"]
            if advice["paused"]
            else []
        ),
        *(
            [f"only {advice['percent']} % of the agents are asked"]
            if advice["percent"] != 100
            else []
        ),
        *([f"only agents with {labels} are asked"] if labels else []),
    ]
    return "\n".join(words)
