"""Put a process together: a daemon with its crew, or one worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred

from tlsgate.config.settings import Settings
from tlsgate.service.acceptor import MOST_A_TURN, Descriptors
from tlsgate.service.audit import AuditLog
from tlsgate.service.claim import Claim
from tlsgate.service.crew import ICrew, Orders
from tlsgate.service.listeners import Sockets
from tlsgate.service.logs import Journal, Log
from tlsgate.service.reload import Source
from tlsgate.service.sink import Sink
from tlsgate.service.spawn import Command, Heritage
from tlsgate.service.tree import Daemon, Process, descriptor_limit, log_file, reopen, wanted
from tlsgate.service.worker import Worker

#: Connections that one of several workers accepts in a turn.
SHARED_A_TURN = 8


@frozen
class Started:
    """What `tap` runs.

    Attributes:
        service: a daemon or a worker.
        log: where this process's lines go.
    """

    service: Daemon | Worker
    log: Log


def make(
    reactor: Any,
    *,
    source: Source,
    text: str,
    settings: Settings,
    heritage: Heritage | None,
    command: Command,
    foreground: bool,
    in_thread: Callable[..., Deferred[Any]],
    leave: Callable[[int], None],
) -> Started:
    """Make the service of this process; what it opens is open afterwards.

    Raises:
        GateError: it cannot start; nothing stays behind.
    """
    output = log_file(settings, foreground)
    if heritage is not None:
        output = str(heritage.fields.get("log") or output)
    log = Log(Sink(output), settings.log.format, settings.log.severity)
    audit = AuditLog(settings.data_dir)
    for sink in (log.sink, audit.sink):
        reactor.callWhenRunning(sink.run_by, reactor.callLater)
        reactor.addSystemEventTrigger("after", "shutdown", sink.run_by, None)

    def gateway(index: int, reopen_logs: Callable[[], None]) -> ICrew:
        # Only a process that serves loads TLS; a supervisor never does.
        from tlsgate.service.local import LocalGateway, build

        return LocalGateway(
            reactor,
            build(settings),
            journal=Journal(log),
            audit=audit,
            descriptors=Descriptors(reactor, descriptor_limit()),
            in_thread=in_thread,
            reopen=reopen_logs,
            index=index,
            most=MOST_A_TURN if settings.workers == 1 else SHARED_A_TURN,
        )

    if heritage is not None and heritage.role == "worker":
        worker = Worker(
            reactor,
            source=source,
            orders=Orders(text=text, settings=settings, sockets=heritage.sockets),
            crew=gateway(int(heritage.fields["worker"]), lambda: reopen(log, audit)),
            heritage=heritage,
            leave=leave,
        )
        return Started(worker, log)

    if heritage is not None and heritage.claim is not None:
        claim = Claim.inherit(settings.data_dir, heritage.claim)
    else:
        claim = Claim.take(settings.data_dir)
    try:
        process = Process(
            reactor=reactor,
            source=source,
            command=command,
            log=log,
            audit=audit,
            claim=claim,
            sockets=Sockets(() if heritage is None else heritage.sockets.items()),
            in_thread=in_thread,
            leave=leave,
        )
        crew: ICrew
        if settings.workers > 1:
            from tlsgate.service.supervisor import Supervisor

            crew = Supervisor(reactor, command, settings.workers, output)
        else:
            crew = gateway(0, lambda: None)
        plan = process.sockets.plan(wanted(settings))
    except BaseException:
        if heritage is None:
            claim.give_up()
        raise
    remarks = getattr(getattr(crew, "built", None), "remarks", ())
    daemon = Daemon(
        process,
        text=text,
        settings=settings,
        plan=plan,
        crew=crew,
        remarks=remarks,
        heritage=heritage,
    )
    return Started(daemon, log)
