"""What each process of a gateway says of itself: its file, its mode, its ports.

The cluster's invariant is decided over these: what clients are told against what is open.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, cast

from attrs import evolve, frozen

from tlsgate.errors import BadBytes

#: Clocks that differ by no more are taken for one: a report takes a while to come.
SAME_CLOCK_SECONDS: Final = 5.0
#: Who has said nothing for so long is away.
AWAY_SECONDS: Final = 150.0

#: open: it serves. refusing: it says where clients have to go instead.
State = Literal["open", "refusing"]
STATES: Final[tuple[State, ...]] = ("open", "refusing")


@frozen(kw_only=True)
class Listening:
    """One port of a gateway.

    Attributes:
        address: "host:port" or a path; None: it is not known.
        public: what clients are told of it, "host:port" each.
        since: when it came to its state, in seconds since the epoch; until: when that ends.
        open: connections of this process.
    """

    name: str
    address: str | None = None
    public: tuple[str, ...] = ()
    state: State = "open"
    since: float = 0.0
    until: float | None = None
    open: int = 0


@frozen(kw_only=True)
class FilePlace:
    """What a gateway's configuration file says of the mode, and where.

    Attributes:
        mode: as it is written; None: it is not.
        mode_line, version_line: counted from 1; None: the key is not written.
    """

    path: str = ""
    mode: str | None = None
    mode_line: int | None = None
    version_line: int | None = None


@frozen(kw_only=True)
class GatewayReport:
    """What one process of a gateway has said last.

    Attributes:
        gateway: the name of its certificate.
        worker: which of the gateway's processes.
        boot: of this run of the process; another run is another one.
        started, heard: seconds since the epoch.
        leaving: it accepts no more, and serves those that it has.
        version: of tlsgate; config_version: of its file.
        mode_in_force: what it tells clients.
    """

    gateway: str
    worker: str
    boot: str
    started: float
    heard: float
    leaving: bool = False
    version: str = ""
    config_version: str = ""
    mode_in_force: str = ""
    file: FilePlace = FilePlace()
    listeners: tuple[Listening, ...] = ()

    def is_away(self, now: float) -> bool:
        """Whether it has said nothing for too long."""
        return not now - self.heard < AWAY_SECONDS


def behind(said: float | None, now: float) -> float:
    """By how many seconds the clock of one who says that it is *said* has to be put forward."""
    if said is None or abs(now - said) <= SAME_CLOCK_SECONDS:
        return 0.0
    return now - said


def moved(at: float, seconds: float, now: float) -> float:
    """A moment of a clock that is behind, by ours; 0 is none, and nothing was after *now*."""
    return min(max(0.0, at + seconds), now) if at else 0.0


def by_our_clock(report: GatewayReport, seconds: float) -> GatewayReport:
    """*report* of a process whose clock is behind by *seconds*."""
    listeners = [
        evolve(
            one,
            since=moved(one.since, seconds, report.heard),
            until=None if one.until is None else max(0.0, one.until + seconds),
        )
        for one in report.listeners
    ]
    started = moved(report.started, seconds, report.heard)
    return evolve(report, started=started, listeners=tuple(listeners))


def steady(report: GatewayReport, before: GatewayReport) -> GatewayReport:
    """*report* with the times that the same run has told *before*, where they are about the same.

    How late a clock is taken for differs a little each time, and that is no news. A run began
    when it was first said to have.
    """
    known = {(one.name, one.state): one for one in before.listeners}
    listeners = []
    for one in report.listeners:
        old = known.get((one.name, one.state))
        if old is not None and abs(one.since - old.since) <= SAME_CLOCK_SECONDS:
            one = evolve(one, since=old.since)
        if old is not None and one.until is not None and old.until is not None:
            near = abs(one.until - old.until) <= SAME_CLOCK_SECONDS
            one = evolve(one, until=old.until) if near else one
        listeners.append(one)
    return evolve(report, started=before.started, listeners=tuple(listeners))


def told_report(report: GatewayReport) -> dict[str, Any]:
    """*report* in JSON types."""
    file = report.file
    return {
        "gateway": report.gateway,
        "worker": report.worker,
        "boot": report.boot,
        "started": report.started,
        "heard": report.heard,
        "leaving": report.leaving,
        "version": report.version,
        "config_version": report.config_version,
        "mode_in_force": report.mode_in_force,
        "file": {
            "path": file.path,
            "mode": file.mode,
            "mode_line": file.mode_line,
            "version_line": file.version_line,
        },
        "listeners": [
            {
                "name": one.name,
                "address": one.address,
                "public": list(one.public),
                "state": one.state,
                "since": one.since,
                "until": one.until,
                "open": one.open,
            }
            for one in report.listeners
        ],
    }


def read_report(said: Mapping[str, Any]) -> GatewayReport:
    """Read what `told_report` gave.

    Raises:
        BadBytes: it is something else.
    """
    try:
        file = said["file"]
        return GatewayReport(
            gateway=str(said["gateway"]),
            worker=str(said["worker"]),
            boot=str(said["boot"]),
            started=float(said["started"]),
            heard=float(said["heard"]),
            leaving=bool(said["leaving"]),
            version=str(said["version"]),
            config_version=str(said["config_version"]),
            mode_in_force=str(said["mode_in_force"]),
            file=FilePlace(
                path=str(file["path"]),
                mode=_text(file["mode"]),
                mode_line=_line(file["mode_line"]),
                version_line=_line(file["version_line"]),
            ),
            listeners=tuple(_listening(one) for one in said["listeners"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise BadBytes("gateway report", "no report") from e


def _listening(said: Mapping[str, Any]) -> Listening:
    if said["state"] not in STATES:
        raise BadBytes("gateway report", "a listener's state of another version")
    until = said["until"]
    return Listening(
        name=str(said["name"]),
        address=_text(said["address"]),
        public=tuple(str(one) for one in said["public"]),
        state=cast(State, said["state"]),
        since=float(said["since"]),
        until=None if until is None else float(until),
        open=int(said["open"]),
    )


def _text(said: object) -> str | None:
    return None if said is None else str(said)


def _line(said: Any) -> int | None:
    return None if said is None else int(said)
