"""The cluster's way from separate ports to one and back: what is known, and what is done.

1. `snapshot` puts together what the pure rules in `core.migration*` decide by: the mode, what
   gateways have reported, the ledger, agents.
2. `begin` notes in the store that a step has begun, then the caller does it. A step that a file
   decides waits there for the reload; it ends when what is reported says that it is done.
3. After a crash `start` finds the note: a switch of the mode that is in the store has happened,
   and ends; one that is not there was never told to anybody, and is rolled back.

Since when the mode is what it is, is kept too: ports may not close for a while after a switch,
whether the auth service has been restarted in between or not. Within one process that time is
counted by a clock that never jumps; over a restart by the wall clock, and at most the whole wait
begins anew.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Literal

from attrs import evolve, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from tlsgate.auth import networking
from tlsgate.auth.gatewayreports import Reports
from tlsgate.auth.migrationfiles import closing_public
from tlsgate.auth.opaque import pack, unpack
from tlsgate.auth.resources import key_of
from tlsgate.core import migration
from tlsgate.core.gatewayreports import GatewayReport, Listening
from tlsgate.core.keeping import Delete, Event, Put
from tlsgate.core.migration import AgentRow, Snapshot, separate_listeners
from tlsgate.core.migrationsteps import DONE, Step, back, steps
from tlsgate.errors import GateError, StepRuns
from tlsgate.interfaces import IStore, IWatch

#: Below it: "mode", "run", "ports/GATEWAY", and "public/GATEWAY".
PREFIX: Final = "migration/"
_MODE: Final = PREFIX + "mode"
_RUN: Final = PREFIX + "run"
_PORTS: Final = PREFIX + "ports/"
_PUBLIC: Final = PREFIX + "public/"

#: Where somebody who gives no time stands: see `Snapshot.quiet_seconds`.
QUIET_SECONDS: Final = 86400.0

Direction = Literal["there", "back"]
#: switching: the mode is about to change. file: what a file decides is awaited.
Stage = Literal["switching", "file"]


@frozen(kw_only=True)
class Run:
    """A step that has begun.

    Attributes:
        mode: that the cluster is to have; "": the step changes none.
        by: who has asked for it.
    """

    step: int
    direction: Direction
    stage: Stage
    mode: str = ""
    by: str = ""
    started: float = 0.0

    @property
    def words(self) -> str:
        """What a sentence calls it."""
        return f"step {self.step}" if self.direction == "there" else f"rollback step {self.step}"

    def told(self) -> dict[str, Any]:
        """This in JSON types."""
        return {
            "step": self.step,
            "direction": self.direction,
            "stage": self.stage,
            "mode": self.mode,
            "by": self.by,
            "started": self.started,
        }


@frozen(kw_only=True)
class Own:
    """The gateway in the auth service's own process: of it everything is known at once."""

    gateway: str
    listeners: tuple[str, ...]


#: Tells what has become of a step: its event's fields, and whether it went well.
Told = Callable[[Mapping[str, object], bool], None]


def _silent(fields: Mapping[str, object], success: bool) -> None:
    return None


