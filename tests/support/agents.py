"""Agents' tunnels and a cluster as a protocol sees them, without either."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from zope.interface import implementer

from tlsgate.core.access import Decision, Identity
from tlsgate.core.claims import Claims
from tlsgate.core.offers import Asked, Offer
from tlsgate.core.rolevalues import Target
from tlsgate.errors import GateError
from tlsgate.interfaces import IReach

ALICE = Identity(
    common_names=("alice",), claims=Claims(cluster="prod", kind="user", name="alice"), anchor=b"a"
)


@implementer(IReach)
class FakeReach:
    """Begins, and is told by the test what comes of it."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.reached: Callable[[Any], None] | None = None
        self.missed: Callable[[GateError], None] | None = None
        self.cancelled = False

    def start(self, reached: Callable[[Any], None], missed: Callable[[GateError], None]) -> None:
        """See `IReach`."""
        self.reached, self.missed = reached, missed

    def cancel(self) -> None:
        """See `IReach`."""
        self.cancelled = True


class FakeTunnels:
    """The part of `ITunnels` by which clients reach agents; remembers what was asked."""

    def __init__(self, *offers: Offer) -> None:
        self._offers = offers
        self.reaches: list[FakeReach] = []

    def offers(self, kind: str) -> Sequence[Offer]:
        """See `ITunnels`."""
        return [one for one in self._offers if one.kind == kind]

    def offer(self, kind: str, name: str) -> Offer | None:
        """See `ITunnels`."""
        return next((one for one in self.offers(kind) if one.name == name), None)

    def reach(self, asked: Asked) -> FakeReach:
        """See `ITunnels`."""
        self.reaches.append(FakeReach(asked))
        return self.reaches[-1]


class FakeCluster:
    """The part of `ICluster` that decides about targets; remembers who wanted what."""

    name = "prod"
    api = None
    mode = "multiplex"
    ping_seconds = 30.0

    def __init__(self, decision: Decision = Decision(True, "role access")) -> None:  # noqa: B008
        self.decision = decision
        self.asked: list[tuple[Identity, Target, str | None]] = []

    def decide_target(self, identity: Identity, target: Target, address: str | None) -> Decision:
        """See `ICluster`."""
        self.asked.append((identity, target, address))
        return self.decision
