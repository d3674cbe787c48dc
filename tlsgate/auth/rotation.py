"""How an authority's key is changed: phases, what each one trusts and signs with. Pure.

As Teleport's `auth rotate`: a new key is trusted everywhere before it signs anything, and
the old one signs nothing long before it stops being trusted.

    phase           trusted    user, db, ssh_user, jwt        host, ssh_host sign with
    standby         old        old                            old
    init            old, new   old                            old
    update_clients  old, new   new                            old
    update_servers  old, new   new                            new
    standby         new        new                            new
    rollback        old, new   old                            old    then standby: old

- init: everyone who verifies learns of the new key: gateways and agents by their watch,
  files (`tgctl auth export`) by the operator.
- update_clients: what clients present comes from the new key, as every server knows it by
  now. Clients learn the new host authority when they renew.
- update_servers: what servers present comes from the new key, as every client knows it.
- rollback is open from each of the three: the old key signs again. The new one is trusted
  until standby, for the certificates that it has issued meanwhile.
- standby drops a key, and with it every certificate that it has signed. So it waits until
  the grace period is over, counted from the moment when that key signed last; a grace of 0
  said with the step ends it at once.

A key that has signed nothing, after a rollback from init, is dropped without waiting.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

from attrs import evolve, frozen

from tlsgate.errors import BadAsk

#: 30 h: no user's certificate lives longer unless a role says so.
GRACE_SECONDS: Final = 30 * 3600.0
#: A year; longer is a slip of the pen.
_GRACE_MOST: Final = 366 * 86400.0


class Phase(enum.Enum):
    """Where a rotation stands; also what an operator asks for."""

    STANDBY = "standby"
    INIT = "init"
    UPDATE_CLIENTS = "update_clients"
    UPDATE_SERVERS = "update_servers"
    ROLLBACK = "rollback"


class Keys(enum.Enum):
    """What a step does to the keys of the authority."""

    ADD = "add"  #: make the new one
    KEEP = "keep"  #: both stay
    DROP_OLD = "drop_old"
    DROP_NEW = "drop_new"


#: For every phase, the phases that may follow it and what happens to the keys.
STEPS: Final[Mapping[Phase, Mapping[Phase, Keys]]] = {
    Phase.STANDBY: {Phase.INIT: Keys.ADD},
    Phase.INIT: {Phase.UPDATE_CLIENTS: Keys.KEEP, Phase.ROLLBACK: Keys.KEEP},
    Phase.UPDATE_CLIENTS: {Phase.UPDATE_SERVERS: Keys.KEEP, Phase.ROLLBACK: Keys.KEEP},
    Phase.UPDATE_SERVERS: {Phase.STANDBY: Keys.DROP_OLD, Phase.ROLLBACK: Keys.KEEP},
    Phase.ROLLBACK: {Phase.STANDBY: Keys.DROP_NEW},
}

#: From which phase on the new key signs: what clients present moves first, what servers
#: present once every client knows the key.
_SIGNS_FROM: Final[Mapping[str, tuple[Phase, ...]]] = {
    "user": (Phase.UPDATE_CLIENTS, Phase.UPDATE_SERVERS),
    "db": (Phase.UPDATE_CLIENTS, Phase.UPDATE_SERVERS),
    "ssh_user": (Phase.UPDATE_CLIENTS, Phase.UPDATE_SERVERS),
    "jwt": (Phase.UPDATE_CLIENTS, Phase.UPDATE_SERVERS),
    "host": (Phase.UPDATE_SERVERS,),
    "ssh_host": (Phase.UPDATE_SERVERS,),
}


@frozen(kw_only=True)
class Rotation:
    """Where the rotation of one authority stands.

    Attributes:
        since: when the phase began; seconds since the epoch.
        grace_seconds: see the module.
        signed_until: when the key that will be dropped signed last; None: it never did, or
            it still does.
    """

    phase: Phase = Phase.STANDBY
    since: float = 0.0
    grace_seconds: float = GRACE_SECONDS
    signed_until: float | None = None

    def new_signs(self, kind: str) -> bool:
        """Whether the new key of the authority *kind* ("user", ...) signs in this phase."""
        return self.phase in _SIGNS_FROM[kind]


def step(
    kind: str, now: Rotation, wanted: Phase, at: float, grace_seconds: float | None = None
) -> tuple[Rotation, Keys]:
    """Go to the phase *wanted*.

    Args:
        kind: which authority: "user", "host", "db", "ssh_user", "ssh_host", "jwt".
        now: where it stands.
        at: the time, seconds since the epoch.
        grace_seconds: for this rotation from now on; None: as it was.

    Raises:
        BadAsk: the phase may not follow, or not yet; it says which may, or when.
    """
    follow = STEPS[now.phase]
    if wanted not in follow:
        names = " or ".join(phase.value for phase in follow)
        raise BadAsk(
            f"the {kind} authority is in the phase {now.phase.value}: "
            f"{wanted.value} may not follow, only {names}"
        )
    grace = now.grace_seconds if wanted is not Phase.INIT else GRACE_SECONDS
    if grace_seconds is not None:
        if not 0 <= grace_seconds <= _GRACE_MOST:
            raise BadAsk("a grace period is 0 to 366 days, in seconds")
        grace = grace_seconds
    if wanted is Phase.STANDBY:
        _check_over(kind, now, at, grace)
        return Rotation(phase=wanted, since=at), follow[wanted]
    moved = Rotation(phase=wanted, since=at, grace_seconds=grace, signed_until=now.signed_until)
    if moved.new_signs(kind) != now.new_signs(kind):
        moved = evolve(moved, signed_until=at)
    return moved, follow[wanted]


def _check_over(kind: str, now: Rotation, at: float, grace: float) -> None:
    if now.signed_until is None:
        return
    left = now.signed_until + grace - at
    if left > 0:
        key = "new" if now.phase is Phase.ROLLBACK else "old"
        raise BadAsk(
            f"certificates of the {key} key of the {kind} authority are honoured for another "
            f"{_words(left)}: ask again then, or with a grace period of 0 to end them now"
        )


def _words(seconds: float) -> str:
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    if seconds < 2 * 3600:
        return f"{round(seconds / 60)} min"
    return f"{round(seconds / 3600)} h"
