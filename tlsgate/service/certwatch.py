"""Keep the certificates in force fresh, and say in time when they end.

1. Every `keypairs_reload_seconds` the files are looked at. When one has changed the whole
   gate is built anew from the same settings and swapped in.
2. When that fails, pairs that can be read are taken up one by one and the last good ones
   stay for the rest; the log says which and why.
3. Once an hour: a line for each certificate that has passed a third, a tenth, or the whole
   of its lifetime, when it passes and once a day afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger, LogLevel

from tlsgate.config.settings import Settings
from tlsgate.errors import GateError
from tlsgate.service.reload import FileWatch
from tlsgate.tls.certs import CertificateStore

_HOUR, _DAY = 3600.0, 86400.0

_SAYINGS = {
    "third": (LogLevel.info, "has less than a third of its lifetime left"),
    "tenth": (LogLevel.warn, "has less than a tenth of its lifetime left"),
    "expired": (LogLevel.error, "has expired"),
}


class CertificateWatch:
    """Watches the files of the settings in force.

    Args:
        reactor: for its clock.
        store: gives the certificates in force.
        renew: builds the gate anew and swaps it in; raises `GateError`.
        busy: true while a reload is under way, which reads the files anyway.
        tells: this process is the one that logs about lifetimes.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        *,
        store: Callable[[], CertificateStore],
        renew: Callable[[], Awaitable[None]],
        busy: Callable[[], bool],
        tells: bool,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._renew = renew
        self._busy = busy
        self._tells = tells
        self._now = now
        self._watch: FileWatch | None = None
        self._told: dict[tuple[str, str], float] = {}
        self._look = LoopingCall(self.look)
        self._hourly = LoopingCall(self.hourly)
        self._look.clock = self._hourly.clock = reactor

    def follow(self, settings: Settings) -> None:
        """Watch the files of *settings* from now on."""
        self._watch = FileWatch(settings)
        if self._look.running:
            self._look.stop()
        if settings.keypairs_reload_seconds > 0:
            self._look.start(settings.keypairs_reload_seconds, now=False)
        if not self._hourly.running:
            self._hourly.start(_HOUR)

    def stop(self) -> None:
        """Watch no more."""
        for loop in (self._look, self._hourly):
            if loop.running:
                loop.stop()

    def look(self) -> Deferred[None] | None:
        """See whether a file has changed, and take it up."""
        if self._busy() or self._watch is None or not self._watch.changed():
            return None
        return Deferred.fromCoroutine(self._take_up())

    async def _take_up(self) -> None:
        try:
            await self._renew()
        except GateError as e:
            store = self._store()
            some = store.reload()
            self.log.error(
                "certificate files have changed and not all can be used; {rest}: {error}",
                rest="those that can are in use" if some else "the last good ones stay",
                error="; ".join(store.trouble) or str(e),
            )
        except Exception:
            self.log.failure("certificate files have changed")
        else:
            self.log.info("certificate files have changed and are in use")

    def hourly(self) -> None:
        """Renew what is ours to renew, and tell what ends soon."""
        store, now = self._store(), self._now()
        store.reload()
        if not self._tells:
            return
        for life, notice in store.notices(now):
            key = (life.file, notice)
            if now - self._told.get(key, float("-inf")) < _DAY:
                continue
            self._told[key] = now
            level, saying = _SAYINGS[notice]
            self.log.emit(
                level,
                "certificate {file} for {names} {saying}: it ends {ends}",
                file=life.file,
                names=", ".join(life.names),
                saying=saying,
                ends=datetime.fromtimestamp(life.not_after, UTC).isoformat(),
            )
