"""Addresses that have not behaved, and how long they have to stay away.

An address that fails to log in is charged with seconds; what it is charged with next counts
double each time, until all of it has passed. Below a threshold nothing happens, so that a
wrong key or two keep nobody out.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

#: Below this many seconds of charge an address is not kept out.
THRESHOLD_SECONDS: Final = 15.0
#: The longest that an address is kept out for what it has done.
LONGEST_SECONDS: Final = 600.0
#: Addresses that are remembered; the oldest are forgotten first.
ADDRESSES: Final = 65_536
#: After so many charges they double no more.
_DOUBLINGS: Final = 10


class Penalties:
    """Charges by address.

    Args:
        now: seconds of a monotonic clock.
        most: how many addresses are remembered.
    """

    def __init__(self, now: Callable[[], float], most: int = ADDRESSES) -> None:
        self._now = now
        self._most = most
        #: Until when, and how often it was charged meanwhile.
        self._charged: dict[str, tuple[float, int]] = {}

    def charge(self, address: str, seconds: float, *, grows: bool = True) -> None:
        """Have *address* stay away for *seconds* more, or for more than that."""
        name, now = network(address), self._now()
        until, times = self._charged.pop(name, (now, 0))
        if until <= now:
            until, times = now, 0
        added = seconds * 2 ** min(times, _DOUBLINGS) if grows else seconds
        until = min(until + added, now + LONGEST_SECONDS)
        self._charged[name] = (until, times + grows)
        if len(self._charged) > self._most:
            del self._charged[next(iter(self._charged))]

    def forgive(self, address: str) -> None:
        """Forget what *address* has done: somebody there has proved who they are."""
        self._charged.pop(network(address), None)

    def owes(self, address: str) -> float:
        """How many seconds *address* has to stay away; 0.0: it may come."""
        name = network(address)
        until, _ = self._charged.get(name, (0.0, 0))
        left = until - self._now()
        if left <= 0:
            self._charged.pop(name, None)
        return left if left > THRESHOLD_SECONDS else 0.0

    def __len__(self) -> int:
        return len(self._charged)


def network(address: str) -> str:
    """What counts as one address: an IPv4 one itself, of IPv6 the /64 that a host may have."""
    try:
        found: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(IPv6Address(int(found) >> 64 << 64))
    return str(found)
