"""Give memory back after a crowd has come or left, and keep the collector off what stays.

The C library keeps freed memory for later (F10); after a mass of connections has ended it
is asked to return it, or a limit on the process would count what nobody uses. A mass that has
come leaves some behind, too: a seventh of what 2,000 agents cost was their handshakes' and
their questions'.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.task import LoopingCall

#: How often the number of connections is looked at.
LOOK_SECONDS = 10.0
#: Fewer connections than this are not worth a collection when they go.
CROWD = 500


def settle() -> None:
    """Take everything that lives now out of the collector's sight, once after the start."""
    gc.collect()
    gc.freeze()


def trim() -> None:
    """Collect cycles, and return free memory to the system."""
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library keeps what it has
        ctypes.CDLL(None).malloc_trim(0)


class Trimmer:
    """Trims once at least half of a crowd has left, or a crowd has come and is quiet.

    Args:
        reactor: for its clock.
        active: how many connections are open.
    """

    def __init__(self, reactor: Any, active: Callable[[], int], trim: Callable[[], None] = trim):
        self._active = active
        self._trim = trim
        self._peak = 0
        #: How many were there at the last trim, or fewer since; and at the last look.
        self._base = self._seen = 0
        self._loop = LoopingCall(self.look)
        self._loop.clock = reactor

    def start(self) -> None:
        """Look from now on."""
        self._loop.start(LOOK_SECONDS, now=False)

    def stop(self) -> None:
        """Look no more."""
        if self._loop.running:
            self._loop.stop()

    def look(self) -> None:
        """Compare with the highest number since the last trim."""
        active = self._active()
        quiet = abs(active - self._seen) < CROWD // 10
        self._seen = active
        self._peak = max(self._peak, active)
        self._base = min(self._base, active)
        left = self._peak - active >= max(CROWD, self._peak // 2)
        if left or (quiet and active - self._base >= CROWD):
            self._peak = self._base = active
            self._trim()
