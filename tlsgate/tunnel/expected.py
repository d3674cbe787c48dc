"""What agents offered before this process began: those who ask for it wait for the agent.

A process that takes another one's place has no agents for a moment; they are told to dial
anew, and come within a second. Until an agent is back, or `EXPECT_SECONDS` are over, what it
offered counts as offered, and who wants it waits. Its own word decides as soon as it is here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol

from tlsgate.core.offers import Offer

#: For how long agents are expected.
EXPECT_SECONDS: Final = 10.0
#: Clients that wait for agents, all together.
MOST_WAITING: Final = 1024


class Waiter(Protocol):
    """Somebody who wants what is expected."""

    def came(self) -> None:
        """It is offered now; called once."""


class Expected:
    """See the module.

    Args:
        now: seconds of a monotonic clock.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._until = 0.0
        self._offers: dict[tuple[str, str], Offer] = {}
        self._waiting: dict[Waiter, tuple[str, str]] = {}

    def expect(self, offers: Iterable[Offer], seconds: float = EXPECT_SECONDS) -> None:
        """Take *offers* for offered until they are, or time is over."""
        self._until = self._now() + seconds
        self._offers = {(one.kind, one.name): one for one in offers}

    def offers(self, kind: str) -> list[Offer]:
        """What of *kind* is not back yet."""
        return [one for one in self._left().values() if one.kind == kind]

    def offer(self, kind: str, name: str) -> Offer | None:
        """One of them."""
        return self._left().get((kind, name))

    def wait(self, kind: str, name: str, waiter: Waiter) -> bool:
        """Tell *waiter* once it is there; False: it is not expected, or too many wait."""
        if self.offer(kind, name) is None or len(self._waiting) >= MOST_WAITING:
            return False
        self._waiting[waiter] = (kind, name)
        return True

    def forget(self, waiter: Waiter) -> None:
        """*waiter* waits no more, if it did."""
        self._waiting.pop(waiter, None)

    def came(self, kind: str, name: str) -> None:
        """An agent offers it."""
        self._offers.pop((kind, name), None)
        if self._waiting:
            told = [one for one, wanted in self._waiting.items() if wanted == (kind, name)]
            for one in told:
                if self._waiting.pop(one, None) is not None:
                    one.came()

    def _left(self) -> dict[tuple[str, str], Offer]:
        if self._offers and self._now() >= self._until:
            self._offers = {}
        return self._offers
