"""Roles: who may do what to which resource, and reach which target as whom.

1. A `Person` has roles by name, and traits. Of the roles that a caller has, only those that
   the person holds count; a name without a role gives nothing.
2. Deny is asked first. One condition of one `deny` that holds is enough: labels alone deny
   every login, a login alone denies it everywhere.
3. Then one role has to allow everything at once: the labels, and the login (or the database
   user and name) where one is asked. Two roles never add up to one permission.
4. Nothing else is allowed.

No order matters (S54): every condition that decides is looked for, and the one that is named
is the least by its text. Rules follow https://goteleport.com/docs/reference/access-controls/roles/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, assert_never

from attrs import evolve, frozen

from tlsgate.core import labels, templates
from tlsgate.core.access import Decision
from tlsgate.core.labels import EVERYTHING, Selector
from tlsgate.core.rolespec import parse_role
from tlsgate.core.rolevalues import (
    LEAST_SESSION_SECONDS,
    MAX_SESSION_SECONDS,
    VERBS,
    Conditions,
    Options,
    Person,
    Role,
    Rule,
    Side,
    Target,
    TargetKind,
    is_login,
)

__all__ = [
    "LEAST_SESSION_SECONDS",
    "MAX_SESSION_SECONDS",
    "VERBS",
    "Conditions",
    "Options",
    "Part",
    "Person",
    "Role",
    "Rule",
    "Side",
    "Target",
    "TargetKind",
    "allowed_logins",
    "audits_queries",
    "decide_target",
    "decide_verb",
    "effective",
    "granted",
    "held",
    "is_login",
    "parse_role",
    "target_parts",
    "unreadable",
    "verb_part",
]


@frozen
class Part:
    """One condition of one role, held against one question.

    Attributes:
        path: where it stands: "allow.node_labels".
        rule: what of it counted: "env=prod"; where it does not hold, why not.
    """

    role: str
    path: str
    rule: str
    holds: bool

    def __str__(self) -> str:
        return f"{self.path} {self.rule}"


def held(roles: Iterable[Role], person: Person) -> list[Role]:
    """Those of *roles* that *person* holds, by name."""
    names = frozenset(person.roles)
    return sorted((role for role in roles if role.name in names), key=_name)


def decide_verb(roles: Sequence[Role], person: Person, kind: str, verb: str) -> Decision:
    """Whether *person* may *verb* resources of *kind*.

    Args:
        roles: those of the person, or more: only what the person holds counts.
    """
    mine = held(roles, person)
    return _decide(
        ([verb_part(role, "deny", kind, verb)] for role in mine),
        ([verb_part(role, "allow", kind, verb)] for role in mine),
        lambda: f"no role of {person.name} allows {verb} on {kind} ({_names(mine)})",
    )


def decide_target(roles: Sequence[Role], person: Person, target: Target) -> Decision:
    """Whether *person* may reach *target*, as whom it says.

    Args:
        roles: those of the person, or more: only what the person holds counts.
    """
    mine = held(roles, person)
    return _decide(
        (target_parts(role, "deny", person, target) for role in mine),
        (target_parts(role, "allow", person, target) for role in mine),
        lambda: _nobody_allows(mine, person, target),
    )


def effective(roles: Sequence[Role]) -> Options:
    """The strictest of what *roles* say; without roles, the defaults.

    Of `port_forwarding` and `forward_agent` a role that does not speak has no opinion; when
    none speaks, ports may be forwarded and the agent may not.
    """
    options = [role.options for role in roles]
    idle = [one.client_idle_seconds for one in options if one.client_idle_seconds is not None]
    return Options(
        max_session_seconds=min(
            (one.max_session_seconds for one in options), default=MAX_SESSION_SECONDS
        ),
        client_idle_seconds=min(idle, default=None),
        disconnect_expired_cert=any(one.disconnect_expired_cert for one in options),
        pin_source_ip=any(one.pin_source_ip for one in options),
        port_forwarding=_all([one.port_forwarding for one in options], True),
        forward_agent=_all([one.forward_agent for one in options], False),
        strict_locks=any(one.strict_locks for one in options),
        audit_queries=any(one.audit_queries for one in options),
    )


def audits_queries(roles: Sequence[Role], person: Person, target: Target) -> bool:
    """Whether one of the roles of *person* that allow the database *target* audits it.

    By the labels alone: as which user of the database somebody comes changes nothing.
    """
    return target.kind == "db" and any(
        role.options.audit_queries
        and labels.met(role.allow.db_labels, target.labels, person.traits) is not None
        for role in held(roles, person)
    )


def allowed_logins(
    roles: Sequence[Role], person: Person, target: Target | None = None
) -> tuple[str, ...]:
    """The logins of *person*, sorted: anywhere, or on the node *target*."""
    logins = granted(roles, person, "logins")
    if target is not None:
        logins = tuple(
            login
            for login in logins
            if decide_target(roles, person, evolve(target, login=login)).allowed
        )
    return logins


def granted(
    roles: Sequence[Role],
    person: Person,
    what: Literal["logins", "db_users", "db_names", "kubernetes_users", "kubernetes_groups"],
) -> tuple[str, ...]:
    """All that allow gives *person* of *what* and no deny takes, sorted; patterns stay such."""
    mine = held(roles, person)
    given = {
        value
        for role in mine
        for word in getattr(role.allow, what)
        for value in templates.expand(word, person.traits)
    }
    denied = [word for role in mine for word in getattr(role.deny, what)]
    return tuple(
        value
        for value in sorted(given)
        if labels.fitting(denied, value, person.traits) is None
        and (what != "logins" or is_login(value))
    )


def unreadable(name: str) -> Role:
    """What stands for a role that cannot be read: whoever holds it may do nothing."""
    return Role(
        name=name,
        deny=Conditions(
            node_labels=EVERYTHING,
            db_labels=EVERYTHING,
            app_labels=EVERYTHING,
            kubernetes_labels=EVERYTHING,
            logins=("*",),
            rules=(Rule(("*",), ("*",)),),
        ),
    )


# -- one role against one question ---------------------------------------------------


def verb_part(role: Role, side: Side, kind: str, verb: str) -> Part:
    """The least rule of that side that speaks of *verb* on *kind*."""
    conditions = role.allow if side == "allow" else role.deny
    #: Who may read may read without secrets; who may not read without may not read.
    near = {"readnosecrets": "read"} if side == "allow" else {"read": "readnosecrets"}
    verbs = {verb, "*", near.get(verb, verb)}
    found = [
        f"{resource}: {one}"
        for rule in conditions.rules
        for resource in rule.resources
        if resource in (kind, "*")
        for one in rule.verbs
        if one in verbs
    ]
    path = f"{side}.rules"
    if found:
        return Part(role.name, path, min(found), True)
    return Part(role.name, path, f"has nothing on {kind}: {verb}", False)


def target_parts(
    role: Role, side: Side, person: Person, target: Target, *, why: bool = False
) -> list[Part]:
    """Every condition of that side which *target* asks for, the labels first.

    Args:
        why: say of labels that do not hold what is missing, which takes longer.
    """
    conditions = role.allow if side == "allow" else role.deny
    match target.kind:
        case "node":
            selectors, asked = "node_labels", [("logins", target.login)]
        case "db":
            selectors = "db_labels"
            asked = [("db_users", target.db_user), ("db_names", target.db_name)]
        case "app":
            selectors, asked = "app_labels", []
        case "kube":
            selectors = "kubernetes_labels"
            asked = [("kubernetes_users", target.kube_user)]
            asked += [("kubernetes_groups", group) for group in sorted(target.kube_groups)]
        case _:
            assert_never(target.kind)
    selector: Selector = getattr(conditions, selectors)
    rule = labels.met(selector, target.labels, person.traits)
    missed = labels.missed(selector, target.labels, person.traits) if why and not rule else ""
    parts = [Part(role.name, f"{side}.{selectors}", rule or missed, rule is not None)]
    for what, value in asked:
        if value is not None:
            parts.append(_word_part(role.name, side, what, conditions, person, value))
    return parts


def _word_part(
    role: str, side: Side, what: str, conditions: Conditions, person: Person, value: str
) -> Part:
    word = labels.fitting(getattr(conditions, what), value, person.traits)
    if word is None or (side == "allow" and what == "logins" and not is_login(value)):
        return Part(role, f"{side}.{what}", f"has no {value!a}", False)
    rule = value if word == value else f"{value!a} by {word}"
    return Part(role, f"{side}.{what}", rule, True)


# -- all roles together ----------------------------------------------------------------


def _decide(
    denials: Iterable[list[Part]],
    permissions: Iterable[list[Part]],
    otherwise: Callable[[], str],
) -> Decision:
    """Deny for any part that holds; allow for a role all of whose parts hold."""
    denied = [f"role {part.role}: {part}" for parts in denials for part in parts if part.holds]
    if denied:
        return Decision(False, min(denied))
    allowed = [
        f"role {parts[0].role}: {', '.join(map(str, parts))}"
        for parts in permissions
        if all(part.holds for part in parts)
    ]
    if allowed:
        return Decision(True, min(allowed))
    return Decision(False, otherwise())


def _nobody_allows(mine: Sequence[Role], person: Person, target: Target) -> str:
    """Say what is missing: the role that came nearest, or that none is for this target."""
    near = []
    for role in mine:
        first, *rest = target_parts(role, "allow", person, target)
        if first.holds:
            missing = [part for part in rest if not part.holds]
            near.append((len(missing), f"role {role.name}: {first}, but {missing[0]}"))
    if near:
        return f"no role of {person.name} allows it as asked: {min(near)[1]}"
    return f"no role of {person.name} allows {target.kind} {target.name!a} ({_names(mine)})"


def _names(mine: Sequence[Role]) -> str:
    return ", ".join(role.name for role in mine) or "there are no roles"


def _name(role: Role) -> str:
    return role.name


def _all(words: Sequence[bool | None], silent: bool) -> bool:
    """Whether all that speak say yes; *silent* when none speaks."""
    spoken = [word for word in words if word is not None]
    return all(spoken) if spoken else silent
