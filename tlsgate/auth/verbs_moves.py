"""How far agents are on their way to where they should be, and who advises them."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field

from tlsgate.auth import moves
from tlsgate.auth.agentbodies import Value, Word
from tlsgate.auth.bodies import Body
from tlsgate.auth.calls import Call, Verb
from tlsgate.auth.networking import NETWORKING
from tlsgate.auth.verbs_agents import inventory_rows
from tlsgate.core.moves import Advice


class MovesBody(Body):
    """Which agents move now."""

    percent: Annotated[int, Field(ge=0, le=100)] | None = Field(
        None, description="of the agents, by their names; null: as before"
    )
    labels: Annotated[dict[Word, Value], Field(max_length=64)] | None = Field(
        None, description="an agent with an offer that has all of these; null: as before"
    )
    paused: bool = Field(False, description="nobody is asked to move until it is said again")


async def rows_of(call: Call) -> list[dict[str, Any]]:
    """Each agent's tunnels, with how far they are on their way, by name."""
    return [moves.row_of(one) for one in await inventory_rows(call)]


async def _show(call: Call) -> Any:
    call.rights.require(NETWORKING, "read", "readnosecrets", "list")
    call.rights.require("node", "list")
    rows = await rows_of(call)
    advice = await moves.current(call.parts.store)
    return {"advice": advice.told(), "counts": moves.counted(rows), "agents": rows}


async def _advise(call: Call) -> Any:
    call.rights.require(NETWORKING, "update")
    body: MovesBody = call.body
    given: Advice = await moves.advise(
        call.parts.store, percent=body.percent, labels=body.labels, paused=body.paused
    )
    labels = ",".join(f"{key}={value}" for key, value in sorted(given.labels.items()))
    call.emit("migration.agents", percent=given.percent, labels=labels, paused=given.paused)
    return given.told()


VERBS: Final = (
    Verb(
        name="migration.agents",
        method="GET",
        path="/v1/migration/agents",
        who="user",
        summary="List agents with the listener that each came by, and where it should be.",
        answer=_show,
        reply="MovingAgents",
    ),
    Verb(
        name="migration.advise",
        method="POST",
        path="/v1/migration/agents",
        who="user",
        summary="Say which agents move to the listener where they should be, or that none does.",
        answer=_advise,
        reply="MovesGiven",
        changes=True,
        body=MovesBody,
    ),
)
