"""What belongs to a process of the daemon whatever its settings, and what its start uses."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any

from attrs import asdict, define, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from tlsgate.config.settings import Settings
from tlsgate.service.audit import AuditLog
from tlsgate.service.authsockets import inside
from tlsgate.service.claim import Claim
from tlsgate.service.listeners import Bound, Changes, Sockets
from tlsgate.service.logs import Log
from tlsgate.service.reload import Source
from tlsgate.service.spawn import Command

_log = Logger()

#: The name under which the diagnostic port stands among the listeners' sockets.
DIAG = "(diag)"


@frozen
class _Diag:
    """The diagnostic port, as far as `Sockets` asks."""

    endpoint: str
    name: str = DIAG

    @property
    def written(self) -> str:
        """As the operator wrote it."""
        return self.endpoint


@define(kw_only=True)
class Process:
    """What belongs to this process whatever its settings: made once, by `tap`.

    Attributes:
        reactor: Twisted's.
        source: where settings come from.
        command: how a child is started.
        log, audit: where lines and events go.
        claim: on the data directory.
        sockets: what is open.
        in_thread: `twisted.internet.threads.deferToThread`.
        leave: called with the exit code before the reactor stops.
    """

    reactor: Any
    source: Source
    command: Command
    log: Log
    audit: AuditLog
    claim: Claim
    sockets: Sockets
    in_thread: Callable[..., Deferred[Any]]
    leave: Callable[[int], None]


def wanted(settings: Settings) -> list[Any]:
    """Everything that *settings* open: listeners, the diagnostic port, sockets inside.

    Those of closed listeners are among them, while they refuse.
    """
    ports: list[Any] = [*settings.listeners, *(one.listener for one in settings.closing)]
    if settings.diag is not None:
        ports.append(_Diag(settings.diag))
    return [*ports, *inside(settings)]


def told_listeners(
    settings: Settings, sockets: Mapping[str, Bound], tally: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The listeners of *settings*, closed ones too, as `IDaemon.listeners` tells them."""
    refused: dict[str, int] = {}
    until = {one.name: one.until for one in settings.closing}
    for listener, _, count in tally["refused"]:
        refused[listener] = refused.get(listener, 0) + count
    return [
        {
            "name": one.name,
            "protocol": one.protocol,
            "endpoint": one.endpoint,
            "address": sockets[one.name].address if one.name in sockets else None,
            "proxy_protocol": one.proxy_protocol.on,
            "accepted": tally["accepted"].get(one.name, 0),
            "active": tally["active"].get(one.name, 0),
            "refused": refused.get(one.name, 0),
            "state": "refusing" if one.name in until else "open",
            "until": until.get(one.name),
        }
        for one in (*settings.listeners, *(gone.listener for gone in settings.closing))
    ]


def is_inside(name: str) -> bool:
    """Whether a socket is none of the listeners that people know."""
    return name.startswith("(")


def told_changes(
    changes: Changes, was: Collection[str] = (), refuses: Collection[str] = ()
) -> dict[str, list[str]]:
    """What a reload did to the listeners, as `IDaemon.reload` tells it.

    Args:
        changes: what it did to their sockets.
        was, refuses: the listeners that were closed and refused before, and that do so now.
    """
    told = {
        word: [name for name in names if not is_inside(name)]
        for word, names in asdict(changes).items()
    }
    there = (*told["kept"], *told["replaced"])
    # The old address of a listener that has moved is none that opens.
    told["opened"] = [name for name in told["opened"] if name not in refuses]
    told["opened"] += [name for name in there if name in was and name not in refuses]
    told["closed"] = [name for name in told["closed"] if name not in was]
    told["closed"] += [name for name in there if name in refuses and name not in was]
    for word in ("kept", "replaced"):
        told[word] = [name for name in told[word] if name not in was and name not in refuses]
    return told


def descriptor_limit() -> int:
    """How many descriptors this process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (1 << 20) if soft == resource.RLIM_INFINITY else soft


def reopen(log: Log, audit: AuditLog) -> None:
    """Open log files anew, after somebody has renamed them."""
    for sink in (log.sink, audit.sink):
        try:
            sink.reopen()
        except OSError as e:
            _log.error("cannot reopen {file}: {why}", file=sink.output, why=str(e))


def complain(text: str) -> None:
    """Say *text* where an operator who starts the daemon looks."""
    stream = sys.__stderr__
    if stream is not None:
        stream.write(f"tlsgate: {text}\n")
        stream.flush()
