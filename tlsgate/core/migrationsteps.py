"""The guide's steps, each judged from one snapshot: go, no-go, done, or later.

`steps` judges the seven steps from separate ports to one, `back` the four of the rollback.
A step says its evidence in numbers, the names that stand in its way, and what to do. It never
guesses: where a gateway is away, its clients are not known, and that is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal

from attrs import frozen

from tlsgate.core.dependents import (
    ago,
    breaks,
    count_of,
    each,
    is_openssh,
    major_of,
    not_known,
    old_ways,
    people,
)
from tlsgate.core.gatewayreports import FilePlace
from tlsgate.core.ledger import Row
from tlsgate.core.migration import (
    MULTIPLEX,
    SEPARATE,
    SEPARATE_PORTS,
    Snapshot,
    contradicts,
    may_switch,
    separate_listeners,
    serving,
)

DONE: Final = "done"
GO: Final = "go"
NO_GO: Final = "no-go"
LATER: Final = "later"
State = Literal["done", "go", "no-go", "later"]


@frozen(kw_only=True)
class Step:
    """One step, as of now.

    Attributes:
        key: a word for scripts: "mode", "close".
        evidence: sentences, with numbers.
        names: who or what stands in the way; of one that may go, who is not there yet.
        todo: what an operator or the users do; "": nothing.
    """

    number: int
    key: str
    title: str
    state: State
    evidence: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    todo: str = ""


def steps(snapshot: Snapshot) -> tuple[Step, ...]:
    """The seven steps of the guide."""
    return tuple(
        step(snapshot)
        for step in (_upgrade, _mode, _leaves, _agents, _logins, _configs, _close_ports)
    )


def back(snapshot: Snapshot) -> tuple[Step, ...]:
    """The steps of the rollback, in the order that is safe: ports open before they are told."""
    return (_open_ports(snapshot), _mode_back(snapshot), _agents_back(snapshot), _users(snapshot))


def separate_ports(snapshot: Snapshot) -> tuple[str, ...]:
    """The names of the separate listeners that any gateway serves."""
    here = {port.name for report in snapshot.present for port in separate_listeners(report)}
    return tuple(name for name in SEPARATE_PORTS if name in here)


def place_of(snapshot: Snapshot, what: Literal["mode", "version"]) -> str | None:
    """Where a file says it, as "FILE:LINE, FILE:LINE"; None: no file does."""
    found: dict[str, None] = {}
    for report in snapshot.hosts if what == "mode" else snapshot.present:
        line = report.file.mode_line if what == "mode" else report.file.version_line
        if line is not None:
            found[f"{report.file.path}:{line}"] = None
    return ", ".join(found) or None


def files(snapshot: Snapshot) -> tuple[tuple[str, FilePlace], ...]:
    """The gateways that are there, each with its configuration file."""
    return tuple({one.gateway: one.file for one in snapshot.present}.items())


# -- there --


def _upgrade(snapshot: Snapshot) -> Step:
    title = "upgrade gateways, agents and clients"
    ours = major_of(snapshot.version)
    reports, away = snapshot.present, snapshot.away
    versions = sorted({one.version for one in reports})
    evidence = [
        f"auth runs {snapshot.version or 'an unknown version'}",
        (
            f"{count_of(len({one.gateway for one in reports}), 'gateway')} "
            f"({', '.join(versions) or 'none has reported'})"
        ),
    ]
    since = snapshot.now - snapshot.quiet_seconds
    old, behind = [], []
    if ours is not None:
        for row in snapshot.ledger:
            major = major_of(row.use.version, bare=row.use.kind == "agent")
            if major is None or (row.last < since and not row.open):
                continue
            who = f"{row.use.kind} {row.use.name} ({row.use.version})"
            if major < ours - 1:
                old.append(who)
            elif major < ours:
                behind.append(who)
        evidence.append(
            f"{count_of(len(set(behind)), 'client or agent', 'clients or agents')} one major "
            f"release behind, {len(set(old))} older than that"
        )
    different = sorted({one.gateway for one in reports if one.version != snapshot.version})
    if old:
        names = (*each(old), *(f"gateway {one}" for one in different))
        todo = "upgrade them: they are older than min_client_version, and stop working"
        return _step(1, "upgrade", title, NO_GO, evidence, names, todo)
    if different or away or not reports:
        names = (
            *(f"gateway {one}" for one in different),
            *(f"gateway {one} (away)" for one in away),
        )
        todo = "install the same version everywhere, then tgctl upgrade on each host"
        return _step(1, "upgrade", title, GO, evidence, names, todo)
    return _step(1, "upgrade", title, DONE, evidence)


def _mode(snapshot: Snapshot) -> Step:
    title = "tell clients the one port: proxy_listener_mode multiplex"
    evidence = [_mode_now(snapshot)]
    if snapshot.mode == MULTIPLEX:
        slow = each(
            f"gateway {one.gateway}" for one in snapshot.present if one.mode_in_force != MULTIPLEX
        )
        told = sum(1 for one in snapshot.present if one.mode_in_force == MULTIPLEX)
        evidence.append(f"{count_of(told, 'worker')} of {len(snapshot.present)} tell it to clients")
        if slow:
            todo = "wait: a gateway hears of the mode as soon as it reaches auth"
            return _step(2, "mode", title, GO, evidence, slow, todo)
        return _step(2, "mode", title, DONE, evidence)
    evidence.append(_open_now(snapshot, ("web",)))
    why = may_switch(snapshot, MULTIPLEX)
    if why:
        return _step(2, "mode", title, NO_GO, evidence, why, "open the port, and look again")
    place = _mode_place(snapshot)
    todo = f"set it at {place} and reload" if place else "tgctl migration step 2"
    away = tuple(f"gateway {one} (away)" for one in snapshot.away)
    return _step(2, "mode", title, GO, evidence, away, todo)


def _leaves(snapshot: Snapshot) -> Step:
    title = "move trusted clusters to the web address"
    return _step(3, "leaves", title, DONE, ["there is no trusted cluster"])


def _agents(snapshot: Snapshot) -> Step:
    title = "move agents' tunnels to the web port"
    old = [one for one in snapshot.agents if one.state in ("old", "moving")]
    stuck = [one for one in snapshot.agents if one.state == "cannot"]
    on_tunnel = each(
        row.use.name
        for row in snapshot.ledger
        if row.use.kind == "agent" and row.use.listener == "tunnel" and row.open
    )
    there = [one for one in snapshot.agents if one.state == "moved" and one.listener != "tunnel"]
    moved = len({one.name for one in there})
    evidence = [
        f"{moved} moved, {len(old)} to move, {len(stuck)} that cannot",
        f"{len(on_tunnel)} with connections on the tunnel port",
    ]
    names = each(
        (
            *(f"agent {one.name}: {one.why or 'it cannot move'}" for one in stuck),
            *(f"agent {one.name}" for one in old),
            *(f"agent {one}" for one in on_tunnel),
            *not_known(snapshot),
        )
    )
    if snapshot.mode != MULTIPLEX:
        state: State = LATER if names else DONE
        return _step(4, "agents", title, state, evidence, names, "first step 2" if names else "")
    if stuck:
        todo = "see tgctl migration agents; such an agent stays on the old port"
        return _step(4, "agents", title, NO_GO, evidence, names, todo)
    if names:
        todo = "wait, they are moved in waves; or tgctl migration step 4"
        return _step(4, "agents", title, GO, evidence, names, todo)
    return _step(4, "agents", title, DONE, evidence)


def _logins(snapshot: Snapshot) -> Step:
    title = "users' profiles follow: tgsh logout and login, or nothing"
    rows = [row for row in old_ways(snapshot) if not is_openssh(row)]
    what = "users of separate ports with tgsh or a program for databases"
    todo = "tgsh heals its profile when it is used next; others: tgsh login again"
    return _users_step(snapshot, 5, "logins", title, rows, what, todo)


def _configs(snapshot: Snapshot) -> Step:
    title = "OpenSSH configurations follow: tgsh config again"
    rows = [row for row in old_ways(snapshot) if is_openssh(row)]
    what = "users of OpenSSH on the ssh port"
    todo = "tgsh config again; both texts work until step 7"
    return _users_step(snapshot, 6, "configs", title, rows, what, todo)


def _users_step(
    snapshot: Snapshot,
    number: int,
    key: str,
    title: str,
    rows: Sequence[Row],
    what: str,
    todo: str,
) -> Step:
    span = ago(snapshot.quiet_seconds)
    users = len({row.use.name for row in rows})
    evidence = [f"{users} {what} within {span}"]
    names = people(rows, snapshot.now)
    if not rows:
        return _step(number, key, title, DONE, evidence)
    state: State = GO if snapshot.mode == MULTIPLEX else LATER
    return _step(number, key, title, state, evidence, names, todo)


def _close_ports(snapshot: Snapshot) -> Step:
    title = "close the separate ports: version v2 without their addresses"
    ports = separate_ports(snapshot)
    evidence = [_open_now(snapshot, SEPARATE_PORTS), *_refusing(snapshot)]
    if not ports and snapshot.present and not snapshot.away:
        return _step(7, "close", title, DONE, evidence)
    way = place_of(snapshot, "version")
    todo = f"set version: v2 at {way} and reload" if way else "set version: v2 and reload"
    if snapshot.mode != MULTIPLEX:
        return _step(7, "close", title, LATER, evidence, (), "first step 2")
    who = breaks(snapshot, ports)
    left = snapshot.unsettled_seconds
    stopping = [
        *contradicts(snapshot),
        *([f"clients may use them for another {left:.0f} s"] if left else ()),
        *([] if snapshot.present else ["no gateway has reported"]),
        *not_known(snapshot),
        *people(who, snapshot.now),
    ]
    evidence.append(
        f"{len({(row.use.kind, row.use.name) for row in who})} who would break, "
        f"{sum(row.open for row in who)} connections open"
    )
    if stopping:
        return _step(7, "close", title, NO_GO, evidence, each(stopping), todo)
    return _step(7, "close", title, GO, evidence, (), todo)


# -- and back --


def _open_ports(snapshot: Snapshot) -> Step:
    title = "open the separate ports again: version v1"
    evidence = [_open_now(snapshot, SEPARATE_PORTS), *_refusing(snapshot)]
    lacks = may_switch(snapshot, SEPARATE)
    if not snapshot.present:
        return _step(1, "open", title, NO_GO, evidence, ("no gateway has reported",))
    if not lacks:
        return _step(1, "open", title, DONE, evidence)
    way = place_of(snapshot, "version")
    todo = f"set version: v1 at {way} and reload" if way else "set version: v1 and reload"
    return _step(1, "open", title, GO, evidence, lacks, todo)


def _mode_back(snapshot: Snapshot) -> Step:
    title = "tell clients the separate ports: proxy_listener_mode separate"
    evidence = [_mode_now(snapshot)]
    if snapshot.mode == SEPARATE:
        slow = each(
            f"gateway {one.gateway}" for one in snapshot.present if one.mode_in_force != SEPARATE
        )
        if slow:
            return _step(2, "mode", title, GO, evidence, slow, "wait, or see its log")
        return _step(2, "mode", title, DONE, evidence)
    why = may_switch(snapshot, SEPARATE)
    if why:
        return _step(2, "mode", title, NO_GO, evidence, why, "first open the ports")
    place = _mode_place(snapshot)
    todo = f"set it at {place} and reload" if place else "tgctl migration rollback"
    return _step(2, "mode", title, GO, evidence, (), todo)


def _agents_back(snapshot: Snapshot) -> Step:
    title = "agents' tunnels follow"
    agents = each(f"agent {one.name}" for one in snapshot.agents if one.state != "moved")
    evidence = [f"{count_of(len(agents), 'agent')} not where the mode wants them"]
    left = (*agents, *not_known(snapshot))
    if snapshot.mode != SEPARATE:
        return _step(3, "agents", title, LATER, evidence, (), "first step 2")
    if left:
        return _step(3, "agents", title, GO, evidence, left, "wait, they are moved in waves")
    return _step(3, "agents", title, DONE, evidence)


def _users(snapshot: Snapshot) -> Step:
    title = "users follow: tgsh heals its profile, tgsh config again"
    evidence = ["nobody has to: the web port serves both ways"]
    state: State = DONE if snapshot.mode == SEPARATE else LATER
    return _step(4, "users", title, state, evidence)


# -- words --


def _step(
    number: int,
    key: str,
    title: str,
    state: State,
    evidence: Iterable[str] = (),
    names: Iterable[str] = (),
    todo: str = "",
) -> Step:
    return Step(
        number=number,
        key=key,
        title=title,
        state=state,
        evidence=tuple(evidence),
        names=tuple(names),
        todo=todo,
    )


def _mode_now(snapshot: Snapshot) -> str:
    since = snapshot.mode_since
    when = "" if since is None else f", for {ago(snapshot.now - since)}"
    return f"the mode is {snapshot.mode} (by {snapshot.mode_origin}){when}"


def _mode_place(snapshot: Snapshot) -> str | None:
    """Where the file sets the mode; None: it can be set through the API."""
    if snapshot.mode_origin != "config-file":
        return None
    return place_of(snapshot, "mode") or "auth_service.proxy_listener_mode of auth's file"


def _open_now(snapshot: Snapshot, names: Sequence[str]) -> str:
    """Which of *names* are open at how many gateways."""
    gateways = {one.gateway for one in snapshot.present}
    found = []
    for name in names:
        at = {one.gateway for one in snapshot.present if name in serving(one)}
        if at:
            found.append(f"{name} at {len(at)} of {count_of(len(gateways), 'gateway')}")
    return f"open: {', '.join(found) or 'none'}"


def _refusing(snapshot: Snapshot) -> tuple[str, ...]:
    return each(
        f"{port.name} ({port.address}) at {report.gateway} refuses"
        + ("" if port.until is None else f" for another {ago(port.until - snapshot.now)}")
        for report in snapshot.present
        for port in report.listeners
        if port.state == "refusing"
    )
