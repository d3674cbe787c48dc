"""How many cookies that nobody knows one address may show before it has to wait.

Each of them is a question to the auth service, which everybody needs. A cookie that turns out to
be a session's costs nothing, and a session that is known here is never asked for by this. One that
was nobody's a moment ago still is: pages that go on asking after a logout cost nobody anything.
"""

from __future__ import annotations

from typing import Final

from twisted.internet.interfaces import IReactorTime

from tlsgate.core.penalties import network

#: So many in so many seconds: a company behind one address comes back after a restart of all.
COOKIES: Final = 60
SECONDS: Final = 10.0
#: Addresses that are remembered; who comes first is forgotten first.
_ADDRESSES: Final = 4096
#: So long a cookie that was nobody's is not asked about again, and so many are remembered.
_DEAD_SECONDS: Final = 5.0
_DEAD: Final = 4096


class Strangers:
    """One gateway's, by address (IPv6 by its /64)."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        #: When its time began, and how many it has shown since.
        self._shown: dict[str, tuple[float, int]] = {}
        self._dead: dict[object, float] = {}

    def may_ask(self, address: str | None) -> bool:
        """Count a cookie that is not known here; False: *address* has to wait."""
        name, now = network(address or ""), self._clock.seconds()
        since, count = self._shown.get(name, (now, 0))
        if now - since > SECONDS:
            self._shown.pop(name)
            since, count = now, 0
        if count >= COOKIES:
            return False
        if len(self._shown) >= _ADDRESSES and name not in self._shown:
            del self._shown[next(iter(self._shown))]
        self._shown[name] = (since, count + 1)
        return True

    def was_good(self, address: str | None) -> None:
        """The cookie was a session's: it does not count."""
        name = network(address or "")
        if (found := self._shown.get(name)) is not None:
            since, count = found
            self._shown[name] = (since, max(0, count - 1))

    def was_bad(self, shown: object) -> None:
        """What was *shown* is nobody's."""
        if len(self._dead) >= _DEAD:
            del self._dead[next(iter(self._dead))]
        self._dead[shown] = self._clock.seconds()

    def is_bad(self, shown: object) -> bool:
        """Whether it was nobody's a moment ago."""
        at = self._dead.get(shown)
        if at is not None and self._clock.seconds() - at > _DEAD_SECONDS:
            del self._dead[shown]
            at = None
        return at is not None
