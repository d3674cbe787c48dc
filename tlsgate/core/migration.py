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

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal

from attrs import field, frozen

from tlsgate.core.ledger import Row
from tlsgate.errors import BadBytes

SEPARATE: Final = "separate"
MULTIPLEX: Final = "multiplex"
MODES: Final = (SEPARATE, MULTIPLEX)

#: The listeners that one port makes needless. Others are an operator's own and stay.
SEPARATE_PORTS: Final = ("ssh", "tunnel", "kube", "mysql", "postgres", "mongo")

#: What each mode sends clients to, whatever else is open: agents, and programs for databases
#: and clusters, are sent to the web port where theirs is not open; ssh knows one way only.
NEEDED: Final[Mapping[str, tuple[str, ...]]] = {SEPARATE: ("web", "ssh"), MULTIPLEX: ("web",)}

#: A gateway that has said nothing for so long is away; what it has open is not known.
AWAY_SECONDS: Final = 150.0
#: Of one report.
MOST_PORTS: Final = 64

PortState = Literal["open", "refusing"]


@frozen(kw_only=True)
class Port:
    """A listener as a gateway has reported it.

    Attributes:
        since: in this state since then, in seconds since the epoch.
        until: when a refusing one shuts; None: it is open.
        open: connections now.
    """

    name: str
    address: str
    public: tuple[str, ...] = ()
    state: PortState = "open"
    since: float = 0.0
    until: float | None = None
    open: int = 0


@frozen(kw_only=True)
class FileMode:
    """What a gateway's configuration file says, and where.

    Attributes:
        mode: None: the file does not say.
        mode_line, version_line: None: there is no such line.
    """

    path: str
    mode: str | None = None
    mode_line: int | None = None
    version_line: int | None = None


@frozen(kw_only=True)
class GatewayReport:
    """What one worker of a gateway has said of itself last.

    Attributes:
        version: of tlsgate there.
        mode: that it tells clients now.
        at: when it was heard, in seconds since the epoch.
    """

    gateway: str
    worker: str = "0"
    version: str = ""
    config_version: str = "v1"
    mode: str = SEPARATE
    file: FileMode | None = None
    ports: tuple[Port, ...] = ()
    at: float = 0.0

    @property
    def open(self) -> frozenset[str]:
        """The names of the listeners that serve."""
        return frozenset(one.name for one in self.ports if one.state == "open")

    @property
    def separate(self) -> tuple[Port, ...]:
        """The listeners that serve beside the web port, and are no second name of it."""
        web = {one.address for one in self.ports if one.name == "web"}
        return tuple(
            one
            for one in self.ports
            if one.name in SEPARATE_PORTS and one.state == "open" and one.address not in web
        )

    def is_away(self, now: float) -> bool:
        """Whether it has been silent for so long that it says nothing of now."""
        return now - self.at > AWAY_SECONDS


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
        leaves: names of the leaf clusters.
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
    leaves: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def present(self) -> tuple[GatewayReport, ...]:
        """The reports that say something of now."""
        return tuple(one for one in self.gateways if not one.is_away(self.now))

    @property
    def away(self) -> tuple[str, ...]:
        """The gateways of which nothing is known now."""
        here = {one.gateway for one in self.present}
        return tuple(sorted({one.gateway for one in self.gateways} - here))

    @property
    def unsettled_seconds(self) -> float:
        """How long clients may still act by what they were told before; 0: no more."""
        return unsettled(self.mode_since, self.now, self.settle_seconds)


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
) -> tuple[str, ...]:
    """Why a gateway may not go from some listeners to others, a sentence each; (): it may.

    Args:
        before, after: names of the listeners that serve; refusing ones are left out.
        mode: that its clients are told now.
        next_mode: that they are told from the reload on; the same, unless it changes a file
            that sets it.
        mode_since: when clients were told *mode* first; None: they were never told another.
        now: in seconds since the epoch.
    """
    why = []
    closing = [name for name in SEPARATE_PORTS if name in before and name not in after]
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
            f"{settle_seconds - left:.0f} s ago: wait another {left:.0f} s"
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
        for why in _not_served(mode, report.open, who, before_it_is_told=True):
            found[why] = None
    return tuple(found)


def broken(snapshot: Snapshot) -> tuple[str, ...]:
    """Where the invariant does not hold now, a sentence each."""
    found: dict[str, None] = {}
    left = snapshot.unsettled_seconds
    for report in snapshot.present:
        who = f"gateway {report.gateway}"
        for why in _not_served(report.mode, report.open, who, before_it_is_told=False):
            found[why] = None
        for port in report.ports:
            if port.state == "refusing" and port.name not in report.open and left:
                found[
                    f"{who} has closed {port.name} ({port.address}), and clients were told to use "
                    f"it until {snapshot.settle_seconds - left:.0f} s ago"
                ] = None
    return tuple(found)


def contradicts(snapshot: Snapshot) -> tuple[str, ...]:
    """Gateways that tell their clients another mode than the cluster's, a sentence each."""
    found: dict[str, None] = {}
    for report in snapshot.present:
        if report.mode != snapshot.mode:
            found[
                f"gateway {report.gateway} tells clients {report.mode}, and the cluster is "
                f"{snapshot.mode}"
            ] = None
    return tuple(found)


def read_report(said: Mapping[str, Any], at: float) -> GatewayReport:
    """Read what a worker reports, see `POST /v1/gateway/report`.

    Args:
        at: when it was heard.

    Raises:
        BadBytes: it is something else.
    """
    try:
        file = said.get("file")
        ports = said["listeners"]
        if not isinstance(ports, Sequence) or len(ports) > MOST_PORTS:
            raise BadBytes("gateway report", f"more than {MOST_PORTS} listeners")
        return GatewayReport(
            gateway=str(said["gateway"]),
            worker=str(said["worker"]),
            version=str(said["version"]),
            config_version=str(said["config_version"]),
            mode=_mode(said["mode_in_force"]),
            file=None if file is None else _file(file),
            ports=tuple(map(_port, ports)),
            at=at,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadBytes("gateway report", f"{type(error).__name__} {error}") from error


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


def _mode(said: object) -> str:
    if said not in MODES:
        raise ValueError("no mode")
    return str(said)


def _file(said: Mapping[str, Any]) -> FileMode:
    mode = said.get("mode")
    return FileMode(
        path=str(said["path"]),
        mode=None if mode is None else _mode(mode),
        mode_line=_line(said.get("mode_line")),
        version_line=_line(said.get("version_line")),
    )


def _line(said: object) -> int | None:
    if said is None:
        return None
    if not isinstance(said, int):
        raise TypeError("a line is no number")
    return said


def _port(said: Mapping[str, Any]) -> Port:
    until, state = said.get("until"), said["state"]
    return Port(
        name=str(said["name"]),
        address=str(said["address"]),
        public=tuple(map(str, said.get("public") or ())),
        state="refusing" if state == "refusing" else "open",
        since=float(said.get("since") or 0.0),
        until=None if until is None else float(until),
        open=int(said.get("open") or 0),
    )
