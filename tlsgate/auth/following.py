"""Who has taken up which step of an authority's rotation, as gateways and agents say.

Kept in memory alone: each says it with its heartbeat or its report, at once when it has
followed something, and each minute. Who has said nothing for `EXPIRE_SECONDS` is gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from attrs import define, field, frozen

#: As long as a gateway's agents are believed to be there (`inventory`).
EXPIRE_SECONDS: Final = 150.0
#: Hosts and workers of such that are remembered; more would be a fault of somebody.
MOST: Final = 50_000

Kind = Literal["gateway", "agent"]


@frozen
class _Said:
    heard: float
    revisions: Mapping[str, int]


@define
class Following:
    """See the module."""

    _said: dict[tuple[Kind, str, str], _Said] = field(factory=dict, init=False)

    def take(
        self,
        kind: Kind,
        name: str,
        revisions: Mapping[str, int],
        now: float,
        *,
        worker: str = "",
    ) -> None:
        """Remember what a host says.

        Args:
            name: of its certificate.
            revisions: by type of authority, what is in force there.
            now: seconds since the epoch.
            worker: which of a gateway's.
        """
        key = (kind, name, worker)
        if key not in self._said and len(self._said) >= MOST:
            self._forget(now)
            if len(self._said) >= MOST:
                return
        self._said[key] = _Said(now, dict(revisions))

    def drop(self, kind: Kind, name: str) -> None:
        """Forget a host that an operator has removed."""
        for key in [key for key in self._said if key[:2] == (kind, name)]:
            del self._said[key]

    def rows(self, authority: str, now: float) -> Iterator[dict[str, Any]]:
        """Each host that is there, and the revision of *authority* that it follows, by name."""
        self._forget(now)
        for (kind, name, worker), said in sorted(self._said.items(), key=lambda one: one[0]):
            yield {
                "kind": kind,
                "name": name,
                "worker": worker,
                "revision": said.revisions.get(authority),
                "last_seen": said.heard,
            }

    def _forget(self, now: float) -> None:
        for key, said in list(self._said.items()):
            if not now - said.heard < EXPIRE_SECONDS:
                del self._said[key]
