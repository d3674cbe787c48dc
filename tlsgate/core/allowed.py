"""Who was let in already: the same question of the same people gets the same answer.

Nothing of a decision but locks depends on the time, and time only ends a lock: what was
allowed stays so until the cluster's state is another one, which forgets all of this. What was
denied is not kept: nobody waits for it, and a lock may have ended.
"""

from __future__ import annotations

from typing import Final

from attrs import evolve

from tlsgate.core.access import Decision, Identity
from tlsgate.core.clusterstate import ClusterState
from tlsgate.core.rolevalues import Target

#: Decisions that are kept; some hundred bytes each beside the identity.
_KEPT: Final = 1024


class Allowed:
    """See the module.

    Args:
        limit: of decisions; one more forgets all.
    """

    def __init__(self, limit: int = _KEPT) -> None:
        self._limit = limit
        self._state: ClusterState | None = None
        #: By an identity's place in memory and by what was asked; the identity is kept, or
        #: another could come to stand in its place.
        self._kept: dict[tuple[object, ...], tuple[Identity, Target, Decision]] = {}

    def decide(
        self,
        state: ClusterState,
        identity: Identity,
        target: Target,
        address: str | None,
        now: float,
    ) -> Decision:
        """Decide as `ClusterState.decide_target` does."""
        if state is not self._state:
            self._state = state
            self._kept.clear()
        # Where a client is counts for those who are pinned to an address.
        pinned = identity.claims is not None and identity.claims.pinned_address is not None
        where = address if pinned else None
        key = id(identity), where, target.kind, target.name, target.login, target.db_user
        known = self._kept.get(key)
        if known is not None and known[0] is identity and known[1] == target:
            return known[2]
        decision = state.decide_target(identity, target, address, now)
        if decision.allowed:
            if len(self._kept) >= self._limit:
                self._kept.clear()
            # Labels may be those of somebody who changes them in place.
            kept = evolve(target, labels=dict(target.labels))
            self._kept[key] = identity, kept, decision
        return decision
