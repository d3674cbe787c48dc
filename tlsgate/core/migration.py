"""The way from separate ports to one and back: what must hold at every moment.

**The invariant.** Nobody is told to use what nobody serves, and nothing is closed of which
clients were told within the last `settle_seconds`. A port that only says where to go instead
(*refusing*) counts as closed.

1. A cluster's mode changes only if `may_switch` has nothing to say of any gateway.
2. A gateway's ports change only if `may_reload` has nothing to say; it judges by that gateway
   alone, since a gateway is all that its own clients were told by.
3. `broken` says where it does not hold now, by what every gateway has reported last.

What the steps of the guide depend on is in `core.migrationsteps`.
Source: the order of https://goteleport.com/docs/management/operations/tls-routing/, where a
restart stands for each of these and nothing holds them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Final, Literal

from attrs import field, frozen

from tlsgate.core.gatewayreports import GatewayReport, Listening
from tlsgate.core.ledger import Row

SEPARATE: Final = "separate"
MULTIPLEX: Final = "multiplex"
MODES: Final = (SEPARATE, MULTIPLEX)

#: The listeners that one port makes needless. Others are an operator's own and stay.
SEPARATE_PORTS: Final = ("ssh", "tunnel", "kube", "mysql", "postgres", "mongo")

#: What each mode sends clients to, whatever else is open: agents, and programs for databases
#: and clusters, are sent to the web port where theirs is not open; ssh knows one way only.
NEEDED: Final[Mapping[str, tuple[str, ...]]] = {SEPARATE: ("web", "ssh"), MULTIPLEX: ("web",)}

AgentState = Literal["moved", "moving", "old", "cannot"]


@frozen(kw_only=True)
class AgentRow:
    """An agent's tunnel to one gateway.

    Attributes:
        listener, transport: of its control connection now.
        why: of one that cannot move, what it has met.
    """

    name: str
    gateway: str
    listener: str
    transport: str = "tls-alpn"
    state: AgentState = "old"
    why: str = ""


@frozen(kw_only=True)
class Snapshot:
    """All that a migration is decided by, as of one moment.

    Attributes:
        now: in seconds since the epoch, as every time here.
        mode: of the cluster.
        mode_since: when it changed to that; None: it has never been another one.
        mode_origin: who has set it: "defaults", "config-file" or "dynamic".
        version: of the auth service.
        settle_seconds: for so long clients may still act by what they were told before.
        quiet_seconds: who has not used a port for so long does not hold up its end.
        gateways: each worker's last report; those that are away too.
        problems: what keeps auth from knowing more, a sentence each.
    """

    now: float
    mode: str
    mode_since: float | None = None
    mode_origin: str = "defaults"
    version: str = ""
    settle_seconds: float = 60.0
    quiet_seconds: float = 86400.0
    gateways: tuple[GatewayReport, ...] = ()
    ledger: tuple[Row, ...] = field(default=(), repr=False)
    agents: tuple[AgentRow, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def present(self) -> tuple[GatewayReport, ...]:
        """The reports of the gateways that are there and take new connections."""
        return tuple(one for one in self.hosts if _serves(one))

    @property
    def hosts(self) -> tuple[GatewayReport, ...]:
        """The same, with auth services that have no gateway beside them."""
        return tuple(one for one in self.gateways if not one.leaving and not one.is_away(self.now))

    @property
    def away(self) -> tuple[str, ...]:
        """The gateways with a process of which nothing is known now, and that has not left."""
        gone = {
            one.gateway
            for one in self.gateways
            if not one.leaving and one.is_away(self.now) and _serves(one)
        }
        return tuple(sorted(gone))

    @property
    def unsettled_seconds(self) -> float:
        """How long clients may still act by what they were told before; 0: no more."""
        return unsettled(self.mode_since, self.now, self.settle_seconds)


def serving(report: GatewayReport) -> frozenset[str]:
    """The names of the listeners that serve."""
    return frozenset(one.name for one in report.listeners if one.state == "open")


def separate_listeners(report: GatewayReport) -> tuple[Listening, ...]:
    """The listeners that serve beside the web port, and are no second name of it."""
    web = {one.address for one in report.listeners if one.name == "web"} - {None}
    return tuple(
        one
        for one in report.listeners
        if one.name in SEPARATE_PORTS and one.state == "open" and one.address not in web
    )


def unsettled(mode_since: float | None, now: float, settle_seconds: float) -> float:
    """How long clients may still act by the mode before this one; 0: no more.

    Args:
        mode_since: None: there was none before.
    """
    return 0.0 if mode_since is None else max(0.0, mode_since + settle_seconds - now)


def mode_in_force(mode: str, listeners: Collection[str]) -> str:
    """The mode that a gateway tells its clients.

    One whose file leaves it without what the cluster's mode needs tells of the port that it
    has: so it serves what it tells, and is reported as degraded.

    Args:
        mode: the cluster's.
        listeners: names of those that serve.
    """
    if mode == SEPARATE and "ssh" not in listeners and "web" in listeners:
        return MULTIPLEX
    return mode


def may_reload(
    before: Collection[str],
    after: Collection[str],
    *,
    mode: str,
    next_mode: str,
    mode_since: float | None,
    now: float,
    settle_seconds: float,
    moved: Collection[str] = (),
) -> tuple[str, ...]:
    """Why a gateway may not go from some listeners to others, a sentence each; (): it may.

    Args:
        before, after: names of the listeners that serve; refusing ones are left out.
        mode: that its clients are told now.
        next_mode: that they are told from the reload on; the same, unless it changes a file
            that sets it.
        mode_since: when clients were told *mode* first; None: they were never told another.
        now: in seconds since the epoch.
        moved: of *after*, those that clients find at another address from then on.
    """
    why = []
    closing = [
        name for name in SEPARATE_PORTS if name in before and (name not in after or name in moved)
    ]
    if "web" in before and "web" not in after:
        why.append("the web port would close, and clients of every mode are told to use it")
    if closing and mode == SEPARATE:
        ports = _ports(closing)
        then = (
            "set auth_service.proxy_listener_mode: multiplex alone and reload"
            if next_mode == MULTIPLEX
            else "switch the cluster to multiplex (tgctl migration step 2)"
        )
        why.append(
            f"{ports} would close, and clients are told to use it now: first {then}, and close "
            f"{settle_seconds:g} s later"
        )
    elif closing and (left := unsettled(mode_since, now, settle_seconds)):
        ports = _ports(closing)
        why.append(
            f"{ports} would close, and clients were told to use it until "
            f"{settle_seconds - left:.0f} s ago: wait another {math.ceil(left)} s"
        )
    if mode != next_mode:
        why += _not_served(next_mode, after, "this gateway", before_it_is_told=True)
    return tuple(why)


def may_switch(snapshot: Snapshot, mode: str) -> tuple[str, ...]:
    """Why clients may not be told *mode*, a sentence for each gateway; (): they may.

    A gateway that is away tells nobody anything; it looks for itself when it comes back.
    """
    found: dict[str, None] = {}
    for report in snapshot.present:
        who = f"gateway {report.gateway}"
        for why in _not_served(mode, serving(report), who, before_it_is_told=True):
            found[why] = None
    return tuple(found)


def broken(snapshot: Snapshot) -> tuple[str, ...]:
    """Where the invariant does not hold now, a sentence each."""
    found: dict[str, None] = {}
    for report in snapshot.present:
        who = f"gateway {report.gateway}"
        for why in _not_served(report.mode_in_force, serving(report), who, before_it_is_told=False):
            found[why] = None
        for port in report.listeners:
            if port.state == "refusing" and port.name not in serving(report):
                told_until = _told_until(snapshot, port)
                if unsettled(told_until, snapshot.now, snapshot.settle_seconds):
                    assert told_until is not None
                    found[
                        f"{who} has closed {_own_name(port)} ({port.address}), and clients were "
                        f"told to use it until {max(0.0, snapshot.now - told_until):.0f} s ago"
                    ] = None
    return tuple(found)


def contradicts(snapshot: Snapshot) -> tuple[str, ...]:
    """Gateways that tell their clients another mode than the cluster's, a sentence each."""
    found: dict[str, None] = {}
    for report in snapshot.present:
        if report.mode_in_force != snapshot.mode:
            found[
                f"gateway {report.gateway} tells clients {report.mode_in_force}, "
                f"and the cluster is {snapshot.mode}"
            ] = None
    return tuple(found)


