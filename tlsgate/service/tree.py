"""The daemon: listening sockets, a crew that serves them, signals, reload, upgrade, the end.

1. `make` (before twistd daemonizes) claims the data directory, opens every socket and
   builds the first gate, so that whatever is wrong is said on the terminal.
2. `startService` lets the crew begin; when it serves, the admin socket opens and the service
   manager and a predecessor hear "ready".
3. `reload` reads the file, opens what is new, has the crew prepare, and swaps; each step
   may fail, and then everything is as before.
4. `upgrade` starts a new process of the installed code on the same sockets; once it
   serves, this one accepts no more and drains.
5. SIGTERM drains: `stopService` waits for it. A second one ends everything at once.

Start, reload, upgrade and the end stand in one file: they share one lock and one state, and each
has to undo what another one of them has begun.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

import tlsgate
from tlsgate.config.adminsocket import admin_socket
from tlsgate.config.closing import closing, still
from tlsgate.config.settings import Closing, Settings
from tlsgate.errors import BadSettings, CannotListen, GateError, ReloadRefused
from tlsgate.interfaces import IDaemon
from tlsgate.service import expiry, memory, notify
from tlsgate.service.acceptor import Acceptor, Descriptors
from tlsgate.service.admin import AdminService
from tlsgate.service.crew import ICrew, Orders
from tlsgate.service.guard import why_not
from tlsgate.service.listeners import Bound, Plan
from tlsgate.service.process import (
    DIAG,
    Process,
    complain,
    descriptor_limit,
    is_inside,
    reopen,
    told_changes,
    told_listeners,
    wanted,
)
from tlsgate.service.reload import in_short, unchangeable
from tlsgate.service.spawn import Heritage
from tlsgate.service.upgrade import Predecessor, handed, succeed

if TYPE_CHECKING:
    from tlsgate.service.auth import AuthService

#: Between the answer to `tgctl upgrade` and the old process's end.
_FAREWELL_SECONDS = 0.25
#: How long a successor waits for the old process to leave the store.
_STORE_SECONDS = 60.0
#: Between two looks at the ports of closed listeners, at least.
_AT_LEAST_SECONDS = 1.0
#: What an auditor is told of a reload.
_CHANGED = ("opened", "closed", "replaced")


@implementer(IDaemon)
class Daemon(Service):
    """The whole of one `twistd tlsgate`, but for the work itself, which its crew does.

    Args:
        process: see there.
        text, settings: the first configuration.
        plan: what it opens; still to be committed.
        crew: who serves.
        remarks: sentences about the first gate.
        heritage: what a predecessor left us; None: there is none.
        auth: the auth service of this process, where it is on.
        beside: see `service.admin.Beside`; None: there is no cluster.
    """

    name = "tlsgate"
    logger = Logger()

    def __init__(
        self,
        process: Process,
        *,
        text: str,
        settings: Settings,
        plan: Plan,
        crew: ICrew,
        remarks: Sequence[str] = (),
        heritage: Heritage | None = None,
        auth: AuthService | None = None,
        beside: Any = None,
    ) -> None:
        self.process = process
        self.settings = settings
        self.crew = crew
        self.auth = auth
        self.ready = False
        self.draining = False
        self._text = text
        self._remarks = tuple(remarks)
        self._started = time.time()
        self._turn = DeferredLock()
        self._waiting_reloads = 0
        self._last_reload: dict[str, Any] | None = None
        self._handed_over = False
        self._refusals_due: Any = None
        self._diag: Acceptor | None = None
        #: The diagnostic port may use what the listeners leave.
        self._descriptors = Descriptors(process.reactor, descriptor_limit(), reserve=0)
        self._watchdog = LoopingCall(notify.notify, "WATCHDOG=1")
        self._watchdog.clock = process.reactor
        self._plan: Plan | None = plan
        self._reactor_stops = False
        self._admin_inode: int | None = None
        self.admin = AdminService(process.reactor, self, settings.data_dir, process.audit, beside)
        self._predecessor = None
        if heritage is not None:
            self._predecessor = Predecessor(process.reactor, heritage.channel)

    # -- start --------------------------------------------------------------------------------

    def startService(self) -> None:
        """Twisted calls this, in the process that will run."""
        super().startService()
        begun = Deferred.fromCoroutine(self._begin())
        begun.addErrback(self._cannot_begin)

    async def _begin(self) -> None:
        """Serve; reloads and upgrades wait until that is done."""
        await self._turn.acquire()
        try:
            plan = self._plan
            assert plan is not None
            if self.auth is not None and self._predecessor is None:
                await self.auth.start()
            await self.crew.begin(_orders(self._text, self.settings, plan))
            if self._predecessor is not None:
                await self._predecessor.released()
            if self.draining:
                return
            plan.commit()
            self._plan = None
            self._name_what_is_ours()
            if self.auth is not None and self.auth.api is None:
                # The old process lets go of the store when it hears that the names are ours.
                await self.auth.start_after(_STORE_SECONDS)
        finally:
            self._turn.release()

    def _name_what_is_ours(self) -> None:
        """Take over what people and tools know the daemon by, and say that it serves."""
        self.process.claim.sign()
        self._serve_diag()
        self._open_admin()
        self._plan_end_of_refusals()
        expiry.begin(self.process, lambda: self.settings)
        self.ready = True
        memory.settle()
        self.logger.info(
            "tlsgate {version} serves {file} on {addresses}",
            version=tlsgate.__version__,
            file=str(self.process.source.file),
            addresses=", ".join(
                f"{name.strip('()')} {bound.address}"
                for name, bound in self.process.sockets.open.items()
                if name == DIAG or not is_inside(name)
            )
            or "no listener of its own",
        )
        refuse = _names(self.settings.closing)
        self._tell_listeners([n for n in self._sockets_of_listeners() if n not in refuse], ())
        for warning in self.warnings():
            self.logger.warn("{text}", text=warning)  # noqa: G010 -- Twisted's name
        if self._predecessor is not None:
            self._predecessor.named()
        notify.notify("READY=1", f"MAINPID={os.getpid()}", "STATUS=serving")
        if (seconds := notify.watchdog_seconds()) is not None:
            self._watchdog.start(seconds)

    def _audit(self, event: str, **fields: object) -> None:
        self.process.audit.emit(event, {"cluster_name": self.settings.cluster_name, **fields})

    def _tell_listeners(self, opened: Sequence[str], closed: Sequence[str]) -> None:
        """Have an auditor know which ports are open."""
        sockets = self._sockets_of_listeners()
        for name in opened:
            self._audit("listener.open", listener=name, **{"addr.local": sockets[name].address})
        for name in closed:
            self._audit("listener.close", listener=name)

    def _cannot_begin(self, failure: Any) -> None:
        if self.draining and failure.check(GateError):
            return  # told to stop before it was up
        if failure.check(GateError):
            self.logger.error("cannot start: {error}", error=str(failure.value))
            complain(str(failure.value))
        else:
            self.logger.failure("cannot start", failure=failure)
        self.process.leave(2)
        self._stop_reactor()

    def _serve_diag(self) -> None:
        """Accept on the diagnostic port, on whatever socket it has now."""
        bound = self.process.sockets.open.get(DIAG)
        if self._diag is not None:
            self._diag.stop()
            self._diag = None
        if bound is not None and bound.socket is not None:
            from tlsgate.service.diag import site

            self._diag = Acceptor(
                self.process.reactor, DIAG, bound.socket, site(self), self._descriptors
            )
            self._diag.start()

    @property
    def _owns_names(self) -> bool:
        """False while a predecessor may still go on in our place."""
        return self.ready or self._predecessor is None

    # -- what is in force ------------------------------------------------------------------------

    def _sockets_of_listeners(self) -> Mapping[str, Bound]:
        return {name: one for name, one in self.process.sockets.open.items() if not is_inside(name)}

    def warnings(self) -> list[str]:
        """What an operator should know of the running configuration."""
        said = () if self.auth is None else self.auth.remarks
        return [*map(str, self.settings.warnings), *self._remarks, *said]

    # -- IDaemon -------------------------------------------------------------------------------

    async def status(self) -> dict[str, Any]:
        """See `IDaemon.status`."""
        tally, cluster = await self.crew.tally(), await self.crew.cluster()
        settings, diag = self.settings, self.process.sockets.open.get(DIAG)
        return {
            "version": tlsgate.__version__,
            "pid": os.getpid(),
            "host": settings.node_name,
            "file": str(self.process.source.file),
            "data_dir": str(settings.data_dir),
            # Who joins learns the name there.
            "cluster_name": settings.cluster_name if cluster is None else cluster["name"],
            "mode": settings.mode,
            "config_version": settings.version,
            "diag": None if diag is None else diag.address,
            "workers": settings.workers,
            "members": self.crew.members(),
            "cluster": cluster,
            "started": self._started,
            "ready": self.ready and not self.draining,
            "draining": self.draining,
            "connections": sum(tally["active"].values()),
            "last_reload": self._last_reload,
            "warnings": [*self.warnings(), *(cluster or {}).get("uncovered", ())],
        }

    async def listeners(self) -> list[dict[str, Any]]:
        """See `IDaemon.listeners`."""
        sockets = {} if self.draining else self._sockets_of_listeners()
        return told_listeners(self.settings, sockets, await self.crew.tally())

    async def connections(self) -> list[dict[str, Any]]:
        """See `IDaemon.connections`."""
        return await self.crew.connections()

    async def explain(
        self, listener: str, sni: str | None, alpn: Sequence[str], cert_pem: str | None
    ) -> dict[str, Any]:
        """See `IDaemon.explain`."""
        return await self.crew.explain(listener, sni, alpn, cert_pem)

    async def reload(self, force: bool = False) -> dict[str, Any]:
        """See `IDaemon.reload`; reloads run one after the other."""
        await self._turn.acquire()
        try:
            if self.draining:
                raise ReloadRefused(["the daemon is stopping"])
            return await self._reload(force)
        finally:
            self._turn.release()

    async def _may_take(self, text: str, settings: Settings, force: bool) -> None:
        """Look whether clients would be told to use what nobody serves.

        Raises:
            ReloadRefused: they would, and nobody forces it.
        """
        cluster, auth = await self.crew.cluster(), self.auth
        foreseen = (
            await self.crew.foresee(text, settings)
            if auth is None
            else await auth.foresee(settings)
        )
        why = why_not(self.settings, settings, cluster, foreseen)
        if why and not force:
            raise ReloadRefused([*why, "`tgctl reload --force` does it all the same"])
        for sentence in why:
            self.logger.warn("forced: {why}", why=sentence)  # noqa: G010 -- Twisted's name

    async def _may_still_take(self, text: str, settings: Settings, force: bool) -> None:
        """Look again when all have prepared, which takes its time: the mode may be another one.

        Raises:
            ReloadRefused: it may not be taken any more; the crew has been told.
        """
        try:
            if not force:
                await self._may_take(text, settings, force)
            if self.draining:
                raise ReloadRefused(["the daemon is stopping"])
        except BaseException:
            self.crew.abort()
            raise

    async def _reload(self, force: bool) -> dict[str, Any]:
        notify.reloading()
        said: dict[str, Any] = {"time": time.time(), "ok": False, "why": None}
        self._last_reload = said
        try:
            text, settings = await self.process.in_thread(self.process.source.load)
            if why := unchangeable(self.settings, settings):
                raise ReloadRefused(why)
            await self._may_take(text, settings, force)
            now = time.time()
            gone = closing(self.settings.listeners, self.settings.closing, settings, now)
            settings = evolve(settings, closing=gone)
            plan = self.process.sockets.plan(wanted(settings))
            try:
                remarks = await self.crew.prepare(_orders(text, settings, plan))
                await self._may_still_take(text, settings, force)
            except BaseException:
                plan.abort()
                raise
            # From here on nothing can fail.
            await self.crew.commit()
            if DIAG in plan.changes.replaced or DIAG in plan.changes.closed:
                assert self._diag is not None
                self._diag.stop()
            plan.commit()
        except GateError as e:
            said["why"] = str(e)
            self.logger.error(
                "the new configuration is not taken, the running one stays: {error}",
                error=in_short(e),
            )
            self._audit("config.reload", success=False, error=in_short(e))
            raise
        finally:
            notify.notify("READY=1")
        was, refuse = _names(self.settings.closing), _names(gone)
        self.settings, self._text, self._remarks = settings, text, tuple(remarks)
        self._plan_end_of_refusals()
        if self.auth is not None:
            await self.auth.follow()
        said["ok"] = True
        self.process.log.follow(settings)
        self._serve_diag()
        changes = told_changes(plan.changes, was, refuse)
        self._audit("config.reload", success=True, **{key: changes[key] for key in _CHANGED})
        self._tell_listeners(changes["opened"] + changes["replaced"], changes["closed"])
        self.logger.info(
            "reloaded {file}: opened {opened}, closed {closed}, replaced {replaced}",
            file=str(self.process.source.file),
            opened=" ".join(changes["opened"]) or "none",
            closed=" ".join(changes["closed"]) or "none",
            replaced=" ".join(changes["replaced"]) or "none",
        )
        return {**changes, "warnings": self.warnings()}

    def _plan_end_of_refusals(self) -> None:
        """Look again when the first of the closed listeners has refused long enough."""
        due, self._refusals_due = self._refusals_due, None
        if due is not None and due.active():
            due.cancel()
        if self.settings.closing and not self.draining:
            now = time.time()
            wait = min((one.until - now for one in still(self.settings.closing, now)), default=0.0)
            wait = max(wait, _AT_LEAST_SECONDS)
            self._refusals_due = self.process.reactor.callLater(wait, self._end_refusals)

    def _end_refusals(self) -> None:
        self._refusals_due = None
        Deferred.fromCoroutine(self._shut()).addErrback(self._said)

    async def _shut(self) -> None:
        """Shut the ports of closed listeners that have refused long enough."""
        await self._turn.acquire()
        try:
            now = time.time()
            left, was = still(self.settings.closing, now), self.settings.closing
            settings = evolve(self.settings, closing=left)
            if self.draining or len(left) == len(was):
                self.settings = settings
                return
            plan = self.process.sockets.plan(wanted(settings))
            try:
                await self.crew.prepare(_orders(self._text, settings, plan))
            except GateError as e:
                plan.abort()
                self.logger.error("closed ports go on refusing: {error}", error=in_short(e))
                return
            await self.crew.commit()
            plan.commit()
            self.settings = settings
            shut = ", ".join(name for name in plan.changes.closed if not is_inside(name))
            self.logger.info("the ports of closed listeners are shut: {names}", names=shut)
        finally:
            self._turn.release()
            self._plan_end_of_refusals()

    async def upgrade(self) -> dict[str, Any]:
        """See `IDaemon.upgrade`."""
        await self._turn.acquire()
        try:
            if self.draining:
                raise ReloadRefused(["the daemon is stopping"])
            process = self.process
            without = [name for name, bound in process.sockets.open.items() if bound.socket is None]
            if without:
                raise CannotListen(
                    ", ".join(without),
                    process.sockets.open[without[0]].endpoint,
                    "such an endpoint cannot be handed to a new process; restart instead",
                )
            with suppress(BadSettings):  # the new process tells what is wrong with the file
                text, settings = await process.in_thread(process.source.load)
                await self._may_take(text, settings, False)
            self.logger.info("upgrade: starting a new process")
            try:
                said = await succeed(
                    process.reactor,
                    process.command,
                    process.sockets.open,
                    process.claim.file,
                    process.log.background,
                    handed(self.settings),
                    lambda: not self.draining,
                )
            except GateError as e:
                self.logger.error("upgrade failed, this process goes on: {error}", error=str(e))
                await self._take_names_back()
                raise
            notify.notify(f"MAINPID={said['pid']}", "STATUS=handed over, draining")
            await self._hand_over()
            self.logger.info("upgrade: process {pid} serves; draining", pid=said["pid"])
            return said
        finally:
            self._turn.release()

    async def _take_names_back(self) -> None:
        """A successor may have ended between its first and its last word."""
        self.process.claim.sign()
        if _inode(admin_socket(self.settings.data_dir)) != self._admin_inode:
            await self.admin.stopService()
            self._open_admin()

    def _open_admin(self) -> None:
        self.admin.startService()
        self._admin_inode = _inode(admin_socket(self.settings.data_dir))

    async def _hand_over(self) -> None:
        """Another process serves: accept no more, leave it what is its, and drain."""
        self._handed_over = True
        self.draining = True
        await self.crew.stop_accepting(False)
        if self.auth is not None:  # who came last may have needed it
            await self.auth.finish()
        if self._diag is not None:
            self._diag.stop()
            self._diag = None
        # A copy of ours would keep a port open that the new process closes one day.
        for bound in self.process.sockets.open.values():
            bound.close(leave_name=True)
        self.process.claim.let_go()
        self.process.reactor.callLater(_FAREWELL_SECONDS, self._stop_reactor)

    # -- signals --------------------------------------------------------------------------------

    def hang_up(self) -> None:
        """SIGHUP: reopen logs and reload; during a drain: nothing."""
        if self.draining:
            self.logger.info("SIGHUP is ignored: the daemon is stopping")
            return
        reopen(self.process.log, self.process.audit)
        self.crew.reopen_logs()
        if self._waiting_reloads > 1:
            return  # one that has not begun will read the newest file as well
        self._waiting_reloads += 1

        def done(_: object) -> None:
            self._waiting_reloads -= 1

        Deferred.fromCoroutine(self.reload()).addErrback(self._said).addBoth(done)

    def user_signal(self) -> None:
        """SIGUSR2: upgrade."""
        Deferred.fromCoroutine(self.upgrade()).addErrback(self._said)

    def _said(self, failure: Any) -> None:
        """A `GateError` has been logged where it arose; anything else is a bug."""
        if not failure.check(GateError):
            self.logger.failure("a bug of tlsgate", failure=failure)

    def terminate(self) -> None:
        """SIGTERM or SIGINT: drain; the second one: at once."""
        if self.draining:
            self.logger.warn("a second signal: ending at once")  # noqa: G010 -- Twisted's name
            self.crew.cut()
            self._stop_reactor()
            return
        self.draining = True
        self._stop_reactor()

    def _stop_reactor(self) -> None:
        if not self._reactor_stops:
            self._reactor_stops = True
            # A start may fail before there is a turn to end.
            self.process.reactor.callWhenRunning(self.process.reactor.stop)

    # -- the end ----------------------------------------------------------------------------------

    def stopService(self) -> Deferred[None]:
        """Twisted calls this before the reactor stops, and waits."""
        super().stopService()
        self.draining = True
        return Deferred.fromCoroutine(self._end())

    async def _end(self) -> None:
        self._plan_end_of_refusals()
        if not self._handed_over:
            notify.notify("STOPPING=1")
        seconds = self.settings.timeouts.drain_seconds
        if self._plan is not None:
            # Not up yet: what was inherited goes on elsewhere, what was opened goes.
            await self.crew.stop_accepting(False)
            self._plan.abort()
            self._handed_over = True
        if not self._handed_over:
            await self.crew.stop_accepting(True)
            # A closed socket refuses at once; an open one nobody accepts on would let
            # clients wait for the whole drain.
            for name, bound in self.process.sockets.open.items():
                if name != DIAG:
                    bound.close(leave_name=not self._owns_names)
            self.logger.info("draining, at most {seconds} s", seconds=f"{seconds:g}")
        cut = await self.crew.drain(seconds)
        if cut:
            self.logger.warn("{cut} connections were cut off", cut=cut)  # noqa: G010 -- Twisted's name
            self.process.leave(1)
        if self.auth is not None:
            self.auth.stop()
        if self._watchdog.running:
            self._watchdog.stop()
        if self._diag is not None:
            self._diag.stop()
        for bound in self.process.sockets.open.values():
            bound.close(leave_name=self._handed_over or not self._owns_names)
        if self.admin.running:
            await self.admin.stopService()
        self.process.claim.give_up()
        self.logger.info("tlsgate has ended")
        self.process.audit.sink.close()


def _orders(text: str, settings: Settings, plan: Plan) -> Orders:
    """What the crew has to know of *plan*."""
    sockets = {name: bound for name, bound in plan.after.items() if name != DIAG}
    return Orders(text=text, settings=settings, sockets=sockets)


def _names(listeners: Sequence[Closing]) -> frozenset[str]:
    return frozenset(one.name for one in listeners)


def _inode(path: Path) -> int | None:
    try:
        return path.lstat().st_ino
    except OSError:
        return None