class Migration:
    """See the module.

    Args:
        store: where it is kept.
        reports: of the gateways.
        now: seconds since the epoch.
        seconds: of a clock that never jumps; as *now* where there is none.
        version: of the auth service.
        settle_seconds: see `Snapshot`.
        file: the auth service's own configuration file; host: where that is, by its name.
        own: the gateway of this process; None: there is none.

    Attributes:
        agents: what is known of agents' tunnels.
        advise: has agents move to where the mode wants them; None: nobody does that here.
        told: see `Told`.
    """

    _log = Logger()

    def __init__(
        self,
        store: IStore,
        reports: Reports,
        now: Callable[[], float],
        *,
        version: str = "",
        settle_seconds: Callable[[], float] = lambda: 60.0,
        file: Callable[[], str] = str,
        host: Callable[[], str] = lambda: "auth",
        seconds: Callable[[], float] | None = None,
        own: Callable[[], Own | None] = lambda: None,
    ) -> None:
        self._store = store
        self._reports = reports
        self._now = now
        self._seconds = now if seconds is None else seconds
        self._version = version
        self._settle_seconds = settle_seconds
        self.file = file
        self.host = host
        self._own = own
        self.agents: Callable[[], Sequence[AgentRow]] = tuple
        self.advise: Callable[[], Awaitable[None]] | None = None
        self.told: Told = _silent
        self._watch: IWatch | None = None
        self.mode = migration.SEPARATE
        self.origin = "defaults"
        #: By the clock that never jumps.
        self._mode_at: float | None = None
        self.run: Run | None = None
        self._ports: dict[str, dict[str, str]] = {}
        self._public: dict[str, dict[str, list[str]]] = {}

    async def start(self) -> None:
        """Read what is kept, end or undo what was begun, and follow.

        Raises:
            StoreFailed: it cannot be read.
        """
        revision = await self._store.revision()
        setting = await networking.current(self._store, networking.NETWORKING)
        self.mode, self.origin = networking.mode_of(setting), setting.origin or "defaults"
        kept = await self._read(_MODE)
        if kept is None:
            await self._keep(_MODE, {"mode": self.mode, "since": None})
        elif kept.get("mode") == self.mode:
            since = kept.get("since")
            if since is not None:
                # One that is to come was written before the clock was set back.
                self._mode_at = self._seconds() - max(0.0, self._now() - float(since))
        else:
            await self._changed_mode(self.mode)
        for item in await self._store.scan(_PORTS):
            self._ports[item.key.removeprefix(_PORTS)] = dict(unpack(item.key, item.value))
        for item in await self._store.scan(_PUBLIC):
            self._public[item.key.removeprefix(_PUBLIC)] = dict(unpack(item.key, item.value))
        self.run = _run(await self._read(_RUN))
        await self._resume()
        self._watch = self._store.watch(
            key_of(networking.NETWORKING, ""), revision, self._networking_changed
        )
        self._reports.on_change(self._reported)

    @property
    def mode_age(self) -> float | None:
        """For how many seconds the mode is what it is; None: it has never been another one."""
        return None if self._mode_at is None else max(0.0, self._seconds() - self._mode_at)

    @property
    def mode_since(self) -> float | None:
        """See `Snapshot.mode_since`: by the clock as it is now."""
        age = self.mode_age
        return None if age is None else self._now() - age

    def stop(self) -> None:
        """Follow no more."""
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def snapshot(self, quiet_seconds: float = QUIET_SECONDS) -> Snapshot:
        """What is known now."""
        now = self._now()
        return Snapshot(
            now=now,
            mode=self.mode,
            mode_since=self.mode_since,
            mode_origin=self.origin,
            version=self._version,
            settle_seconds=self._settle_seconds(),
            quiet_seconds=quiet_seconds,
            gateways=tuple(self._at_once(one, None) for one in self._reports.all(now)),
            ledger=self._reports.rows(now),
            agents=tuple(self.agents()),
            problems=tuple(
                f"gateway {one} has not said yet who is connected to it"
                for one in self._reports.unheard(now)
            ),
        )

    def may_switch(self, old: str, new: str) -> Sequence[str]:
        """See `core.migration.may_switch`; for the guard of every change of the mode."""
        return migration.may_switch(self._with_own(self.snapshot()), new)

    def may_switch_with(self, listeners: Sequence[str], new: str) -> Sequence[str]:
        """The same, should our own gateway have *listeners*."""
        return migration.may_switch(self._with_own(self.snapshot(), listeners), new)

    def ports_of(self, gateway: str) -> Mapping[str, str]:
        """Name to address of the separate ports that a gateway had open last."""
        return self._ports.get(gateway, {})

    def public_of(self, gateway: str) -> Mapping[str, Sequence[str]]:
        """What its clients were told of those, where that went with them."""
        return self._public.get(gateway, {})

    async def begin(self, run: Run) -> None:
        """Note that a step has begun; another one that waits for a file is given up.

        Raises:
            StepRuns: somebody else's is under way at this moment.
            StoreFailed: it cannot be noted, so the step must not be done.
        """
        before = self.run
        if before is not None and before.stage == "switching":
            raise StepRuns(before.words)
        self.run = run
        try:
            await self._keep(_RUN, run.told())
        except BaseException:
            self.run = before
            raise

    async def end(self, success: bool = True, **more: object) -> None:
        """The step that had begun has ended.

        Raises:
            StoreFailed: that cannot be kept; the next start ends it.
        """
        run, self.run = self.run, None
        await self._store.commit([Delete(_RUN)])
        if run is not None:
            fields = {"step": run.step, "direction": run.direction, **more}
            self.told(fields, success)

    def settled(self) -> bool:
        """Whether the step that has begun is done, by what is known now."""
        run = self.run
        if run is None:
            return False
        return _step(self.snapshot(), run).state == DONE

    # -- inside --

    async def _resume(self) -> None:
        """What becomes of a step that a crash has left: done, undone, or still waited for."""
        run = self.run
        if run is None or run.stage == "file":
            return
        if run.mode == self.mode:
            self._log.info("{step} of the migration had happened; it ends", step=run.words)
            await self.end(resumed=True)
        else:
            self._log.warn(
                "{step} of the migration had not happened; it is rolled back", step=run.words
            )
            await self.end(False, rolled_back=True)

    def _at_once(self, report: GatewayReport, listeners: Sequence[str] | None) -> GatewayReport:
        """Our own gateway has what its settings say, before it has reported that."""
        own = self._own()
        if own is None or report.gateway != own.gateway:
            return report
        names = own.listeners if listeners is None else listeners
        known = {one.name: one for one in report.listeners if one.state == "open"}
        left = [one for one in report.listeners if one.state != "open" and one.name not in names]
        now = [known.get(name) or Listening(name=name) for name in names]
        return evolve(report, listeners=(*now, *left))

    def _with_own(self, snapshot: Snapshot, listeners: Sequence[str] | None = None) -> Snapshot:
        """*snapshot* with our own gateway in it, though it may have reported nothing yet."""
        gateways = tuple(self._at_once(one, listeners) for one in snapshot.gateways)
        own = self._own()
        if own is not None and all(one.gateway != own.gateway for one in gateways):
            first = GatewayReport(
                gateway=own.gateway, worker="0", boot="", started=0.0, heard=snapshot.now
            )
            gateways = (*gateways, self._at_once(first, listeners))
        return evolve(snapshot, gateways=gateways)

    def _networking_changed(self, events: Sequence[Event]) -> None:
        self._go(self.look_again())

    async def look_again(self) -> None:
        """Take up the mode that is in the store.

        Raises:
            StoreFailed: it cannot be read.
        """
        setting = await networking.current(self._store, networking.NETWORKING)
        mode, self.origin = networking.mode_of(setting), setting.origin or "defaults"
        if mode != self.mode:
            await self._changed_mode(mode)

    async def _changed_mode(self, mode: str) -> None:
        self.mode, self._mode_at = mode, self._seconds()
        await self._keep(_MODE, {"mode": mode, "since": self._now()})

    def _reported(self) -> None:
        if self._watch is not None:
            self._go(self._take_reports())

    async def _take_reports(self) -> None:
        """Remember which ports are open, and see whether a step has ended."""
        for report in self.snapshot().present:
            ports = {one.name: one.address or "" for one in separate_listeners(report)}
            if ports and ports != self._ports.get(report.gateway):
                self._ports[report.gateway] = ports
                await self._keep(_PORTS + report.gateway, ports)
            public = {name: list(told) for name, told in closing_public(report).items()}
            if ports and public != self._public.get(report.gateway, {}):
                self._public[report.gateway] = public
                await self._keep(_PUBLIC + report.gateway, public)
        if self.run is not None and self.run.stage == "file" and self.settled():
            await self.end()

    def _go(self, doing: Any) -> None:
        begun: Deferred[None] = Deferred.fromCoroutine(doing)
        begun.addErrback(self._failed)

    def _failed(self, failure: Any) -> None:
        if failure.check(GateError):
            self._log.warn("{error}", error=str(failure.value))
        else:
            self._log.failure("the migration cannot be followed; this is a bug", failure=failure)

    async def _read(self, key: str) -> Mapping[str, Any] | None:
        item = await self._store.get(key)
        return None if item is None else unpack(item.key, item.value)

    async def _keep(self, key: str, value: Mapping[str, Any]) -> None:
        await self._store.commit([Put(key, pack(dict(value)))])


def step_of(snapshot: Snapshot, number: int, direction: Direction) -> Step:
    """One step as of *snapshot*."""
    found = steps(snapshot) if direction == "there" else back(snapshot)
    return found[number - 1]


def _step(snapshot: Snapshot, run: Run) -> Step:
    return step_of(snapshot, run.step, run.direction)


def _run(said: Mapping[str, Any] | None) -> Run | None:
    """The note of a step; None: there is none that this version understands."""
    try:
        return None if said is None else Run(**said)
    except TypeError:
        return None
