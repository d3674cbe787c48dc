"""The streams of one agent's session: which are idle, who waits for one, how many to have.

1. `take` gives an idle stream to a waiter at once. Where there is none, the waiter waits, and
   the agent is asked for more; so it is when fewer are idle than should be spare.
2. A stream that has become idle, or has come, serves who has waited longest.
3. How many should be spare adapts: as many more as had to wait at once, up to `MOST_SPARES`;
   a period in which nobody had to wait halves it.
4. Of the streams that nobody has used for a whole period those that are more than spare are
   closed. Only this side closes one: an agent that has too many asks for it (`retire`).

Streams serve the newest first, so that those that are not needed are left alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from tlsgate.errors import AgentBusy, GateError
from tlsgate.net.wheel import Wheel

#: The most that are kept spare, however many had to wait.
MOST_SPARES: Final = 32
#: Clients that wait for a stream of one agent.
MOST_WAITING: Final = 256
#: After which streams that were asked for and have not come are asked for again.
_OPEN_SECONDS: Final = 10.0
#: Between two looks at how many are needed.
_PERIOD_SECONDS: Final = 10.0


class Stream(Protocol):
    """What the pool does to a stream; `tunnel.stream.GatewayStream` has more."""

    @property
    def usable(self) -> bool:
        """False: it must not serve any more, and is to be closed."""

    def close(self) -> None:
        """Retire it: it is idle."""

    def abort(self, cause: str) -> None:
        """Cut it, whatever it carries."""


class Waiter(Protocol):
    """Somebody who needs a stream."""

    def given(self, stream: Stream) -> None:
        """It is the waiter's until it is idle again."""

    def missed(self, error: GateError) -> None:
        """There will be none."""


class Pool:
    """See the module.

    Args:
        name: of the agent, for errors.
        spares: how many are spare while nobody has to wait.
        most: how many there may be in all.
        ask: asks the agent to open so many more.
        wheel, now: for the periods.
    """

    __slots__ = (
        "_ask",
        "_idle",
        "_least_idle",
        "_most",
        "_name",
        "_now",
        "_opening",
        "_opening_until",
        "_spares",
        "_waited",
        "_waiting",
        "_wheel",
        "busy",
        "closed",
        "slot",
        "spares",
    )

    def __init__(
        self,
        name: str,
        *,
        spares: int,
        most: int,
        ask: Callable[[int], None],
        wheel: Wheel,
        now: Callable[[], float],
    ) -> None:
        self._name = name
        #: How many are spare in quiet times, and now.
        self._spares = self.spares = spares
        self._most = most
        self._ask = ask
        self._wheel = wheel
        self._now = now
        self._idle: list[Stream] = []
        self._waiting: deque[Waiter] = deque()
        self.busy: set[Stream] = set()
        #: Streams that were asked for and have not come. An agent opens the first by itself.
        self._opening = spares
        self._opening_until = now() + _OPEN_SECONDS
        self._least_idle = 0
        self._waited = False
        self.closed = False
        self.slot = 0

    @property
    def idle(self) -> int:
        """How many streams are idle."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """How many wait for one."""
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """True where there may be no more streams."""
        return len(self._idle) + len(self.busy) >= self._most

    # -- who needs one --

    def take(self, waiter: Waiter) -> None:
        """Give a stream to *waiter*, now or later; or nobody more can wait."""
        while self._idle:
            stream = self._idle.pop()
            if not stream.usable:
                stream.close()
                continue
            self._least_idle = min(self._least_idle, len(self._idle))
            self.busy.add(stream)
            self._want_more()
            waiter.given(stream)
            return
        if self.closed:
            waiter.missed(AgentBusy(self._name, "its tunnel is being closed"))
        elif len(self._waiting) >= MOST_WAITING:
            why = f"{MOST_WAITING} clients wait for it already"
            waiter.missed(AgentBusy(self._name, why))
        else:
            self._least_idle = 0
            self._waited = True
            self._waiting.append(waiter)
            self.spares = min(MOST_SPARES, max(self.spares, self._spares + len(self._waiting)))
            self._want_more()
            self._watch()

    def forget(self, waiter: Waiter) -> None:
        """*waiter* needs none any more."""
        if waiter in self._waiting:
            self._waiting.remove(waiter)

    # -- streams --

    def added(self, stream: Stream) -> None:
        """A stream has come."""
        if self._opening:
            self._opening -= 1
        self._free(stream)

    def returned(self, stream: Stream) -> None:
        """A stream that was given is idle again."""
        if stream in self.busy:
            self.busy.discard(stream)
            self._free(stream)

    def lost(self, stream: Stream) -> None:
        """A stream has ended."""
        self.busy.discard(stream)
        if stream in self._idle:
            self._idle.remove(stream)
            self._least_idle = min(self._least_idle, len(self._idle))
        self._want_more()

    def retire(self, count: int) -> None:
        """Close *count* idle streams, because the agent would like that; some stay spare."""
        self.spares = self._spares
        self._give_up(min(count, len(self._idle) - self._spares))

    def look(self) -> None:
        """Ask again for what was asked for and has not come."""
        self._want_more()

    def shut(self) -> None:
        """Serve nobody more: idle streams are closed, and who waits gets none."""
        self.closed = True
        self._wheel.drop(self)
        waiting, self._waiting = self._waiting, deque()
        idle, self._idle = self._idle, []
        for stream in idle:
            stream.close()
        for waiter in waiting:
            waiter.missed(AgentBusy(self._name, "its tunnel is being closed"))

    def cut(self, cause: str) -> None:
        """End everything."""
        self.shut()
        busy, self.busy = self.busy, set()
        for stream in busy:
            stream.abort(cause)

    # -- inside --

    def due(self, now: float) -> float | None:
        """The wheel calls this: a period is over."""
        waited, self._waited = self._waited, False
        if not waited:
            self.spares = max(self._spares, self.spares // 2)
        self._give_up(self._least_idle - self.spares)
        self._least_idle = len(self._idle)
        self._want_more()
        needless = self._least_idle > self._spares or self.spares > self._spares
        return _PERIOD_SECONDS if needless or self._waiting else None

    def _free(self, stream: Stream) -> None:
        if self.closed or not stream.usable:
            stream.close()
            self._want_more()
        elif self._waiting:
            self.busy.add(stream)
            self._waiting.popleft().given(stream)
        else:
            self._idle.append(stream)
            self._watch()

    def _watch(self) -> None:
        """Look after a period, where there is something to look for."""
        if not self.slot and (self._waiting or len(self._idle) > self._spares):
            self._wheel.arm(self, _PERIOD_SECONDS)
            self._least_idle = len(self._idle)

    def _give_up(self, count: int) -> None:
        """Close the *count* streams that have been idle longest."""
        if count > 0:
            needless, self._idle = self._idle[:count], self._idle[count:]
            for stream in needless:
                stream.close()

    def _want_more(self) -> None:
        if self.closed:
            return
        now = self._now()
        if now >= self._opening_until:
            self._opening = 0  # they do not come any more
        lacks = len(self._waiting) + self.spares - len(self._idle) - self._opening
        room = self._most - len(self._idle) - len(self.busy) - self._opening
        count = min(lacks, room)
        if count > 0:
            self._opening += count
            self._opening_until = now + _OPEN_SECONDS
            self._ask(count)
