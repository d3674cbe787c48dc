"""What an agent decides by itself about a request, at first and whenever something changes.

The user's certificate is verified against what this agent's own view knows; the name in it
has to be the one that the gateway says. Locks, roles and labels are held against it here too:
a gateway that was taken opens no door (design section 7). The address comes from the agent's
own offer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import frozen

from tlsgate.core.access import Decision, Identity
from tlsgate.core.addresses import split
from tlsgate.core.certroutes import DB_NAME, DB_USER
from tlsgate.core.dialrules import address_of
from tlsgate.core.offers import Asked, Offer
from tlsgate.core.rolevalues import Target as Wanted
from tlsgate.core.wire.sshcert import parse_line
from tlsgate.errors import BadBytes, BadCertificate, GateError, TargetDenied
from tlsgate.tls.holder import Users


@frozen
class _Details:
    """What a request of one kind says beside the rest."""

    needed: frozenset[str] = frozenset()
    more: frozenset[str] = frozenset()

    @property
    def both(self) -> frozenset[str]:
        """All that is known."""
        return self.needed | self.more


_NO_DETAILS: Final = _Details()
_DETAILS: Final[Mapping[str, _Details]] = {
    "db": _Details(frozenset({DB_USER, DB_NAME}), frozenset({"key", "cancel"}))
}


@frozen(eq=False, kw_only=True)
class Case:
    """One request that was allowed."""

    asked: Asked
    offer: Offer
    identity: Identity
    host: str
    port: int
    decision: Decision


class Judge:
    """Decides about requests.

    Args:
        view: the agent's own `ClusterView`.
        offer: what is offered now of a kind, by name; None: nothing.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        view: Any,
        offer: Callable[[str, str], Offer | None],
        now: Callable[[], float],
    ) -> None:
        self._view = view
        self._offer = offer
        self._now = now
        self._users = Users()

    def case(self, asked: Asked) -> Case:
        """Decide.

        Raises:
            GateError: it is refused; the sentence is for the user.
        """
        offer = self._offer(asked.kind, asked.name)
        where = f"{asked.kind} {asked.name}"
        if offer is None:
            raise TargetDenied(asked.user, where, "the agent does not offer it any more")
        identity = self._identity(asked)
        claims = identity.claims
        if claims is None or claims.kind != "user" or claims.name != asked.user:
            raise TargetDenied(asked.user, where, "the certificate is somebody else's")
        self._check_details(asked)
        decision = self.decide(asked, identity, offer)
        if not decision.allowed:
            raise TargetDenied(asked.user, where, decision.why)
        host, port = address_of(asked, offer)
        return Case(
            asked=asked,
            offer=offer,
            identity=identity,
            host=host,
            port=port,
            decision=decision,
        )

    def stands(self, case: Case) -> str:
        """Why *case* would be refused now; "" where it would not."""
        offer = self._offer(case.asked.kind, case.asked.name)
        if offer is None:
            return "the agent does not offer it any more"
        try:
            address_of(case.asked, offer)
        except GateError as error:
            return str(error)
        decision = self.decide(case.asked, case.identity, offer, again=True)
        return "" if decision.allowed else decision.why

    def decide(
        self, asked: Asked, identity: Identity, offer: Offer, *, again: bool = False
    ) -> Decision:
        """What the agent's own view of the cluster says."""
        if not again and identity.not_after <= self._now():
            return Decision(False, "the certificate has ended; log in again: tgsh login")
        wanted = Wanted(
            kind=offer.kind,
            name=offer.name,
            labels=offer.labels,
            db_user=asked.details.get(DB_USER),
            db_name=asked.details.get(DB_NAME),
        )
        decision: Decision = self._view.decide_target(identity, wanted, _host(asked.client))
        return decision

    def _check_details(self, asked: Asked) -> None:
        """Take no detail for granted that is missing, and none that is not known.

        Roles name the users and databases inside; who asks for none would be asked about none.
        """
        known = _DETAILS.get(asked.kind, _NO_DETAILS)
        odd = sorted(asked.details.keys() - known.both)
        lacks = sorted(known.needed - {key for key, value in asked.details.items() if value})
        if odd or lacks:
            where = f"{asked.kind} {asked.name}"
            why = f"the gateway says {odd[0]}, which the agent does not know" if odd else ""
            raise TargetDenied(
                asked.user, where, why or f"the gateway does not say {' and '.join(lacks)}"
            )

    def _identity(self, asked: Asked) -> Identity:
        """Whose certificate the gateway has seen."""
        state = self._view.state
        where = f"{asked.kind} {asked.name}"
        if state is None:
            why = "its agent has not heard the auth service yet; try again"
            raise TargetDenied(asked.user, where, why)
        try:
            if asked.certificate:
                cas = state.authorities["user"]
                return self._users.user(asked.certificate, cas, self._now())
            identity: Identity = self._view.ssh_identity(parse_line(asked.ssh_certificate))
        except (BadBytes, BadCertificate) as error:
            why = f"the agent refuses the certificate: {getattr(error, 'why', error)}"
            raise TargetDenied(asked.user, where, why) from error
        return identity


def _host(client: str) -> str | None:
    """The client's address without its port, as pinned certificates are held against it."""
    return split(client)[0] or None
