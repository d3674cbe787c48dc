"""What an agent has to tell the cluster's audit trail, on its way to the auth service.

It is told in small parts, in order, and again until the auth service has taken it: one that is
away costs nothing but time, and nobody who is served waits for it. Only so much is kept; what
the bound has dropped is told as a number. A part that it refuses is told in halves: what one of
them cannot be read for does not take the others with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from tlsgate.errors import GateError

#: So many are kept while nobody takes them.
KEPT: Final = 1000
#: So many are told at once; the auth service takes no more.
PART: Final = 50
#: What happens within this time is told at once.
GATHER_SECONDS: Final = 0.25
#: Between two tries.
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 1.0, 30.0

#: Asks the auth service: method, path, body; gives status and answer.
Tell = Callable[[str, str, Mapping[str, Any]], Awaitable[tuple[int, Any]]]


class Telling:
    """See the module.

    Args:
        tell: to the auth service; may raise a `GateError`.
        clock: for timers.
        path, key: of the verb, and of the list in its body.
        what: they are, for the log.
    """

    log = Logger()

    def __init__(self, tell: Tell, clock: IReactorTime, *, path: str, key: str, what: str) -> None:
        self._tell = tell
        self._clock = clock
        self._path = path
        self._key = key
        self._what = what
        self._kept: deque[Mapping[str, Any]] = deque()
        self._lost = 0
        self._part = PART  #: of which the next one has so many
        self._due: IDelayedCall | None = None
        self._telling = False
        self._stopped = False
        self._wait_seconds = _FIRST_WAIT_SECONDS

    @property
    def is_full(self) -> bool:
        """Whether another one would be lost."""
        return len(self._kept) >= KEPT

    def put(self, one: Mapping[str, Any]) -> None:
        """Tell *one* soon, in JSON types."""
        if self._stopped:
            return
        if self.is_full:
            self._lost += 1
            return
        self._kept.append(one)
        self._soon(GATHER_SECONDS)

    def lose(self) -> None:
        """Count one that was not made, since `is_full`."""
        self._lost += 1

    def stop(self) -> None:
        """Tell nothing more."""
        self._stopped = True
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _soon(self, seconds: float) -> None:
        if self._due is None and not self._telling and not self._stopped:
            self._due = self._clock.callLater(seconds, self._begin)

    def _begin(self) -> None:
        self._due = None
        self._telling = True
        Deferred.fromCoroutine(self._told_part()).addBoth(self._ended)

    def _ended(self, result: float | Failure) -> None:
        self._telling = False
        if isinstance(result, Failure):
            self.log.failure("telling the auth service of {what}", failure=result, what=self._what)
            result = self._later()
        if self._kept or self._lost:
            self._soon(result)

    async def _told_part(self) -> float:
        """Tell one part; gives when to go on, in seconds."""
        part = [self._kept[index] for index in range(min(self._part, len(self._kept)))]
        # The number goes with the last ones: it is told when everything before it is.
        lost = self._lost if len(part) == len(self._kept) else 0
        try:
            status, answer = await self._tell("POST", self._path, {self._key: part, "lost": lost})
        except GateError:
            return self._later()
        if status == 200 and isinstance(answer, dict):
            self._part = min(PART, 2 * self._part)
            taken = min(int(answer.get("taken", 0)), len(part))
            for _ in range(taken):
                self._kept.popleft()
            if taken == len(part):
                self._lost -= lost
                self._wait_seconds = _FIRST_WAIT_SECONDS
                return GATHER_SECONDS
            return max(GATHER_SECONDS, min(float(answer.get("wait_seconds", 1.0)), 60.0))
        if status == 400 and len(part) > 1:
            self._part = len(part) // 2
            return 0.0
        if status == 400 and part:
            self.log.warn(  # noqa: G010 -- Twisted's own name
                "the auth service cannot read one of the {what}: it is not in its trail",
                what=self._what,
            )
            self._kept.popleft()
            self._lost += 1
            return GATHER_SECONDS
        if status in (400, 404, 405):
            # It will not take these later either: it is of another version.
            self.log.warn(  # noqa: G010 -- Twisted's own name
                "the auth service takes no {what} (status {status}): {count} are not in its trail",
                what=self._what,
                status=status,
                count=len(part) + lost,
            )
            for _ in part:
                self._kept.popleft()
            self._lost -= lost
        return self._later()

    def _later(self) -> float:
        wait, longest = self._wait_seconds, _LONGEST_WAIT_SECONDS
        self._wait_seconds = min(2 * wait, longest)
        return wait
