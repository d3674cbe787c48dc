"""Why a person may or may not reach a target: every rule that was looked at, in order.

The steps are made of the same parts as `core.roles.decide_target` decides over, so the two
cannot come apart.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from tlsgate.core.access import Decision
from tlsgate.core.roles import allowed_logins, audits_queries, decide_target, held, target_parts
from tlsgate.core.rolevalues import Person, Role, Target


@frozen(kw_only=True)
class Step:
    """One thing that was looked at.

    Attributes:
        role: "" where no role is meant: the last step, which says the outcome.
        rule: where the rule stands: "allow.node_labels"; "" for a role as a whole.
        matches: the rule speaks of this target.
        decided: the outcome stands on it.
    """

    role: str
    rule: str
    matches: bool
    decided: bool
    text: str

    def __str__(self) -> str:
        return f"{'* ' if self.decided else '  '}{self.text}"


def explain_target(roles: Sequence[Role], person: Person, target: Target) -> list[Step]:
    """Every step to the decision, the decision itself last.

    Args:
        roles: those of the person, or more: only what the person holds counts.
    """
    decision = decide_target(roles, person, target)
    mine = held(roles, person)
    there = {role.name for role in mine}
    steps = [
        _step(name, "", False, False, "there is no such role; it gives nothing")
        for name in sorted(set(person.roles) - there)
    ]
    for role in mine:
        steps += _denials(role, person, target, decision)
    for role in mine:
        steps += _permissions(role, person, target, decision)
    if target.kind == "node" and target.login is None:
        logins = ", ".join(allowed_logins(roles, person, target)) or "none"
        steps.append(_said(f"logins there: {logins}"))
    if decision.allowed and audits_queries(roles, person, target):
        steps.append(_said("queries there are audited"))
    steps.append(_said(f"{'allowed' if decision.allowed else 'denied'}: {decision.why}"))
    return steps


def _denials(role: Role, person: Person, target: Target, decision: Decision) -> list[Step]:
    """The parts of deny that hold; the others of a role are many, and say nothing."""
    steps = []
    for part in target_parts(role, "deny", person, target):
        if part.holds:
            decided = f"role {role.name}: {part}" == decision.why
            steps.append(_step(role.name, part.path, True, decided, f"{part}: denies"))
    return steps


def _permissions(role: Role, person: Person, target: Target, decision: Decision) -> list[Step]:
    """Each part of allow, and whether it holds."""
    parts = target_parts(role, "allow", person, target, why=True)
    whole = f"role {role.name}: {', '.join(map(str, parts))}"
    decided = decision.allowed and whole == decision.why
    return [
        _step(
            role.name,
            part.path,
            part.holds,
            decided,
            f"{part}: {'matches' if part.holds else 'does not match'}",
        )
        for part in parts
    ]


def _step(role: str, rule: str, matches: bool, decided: bool, text: str) -> Step:
    return Step(role=role, rule=rule, matches=matches, decided=decided, text=f"role {role}: {text}")


def _said(text: str) -> Step:
    return Step(role="", rule="", matches=True, decided=False, text=text)
