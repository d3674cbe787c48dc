"""What the time of a refused login tells: nothing (S43)."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from math import sqrt

from tests.auth.people import HOME, PASSWORD, AuthTestCase
from tests.support.child import sized
from tlsgate.auth.lockout import Ladder, Ladders
from tlsgate.auth.passwords import Cost, Passwords
from tlsgate.errors import LoginFailed

#: For `tests.support.together`.
ALONE = "it measures times"

#: A chance of one in a hundred per comparison; a finding has to come twice.
LEVEL = 0.01

_FREE = Ladder(free=1 << 40, first_seconds=1, cap_seconds=1, forget_seconds=1)

WAYS = {
    "unknown": ("nobody", "not the right one"),
    "wrong password": ("alice", "not the right one"),
    "wrong code": ("alice", PASSWORD),
    "no password yet": ("fresh", "not the right one"),
}


def welch(one: Sequence[float], other: Sequence[float]) -> float:
    """The chance of so great a difference of means if there were none, for large samples."""
    spread = sqrt(statistics.variance(one) / len(one) + statistics.variance(other) / len(other))
    distance = abs(statistics.fmean(one) - statistics.fmean(other)) / spread
    return 2 * (1 - statistics.NormalDist().cdf(distance))


def usual(samples: Sequence[float]) -> list[float]:
    """Without the slowest tenth: what the machine did besides is no part of the answer."""
    return sorted(samples)[: len(samples) * 9 // 10]


class LoginsTimingTests(AuthTestCase):
    """Refused logins by the clock, with the hashes that the daemon makes."""

    def samples(self, count: int) -> dict[str, list[float]]:
        """The seconds of *count* logins of each way, in an order by chance."""
        found: dict[str, list[float]] = {way: [] for way in WAYS}
        order = [way for way in WAYS for _ in range(count)]
        random.shuffle(order)
        for way in order:
            name, password = WAYS[way]
            begun = time.perf_counter()
            self.fails(LoginFailed, self.users.check(name, password, "000000", HOME))
            found[way].append(time.perf_counter() - begun)
        return found

    def tells(self, count: int) -> set[str]:
        """The ways whose time differs from an unknown name's."""
        found = {way: usual(each) for way, each in self.samples(count).items()}
        unknown = found.pop("unknown")
        return {way for way, each in found.items() if welch(unknown, each) <= LEVEL}

    def test_the_time_tells_nothing(self) -> None:
        """Unknown, wrong password, wrong code, no password yet: no mean differs, twice."""
        self.make_user()
        self.run_now(self.users.add("fresh", ["access"]))
        strong = Passwords(self.in_thread, Cost())
        for part in (self.users._logins, self.invites):
            part._passwords = strong
        reset = self.run_now(self.users.reset("alice"))
        begun = self.run_now(self.users.begin_invite(reset.token))
        assert begun.secret is not None
        self.run_now(self.users.accept_invite(reset.token, PASSWORD, self.code(begun.secret)))
        self.lockout.ladders = Ladders(pair=_FREE, address=_FREE, user=_FREE)
        count = sized(60, 20_000)
        self.samples(5)  # caches are warm for all of them
        found = self.tells(count)
        if found:  # by chance, or a leak: a leak is there again
            found &= self.tells(count)
        self.assertEqual(found, set())
