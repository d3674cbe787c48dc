"""What somebody may reach, as the auth service knows it: the answers of gateways and agents.

Roles that a certificate names and the user still has allow; any role that the user has now
denies; a narrow certificate is good for its one thing (`ClusterState.decide_target`).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from attrs import evolve, field, frozen

from tlsgate.auth import offered
from tlsgate.auth.offered import KINDS, Kind, Offered
from tlsgate.auth.parts import Parts
from tlsgate.auth.resources import PREFIXES, roles_of, shown
from tlsgate.core.access import Decision, Identity
from tlsgate.core.certroutes import APP, CLUSTER, DB, DB_NAME, DB_USER, is_narrow, misfit
from tlsgate.core.claims import Claims
from tlsgate.core.locks import agent_name
from tlsgate.core.roles import Person, Role, Target, decide_target, granted
from tlsgate.errors import BadAsk, BadCertificate, Forbidden, Locked, NoSuch
from tlsgate.tls.holder import user_of
from tlsgate.tls.peer import load_cas

Inside = Literal["db_users", "db_names"]
_ASKED: Mapping[Inside, str] = {"db_users": "db_user", "db_names": "db_name"}


@frozen(kw_only=True)
class Sight:
    """One person, looking at targets.

    Attributes:
        shown: with the roles that count; None: the admin socket, which sees all and reaches
            nothing.
        person: the same with all roles that the user has now.
        roles: all of those.
        routes: what the certificate is narrowed to.
    """

    parts: Parts = field(repr=False)
    shown: Person | None
    person: Person | None
    roles: Sequence[Role] = ()
    routes: Mapping[str, str] = field(factory=dict)

    def decide(self, target: Target) -> Decision:
        """Decide as a gateway does of which the state is that of now."""
        if self.shown is None or self.person is None:
            return Decision(True, "the admin socket sees everything")
        if (lock := self.parts.locks.matches(self.person)) is not None:
            return Decision(False, f"{lock}: {lock.message}" if lock.message else str(lock))
        if why := misfit(self.routes, target):
            return Decision(False, why)
        decision = decide_target(self.roles, self.shown, target)
        if decision.allowed and self.shown.roles != self.person.roles:
            decision = decide_target(self.roles, self.person, target)
        return decision

    def inside(self, target: Target, what: Inside) -> list[str]:
        """The users or the names of databases that are allowed in *target*; patterns stay so."""
        if self.shown is None or self.person is None:
            return []
        return [
            value
            for value in granted(self.roles, self.shown, what)
            if self._allows(target, _ASKED[what], value)
        ]

    def _allows(self, target: Target, key: str, value: str) -> bool:
        asked: Any = {key: value}
        return self.decide(evolve(target, **asked)).allowed


async def sight_of(parts: Parts, shown: Person | None, claims: Claims | None = None) -> Sight:
    """See as *shown* does.

    Args:
        shown: a user, with the roles that the certificate names and the user still has.
        claims: of the certificate; None: none is looked at.
    """
    if shown is None:
        return Sight(parts=parts, shown=None, person=None)
    person = await parts.users.get(shown.name) or evolve(shown, roles=())
    roles = await roles_of(parts.store, person.roles)
    routes = {} if claims is None else claims.routes
    return Sight(parts=parts, shown=shown, person=person, roles=roles, routes=routes)


def holder_of(parts: Parts, encoded: str) -> Identity:
    """Whose certificate somebody has seen: DER in base64.

    Raises:
        BadAsk: it is no base64.
        Forbidden: it is of nobody here, or not good now.
    """
    try:
        der = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as e:
        raise BadAsk("user_certificate is no base64") from e
    cas = load_cas([pem.decode() for pem in parts.authorities.trusted("user")])
    try:
        return user_of(der, cas, parts.now())
    except BadCertificate as e:
        raise Forbidden("the user", "go there", f"the certificate: {e.why}") from e


async def person_of(parts: Parts, identity: Identity, address: str | None) -> Person:
    """The holder of a certificate, with the roles that it names and the user still has.

    Args:
        address: of the client, for pinned certificates (S55).

    Raises:
        Forbidden: it is good for nothing now, or not from there.
        Locked: a lock is in force.
    """
    claims = identity.claims
    assert claims is not None
    what = "reach anything"
    if claims.cluster != parts.cluster:
        raise Forbidden(claims.name, what, "the certificate is of another cluster")
    lock = parts.locks.matches(claims, serial=identity.serial, fingerprint=identity.fingerprint)
    if lock is not None:
        raise Locked(claims.name, lock.message)
    if claims.pinned_address is not None and claims.pinned_address != address:
        why = f"the certificate is good from {claims.pinned_address} only"
        raise Forbidden(claims.name, what, why)
    person = await parts.users.get(claims.name)
    if person is None:
        raise Forbidden(claims.name, what, "there is no such user any more")
    names = tuple(name for name in claims.roles if name in person.roles)
    return Person(person.name, names, person.traits)


async def check_routes(
    parts: Parts, shown: Person, routes: Mapping[str, str], claims: Claims | None = None
) -> Offered | None:
    """Let the *routes* of a certificate pass that leads where *shown* may go now (S43).

    Gives what they lead to; None where they narrow nothing.

    Args:
        claims: of the certificate that asks; None: none is looked at.

    Raises:
        BadAsk: they are none that a certificate has.
        NoSuch: nobody offers that.
        Forbidden: no role allows it as it is asked.
    """
    if not is_narrow(routes):
        return None
    unknown = sorted(routes.keys() - {DB, DB_USER, DB_NAME, APP, CLUSTER})
    kinds: list[Kind] = [kind for kind in KINDS if kind in routes]
    if unknown or len(kinds) != 1 or (kinds != [DB] and {DB_USER, DB_NAME} & routes.keys()):
        raise BadAsk("routes are db with db_user and db_name, or app; and nothing beside them")
    (kind,) = kinds
    what = {"db": "database", "app": "application"}[kind]
    sight = await sight_of(parts, shown, claims)
    why = None
    async for one in offered.every(parts, kind):
        if one.name == routes[kind] and not is_shut(parts, one.agent, kind):
            target = Target(
                kind=kind,
                name=one.name,
                labels=one.labels,
                db_user=routes.get(DB_USER),
                db_name=routes.get(DB_NAME),
            )
            decision = sight.decide(target)
            if decision.allowed:
                return one
            why = why or decision.why
    if why is None:
        raise NoSuch(what, routes[kind][:64])
    raise Forbidden(shown.name, f"reach the {what} {routes[kind][:64]}", why)


async def known_targets(parts: Parts, target: Target) -> list[Target]:
    """The targets of that kind and name, with the labels that agents say.

    None where no agent offers such a database or application; a node or a Kubernetes cluster
    that is not known stands alone.
    """
    found: list[Mapping[str, str]] = []
    if target.kind == "node":
        item = await parts.store.get(PREFIXES["node"] + target.name)
        found += [] if item is None else [shown(item)["metadata"].get("labels", {})]
    elif target.kind in ("db", "app"):
        async for one in offered.every(parts, target.kind):
            if one.name == target.name and not is_shut(parts, one.agent, one.kind):
                found.append(one.labels)
    known = [evolve(target, labels=labels) for labels in found]
    return known if known or target.kind in ("db", "app") else [target]


def is_shut(parts: Parts, agent: str, kind: str) -> bool:
    """Whether a lock holds on the agent *agent* of that kind."""
    facts = {("agent", agent), ("agent", agent_name(agent, kind, parts.cluster))}
    return parts.locks.table.matches(frozenset(facts), parts.now()) is not None
