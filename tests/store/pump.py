"""A test's own reactor for a store with its thread: calls from the thread, one by one."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from tests.support.child import PATIENCE_SECONDS


class Pump:
    """Runs what a thread hands over; `put` is its `callFromThread`."""

    def __init__(self) -> None:
        self._calls: queue.Queue[Callable[[], None]] = queue.Queue()
        self.put = self._calls.put

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> list[Any]:
        """Begin *coroutine*; gives a list that holds its result once there is one."""
        results: list[Any] = []
        Deferred.fromCoroutine(coroutine).addBoth(results.append)
        return results

    def one(self) -> None:
        """Make one call; wait for it when there is none."""
        self._calls.get(timeout=PATIENCE_SECONDS)()

    def until(self, there: Callable[[], object]) -> None:
        """Make calls until *there()*."""
        end = time.monotonic() + 4 * PATIENCE_SECONDS
        while not there():
            assert time.monotonic() < end, "the store does not come to an end"
            self.one()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """The result of *coroutine*."""
        results = self.start(coroutine)
        self.until(lambda: results)
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]
