"""Plain counters of what the gateway did; `/metrics` and `tgctl` read them.

They are bare integers, because a locked, labelled counter for every event would cost a
connection more than its log line does.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final

#: Upper bounds of the handshake histogram, in seconds.
BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Tally:
    """Counts since the process began.

    Attributes:
        accepted: connections, by listener.
        active: connections open now, by listener.
        refused: connections refused, by (listener, reason).
        handshakes: TLS handshakes, by (listener, "ok" or "failed").
        uses: connections [that were let through, open now], by (listener, transport), as the
            ledger knows them.
        carried: bytes [to the target, to the client], by (route, listener).
        handshake_seconds: how many took at most `BUCKETS[i]`, not cumulated; the last
            place is for those that took longer.
        handshake_seconds_sum: the sum over all of them.
    """

    def __init__(self) -> None:
        self.accepted: defaultdict[str, int] = defaultdict(int)
        self.active: defaultdict[str, int] = defaultdict(int)
        self.refused: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.handshakes: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.uses: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
        self.carried: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
        self.handshake_seconds = [0] * (len(BUCKETS) + 1)
        self.handshake_seconds_sum = 0.0

    def shaken(self, listener: str, seconds: float) -> None:
        """A handshake is done after *seconds*."""
        self.handshakes[listener, "ok"] += 1
        self.handshake_seconds_sum += seconds
        for place, bound in enumerate(BUCKETS):
            if seconds <= bound:
                self.handshake_seconds[place] += 1
                return
        self.handshake_seconds[-1] += 1
