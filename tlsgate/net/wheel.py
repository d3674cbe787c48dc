"""Deadlines of many connections on one coarse timer.

A reactor timer for each wait of each connection costs more than the wait is worth. Here
an item waits in the slot of its due tick; arming and dropping are one set operation
each, and one reactor timer turns the wheel while anything waits.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger


class Waiting(Protocol):
    """What waits on the wheel."""

    #: The slot it waits in; only the wheel writes it. 0: none.
    slot: int

    def due(self, now: float) -> float | None:
        """The wait is over; give seconds to wait again, or None."""


class Wheel:
    """Fires items at most one tick late, and never early.

    Args:
        clock: the reactor, or a test's `Clock`.
        tick_seconds: how coarse it is.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, tick_seconds: float = 0.25) -> None:
        self._clock = clock
        self._tick = tick_seconds
        self._slots: dict[int, set[Waiting]] = {}
        self._turned = self._ticks()
        self._call: IDelayedCall | None = None

    def arm(self, item: Waiting, seconds: float) -> None:
        """Call `item.due` after *seconds*; a wait that it had is dropped."""
        if item.slot:
            self.drop(item)
        slot = int((self._clock.seconds() + seconds) / self._tick) + 1
        item.slot = slot
        waiting = self._slots.get(slot)
        if waiting is None:
            self._slots[slot] = {item}
            if self._call is None:
                self._turned = self._ticks()
                self._call = self._clock.callLater(self._tick, self._turn)
        else:
            waiting.add(item)

    def drop(self, item: Waiting) -> None:
        """Forget the wait of *item*, if it has one."""
        if item.slot:
            waiting = self._slots.get(item.slot)
            if waiting is not None:
                waiting.discard(item)
            item.slot = 0

    def waiting(self) -> int:
        """How many items wait."""
        return sum(map(len, self._slots.values()))

    def stop(self) -> None:
        """Stop turning and forget everything."""
        self._slots.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _ticks(self) -> int:
        return int(self._clock.seconds() / self._tick)

    def _turn(self) -> None:
        self._call = None
        now = self._clock.seconds()
        upto = self._ticks()
        for slot in range(self._turned + 1, upto + 1):
            # Items may drop others of the same slot while they run.
            waiting = self._slots.get(slot)
            while waiting:
                item = waiting.pop()
                item.slot = 0
                try:
                    again = item.due(now)
                except Exception:
                    self._log.failure("a deadline failed; this is a bug")
                else:
                    if again is not None:
                        self.arm(item, again)
            self._slots.pop(slot, None)
        self._turned = upto
        if self._slots and self._call is None:
            self._call = self._clock.callLater(self._tick, self._turn)
