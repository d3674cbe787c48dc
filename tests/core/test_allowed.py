"""Tests for `tlsgate.core.allowed`."""

from __future__ import annotations

from typing import cast

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.access import Decision, Identity
from tlsgate.core.allowed import Allowed
from tlsgate.core.claims import Claims
from tlsgate.core.clusterstate import ClusterState
from tlsgate.core.rolevalues import Target

NODE = Target(kind="node", name="db1", labels={"env": "prod"})


class State:
    """Counts what it is asked."""

    def __init__(self, *, allows: bool = True) -> None:
        self.allows = allows
        self.asked: list[tuple[Identity, Target, str | None, float]] = []

    def decide_target(
        self, identity: Identity, target: Target, address: str | None, now: float
    ) -> Decision:
        """See `ClusterState.decide_target`."""
        self.asked.append((identity, target, address, now))
        return Decision(self.allows, f"answer {len(self.asked)}")


class AllowedTests(SynchronousTestCase):
    """Who was let in, and is asked about again."""

    def setUp(self) -> None:
        self.state = State()
        self.allowed = Allowed()
        self.alice = Identity(common_names=("alice",))

    def decide(
        self,
        target: Target = NODE,
        *,
        identity: Identity | None = None,
        address: str | None = None,
        now: float = 1.0,
    ) -> str:
        """Ask; gives why."""
        state = cast(ClusterState, self.state)
        return self.allowed.decide(state, identity or self.alice, target, address, now).why

    def test_again(self) -> None:
        """The same question, with the same words in other objects, gets the kept answer."""
        self.assertEqual(self.decide(), "answer 1")
        self.assertEqual(self.decide(evolve(NODE, labels={"env": "prod"}), now=2.0), "answer 1")

    def test_others(self) -> None:
        """Whatever is another thing in the question is decided about."""
        for number, again in enumerate(
            (
                lambda: self.decide(),
                lambda: self.decide(evolve(NODE, name="db2")),
                lambda: self.decide(evolve(NODE, labels={"env": "dev"})),
                lambda: self.decide(evolve(NODE, login="root")),
                lambda: self.decide(evolve(NODE, db_user="reader")),
                lambda: self.decide(evolve(NODE, db_name="sales")),
                lambda: self.decide(evolve(NODE, kube_groups=("ops",))),
                lambda: self.decide(identity=Identity(common_names=("alice",))),
            ),
            1,
        ):
            self.assertEqual(again(), f"answer {number}")

    def test_address(self) -> None:
        """Where a client is counts for a certificate that is good from one address only."""
        self.decide(address="192.0.2.1")
        self.assertEqual(self.decide(address="192.0.2.2"), "answer 1")
        claims = Claims(
            kind="user", name="alice", roles=(), traits={}, cluster="root",
            pinned_address="192.0.2.1",
        )  # fmt: skip
        pinned = Identity(common_names=("alice",), claims=claims)
        self.assertEqual(self.decide(identity=pinned, address="192.0.2.1"), "answer 2")
        self.assertEqual(self.decide(identity=pinned, address="192.0.2.1"), "answer 2")
        self.assertEqual(self.decide(identity=pinned, address="192.0.2.2"), "answer 3")

    def test_labels_in_place(self) -> None:
        """Labels that somebody changes in place are others."""
        labels = {"env": "prod"}
        target = evolve(NODE, labels=labels)
        self.decide(target)
        labels["env"] = "dev"
        self.assertEqual(self.decide(target), "answer 2")

    def test_state(self) -> None:
        """Another state forgets what was decided by the one before."""
        self.decide()
        self.state = State()
        self.assertEqual(self.decide(), "answer 1")
        self.assertEqual(len(self.state.asked), 1)

    def test_denied(self) -> None:
        """A denial is not kept: a lock may have ended."""
        self.state.allows = False
        self.assertEqual(self.decide(), "answer 1")
        self.state.allows = True
        self.assertEqual(self.decide(now=9.0), "answer 2")

    def test_limit(self) -> None:
        """No more are kept than there is room for."""
        self.allowed = Allowed(limit=2)
        for name in ("a", "b", "c"):
            self.decide(evolve(NODE, name=name))
        self.assertEqual(self.decide(evolve(NODE, name="c")), "answer 3")
        self.assertEqual(self.decide(evolve(NODE, name="a")), "answer 4")
