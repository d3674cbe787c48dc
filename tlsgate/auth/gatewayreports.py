"""What the processes of the cluster's gateways say of themselves, newest first, and kept.

1. Each process says it every few seconds, and at once when something has changed. Its part of
   the ledger comes along; both are written in one commit, where there is anything to write.
2. A part has a number: one that was taken already, whose answer got lost, counts no more.
3. How many came by each listener is kept minute by minute, for a day (`core.usage`).
4. Who has said nothing for `AWAY_SECONDS` is away: its connections count no more, and it stays
   in the list, so that an operator sees it. A process that another run has replaced is gone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from attrs import evolve, frozen
from twisted.internet.defer import DeferredLock

from tlsgate.auth.ledger import Ledger
from tlsgate.auth.opaque import pack, unpack
from tlsgate.core.gatewayreports import (
    SAME_CLOCK_SECONDS,
    GatewayReport,
    read_report,
    steady,
    told_report,
)
from tlsgate.core.keeping import ANY, Change, Delete, Put
from tlsgate.core.ledger import PART, Row
from tlsgate.core.usage import Usage, minute_of
from tlsgate.errors import GateError, TooMany
from tlsgate.interfaces import IStore

PREFIX: Final = "gateway-reports/"
#: By the hour, counted from the epoch.
USAGE: Final = "gateway-usage/"
#: How long somebody who says nothing is remembered.
LIFE_SECONDS: Final = 7 * 86400.0
#: A process that drains is not away, it is gone, when it has said nothing for so long.
LEFT_SECONDS: Final = 30.0
#: A process speaks every few seconds: one that has not for so long, and whose place another one
#: has, is gone whatever clocks say of which is the newer one.
SILENT_SECONDS: Final = 20.0
#: How old what is kept may be, of one who says the same again and again.
KEEP_SECONDS: Final = 60.0
#: How long an hour of the picture is kept.
USAGE_SECONDS: Final = 26 * 3600.0
#: Processes that are heard; more are refused.
MOST: Final = 1024
#: Of them, of one gateway: it may not take the places of others.
MOST_OF_ONE: Final = 256


@frozen(kw_only=True)
class _Said:
    report: GatewayReport
    number: int
    kept: float  #: when it was written


class Reports:
    """See the module.

    Args:
        store: where they are kept.
        ledger: that parts are added to.
    """

    def __init__(self, store: IStore, ledger: Ledger) -> None:
        self._ledger = ledger
        self._store = store
        self._said: dict[str, _Said] = {}
        #: Whose connections are known, from the part on with which they were told to say all.
        self._present: dict[str, int] = {}
        #: Of these, who has said all.
        self._whole: set[str] = set()
        self._turn = DeferredLock()
        self._listeners: list[Callable[[], None]] = []
        self.usage = Usage()
        #: The minute up to which it is kept.
        self._usage_kept = 0
        #: The latest moment that we have been asked at; before the first one, any may be kept.
        self._latest = math.inf

    async def start(self) -> None:
        """Read what is kept; before the first report.

        Raises:
            StoreFailed: it cannot be read.
        """
        await self._ledger.start(self._store)
        for item in await self._store.scan(PREFIX):
            try:
                kept = unpack(item.key, item.value)
                report, number = read_report(kept["report"]), int(kept["number"])
            except (GateError, KeyError, TypeError, ValueError):
                continue  # of another version: it says it again
            self._said[_key(report)] = _Said(report=report, number=number, kept=report.heard)
        for item in await self._store.scan(USAGE):
            with suppress(GateError):  # of another version: a picture has a gap
                self.usage.take(unpack(item.key, item.value))

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call *listener* when a gateway says something else than before, or is another one."""
        self._listeners.append(listener)

    def all(self, now: float) -> tuple[GatewayReport, ...]:
        """The newest process in each place of each gateway, by name; some may be away."""
        self._forget(now)
        newest: dict[tuple[str, str], GatewayReport] = {}
        for said in self._said.values():
            report = said.report
            place = (report.gateway, report.worker)
            if place not in newest or _rank(newest[place]) < _rank(report):
                newest[place] = report
        return tuple(newest[place] for place in sorted(newest))

    def rows(self, now: float) -> tuple[Row, ...]:
        """The ledger, with who is connected to a process that is heard."""
        self._forget(now)
        return self._ledger.rows()

    def unheard(self, now: float) -> tuple[str, ...]:
        """The gateways that are there, and have not said yet who is connected to them."""
        self._forget(now)
        found = {
            said.report.gateway
            for key, said in self._said.items()
            if key not in self._whole and not said.report.is_away(now)
        }
        return tuple(sorted(found))

    async def take(
        self, report: GatewayReport, number: int, rows: Sequence[Row], workers: int = 1
    ) -> bool:
        """Take what a process says; False: it has to say anew who is connected.

        Args:
            number: of its part of the ledger.
            rows: that part; counts are what is new.
            workers: processes that the gateway has.

        Raises:
            TooMany: there are too many processes.
            StoreFailed: it cannot be kept; nothing was taken.
        """
        await self._turn.acquire()
        try:
            return await self._take(report, number, rows, workers)
        finally:
            self._turn.release()

    # -- inside --

    async def _take(
        self, report: GatewayReport, number: int, rows: Sequence[Row], workers: int
    ) -> bool:
        now, key = report.heard, _key(report)
        self._forget(now)
        old = self._said.get(key)
        if old is not None:
            report = steady(report, old.report)
        gone = [one for one in self._said if one != key and self._is_replaced(one, report, workers)]
        own = sum(said.report.gateway == report.gateway for said in self._said.values())
        if old is None and len(self._said) - len(gone) >= MOST:
            raise TooMany("processes of gateways", MOST)
        if old is None and own - len(gone) >= MOST_OF_ONE:
            raise TooMany("processes of one gateway", MOST_OF_ONE)
        new = rows if old is None or number > old.number else ()
        fresh = self._ledger.accounts.fair(key, new)
        changed = self._ledger.merged(fresh)
        changes = [*self._ledger.changes(changed), *self._usage_changes(now)]
        other = old is None or not _same(old.report, report)
        kept = old.kept if old is not None else 0.0
        if changes or other or gone or now - kept >= KEEP_SECONDS:
            kept = now
            value = pack({"report": told_report(report), "number": number})
            changes.append(Put(PREFIX + key, value, ANY, now + LIFE_SECONDS))
            changes += [Delete(PREFIX + one) for one in gone]
            await self._store.commit(changes)
        self._ledger.accounts.apply(changed)
        self._said[key] = _Said(report=report, number=number, kept=kept)
        for one in gone:
            self._drop(one)
        # Until another part comes, our word that it has to say all may have got lost.
        known = number > self._present.setdefault(key, number)
        if len(rows) < PART and (known or (old is None and number <= 1)):
            self._whole.add(key)
        self._ledger.accounts.connected(key, rows)
        self._ledger.accounts.noted(key, fresh)
        self.usage.note(fresh, self._open(now), now)
        self._usage_kept = minute_of(now)
        if other or gone:
            for listener in self._listeners:
                listener()
        return known

    def _open(self, now: float) -> dict[str, int]:
        """Connections of all who are heard, by listener."""
        found: dict[str, int] = {}
        for key, said in self._said.items():
            report = said.report
            if report.is_away(now):
                continue
            there = {one.name: one.open for one in report.listeners}
            if report.leaving:  # it has no ports any more, but whom it carries still
                there = dict(self._ledger.accounts.by_listener(key))
            for name, count in there.items():
                found[name] = found.get(name, 0) + count
        return found

    def _usage_changes(self, now: float) -> list[Change]:
        """What to write of the minutes before this one."""
        minute = minute_of(now)
        if minute == self._usage_kept:
            return []
        hours = {self._usage_kept // 60, (minute - 1) // 60}
        told = {hour: self.usage.told(hour) for hour in sorted(hours)}
        return [
            Put(f"{USAGE}{hour}", pack(said), ANY, now + USAGE_SECONDS)
            for hour, said in told.items()
            if said
        ]

    def _is_replaced(self, key: str, by: GatewayReport, workers: int) -> bool:
        """Whether the process *key* cannot be there any more, now that *by* is heard."""
        one = self._said[key].report
        if one.gateway != by.gateway or by.leaving:
            return False
        if one.worker == by.worker:
            # By a clock that was set back the newer one seems to be the older.
            earlier = one.started <= by.started or by.heard - one.heard >= SILENT_SECONDS
            return earlier and not one.leaving
        return one.worker.isdigit() and int(one.worker) >= workers and one.is_away(by.heard)

    def _forget(self, now: float) -> None:
        """Nobody is connected any more to those who are not heard."""
        if now < self._latest - SAME_CLOCK_SECONDS:
            self._set_back(now)
            self._latest = now
        self._latest = max(self._latest, now)
        for key in list(self._present):
            report = self._said[key].report
            if report.is_away(now):
                self._nobody_at(key)
        for key, said in list(self._said.items()):
            silent = now - said.report.heard
            if silent >= LIFE_SECONDS or (said.report.leaving and silent >= LEFT_SECONDS):
                self._drop(key)

    def _set_back(self, now: float) -> None:
        """Our clock was ahead: nobody was heard or seen later than now, or it would stay so."""
        self._ledger.accounts.settle(now)
        for key, said in self._said.items():
            if said.report.heard > now:
                report = evolve(said.report, heard=now)
                self._said[key] = evolve(said, report=report, kept=min(said.kept, now))

    def _drop(self, key: str) -> None:
        del self._said[key]
        self._nobody_at(key)

    def _nobody_at(self, key: str) -> None:
        self._present.pop(key, None)
        self._whole.discard(key)
        self._ledger.accounts.gone(key)


def _key(report: GatewayReport) -> str:
    return f"{report.gateway}/{report.worker}/{report.boot}"


def _rank(report: GatewayReport) -> tuple[bool, float]:
    """Which of two processes in one place speaks for it: the greater."""
    return not report.leaving, report.started


def _same(one: GatewayReport, other: GatewayReport) -> bool:
    """Whether two reports say the same, but for when and for how many are connected."""

    def bare(report: GatewayReport) -> Any:
        listeners = tuple(evolve(listener, open=0) for listener in report.listeners)
        return evolve(report, heard=0.0, listeners=listeners)

    return bool(bare(one) == bare(other))
