"""The advice by which gateways bring agents to another way: who is asked to move, and who waits.

It is one value in the store, which gateways hear of in their watch (`core.moves`); what came of
it they say with their reports of agents. Nothing is kept until somebody gives advice: all
agents move then, in waves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import evolve

from tlsgate.auth.opaque import pack, unpack
from tlsgate.core.keeping import ABSENT, Put
from tlsgate.core.migration import AgentRow
from tlsgate.core.moves import Advice
from tlsgate.errors import BadBytes, Conflict, StoreFailed
from tlsgate.interfaces import IStore

#: Where it is kept.
KEY: Final = "agent_moves"
#: What a watcher hears as the name of it.
NAME: Final = "agent-moves"
#: How far an agent can be; "": its gateway is of an older version and does not say.
STATES: Final = ("moved", "moving", "old", "cannot", "away", "")
#: Rounds against others who advise at the same time.
_TRIES: Final = 8


def advice_in(value: bytes) -> Advice:
    """Read what is kept.

    Raises:
        StoreFailed: it is nothing of the kind.
    """
    try:
        return Advice.read(unpack(KEY, value))
    except BadBytes as error:
        raise StoreFailed(f"what is kept under {KEY} cannot be read: {error}") from error


async def current(store: IStore) -> Advice:
    """The advice in force."""
    item = await store.get(KEY)
    return Advice() if item is None else advice_in(item.value)


async def advise(
    store: IStore,
    *,
    percent: int | None = None,
    labels: Mapping[str, str] | None = None,
    paused: bool = False,
) -> Advice:
    """Give advice; whatever it says, agents that could not move before are asked again.

    Args:
        percent, labels: None: as before.
    """
    for _ in range(_TRIES):
        item = await store.get(KEY)
        before = Advice() if item is None else advice_in(item.value)
        after = evolve(before, paused=paused, number=before.number + 1)
        if percent is not None:
            after = evolve(after, percent=percent)
        if labels is not None:
            after = evolve(after, labels=dict(labels))
        try:
            await store.commit([Put(KEY, pack(after.told()), item.revision if item else ABSENT)])
        except Conflict:
            continue
        return after
    raise Conflict(KEY)


def row_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """An agent's session, from the inventory, with how far it is on its way."""
    row = {key: found[key] for key in _KEYS}
    held = found["gateway"] is not None
    state = found.get("move", "") if held else "away"
    why = found.get("why", "") if held else "no gateway has a tunnel of it"
    return {**row, "should": found.get("should", ""), "state": state, "why": why}


def agent_rows(rows: Iterable[Mapping[str, Any]]) -> list[AgentRow]:
    """The inventory's rows as a migration is judged by; who has no tunnel is none of them.

    A gateway of an older version does not say how far an agent is: it is as if it had not moved.
    """
    return [
        AgentRow(
            name=row["name"],
            gateway=row["gateway"],
            listener=row.get("listener", ""),
            transport=row.get("transport", ""),
            state=row.get("move") or "old",
            why=row.get("why", ""),
        )
        for row in rows
    ]


def counted(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many sessions there are of each state; "unknown" stands for an older gateway's."""
    counts = {state or "unknown": 0 for state in STATES}
    for row in rows:
        counts[row["state"] or "unknown"] += 1
    return counts


_KEYS: Final = (
    *("name", "roles", "version", "hostname", "gateway", "worker"),
    *("listener", "transport", "address", "since", "streams", "last_seen"),
)
