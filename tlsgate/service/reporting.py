"""A gateway's process tells the auth service what it has open, its mode, and who has come.

1. It tells every `EACH_SECONDS`, and within `SOON_SECONDS` of a change of its mode or ports.
2. Its part of the ledger goes along, in small parts; more of it follows at once.
3. What the auth service has not taken is told again, as the same part with the same number.
4. An auth service that does not know this process is told of every open connection anew.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from tlsgate.core.ledger import Book, told
from tlsgate.errors import GateError
from tlsgate.interfaces import IAuthDoor

EACH_SECONDS: Final = 5.0
SOON_SECONDS: Final = 0.2
#: Parts of the ledger that follow each other without a pause.
_PARTS: Final = 20
#: After a failure; then twice as long, up to the last one.
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 1.0, 30.0
_PATH: Final = "/v1/gateway/report"


class Reporting:
    """See the module.

    Args:
        door: to the auth service.
        book: of this process; `look` is called before it is read.
        facts: what else is told: see `auth.ledgerbodies.ReportBody`, but for what is told here.
        clock: the reactor.
        now: seconds since the epoch.
    """

    log = Logger()

    def __init__(
        self,
        door: IAuthDoor,
        book: Book,
        facts: Callable[[], Mapping[str, Any]],
        clock: Any,
        look: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._door = door
        self._book = book
        self._facts = facts
        self._clock = clock
        self._look = look
        self._now = now
        self._boot = secrets.token_hex(8)
        self._started = now()
        self._call: IDelayedCall | None = None
        self._telling = False
        self._again = False
        self._leaving = False
        self._stopped = True
        self._failing = False
        self._wait_seconds = _FIRST_WAIT_SECONDS

    def start(self) -> None:
        """Tell from now on."""
        self._stopped = False
        self.at_once()

    def at_once(self) -> None:
        """Something has changed that others decide by."""
        if self._telling:
            self._again = True
        else:
            self._plan(SOON_SECONDS)

    def leave(self) -> None:
        """This process accepts no more; what it has counted is told in this turn, if it can be."""
        self._leaving = True
        if self._telling or self._stopped:
            self._again = True
            return
        if self._call is not None:
            self._call.cancel()
        self._begin()

    def stop(self) -> None:
        """Tell nothing more."""
        self._stopped = True
        if self._call is not None:
            self._call.cancel()
            self._call = None

    # -- inside --

    def _plan(self, seconds: float) -> None:
        if self._stopped:
            return
        if self._call is not None:
            if self._call.getTime() <= self._clock.seconds() + seconds:
                return
            self._call.cancel()
        self._call = self._clock.callLater(seconds, self._begin)

    def _begin(self) -> None:
        self._call = None
        self._telling, self._again = True, False
        Deferred.fromCoroutine(self._tell()).addBoth(self._told)

    def _told(self, wait: float | Failure) -> None:
        self._telling = False
        if isinstance(wait, Failure):
            self.log.failure("telling the auth service of this gateway", failure=wait)
            wait = self._failed("a bug of tlsgate; its log has the details")
        self._plan(min(wait, SOON_SECONDS) if self._again else wait)

    async def _tell(self) -> float:
        """Tell what is new; gives when to go on, in seconds."""
        self._look()
        self._book.stayed(self._now())
        wait = EACH_SECONDS
        for _ in range(_PARTS):
            part = self._book.news()
            body = {
                **self._facts(),
                "boot": self._boot,
                "started": self._started,
                "now": self._now(),
                "leaving": self._leaving,
                "number": part.number,
                "ledger": [told(row) for row in part.rows],
            }
            try:
                status, answer = await self._door.ask("POST", _PATH, body)
            except GateError as error:
                return self._failed(str(error))
            if status == 400:
                # It will not take these rows later either; the next ones it may.
                self._book.accepted()
            if status != 200 or not isinstance(answer, Mapping):
                return self._failed(f"it answers with status {status}")
            self._book.accepted()
            if not answer.get("known"):
                self._book.forgotten()
                continue
            if not part.more or self._stopped:
                break
        else:
            # A little later: until all is told nobody is told that he may close a port.
            wait = SOON_SECONDS
        self._failing = False
        self._wait_seconds = _FIRST_WAIT_SECONDS
        return wait

    def _failed(self, why: str) -> float:
        if not self._failing:
            self._failing = True
            self.log.error(
                "the auth service does not hear what this gateway serves: {why}", why=why
            )
        # Who leaves and is not heard for long is taken for gone.
        longest = EACH_SECONDS if self._leaving else _LONGEST_WAIT_SECONDS
        wait = min(self._wait_seconds, longest)
        self._wait_seconds = min(2 * wait, longest)
        return wait
