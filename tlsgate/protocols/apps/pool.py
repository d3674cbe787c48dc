"""Kept connections to targets: per identity and application, and never between two (S26).

A connection is taken out while it serves a request, and put back when the answer was whole.
The agent has judged its user when it was opened; so it is for exactly that certificate, and a
request is judged here each time before it may use one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from attrs import frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from tlsgate.protocols.apps.link import Link

#: Targets close what is silent, some after five seconds; a request that crosses that close
#: would be lost.
_REST_SECONDS: Final = 4.0
#: What waits for one identity at one application, and in all.
_EACH: Final = 16
_ALL: Final = 1024
_SWEEP_SECONDS: Final = 1.0
#: However busy: an agent looks at who its user is when a connection begins.
_AGE_SECONDS: Final = 300.0


@frozen
class Key:
    """Who, and what.

    Attributes:
        app: name of the application.
        certificate: SHA-256 of what the agent has been shown.
        session: of a browser; "" where there is none.
    """

    app: str
    certificate: bytes
    session: str = ""


@lru_cache(maxsize=1024)
def fingerprint(certificate: bytes) -> bytes:
    """SHA-256 of a certificate; every request of a connection asks for that of the same one."""
    return hashlib.sha256(certificate).digest()


class Pool:
    """See the module."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._idle: dict[Key, list[Link]] = {}
        self._count = 0
        self._sweeping: IDelayedCall | None = None

    def take(self, key: Key, *, fresh_seconds: float = _REST_SECONDS) -> Link | None:
        """Give the connection that was used last, no longer ago than *fresh_seconds*."""
        links = self._idle.get(key)
        limit = self._clock.seconds() - fresh_seconds
        while links:
            link = links.pop()
            self._count -= 1
            link.on_gone = None
            if not links:
                del self._idle[key]
            if link.idle and link.idle_since >= limit:
                return link
            link.close()
        return None

    def put(self, key: Key, link: Link) -> None:
        """Keep *link*, which is idle, unless there are enough, or it is too old."""
        now = self._clock.seconds()
        links = self._idle.setdefault(key, [])
        if (
            not link.idle
            or now - link.born > _AGE_SECONDS
            or self._count >= _ALL
            or len(links) >= _EACH
        ):
            link.close()
        else:
            link.idle_since = now
            link.on_gone = self._forgetting(key)
            links.append(link)
            self._count += 1
            if self._sweeping is None:
                self._sweeping = self._clock.callLater(_SWEEP_SECONDS, self._sweep)
        if not links:
            del self._idle[key]

    def drop(self, meant: Callable[[Key], bool]) -> None:
        """End what is kept under every key that *meant* is true of."""
        for key in [one for one in self._idle if meant(one)]:
            for link in self._idle.pop(key):
                self._count -= 1
                link.on_gone = None
                link.close()

    def stop(self) -> None:
        """End all."""
        self.drop(lambda _: True)
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    def __len__(self) -> int:
        """How many wait."""
        return self._count

    def _forgetting(self, key: Key) -> Callable[[Link], None]:
        def forget(link: Link) -> None:
            links = self._idle.get(key, [])
            if link in links:
                links.remove(link)
                self._count -= 1
                if not links:
                    del self._idle[key]

        return forget

    def _sweep(self) -> None:
        self._sweeping = None
        limit = self._clock.seconds() - _REST_SECONDS
        for key, links in list(self._idle.items()):
            for link in [one for one in links if one.idle_since < limit]:
                links.remove(link)
                self._count -= 1
                link.on_gone = None
                link.close()
            if not links:
                del self._idle[key]
        if self._idle:
            self._sweeping = self._clock.callLater(_SWEEP_SECONDS, self._sweep)
