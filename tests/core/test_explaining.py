"""Tests for `tlsgate.core.explaining`."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.core.test_roles import ACCESS, NO_ROOT, NODE, PROD, Cases, person
from tlsgate.core.explaining import Step, explain_target
from tlsgate.core.roles import Options, Target, decide_target

ROLES = (PROD, NO_ROOT, ACCESS)


class ExplainTests(SynchronousTestCase):
    """Tests for `explain_target`."""

    def test_denied(self) -> None:
        """The rule that denied is marked; what would have allowed is shown too."""
        who = person("prod", "no-root", "gone")
        none = "no labels are given, which means none"
        self.assertEqual(
            [str(step) for step in explain_target(ROLES, who, evolve(NODE, login="root"))],
            [
                "  role gone: there is no such role; it gives nothing",
                "* role no-root: deny.logins 'root' by ro*: denies",
                f"  role no-root: allow.node_labels {none}: does not match",
                "  role no-root: allow.logins has no 'root': does not match",
                "  role prod: allow.node_labels env=prod: matches",
                "  role prod: allow.logins root: matches",
                "  denied: role no-root: deny.logins 'root' by ro*",
            ],
        )

    def test_allowed(self) -> None:
        """Every condition of the role that allowed is marked; without a login, all are told."""
        who = person("prod", "access", logins=("alice",))
        self.assertEqual(
            explain_target(ROLES, who, NODE),
            [
                Step(
                    role="access",
                    rule="allow.node_labels",
                    matches=True,
                    decided=True,
                    text="role access: allow.node_labels *=*: matches",
                ),
                Step(
                    role="prod",
                    rule="allow.node_labels",
                    matches=True,
                    decided=False,
                    text="role prod: allow.node_labels env=prod: matches",
                ),
                Step(
                    role="",
                    rule="",
                    matches=True,
                    decided=False,
                    text="logins there: alice, root",
                ),
                Step(
                    role="",
                    rule="",
                    matches=True,
                    decided=False,
                    text="allowed: role access: allow.node_labels *=*",
                ),
            ],
        )

    def test_audited(self) -> None:
        """Where queries are audited, that is told of who may ask any."""
        role = evolve(ACCESS, options=Options(audit_queries=True))
        orders = Target(kind="db", name="orders", labels={"env": "dev"}, db_user="app-x")
        steps = explain_target([role], person("access"), orders)
        self.assertEqual(steps[-2].text, "queries there are audited")
        steps = explain_target([role], person("access"), evolve(orders, db_user="root"))
        self.assertNotIn("audited", steps[-2].text)

    def test_without_roles(self) -> None:
        """Nobody's outcome is told as well."""
        steps = explain_target(ROLES, person(), Target(kind="app", name="wiki"))
        self.assertEqual(
            [step.text for step in steps],
            ["denied: no role of alice allows app 'wiki' (there are no roles)"],
        )
        steps = explain_target(ROLES, person(), NODE)
        self.assertEqual(steps[0].text, "logins there: none")

    def test_agrees(self) -> None:
        """The last step is the decision, and a rule that decided is marked."""
        cases = Cases(3)
        for _ in range(500):
            roles = cases.roles()
            who, target = cases.person(roles), cases.target()
            decision = decide_target(roles, who, target)
            steps = explain_target(roles, who, target)
            word = "allowed" if decision.allowed else "denied"
            self.assertEqual(steps[-1].text, f"{word}: {decision.why}")
            marked = any(step.decided for step in steps)
            self.assertEqual(marked, not decision.why.startswith("no role"))