def _own_name(port: Listening) -> str:
    """What a listener was called while it served: see `config.closing` for one that has moved."""
    return port.name.partition("-moved")[0]


def _told_until(snapshot: Snapshot, port: Listening) -> float | None:
    """When clients were told last of a port that is closed; None: they never were.

    No gateway tells of a port that it has closed, and none of separate ports in the other mode.
    """
    name, since = _own_name(port), snapshot.mode_since
    if name == "web":
        return port.since
    if name not in SEPARATE_PORTS:
        return None
    if snapshot.mode == MULTIPLEX:
        return None if since is None else min(since, port.since)
    return port.since if since is None or port.since >= since else None


def _serves(report: GatewayReport) -> bool:
    """Whether it is a gateway: an auth service alone has its own port, and tells nobody a mode."""
    return any(one.name != "auth" for one in report.listeners)


def _not_served(
    mode: str, listeners: Collection[str], who: str, *, before_it_is_told: bool
) -> list[str]:
    """A sentence for each listener that *mode* needs and *who* has not open."""
    would = "would be" if before_it_is_told else "are"
    heal = {
        "ssh": "add proxy_service.listen_addr, or version: v1, and reload first",
        "web": "set proxy_service.web_listen_addr and reload first",
    }
    return [
        f"{who} has the {name} port not open, and clients {would} sent there: {heal[name]}"
        for name in NEEDED[mode]
        if name not in listeners
    ]


def _ports(names: Sequence[str]) -> str:
    return f"the port{'s'[: len(names) != 1]} {', '.join(names)}"
