"""Jobs in a line: one thread serves them, all that wait at a time.

1. `put` appends a job, from any thread, and returns at once;
2. the thread takes all that wait and serves them together: so one fsync does for many;
3. `take` gives a long job what has come meanwhile, to serve it in between;
4. `stop` lets the thread serve what is there, and joins it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

J = TypeVar("J")

#: Served together at most; more would make the first wait for the last.
_TOGETHER = 256


class Line(Generic[J]):
    """A thread with its waiting jobs.

    Args:
        serve: called in the thread with the jobs, in order; with none after `idle` seconds.
            It raises nothing.
        idle: seconds after which the thread looks up without a job; None: it need not.
        name: of the thread.
    """

    def __init__(
        self,
        serve: Callable[[Sequence[J]], None],
        idle: Callable[[], float | None],
        name: str = "store",
    ) -> None:
        self._serve = serve
        self._idle = idle
        self._waiting: deque[J] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def put(self, job: J) -> bool:
        """Append *job*; False: it came too late."""
        with self._changed:
            if self._stopping:
                return False
            self._waiting.append(job)
            self._changed.notify()
            return True

    def take(self) -> list[J]:
        """Take what waits now; only from within `serve`."""
        with self._changed:
            return self._some()

    def stop(self) -> None:
        """Take no more jobs, serve those that wait, and end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _some(self) -> list[J]:
        count = min(len(self._waiting), _TOGETHER)
        return [self._waiting.popleft() for _ in range(count)]

    def _run(self) -> None:
        while True:
            seconds = self._idle()
            with self._changed:
                if not self._waiting and not self._stopping:
                    self._changed.wait(seconds)
                jobs = self._some()
                if not jobs and self._stopping:
                    return
            self._serve(jobs)


class AtOnce(Generic[J]):
    """The same without a thread: a job is served within `put`."""

    def __init__(self, serve: Callable[[Sequence[J]], None]) -> None:
        self._serve = serve
        self._stopped = False

    def start(self) -> None:
        """Nothing is to be done."""

    def put(self, job: J) -> bool:
        """Serve *job*; False: it came too late."""
        if not self._stopped:
            self._serve([job])
        return not self._stopped

    def take(self) -> list[J]:
        """Nothing ever waits."""
        return []

    def stop(self) -> None:
        """Take no more jobs."""
        self._stopped = True
