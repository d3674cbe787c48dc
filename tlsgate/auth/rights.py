"""What one who asks may do, by the roles that hold now and the locks that are in force."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from tlsgate.auth.parts import Parts
from tlsgate.auth.principal import Principal
from tlsgate.auth.resources import roles_of
from tlsgate.core.access import Decision
from tlsgate.core.roles import Person, Role, decide_verb
from tlsgate.errors import Forbidden, Locked


@frozen(kw_only=True)
class Rights:
    """The roles of one principal, as they are kept at the moment.

    Attributes:
        roles: those that the certificate names and the user still has.
        person: whom the rules are held against; None for hosts and for nobody.
    """

    principal: Principal
    roles: Sequence[Role] = ()
    person: Person | None = None

    def decide(self, kind: str, verb: str) -> Decision:
        """Decide whether *verb* may be done to resources of *kind*."""
        if self.principal.kind == "local":
            return Decision(True, "the admin socket may do everything")
        if self.person is None:
            return Decision(False, "only users have roles")
        return decide_verb(self.roles, self.person, kind, verb)

    def require(self, kind: str, *verbs: str) -> None:
        """Let one pass who may do one of *verbs*.

        Raises:
            Forbidden: none of them.
        """
        decisions = [self.decide(kind, verb) for verb in verbs]
        if not any(decision.allowed for decision in decisions):
            raise Forbidden(str(self.principal), f"{verbs[0]} {kind}", decisions[0].why)


async def rights_of(principal: Principal, parts: Parts) -> Rights:
    """Look up what *principal* may do now.

    A user's certificate counts as far as the user still has what it says: who was removed,
    or lost a role, has lost it here at once. One for a single service, or pinned to an
    address, opens nothing else and from nowhere else (S55).

    Raises:
        Forbidden: the certificate is not good for this.
        Locked: a lock is in force.
    """
    claims = principal.claims
    if claims is None:
        return Rights(principal=principal)
    if claims.cluster != parts.cluster:
        raise Forbidden(str(principal), "ask", "the certificate is of another cluster")
    if claims.pinned_address is not None and claims.pinned_address != principal.address:
        why = f"the certificate is good from {claims.pinned_address} only"
        raise Forbidden(str(principal), "ask", why)
    if principal.not_after is not None and principal.not_after <= parts.now():
        raise Forbidden(str(principal), "ask", "the certificate has ended: log in again")
    lock = parts.locks.matches(claims, serial=principal.serial, fingerprint=principal.fingerprint)
    if lock is not None:
        raise Locked(str(principal), lock.message)
    if claims.kind == "host":
        return Rights(principal=principal)
    if claims.routes.keys() - {"cluster"}:
        raise Forbidden(str(principal), "ask", "the certificate is for one service only")
    person = await parts.users.get(claims.name)
    if person is None:
        raise Forbidden(str(principal), "ask", "there is no such user any more")
    names = tuple(name for name in claims.roles if name in person.roles)
    person = Person(person.name, names, person.traits)
    return Rights(principal=principal, roles=await roles_of(parts.store, names), person=person)
