"""What the node's own sshd says of logins, on its way to the audit trail.

1. A source gives sshd's messages: the journal where there is one, or a log file.
2. Of those a login by a certificate of the cluster's authority is kept, up to a bound.
3. What is kept is told to the auth service (`telling`).

Messages count only if root wrote them (`_UID=0`): what a program calls itself in the journal
is its own choice. A file has no such thing: whoever may write to it may tell of logins.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from attrs import asdict
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from tlsgate.core.sshdlines import LONGEST_LINE, Accepted, accepted, message_of
from tlsgate.service.telling import Tell, Telling

#: Between two tries of journalctl.
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 1.0, 60.0
#: How often a file is looked at, and how much of it is read then.
LOOK_SECONDS: Final = 0.5
_READ_BYTES: Final = 256 << 10
#: An entry of the journal; sshd's are of some 500 bytes.
_ENTRY_BYTES: Final = 64 << 10

#: sshd has split in two with OpenSSH 9.8.
JOURNAL: Final = (
    *("journalctl", "--follow", "--lines=0", "--output=json", "--quiet", "--all"),
    "--output-fields=MESSAGE",
    *("_UID=0", "_COMM=sshd", "+", "_UID=0", "_COMM=sshd-session"),
)

#: Takes a message, and when it was written, seconds since the epoch.
Take = Callable[[str, float], None]


class Logins:
    """Step 2 and 3; see the module.

    Args:
        tell: to the auth service; may raise a `GateError`.
        ours: digests of the cluster's authorities for users' OpenSSH certificates.
        clock: for timers.
    """

    def __init__(self, tell: Tell, ours: Callable[[], frozenset[str]], clock: IReactorTime) -> None:
        self._ours = ours
        self._telling = Telling(
            tell, clock, path="/v1/agent/events", key="sshd_accepts", what="logins at sshd"
        )

    def take(self, message: str, at: float) -> None:
        """Take one message of sshd's."""
        found = accepted(message)
        if found is not None and found.ca in self._ours():
            self._telling.put(_told(found, at))

    def stop(self) -> None:
        """Tell nothing more."""
        self._telling.stop()


class LogFile:
    """Follows a file by its path, whoever renames or truncates it.

    Args:
        path: such as /var/log/auth.log; what is there at the start is not told.
        now: seconds since the epoch: when a line is seen is when it was written.
    """

    log = Logger()

    def __init__(
        self, path: Path, take: Take, clock: IReactorTime, now: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._take = take
        self._clock = clock
        self._now = now
        self._call: IDelayedCall | None = None
        self._descriptor = -1
        self._rest = b""
        self._told = ""

    def start(self) -> None:
        """Begin at the file's end."""
        self._open(os.SEEK_END)
        self._call = self._clock.callLater(LOOK_SECONDS, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._close()

    def _look(self) -> None:
        self._call = self._clock.callLater(LOOK_SECONDS, self._look)
        if self._descriptor >= 0:
            self._read()
        try:
            there = os.stat(self._path)
        except OSError as error:
            self._tell(error)
            return
        if self._descriptor >= 0:
            mine = os.fstat(self._descriptor)
            if (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino):
                if mine.st_size < os.lseek(self._descriptor, 0, os.SEEK_CUR):
                    os.lseek(self._descriptor, 0, os.SEEK_SET)
                    self._rest = b""
                return
            self._close()
        self._open(os.SEEK_SET)

    def _open(self, whence: int) -> None:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        try:
            self._descriptor = os.open(self._path, flags)
            if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                self._close()
                raise OSError(0, "it is no file")
            os.lseek(self._descriptor, 0, whence)
        except OSError as error:
            self._tell(error)

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._rest = -1, b""

    def _read(self) -> None:
        try:
            *lines, self._rest = (self._rest + os.read(self._descriptor, _READ_BYTES)).split(b"\n")
        except OSError as error:
            self._tell(error)
            return
        self._rest = self._rest[: 2 * LONGEST_LINE]  # too long to be one of those already
        for line in lines:
            message = message_of(line[: 2 * LONGEST_LINE].decode("utf-8", "replace"))
            if message is not None:
                self._take(message, self._now())

    def _tell(self, error: OSError) -> None:
        why = error.strerror or str(error)
        if why != self._told:
            self.log.warn(  # noqa: G010 -- Twisted's own name
                "sshd's log {path} cannot be read: {why}", path=str(self._path), why=why
            )
        self._told = why


class Journal(ProcessProtocol):
    """Follows systemd's journal by a `journalctl` of its own, which is begun again if it ends.

    Args:
        reactor: for the process and its timer.
    """

    log = Logger()

    def __init__(self, reactor: Any, take: Take) -> None:
        self._reactor = reactor
        self._take = take
        self._again: IDelayedCall | None = None
        self._stopped = False
        self._rest = b""
        self._skips = False
        self._wait_seconds = _FIRST_WAIT_SECONDS
        self._told = False

    def start(self) -> None:
        """Begin with what is written from now on."""
        self._again = None
        self._rest, self._skips = b"", False
        variables = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
        self._reactor.spawnProcess(self, JOURNAL[0], JOURNAL, env=variables)

    def stop(self) -> None:
        """End it."""
        self._stopped = True
        if self._again is not None:
            self._again.cancel()
            self._again = None
        elif self.transport is not None:
            with suppress(Exception):  # it may have ended in this moment
                self.transport.signalProcess("TERM")

    def outReceived(self, data: bytes) -> None:
        """Read entries, a JSON object a line (Twisted calls this)."""
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            if not self._skips:
                self._entry(line)
            self._skips = False
        if len(rest) > _ENTRY_BYTES:
            rest, self._skips = b"", True
        self._rest = rest

    def errReceived(self, data: bytes) -> None:
        """Drop what it complains about: `processEnded` tells (Twisted calls this)."""

    def processEnded(self, reason: Failure) -> None:
        """Begin again later (Twisted calls this)."""
        if self._stopped:
            return
        if not self._told:
            self.log.warn(  # noqa: G010 -- Twisted's own name
                "journalctl has ended: logins of this node's sshd are not in the audit trail "
                "until it runs again; where there is no journal, ssh_service names a log file"
            )
        self._told = True
        self._again = self._reactor.callLater(self._wait_seconds, self.start)
        self._wait_seconds = min(2 * self._wait_seconds, _LONGEST_WAIT_SECONDS)

    def _entry(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
            message, at = entry["MESSAGE"], int(entry["__REALTIME_TIMESTAMP"]) / 1e6
        except (ValueError, TypeError, KeyError, RecursionError):
            return
        if isinstance(message, str):
            self._wait_seconds, self._told = _FIRST_WAIT_SECONDS, False
            self._take(message, at)


def _told(found: Accepted, at: float) -> dict[str, Any]:
    return {**asdict(found), "serial": str(found.serial), "at": at}
