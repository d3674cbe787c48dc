"""Whether a reload may close ports now: nobody may be told to use what nobody serves.

The daemon asks before each reload and each upgrade. It knows what the cluster's clients are
told from its crew, and from its auth service where it has one, in this process or in one of the
crew; a gateway without a cluster tells its clients what its own file says, and closes what it
likes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tlsgate.config.settings import Settings
from tlsgate.core.migration import may_reload, mode_in_force


def why_not(
    before: Settings,
    after: Settings,
    cluster: Mapping[str, Any] | None,
    foreseen: Mapping[str, Any] | None,
) -> tuple[str, ...]:
    """Why *after* may not take the place of *before*, a sentence each; (): it may.

    Args:
        cluster: as `ICrew.cluster` gives it.
        foreseen: by the auth service, as `AuthService.foresee` gives it; None: there is none
            here, or it cannot be asked.
    """
    mode = None if cluster is None else cluster.get("mode")
    if cluster is None or mode is None or not before.proxy_enabled:
        return ()
    said = (after.networking or {}).get("proxy_listener_mode")
    next_mode = str(said) if said is not None and after.auth_enabled else mode
    ages = [cluster.get("mode_age_seconds")]
    why: Sequence[str] = ()
    if foreseen is not None:
        next_mode, why = foreseen["next_mode"], foreseen["why"]
        ages.append(foreseen["mode_age_seconds"])
    age = min((one for one in ages if one is not None), default=None)
    found = may_reload(
        _names(before),
        _names(after),
        mode=mode,
        next_mode=next_mode,
        mode_since=None if age is None else -age,
        now=0.0,
        settle_seconds=after.settle_seconds,
        moved=_moved(before, after),
    )
    return tuple(dict.fromkeys((*found, *why)))


def contradiction(settings: Settings, cluster: Mapping[str, Any] | None) -> str | None:
    """What is wrong between a gateway's file and its cluster's mode, if anything is."""
    mode = None if cluster is None else cluster.get("mode")
    if mode is None or not settings.proxy_enabled:
        return None
    told = mode_in_force(mode, _names(settings))
    if told == mode:
        return None
    return (
        f"the cluster's mode is {mode}, and {settings.file} ({settings.version}) opens no SSH port "
        f"for it: clients of this gateway are told {told}; add proxy_service.listen_addr, or "
        "switch the mode"
    )


def _moved(before: Settings, after: Settings) -> tuple[str, ...]:
    """The ports that open elsewhere, and that clients have been told to find where they were.

    A public address that stays is kept by who stands before the gateway.
    """
    old = {one.name: one.endpoint for one in before.listeners}
    return tuple(
        one.name
        for one in after.listeners
        if old.get(one.name, one.endpoint) != one.endpoint
        and (not _told(after, one.name) or _told(after, one.name) != _told(before, one.name))
    )


def _told(settings: Settings, name: str) -> object:
    return getattr(settings.public, name, ())


def _names(settings: Settings) -> tuple[str, ...]:
    return tuple(listener.name for listener in settings.listeners)
