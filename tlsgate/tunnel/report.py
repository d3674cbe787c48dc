"""A gateway's word to the auth service of which agents it has.

1. A change is told a moment later, with whatever else changes meanwhile, and not again for
   `BETWEEN_SECONDS`: thousands may come at once.
2. Each minute all is told anew: an auth service that has started knows it a minute later.
3. Its answer says at which addresses agents reach the cluster's gateways.
4. What cannot be told is tried again with the next change, or the next minute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from tlsgate.errors import GateError
from tlsgate.interfaces import IAuthDoor

#: From a change to its report, and between two reports.
SOON_SECONDS: Final = 0.5
BETWEEN_SECONDS: Final = 5.0
EACH_SECONDS: Final = 60.0
#: Agents of one request; a body has a limit (1 MiB).
MOST: Final = 1000

#: Addresses of gateways that are passed on.
_GATEWAYS: Final = 256

_PATH: Final = "/v1/gateway/agents"


class Reports:
    """See the module.

    Args:
        door: to the auth service.
        sessions: gives `Tunnels.sessions()`.
        worker: of this process.
        clock: the reactor.
        heard: takes the addresses of gateways, where the auth service says them.
        followed: which revision of each authority is in force here.
    """

    log = Logger()

    def __init__(
        self,
        door: IAuthDoor,
        sessions: Callable[[], Sequence[Mapping[str, Any]]],
        worker: str,
        clock: Any,
        heard: Callable[[tuple[str, ...]], None],
        followed: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self._followed = followed
        self._heard = heard
        self._door = door
        self._sessions = sessions
        self._worker = worker
        self._clock = clock
        self._call: IDelayedCall | None = None
        self._told_at = float("-inf")
        self._telling = False
        self._again = False
        self._parts = 0
        self._failing = False
        self._stopped = False

    def changed(self) -> None:
        """Somebody has come or gone, or offers something else."""
        if self._telling:
            self._again = True
            return
        wait = max(SOON_SECONDS, self._told_at + BETWEEN_SECONDS - self._clock.seconds())
        self._plan(wait)

    def at_once(self) -> None:
        """Something that an operator waits for has been done."""
        if self._telling:
            self._again = True
        else:
            self._plan(SOON_SECONDS)

    def stop(self) -> None:
        """Tell nothing more."""
        self._stopped = True
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _plan(self, wait: float) -> None:
        """Tell in so many seconds, if nothing is planned sooner."""
        if self._stopped:
            return
        if self._call is not None:
            if self._call.getTime() <= self._clock.seconds() + wait:
                return
            self._call.cancel()
        self._call = self._clock.callLater(wait, self._begin)

    def _begin(self) -> None:
        self._call = None
        self._telling, self._again = True, False
        self._told_at = self._clock.seconds()
        Deferred.fromCoroutine(self._tell()).addErrback(self._bug).addCallback(self._done)

    async def _tell(self) -> None:
        rows = list(self._sessions())
        parts = [rows[at : at + MOST] for at in range(0, len(rows), MOST)] or [[]]
        # Parts that there are no more have nobody any more.
        asks = [*parts, *([[]] * (self._parts - len(parts)))]
        try:
            for number, part in enumerate(asks):
                worker = f"{self._worker}.{number}" if number else self._worker
                body = {
                    "worker": worker,
                    "agents": [{**row, "worker": worker} for row in part],
                    "authorities": dict(self._followed()),
                }
                status, answer = await self._door.ask("POST", _PATH, body)
                if status != 200:
                    self._failed(f"it answers with status {status}")
                    return
        except GateError as error:
            self._failed(str(error))
            return
        self._parts = len(parts)
        self._failing = False
        self._learn(answer)

    def _learn(self, answer: object) -> None:
        said = answer.get("gateways") if isinstance(answer, dict) else None
        if isinstance(said, list):
            self._heard(tuple(one for one in said[:_GATEWAYS] if isinstance(one, str)))

    def _failed(self, why: str) -> None:
        if not self._failing:
            self._failing = True
            self.log.error("the auth service does not hear which agents are here: {why}", why=why)

    def _bug(self, failure: Failure) -> None:
        self.log.failure("a report of agents", failure=failure)

    def _done(self, _: object) -> None:
        self._telling = False
        self._plan(EACH_SECONDS)
        if self._again:
            self.changed()
