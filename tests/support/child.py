"""Child processes of tests: started with a log file, waited for with a bound, ended by pid."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

#: How long anything may take to come up or go down on a busy machine with two cores.
PATIENCE_SECONDS = 30.0

#: Between two looks at what is waited for.
_LOOK_SECONDS = 0.02

_PR_SET_PDEATHSIG = 1  #: linux/prctl.h
_prctl = ctypes.CDLL(None).prctl


class NotInTime(AssertionError):
    """What a test waited for did not come."""


def sized(ci: int, slow: int) -> int:
    """The size of an experiment: *ci* usually, *slow* under `etc/test.sh --slow`."""
    return slow if os.environ.get("TLSGATE_SLOW") else ci


def until(
    there: Callable[[], object],
    what: str,
    seconds: float = PATIENCE_SECONDS,
    said: Callable[[], str] = str,
) -> None:
    """Wait until *there()* is true.

    Args:
        there: asked every 20 ms.
        what: named when it does not come.
        seconds: the bound.
        said: text that explains a failure, such as the end of a log.

    Raises:
        NotInTime: the bound has passed.
    """
    end = time.monotonic() + seconds
    while not there():
        if time.monotonic() > end:
            raise NotInTime(f"not within {seconds:g} s: {what}\n{said()}")
        time.sleep(_LOOK_SECONDS)


def during(seconds: float, every: float = 0.2) -> Iterator[float]:
    """Time that a test has to watch: gives how much has passed, again and again."""
    since = time.monotonic()
    while (passed := time.monotonic() - since) < seconds:
        yield passed
        time.sleep(every)


def program(name: str, package: str) -> str:
    """The path of a program that the tests need; a missing one fails the test."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        raise AssertionError(f"{name} is missing: install {package} (etc/test.sh does)")
    return path


def alive(pid: int) -> bool:
    """Whether *pid* runs; a zombie that nobody has fetched does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def _end_with_parent() -> None:
    """Have the kernel end this process with the test run, however that ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def temporary(name: str) -> Path:
    """A new folder with a short path, since socket names end at 107 bytes."""
    return Path(tempfile.mkdtemp(prefix=f"tlsgate-{name}-"))


class Child:
    """One process in a session of its own; what it says goes to a file, never to a full pipe."""

    def __init__(
        self,
        arguments: Sequence[str | Path],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
        inherit: Sequence[int] = (),
    ) -> None:
        self.log = log
        self.arguments = [str(argument) for argument in arguments]
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                self.arguments,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=cwd or log.parent,
                env=None if env is None else {**os.environ, **env},
                start_new_session=True,
                pass_fds=tuple(inherit),
                user=user,
                group=user,
                extra_groups=[] if user else None,
                preexec_fn=_end_with_parent,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def text(self) -> str:
        """All that it has said."""
        return self.log.read_text("utf-8", "replace")

    def tail(self) -> str:
        """The end of what it has said, for messages."""
        return f"--- end of {self.log.name} ---\n{self.text()[-4000:]}"

    def until(
        self, there: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS
    ) -> None:
        """Wait as `until`, and no longer than the process lives."""

        def look() -> bool:
            if there():
                return True
            if self.code is not None:
                raise NotInTime(f"{self.arguments[0]} ended ({self.code}): {what}\n{self.tail()}")
            return False

        until(look, what, seconds, self.tail)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it alone."""
        self._process.send_signal(number)

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Its exit code, once it has ended."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired as e:
            raise NotInTime(f"{self.arguments[0]} has not ended\n{self.tail()}") from e

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 10.0) -> int:
        """End it and all that it has started; gives the exit code."""
        if self.code is None:
            self.send(number)
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL
        finally:
            self.end()

    def end(self) -> None:
        """Leave nothing of its session behind."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(PATIENCE_SECONDS)
