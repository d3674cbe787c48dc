"""Where lines go: buffered for one turn of the reactor, and never a reason to wait.

1. `write` keeps a line; the first one of a turn asks for one `flush` at its end.
2. `flush` writes everything with one call to a file. Pipes, sockets and terminals may
   be full: they get no more than they take at once, and the rest waits, bounded.
3. A line that cannot be kept is counted; the count is the next line that can be written.
"""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Callable
from typing import Protocol

#: What a pipe that polls as writable takes without waiting (pipe(7): PIPE_BUF).
_PIECE_BYTES = 4096
#: How much may wait for a reader that is slow or a disk that is full.
LIMIT_BYTES = 1 << 20
#: How long until a reader that took nothing is tried again.
RETRY_SECONDS = 0.1

_STANDARD = {"stdout": 1, "stderr": 2}


class Later(Protocol):
    """A clock's `callLater`."""

    def __call__(self, seconds: float, call: Callable[[], object], /) -> object: ...


class Sink:
    """A stream of whole lines to a file, to stderr or to stdout.

    Args:
        output: "stderr", "stdout" or a file's path; its folder is made.
        later: a clock's `callLater`; None: each line is written at once, as is right
            before the reactor runs and after it has stopped.
        lost_line: makes the line that tells how many were lost.
        again: of a line that went out in part, such as on a full disk, the whole is sent
            again as a line of its own: others may have written between the two parts.
    """

    def __init__(
        self,
        output: str,
        later: Later | None = None,
        *,
        lost_line: Callable[[int], str] | None = None,
        again: bool = False,
    ) -> None:
        self.output = output
        self._lost_line = lost_line
        self._again = again
        self.lost = 0  #: lines that could not be kept, ever
        self._later = later
        self._lines: list[str] = []
        self._rest = b""
        self._asked = False
        self._untold = 0
        self._file = -1
        self._may_wait = False
        self._open()

    def write(self, line: str) -> None:
        """Take *line*, which ends with its only newline."""
        self._lines.append(line)
        if not self._asked:
            if self._later is None:
                self.flush()
            else:
                self._ask(self._later, 0)

    def run_by(self, later: Later | None) -> None:
        """Write at the end of *later*'s turns from now on; None: at once."""
        self._later = later
        self._asked = False
        self.flush()

    def reopen(self) -> None:
        """Open the file anew, after somebody has renamed it.

        Raises:
            OSError: it cannot be opened; the old one stays in use.
        """
        self.flush()
        self._open()

    def writes_to(self, found: os.stat_result) -> bool:
        """True when the open file is the one that *found* describes."""
        ours = os.fstat(self._file)
        return (ours.st_dev, ours.st_ino) == (found.st_dev, found.st_ino)

    @property
    def waits(self) -> bool:
        """Whether something is kept that could not be written."""
        return bool(self._rest)

    def copy_of_file(self) -> int:
        """Give a descriptor of its own for the open file, to be closed; -1 without one."""
        return os.dup(self._file) if self._file >= 0 else -1

    def close(self) -> None:
        """Write what is kept, as far as that goes without waiting, and close the file."""
        self.flush()
        if self._file > 2:
            os.close(self._file)
        self._file = -1

    def flush(self) -> None:
        """Write what is kept; what cannot be written now is tried again."""
        if not self._lines and not self._rest:
            return
        if self._untold and len(self._rest) < LIMIT_BYTES // 2:
            told = f"{self._untold} log lines were lost: {self.output} took none\n"
            self._lines.append(told if self._lost_line is None else self._lost_line(self._untold))
            self._untold = 0
        wire = self._rest + "".join(self._lines).encode("utf-8", "backslashreplace")
        count = len(self._lines)
        self._lines.clear()
        sent = self._send(wire)
        self._rest = wire[sent:]
        if not self._rest:
            return
        if self._again and sent and wire[sent - 1] != 0x0A:
            begin = wire.rfind(b"\n", 0, sent) + 1
            self._rest = b"\n" + wire[begin:]
        if len(self._rest) > LIMIT_BYTES:
            keep = self._rest.rfind(b"\n", 0, LIMIT_BYTES) + 1
            dropped = self._rest.count(b"\n", keep) or count
            self._rest = self._rest[:keep]
            self.lost += dropped
            self._untold += dropped
        if self._later is not None and not self._asked:
            self._ask(self._later, RETRY_SECONDS)

    def _ask(self, later: Later, seconds: float) -> None:
        self._asked = True
        later(seconds, self._turn)

    def _turn(self) -> None:
        self._asked = False
        self.flush()

    def _send(self, wire: bytes) -> int:
        """Write as much of *wire* as goes without waiting; give how much that was."""
        if self._file < 0:
            return 0
        try:
            if not self._may_wait:
                return os.write(self._file, wire)
            sent = 0
            poll = select.poll()
            poll.register(self._file, select.POLLOUT)
            while sent < len(wire):
                found = poll.poll(0)
                if not found or not found[0][1] & select.POLLOUT:
                    break
                sent += os.write(self._file, _piece(wire, sent))
            return sent
        except OSError:
            # A full disk or a reader that is gone: nothing a log line could tell about.
            return 0

    def _open(self) -> None:
        new = _STANDARD.get(self.output)
        if new is None:
            folder = os.path.dirname(self.output)
            if folder:
                os.makedirs(folder, mode=0o750, exist_ok=True)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            new = os.open(self.output, flags, 0o640)
        if self._file > 2:
            os.close(self._file)
        self._file = new
        try:
            self._may_wait = not stat.S_ISREG(os.fstat(new).st_mode)
        except OSError:  # stderr may be closed
            self._file = -1


def _piece(wire: bytes, start: int) -> bytes:
    """The next whole lines that fit into one piece, or a part of a longer one."""
    end = start + _PIECE_BYTES
    if end < len(wire):
        end = wire.rfind(b"\n", start, end) + 1 or end
    return wire[start:end]
