"""Put a process together: a daemon with its crew, or one worker."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import quoteStringArgument

from tlsgate.config.adminsocket import admin_socket, lasting_name
from tlsgate.config.settings import Join, Settings
from tlsgate.service.acceptor import MOST_A_TURN, Descriptors
from tlsgate.service.audit import AuditLog
from tlsgate.service.authsockets import API, TLS, path_of
from tlsgate.service.claim import Claim
from tlsgate.service.crew import ICrew
from tlsgate.service.listeners import Sockets
from tlsgate.service.logs import Journal, Log, output_of
from tlsgate.service.process import Process, descriptor_limit, reopen, wanted
from tlsgate.service.reload import Source
from tlsgate.service.sink import Sink
from tlsgate.service.spawn import Command, Heritage
from tlsgate.service.supervisor import AUTH
from tlsgate.service.tree import Daemon
from tlsgate.service.upgrade import taken_over
from tlsgate.service.worker import Worker

if TYPE_CHECKING:
    from tlsgate.cluster.httpdoor import HttpDoor
    from tlsgate.service.auth import AuthService
    from tlsgate.service.membership import Membership

#: What a worker loads before it has orders.
_SERVING = ("tlsgate.service.local", "tlsgate.plugins.builtin")
#: Connections that one of several workers accepts in a turn.
SHARED_A_TURN = 8


@frozen(kw_only=True)
class Base:
    """What every process of ours has.

    Attributes:
        reactor: Twisted's.
        source: where settings come from.
        log, audit: where lines and events go.
        in_thread: `twisted.internet.threads.deferToThread`.
        leave: called with the exit code before the reactor stops.
    """

    reactor: Any
    source: Source
    log: Log
    audit: AuditLog
    in_thread: Callable[..., Deferred[Any]]
    leave: Callable[[int], None]

    @classmethod
    def make(cls, log: Log, data_dir: Path, *, reactor: Any, **more: Any) -> Base:
        """Open the logs; they write at once until the reactor runs, and after it."""
        audit = AuditLog(data_dir)
        reactor.callWhenRunning(log.run_by, reactor.callLater)
        reactor.callWhenRunning(audit.run_by, reactor.callLater, more["in_thread"])
        for one in (log, audit):
            reactor.addSystemEventTrigger("after", "shutdown", one.run_by, None)
        return cls(reactor=reactor, log=log, audit=audit, **more)

    def gateway(
        self, settings: Settings, index: int, membership: Membership | None = None
    ) -> ICrew:
        """The gateway of this process.

        Raises:
            GateError: it cannot be built of *settings*.
        """
        if index == AUTH:
            return self._auth_crew(settings)
        if settings.is_agent:
            return self._agent_crew(settings)
        if settings.workers > 1 and settings.auth_enabled:
            membership = self._worker_membership(settings, index)
        elif settings.join is not None:
            membership = self._remote_membership(settings, settings.join, index)
        # Only a process that serves loads TLS; a supervisor never does.
        from tlsgate.service.local import LocalGateway, build

        return LocalGateway(
            self.reactor,
            build(settings),
            journal=Journal(self.log),
            audit=self.audit,
            descriptors=Descriptors(self.reactor, descriptor_limit()),
            in_thread=self.in_thread,
            index=index,
            most=MOST_A_TURN if settings.workers == 1 else SHARED_A_TURN,
            membership=membership,
        )

    def _auth_crew(self, settings: Settings) -> ICrew:
        from tlsgate.service.authcrew import AuthCrew

        return AuthCrew(
            self.reactor,
            settings,
            journal=Journal(self.log),
            audit=self.audit,
            descriptors=Descriptors(self.reactor, descriptor_limit()),
            in_thread=self.in_thread,
        )

    def _agent_crew(self, settings: Settings) -> ICrew:
        from tlsgate.service.agent import AgentCrew

        return AgentCrew(
            self.reactor,
            settings,
            journal=Journal(self.log),
            audit=self.audit,
            in_thread=self.in_thread,
        )

    def auth_door(self, settings: Settings) -> HttpDoor:
        """To the auth process beside us."""
        from twisted.internet.endpoints import UNIXClientEndpoint

        from tlsgate.cluster.httpdoor import HttpDoor

        path = lasting_name(path_of(settings.data_dir, API))
        return HttpDoor(self.reactor, UNIXClientEndpoint(self.reactor, path), "the auth service")

    def _successors_door(self, settings: Settings) -> HttpDoor:
        """To the auth service of the process that has taken our place: it has the admin socket."""
        from twisted.internet.endpoints import UNIXClientEndpoint

        from tlsgate.cluster.httpdoor import HttpDoor

        path = lasting_name(admin_socket(settings.data_dir))
        return HttpDoor(self.reactor, UNIXClientEndpoint(self.reactor, path), "the auth service")

    def _worker_membership(self, settings: Settings, index: int) -> Membership:
        """Of one of several workers, whose auth service is a process beside them."""
        from tlsgate.cluster.view import ClusterView
        from tlsgate.service.jumpkey import JumpKey
        from tlsgate.service.membership import Membership

        reactor, data_dir = self.reactor, settings.data_dir
        door = self.auth_door(settings)
        view = ClusterView(settings.cluster_name, door, reactor, time.time, mode=settings.mode)
        target = f"unix:path={quoteStringArgument(lasting_name(path_of(data_dir, TLS)))}"
        folder = data_dir / "gateway" / str(index)
        return Membership(
            view,
            folder,
            reactor,
            self.in_thread,
            auth_target=target,
            jump_key=JumpKey(data_dir / "gateway", folder),
        )

    def _remote_membership(self, settings: Settings, join: Join, index: int) -> Membership:
        """Of a gateway, or one of its workers, whose auth service is elsewhere."""
        from tlsgate.cluster.hostfiles import HostFiles
        from tlsgate.cluster.joining import Joining
        from tlsgate.cluster.view import ClusterView
        from tlsgate.service.jumpkey import JumpKey
        from tlsgate.service.membership import Membership

        # A supervisor lets the first worker serve before it starts the others: it joins.
        folder = settings.data_dir / "gateway"
        own = folder if settings.workers == 1 else folder / str(index)
        joining = Joining(
            join, settings.node_name, HostFiles(folder), self.reactor, time.time, writes=index == 0
        )
        name = settings.cluster_name
        view = ClusterView(name, joining.door(), self.reactor, time.time, mode=settings.mode)
        return Membership(
            view,
            own,
            self.reactor,
            self.in_thread,
            auth_target=joining.target,
            joining=joining,
            jump_key=JumpKey(folder, own),
        )

    def cluster(
        self, now: Settings, settings: Callable[[], Settings]
    ) -> tuple[AuthService, Membership] | tuple[None, None]:
        """The auth service of this process and the gateway's membership, where they are on."""
        if not now.auth_enabled:
            return None, None
        from tlsgate.cluster.view import ClusterView
        from tlsgate.service.auth import AuthService
        from tlsgate.service.door import LocalDoor
        from tlsgate.service.jumpkey import JumpKey
        from tlsgate.service.membership import Membership

        door = LocalDoor(
            now.cluster_name, now.node_name, self.reactor, lambda: self._successors_door(now)
        )
        view = ClusterView(now.cluster_name, door, self.reactor, time.time, mode=now.mode)
        auth = AuthService(settings, self.reactor, door, self.audit, self.in_thread)
        folder = now.data_dir / "gateway"
        key = JumpKey(folder, folder)
        membership = Membership(view, folder, self.reactor, self.in_thread, jump_key=key)
        membership.more_names, auth.on_gateways = auth.gateway_names, membership.refresh
        return auth, membership


