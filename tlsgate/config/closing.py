"""Listeners that a file has named once and names no more: closed, and still refusing.

1. A reload that takes a listener away keeps its socket for `refuse_seconds`: clients there are
   told, in the port's own protocol, where to go (`closing`).
2. One that a reload moves to another address refuses at the old one in the same way, under a
   name of its own, and tells of the new one.
3. What the daemon knows of them goes to its workers, and to the process that an upgrade starts,
   in JSON types (`fields`, `closing_of`).

They are no listeners of the configuration: nothing is advertised for them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from ipaddress import ip_network
from typing import Any, Final

from attrs import asdict, evolve

from tlsgate.config.endpoints import bind_of, can_be_inherited
from tlsgate.config.settings import (
    Closing,
    Limits,
    Listener,
    ProxyProtocol,
    Settings,
    Timeouts,
)

#: Protocols whose own port is no separate way to something that the web port serves.
_NEVER = frozenset({None, "auth"})
#: Old addresses of one listener that refuse at the same time.
_MOST_MOVED: Final = 8


def closing(
    before: Sequence[Listener], known: Iterable[Closing], after: Settings, now: float
) -> tuple[Closing, ...]:
    """Which listeners refuse once *after* is in force.

    Args:
        before: the listeners that were served.
        known: what refused before.
        after: the settings that come.
        now: seconds since the epoch.
    """
    served = {one.name: bind_of(one.endpoint) for one in after.listeners}
    binds = [bind_of(one.endpoint) for one in after.listeners]
    if after.diag is not None:
        binds.append(bind_of(after.diag))

    def stays(one: Closing) -> bool:
        free = one.name not in served and bind_of(one.listener.endpoint) not in binds
        return free and min(one.until, one.since + after.refuse_seconds) > now

    until = now + after.refuse_seconds
    fresh = [one for one in before if one.protocol not in _NEVER and can_be_inherited(one.endpoint)]
    names = {one.name for one in fresh}
    found = [one for one in still(known, now) if one.name not in names and stays(one)]
    taken = {one.name for one in found} | names | served.keys()
    for one in fresh:
        bind, moved = bind_of(one.endpoint), ""
        if one.name in served:
            # Port 0 is another one at each opening: nobody would find the old one.
            if bind == served[one.name] or (bind.kind == "tcp" and not bind.port):
                continue
            name = _free(one.name, taken)
            if name is None:
                continue
            taken.add(name)
            one, moved = evolve(one, name=name), one.name
        gone = Closing(listener=one, since=now, until=until, moved=moved)
        found += [gone] if stays(gone) else []
    return tuple(found)


def _free(name: str, taken: Collection[str]) -> str | None:
    """What the old address of a listener is called; None: there are too many."""
    names = [f"{name}-moved", *(f"{name}-moved-{at}" for at in range(2, _MOST_MOVED + 1))]
    return next((one for one in names if one not in taken), None)


def still(known: Iterable[Closing], now: float) -> tuple[Closing, ...]:
    """Those that refuse on.

    One that began later than *now* was there before the clock was set back, and begins anew: else
    it would refuse for as long as that was.
    """
    renewed = (
        one
        if one.since <= now
        else evolve(one, since=now, until=now + max(0.0, one.until - one.since))
        for one in known
    )
    return tuple(one for one in renewed if one.until > now)


def fields(listeners: Iterable[Closing]) -> list[dict[str, Any]]:
    """*listeners* in JSON types."""
    return [
        {
            **asdict(one),
            "listener": {
                **asdict(one.listener),
                "proxy_protocol": {
                    "on": one.listener.proxy_protocol.on,
                    "trusted": list(map(str, one.listener.proxy_protocol.trusted)),
                },
            },
        }
        for one in listeners
    ]


def closing_of(said: Iterable[Mapping[str, Any]]) -> tuple[Closing, ...]:
    """What `fields` was made of."""
    return tuple(
        Closing(
            listener=_listener(one["listener"]),
            since=one["since"],
            until=one["until"],
            moved=one.get("moved", ""),
        )
        for one in said
    )


def _listener(said: Mapping[str, Any]) -> Listener:
    proxy = said["proxy_protocol"]
    return Listener(
        name=said["name"],
        protocol=said["protocol"],
        endpoint=said["endpoint"],
        written=said["written"],
        proxy_protocol=ProxyProtocol(
            on=proxy["on"], trusted=tuple(map(ip_network, proxy["trusted"]))
        ),
        limits=Limits(**said["limits"]),
        timeouts=Timeouts(**said["timeouts"]),
    )
