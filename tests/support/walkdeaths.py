"""Deaths of a gateway, or of one of its workers, and whom they excuse."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from attrs import define, field

from tests.support.walkdials import Attempt

#: A gateway that is there again serves within this time by every way.
BACK_SECONDS = 3.0


@define
class Deaths:
    """When something was dead, for what; and when it was ready again."""

    outages: list[tuple[float, float, Collection[str]]] = field(factory=list)

    @contextmanager
    def one(self, kinds: Collection[str] = ()) -> Iterator[None]:
        """One more; within, it is killed and comes back.

        Args:
            kinds: of ways that cannot work without it; none: no way can.
        """
        began = time.monotonic()
        yield
        self.outages.append((began, time.monotonic(), kinds))

    def wrong(self, attempts: Iterable[Attempt]) -> list[str]:
        """Those of *attempts* that no death excuses, for a message."""
        return [self._told(one) for one in attempts if not self.excuse(one)]

    def excuse(self, one: Attempt) -> bool:
        """Whether it was dead in some part of that attempt, or just there again."""
        return any(
            one.began <= ready + BACK_SECONDS
            and one.began + one.seconds >= gone
            and (not kinds or one.way.kind in kinds)
            for gone, ready, kinds in self.outages
        )

    def _told(self, one: Attempt) -> str:
        ago = [one.began - ready for _, ready, _ in self.outages if ready <= one.began]
        after = f"{min(ago):.1f} s after it was there again" if ago else "before any death"
        return f"{one} ({after})"