def worker(heritage: Heritage, **base: Any) -> tuple[Worker, Log]:
    """Make a process that waits for orders, with everything loaded that serving needs."""
    for name in _SERVING:
        import_module(name)
    fields = heritage.fields
    log = Log(
        Sink(fields["log"]),
        fields["format"],
        fields["severity"],
        background=fields["background"],
    )
    ours = Base.make(log, Path(fields["data_dir"]), **base)

    made = Worker(
        ours.reactor,
        source=ours.source,
        hire=ours.gateway,
        log=ours.log,
        reopen=lambda: reopen(ours.log, ours.audit),
        heritage=heritage,
        leave=ours.leave,
    )
    return made, ours.log


def daemon(
    *,
    text: str,
    settings: Settings,
    heritage: Heritage | None,
    command: Command,
    background: bool,
    **base: Any,
) -> tuple[Daemon, Log]:
    """Make the daemon; what it opens is open afterwards.

    Raises:
        GateError: it cannot start; nothing stays behind.
    """
    if heritage is not None:
        background = bool(heritage.fields["background"])
        settings = taken_over(settings, heritage.fields, time.time())
    log = Log(
        Sink(output_of(settings, background)),
        settings.log.format,
        settings.log.severity,
        background=background,
    )
    ours = Base.make(log, settings.data_dir, **base)
    if heritage is not None and heritage.claim is not None:
        claim = Claim.inherit(settings.data_dir, heritage.claim)
    else:
        claim = Claim.take(settings.data_dir)
    try:
        process = Process(
            reactor=ours.reactor,
            source=ours.source,
            command=command,
            log=ours.log,
            audit=ours.audit,
            claim=claim,
            sockets=Sockets(() if heritage is None else heritage.sockets.items()),
            in_thread=ours.in_thread,
            leave=ours.leave,
        )
        crew: ICrew
        auth: AuthService | None = None
        beside: Any = None
        if settings.workers > 1:
            from tlsgate.service.supervisor import Supervisor

            crew = Supervisor(ours.reactor, command, settings.workers, ours.log, settings.data_dir)
            if settings.auth_enabled:
                from tlsgate.service.beside import There

                beside = There(ours.auth_door(settings))
        else:
            auth, membership = ours.cluster(settings, lambda: made.settings)
            crew = ours.gateway(settings, 0, membership)
            if auth is not None:
                from tlsgate.auth.principal import itself
                from tlsgate.service.beside import Here

                beside = Here(
                    auth,
                    ours.reactor,
                    lambda: itself(made.settings.cluster_name, made.settings.node_name),
                )
        plan = process.sockets.plan(wanted(settings))
    except BaseException:
        if heritage is None:
            claim.give_up()
        raise
    remarks = getattr(getattr(crew, "built", None), "remarks", ())
    made = Daemon(
        process,
        text=text,
        settings=settings,
        plan=plan,
        crew=crew,
        remarks=remarks,
        heritage=heritage,
        auth=auth,
        beside=beside,
    )
    return made, ours.log
