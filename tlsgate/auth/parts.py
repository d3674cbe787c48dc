"""What the API stands on; the daemon puts it together, tests put doubles in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from attrs import Factory, field, frozen
from twisted.internet.interfaces import IReactorTime

from tlsgate.auth.authorities import Authorities
from tlsgate.auth.following import Following
from tlsgate.auth.gatewayreports import Reports
from tlsgate.auth.gateways import Gateways
from tlsgate.auth.inventory import Inventory
from tlsgate.auth.issue import Issuer
from tlsgate.auth.ledger import Ledger
from tlsgate.auth.locks import Locks
from tlsgate.auth.migration import Migration
from tlsgate.auth.rates import Rates
from tlsgate.auth.sessions import Sessions
from tlsgate.auth.tokens import Tokens
from tlsgate.auth.users import Users
from tlsgate.interfaces import IAudit, IStore


class ITrail(Protocol):
    """The audit trail, read back."""

    async def read(
        self, *, since: float | None, until: float | None, event: str, limit: int, after: str
    ) -> tuple[Sequence[Mapping[str, Any]], str | None]:
        """Give a page of events, oldest first, and where the next one begins."""
        ...


async def _at_once() -> None:
    return None


def _nobody_breaks(old: str, new: str) -> Sequence[str]:
    return ()


@frozen(kw_only=True)
class Parts:
    """All that answers are made from.

    Attributes:
        locks: started.
        authorities: started.
        cluster: the cluster's name.
        now: seconds since the epoch.
        clock: for timers.
        public_addresses: "host:port" under which the gateway's web port is reached.
        gateways: what those in other processes have told; None: there can be none.
        inventory: which agents the gateways have.
        following: how far hosts follow the rotation of authorities.
        ledger, reports: who uses which listener, and what gateways say of themselves; the latter
            started.
        version: of the daemon.
        audit_kept: returns when every event that was emitted is on the disk; raises
            `AuditFailed` where the trail cannot be written and must be (R18).
        audit_refuses: whether that would be so now, as far as is known.
        trail: None: the trail cannot be read here.
        backup: writes a copy of the store to a file; gives its revision and its size.
        default_networking: what of that setting's default depends on the configuration file.
        agent_events, agent_queries: how many logins at its sshd, and how many queries of its
            databases, an agent may tell at once, and how many more a second.
        may_switch: a sentence for each who would break if the mode went from the first
            word to the second.
    """

    store: IStore
    users: Users
    tokens: Tokens
    locks: Locks
    sessions: Sessions
    authorities: Authorities
    issuer: Issuer
    audit: IAudit
    cluster: str
    now: Callable[[], float]
    clock: IReactorTime
    version: str = ""
    public_addresses: Callable[[], Sequence[str]] = tuple
    gateways: Gateways | None = None
    inventory: Inventory = field(factory=Inventory)
    following: Following = field(factory=Following)
    ledger: Ledger = field(factory=Ledger)
    reports: Reports = Factory(lambda parts: Reports(parts.store, parts.ledger), takes_self=True)
    migration: Migration = Factory(
        lambda parts: Migration(parts.store, parts.reports, parts.now, version=parts.version),
        takes_self=True,
    )
    agent_events: Rates = field(factory=lambda: Rates(500, 10.0))
    agent_queries: Rates = field(factory=lambda: Rates(1000, 100.0))
    audit_kept: Callable[[], Awaitable[None]] = _at_once
    audit_refuses: Callable[[], bool] = bool
    trail: ITrail | None = None
    backup: Callable[[str], Awaitable[tuple[int, int]]] | None = None
    default_networking: Callable[[], Mapping[str, Any]] = dict
    may_switch: Callable[[str, str], Sequence[str]] = field(default=_nobody_breaks)
