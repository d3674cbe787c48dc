"""A gateway's counters as JSON types, and those of several workers as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tlsgate.net.tally import Tally


def fields(tally: Tally) -> dict[str, Any]:
    """*tally* in JSON types."""
    return {
        "accepted": dict(tally.accepted),
        "active": dict(tally.active),
        "refused": [[*key, count] for key, count in tally.refused.items()],
        "handshakes": [[*key, count] for key, count in tally.handshakes.items()],
        "uses": [[*key, *count] for key, count in tally.uses.items()],
        "carried": [[*key, *count] for key, count in tally.carried.items()],
        "handshake_seconds": list(tally.handshake_seconds),
        "handshake_seconds_sum": tally.handshake_seconds_sum,
    }


def merged(several: Iterable[Mapping[str, Any]]) -> Tally:
    """One tally of what *several* `fields` say."""
    total = Tally()
    for one in several:
        for listener, count in one["accepted"].items():
            total.accepted[listener] += count
        for listener, count in one["active"].items():
            total.active[listener] += count
        for listener, reason, count in one["refused"]:
            total.refused[listener, reason] += count
        for listener, outcome, count in one["handshakes"]:
            total.handshakes[listener, outcome] += count
        for listener, transport, count, now in one["uses"]:
            uses = total.uses[listener, transport]
            uses[0] += count
            uses[1] += now
        for route, listener, to_target, to_client in one["carried"]:
            carried = total.carried[route, listener]
            carried[0] += to_target
            carried[1] += to_client
        for place, count in enumerate(one["handshake_seconds"]):
            total.handshake_seconds[place] += count
        total.handshake_seconds_sum += one["handshake_seconds_sum"]
    return total


def ended(one: Mapping[str, Any]) -> dict[str, Any]:
    """`fields` of a process that is gone: what it has counted, with nobody connected."""
    uses = [[*use[:-1], 0] for use in one["uses"]]
    return {**one, "active": dict.fromkeys(one["active"], 0), "uses": uses}
