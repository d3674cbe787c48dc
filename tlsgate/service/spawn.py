"""Start another process of the installed code, and give it sockets by inheritance.

1. `Command` remembers how this process was started; a child is started the same way, in
   the foreground and with nothing but our own arguments.
2. `spawn` hands descriptors over by their numbers, and a table of what they are in an
   anonymous file; the child finds that through its environment.
3. `Heritage.take` reads the table in the child, before anything else can fork.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.internet.error import ProcessTerminated
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from tlsgate.service.listeners import Bound, adopt

#: The environment's variable that names the table's descriptor.
VARIABLE = "TLSGATE_INHERIT"
#: What belongs to one process only and must not reach its children.
_OWN = (VARIABLE, "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID")


@frozen
class Command:
    """How to start a child.

    Attributes:
        program: the interpreter, its options and the script.
        arguments: after `twistd -n`.
    """

    program: tuple[str, ...]
    arguments: tuple[str, ...]

    @classmethod
    def ours(cls, file: Path, data_dir: Path | None) -> Command:
        """How this process was started; to be asked before anybody changes the directory."""
        count = len(sys.orig_argv) - len(sys.argv) + 1
        program = [sys.executable, *sys.orig_argv[1:count]]
        if count > 1 and os.path.exists(program[-1]):
            program[-1] = os.path.abspath(program[-1])
        arguments = ["tlsgate", "--config", str(file.absolute())]
        if data_dir is not None:
            arguments += ["--data-dir", str(data_dir.absolute())]
        return cls(tuple(program), tuple(arguments))

    def line(self) -> list[str]:
        """The whole command of a child."""
        return [*self.program, "-n", "--pidfile=", *self.arguments]


@frozen(kw_only=True)
class Heritage:
    """What a child has inherited.

    Attributes:
        role: "worker" or "successor".
        channel: the descriptor of its end of the wire to its parent.
        sockets: the listening sockets, by listener name.
        claim: the descriptor that holds the data directory; None: the parent keeps it.
        fields: the rest of the table.
    """

    role: str
    channel: int
    sockets: Mapping[str, Bound]
    claim: int | None
    fields: Mapping[str, Any]

    @classmethod
    def take(cls, environment: MutableMapping[str, str] = os.environ) -> Heritage | None:
        """Read the table that *environment* names; None: there is none. Once only."""
        number = environment.pop(VARIABLE, None)
        if number is None:
            return None
        with open(int(number), "rb") as file:
            file.seek(0)
            table = json.load(file)
        for descriptor in table["descriptors"]:
            os.set_inheritable(descriptor, False)
        sockets = {
            name: adopt(endpoint, descriptor, tuple(inode) if inode else None)
            for name, endpoint, descriptor, inode in table["sockets"]
        }
        return cls(
            role=table["role"],
            channel=table["channel"],
            sockets=sockets,
            claim=table["claim"],
            fields=table["fields"],
        )


class Child(ProcessProtocol):
    """A child process, as its parent sees it.

    Args:
        ended: called once with the exit code, negative for a signal.
    """

    def __init__(self, ended: Callable[[int], None]) -> None:
        self._ended = ended
        self.alive = True

    @property
    def pid(self) -> int:
        """Its number, also when it has ended."""
        return self._pid

    def makeConnection(self, process: IProcessTransport) -> None:
        """Twisted calls this once it runs."""
        self._pid = int(process.pid)
        super().makeConnection(process)

    def kill(self, signal_name: str) -> None:
        """Send a signal, unless it has ended."""
        if self.alive and self.transport is not None:
            self.transport.signalProcess(signal_name)

    def processEnded(self, reason: Failure) -> None:
        """Twisted calls this when it has ended."""
        self.alive = False
        value = reason.value
        code = 0
        if isinstance(value, ProcessTerminated):
            code = -value.signal if value.signal is not None else (value.exitCode or 0)
        self._ended(code)


def spawn(
    reactor: Any,
    command: Command,
    *,
    role: str,
    sockets: Mapping[str, Bound],
    claim: int | None,
    fields: Mapping[str, Any],
    ended: Callable[[int], None],
) -> tuple[Child, int]:
    """Start a child that inherits *sockets*.

    Args:
        claim: the data directory's lock, when the child takes that over too.
        fields: JSON types.
        ended: see `Child`.

    Returns:
        The child, and the descriptor of our end of the channel.

    Raises:
        OSError: it cannot be started.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    table = os.memfd_create("tlsgate")
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        map_: dict[int, int] = {
            0: null,
            1: 1 if _is_open(1) else null,
            2: 2 if _is_open(2) else null,
            3: table,
            4: theirs.fileno(),
        }
        listed = []
        for name, bound in sockets.items():
            if bound.socket is not None:
                number = len(map_)
                map_[number] = bound.socket.fileno()
                listed.append([name, bound.endpoint, number, bound.inode])
        claimed = None
        if claim is not None:
            claimed = len(map_)
            map_[claimed] = claim
        text = json.dumps(
            {
                "role": role,
                "channel": 4,
                "sockets": listed,
                "claim": claimed,
                "descriptors": list(range(4, len(map_))),
                "fields": dict(fields),
            }
        )
        with open(os.dup(table), "w") as file:
            file.write(text)
        environment = {key: value for key, value in os.environ.items() if key not in _OWN}
        environment[VARIABLE] = "3"
        child = Child(ended)
        line = command.line()
        reactor.spawnProcess(child, line[0], line, environment, childFDs=map_)
        return child, ours.detach()
    finally:
        theirs.close()
        ours.close()  # nothing, once detached
        os.close(table)
        os.close(null)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
