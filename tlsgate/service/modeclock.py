"""For how long the clients of this process have been told the cluster's mode.

1. `told` is called with the mode whenever it may have changed. In one process its age is counted
   by a clock that never jumps.
2. Mode and moment are kept in a file: a process that takes the place of another one knows what
   that one's clients were told. Over that the wall clock counts; one that was set back lets the
   whole wait begin anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

from twisted.logger import Logger

from tlsgate.core.migration import MODES
from tlsgate.tls.secretfile import replace_secret

FILE: Final = "mode.json"
#: A file that is longer is nobody's of ours.
_FILE_BYTES: Final = 4096


class ModeClock:
    """See the module.

    Args:
        folder: of this gateway or worker.
        seconds: of a clock that never jumps; now: seconds since the epoch.
    """

    log = Logger()

    def __init__(
        self, folder: Path, seconds: Callable[[], float], now: Callable[[], float]
    ) -> None:
        self._file = folder / FILE
        self._seconds = seconds
        self._now = now
        self._mode: str | None = None
        self._at: float | None = None

    @property
    def age(self) -> float | None:
        """In seconds; None: clients were never told another one."""
        return None if self._at is None else max(0.0, self._seconds() - self._at)

    def told(self, mode: str) -> None:
        """Clients are told *mode* from now on, if not before."""
        if mode == self._mode:
            return
        first = self._mode is None
        was, since = self._read() if first else (self._mode, None)
        self._mode = mode
        if was == mode:
            if since is not None:
                self._at = self._seconds() - max(0.0, self._now() - since)
            return
        self._at = None if was is None else self._seconds()
        self._write(mode, None if was is None else self._now())

    def _read(self) -> tuple[str | None, float | None]:
        try:
            with self._file.open("rb") as file:
                said = json.loads(file.read(_FILE_BYTES + 1))
            mode, since = said["mode"], said["since"]
            if mode not in MODES or not (since is None or isinstance(since, int | float)):
                raise ValueError("it is not as this version writes it")
        except FileNotFoundError:
            return None, None
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            self.log.info("{file} is not used: {why}", file=str(self._file), why=str(error))
            return None, None
        return mode, since

    def _write(self, mode: str, since: float | None) -> None:
        try:
            replace_secret(self._file, json.dumps({"mode": mode, "since": since}).encode())
        except OSError as error:
            self.log.error("{file}: {why}", file=str(self._file), why=error.strerror)
