"""Programs that the bench starts and ends: the load generator and the gateways.

Nothing is ended but what was started here, and every wait has a limit.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench.cases import Answer

#: What a program may take to be ready, or to end when it is asked to.
START_SECONDS = 30.0
STOP_SECONDS = 5.0


class BenchError(Exception):
    """The bench cannot go on with a case, or at all; its text says why."""


class Child:
    """One started program in a session of its own, its output in a file."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log_file: Path,
        *,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        talk: bool = False,
    ) -> None:
        self.name = name
        self.log_file = log_file
        with log_file.open("wb") as log:
            try:
                self.process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE if talk else subprocess.DEVNULL,
                    stdout=subprocess.PIPE if talk else log,
                    stderr=log,
                    cwd=cwd,
                    env=None if env is None else dict(env),
                    start_new_session=True,
                    text=True,
                )
            except OSError as error:
                raise BenchError(f"{name} cannot be started: {error}") from error

    @property
    def pid(self) -> int:
        """The process that was started; what it started itself is in `family`."""
        return self.process.pid

    def family(self) -> tuple[int, ...]:
        """The process and everything below it that lives now."""
        found, ahead = [], [self.pid]
        while ahead:
            pid = ahead.pop()
            found.append(pid)
            with contextlib.suppress(OSError):
                for thread in Path(f"/proc/{pid}/task").iterdir():
                    with contextlib.suppress(OSError):
                        ahead.extend(map(int, (thread / "children").read_text().split()))
        return tuple(found)

    def resident_kib(self) -> int:
        """Resident memory of the whole family."""
        total = 0
        for pid in self.family():
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    total += int(line.split()[1])
        return total

    def alive(self) -> None:
        """Raise BenchError when the process has ended."""
        if (code := self.process.poll()) is not None:
            raise BenchError(f"{self.name} ended with code {code}: {self.last_words()}")

    def last_words(self) -> str:
        """The end of its output, for an error message."""
        text = self.log_file.read_text(errors="replace").strip()
        return "\n".join(text.splitlines()[-15:]) or "it said nothing"

    def log_lines(self) -> int:
        """How many lines it has written so far."""
        return self.log_file.read_bytes().count(b"\n")

    def wait_for_port(self, port: int) -> None:
        """Wait until somebody accepts on *port*."""
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            self.alive()
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            time.sleep(0.05)
        raise BenchError(f"{self.name} does not listen on port {port}: {self.last_words()}")

    def stop(self) -> None:
        """End it: ask, wait, insist. Its own session is the limit of what is ended."""
        for how, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
            if self.process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    if how is signal.SIGTERM:
                        self.process.send_signal(how)
                    else:
                        os.killpg(self.pid, how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
                break
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


class Load:
    """The load generator and the target, in one process."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self._rest = b""
        self.ports: Mapping[str, int] = {
            name: int(port) for name, port in self._read(START_SECONDS).items()
        }

    def command(self, mode: str, *, seconds: float = 0.0, **keys: object) -> Answer:
        """Run one command of `load/client.c` and give its answer; a failure is a BenchError."""
        words = [mode, f"seconds={seconds}"] if mode != "release" else [mode]
        words += [f"{key}={value}" for key, value in keys.items()]
        assert self.child.process.stdin is not None
        try:
            self.child.process.stdin.write(" ".join(words) + "\n")
            self.child.process.stdin.flush()
        except OSError as error:
            self.child.alive()
            raise BenchError(f"the load generator does not listen: {error}") from error
        answer = self._read(seconds + 100.0)
        if answer["failures"]:
            raise BenchError(f"{mode}: {answer['failure']} ({answer['failures']} connections)")
        return answer

    def _read(self, seconds: float) -> Answer:
        assert self.child.process.stdout is not None
        fd = self.child.process.stdout.fileno()
        until = time.monotonic() + seconds
        while b"\n" not in self._rest:
            left = until - time.monotonic()
            if left <= 0 or not select.select([fd], [], [], left)[0]:
                raise BenchError(f"the load generator gave no answer in {seconds:.0f} s")
            got = os.read(fd, 65536)
            if not got:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.child.process.wait(STOP_SECONDS)
                raise BenchError(f"the load generator has ended: {self.child.last_words()}")
            self._rest += got
        line, self._rest = self._rest.split(b"\n", 1)
        answer: Answer = json.loads(line)
        return answer
