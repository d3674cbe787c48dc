"""Whether a reload may close ports now: nobody may be told to use what nobody serves.

The daemon asks before each reload and each upgrade. It knows what the cluster's clients are
told from its crew, and from the auth service where that is in the same process; a gateway
without a cluster tells its clients what its own file says, and closes what it likes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tlsgate.config.settings import Settings
from tlsgate.core.migration import may_reload, mode_in_force

if TYPE_CHECKING:
    from tlsgate.service.auth import AuthService


async def why_not(
    before: Settings,
    after: Settings,
    cluster: Mapping[str, Any] | None,
    auth: AuthService | None,
    now: float,
) -> tuple[str, ...]:
    """Why *after* may not take the place of *before*, a sentence each; (): it may.

    Args:
        cluster: as `ICrew.cluster` gives it.
        auth: of this process.
        now: seconds since the epoch.

    Raises:
        StoreFailed: nobody can know.
    """
    mode = None if cluster is None else cluster.get("mode")
    if cluster is None or mode is None or not before.proxy_enabled:
        return ()
    said = (after.networking or {}).get("proxy_listener_mode")
    next_mode = str(said) if said is not None and after.auth_enabled else mode
    since = cluster.get("mode_since")
    why: tuple[str, ...] = ()
    if auth is not None and auth.api is not None:
        next_mode, since = await auth.next_mode(after), auth.mode_since
        why = await auth.may_follow(after)
    found = may_reload(
        _names(before),
        _names(after),
        mode=mode,
        next_mode=next_mode,
        mode_since=since,
        now=now,
        settle_seconds=after.settle_seconds,
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


def _names(settings: Settings) -> tuple[str, ...]:
    return tuple(listener.name for listener in settings.listeners)
