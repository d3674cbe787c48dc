"""Which agents a gateway asks to come by another way, and when: in waves, behind a gate.

1. `Advice` is the operator's word, which the auth service keeps: everybody, or some by label
   or by percentage, or nobody for now.
2. `Waves` picks who is asked next. The first wave is one agent, the next ones grow; none begins
   before everybody of the one before it has a new tunnel that works.
3. An agent that has none in time, or says that it cannot, stays where it is and is named, and
   no wave follows until it has come after all, or the operator has spoken again.
4. Who stands at a port that closes is asked whatever the advice is: what is there ends.

A percentage picks by the agent's name, so that all gateways, and their workers, pick the same
agents, and a larger one takes in all that a smaller one did.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeGuard

from attrs import define, field, frozen

from tlsgate.errors import BadBytes

#: Agents of the first waves, and of all that follow.
SIZES: Final = (1, 5, 25, 50)
#: Agents a second that are asked: each dials anew.
RATE: Final = 50
#: How long an agent has for a tunnel that works.
WAIT_SECONDS: Final = 20.0
#: From a change to the first wave: the other gateways hear of it meanwhile.
SOON_SECONDS: Final = 0.25
#: After which an agent that was asked, and came back by the old way, is asked again.
AGAIN_SECONDS: Final = 1.0
#: Tries of an agent that fail before it is believed that it cannot.
TRIES: Final = 2

#: An agent's name and its roles: who that is on this gateway.
Key = tuple[str, tuple[str, ...]]


@frozen(kw_only=True)
class Advice:
    """See the module.

    Attributes:
        percent: of the agents, 0 to 100.
        labels: one of an agent's offers has all of these; {}: whatever it has.
        paused: nobody is asked now.
        number: of the operator's word; who has failed before is asked again by a newer one.
    """

    percent: int = 100
    labels: Mapping[str, str] = field(factory=dict)
    paused: bool = False
    number: int = 0

    def concerns(self, name: str, labels: Iterable[Mapping[str, str]]) -> bool:
        """Whether it is meant for the agent *name*, whose offers have these *labels*."""
        if bucket(name) >= self.percent:
            return False
        wanted = self.labels.items()
        return not wanted or any(wanted <= dict(one).items() for one in labels)

    def told(self) -> dict[str, Any]:
        """This as JSON types."""
        labels = dict(self.labels)
        told = {"percent": self.percent, "labels": labels, "paused": self.paused}
        return {**told, "number": self.number}

    @classmethod
    def read(cls, told: object) -> Advice:
        """Read what `told` gives.

        Raises:
            BadBytes: it is nothing of the kind.
        """
        if not isinstance(told, Mapping):
            raise BadBytes("advice", "it is no object")
        percent, number = told.get("percent"), told.get("number")
        labels, paused = told.get("labels"), told.get("paused")
        if not _is_whole(percent, 100) or not _is_whole(number, 1 << 53):
            raise BadBytes("advice", "percent or number is no such number")
        if not isinstance(paused, bool) or not _are_words(labels):
            raise BadBytes("advice", "labels or paused are nothing of the kind")
        return cls(percent=percent, labels=dict(labels), paused=paused, number=number)


def bucket(name: str) -> int:
    """The hundredth that the agent *name* belongs to, 0 to 99."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % 100


@frozen(kw_only=True)
class Stray:
    """A session that serves, by another way than agents should come.

    Attributes:
        key: whose it is.
        session: its identifier.
        labels: of each of the agent's offers.
        closing: its port is being closed.
        tries: how often the agent has said that it cannot move; `why` what it has said last.
    """

    key: Key
    session: str
    labels: tuple[Mapping[str, str], ...] = ()
    closing: bool = False
    tries: int = 0
    why: str = ""


@define
class _Asked:
    until: float
    at: float
    session: str


@define
class Waves:
    """See the module."""

    advice: Advice = field(factory=Advice)
    _asked: dict[Key, _Asked] = field(factory=dict, init=False)
    _failed: dict[Key, str] = field(factory=dict, init=False)
    _wave: int = field(default=0, init=False)
    _rest_until: float = field(default=float("-inf"), init=False)

    def begin(self, now: float) -> None:
        """The way is another one: begin with a small wave, and forget who has failed."""
        self._asked.clear()
        self._failed.clear()
        self._wave = 0
        self._rest_until = now + SOON_SECONDS

    def advise(self, advice: Advice) -> None:
        """Follow *advice* from now on."""
        if advice.number != self.advice.number:
            self._failed.clear()
            self._wave = 0
        self.advice = advice

    @property
    def stopped(self) -> bool:
        """Whether no wave begins, since somebody cannot move."""
        return bool(self._failed)

    def next(self, now: float, strays: Sequence[Stray]) -> list[str]:
        """The sessions that are asked to move now.

        Args:
            now: seconds of a monotonic clock.
            strays: all there are.
        """
        here = {one.key: one for one in strays}
        self._judge(now, here)
        if now < self._rest_until:
            return []
        again = [one for key, one in here.items() if self._has_come_back(now, key, one)]
        fit = [one for one in here.values() if one.key not in self._asked]
        urgent = [one for one in fit if one.closing and one.key not in self._failed]
        take = [*again, *urgent][:RATE]
        if not take and not self._asked and not self._failed and not self.advice.paused:
            fit = [one for one in fit if self.advice.concerns(one.key[0], one.labels)]
            fit.sort(key=lambda one: (bucket(one.key[0]), one.key))
            take = fit[: SIZES[min(self._wave, len(SIZES) - 1)]]
            self._wave = self._wave + 1 if take else 0
        for one in take:
            until = now + WAIT_SECONDS
            if (before := self._asked.get(one.key)) is not None:
                until = before.until
            self._asked[one.key] = _Asked(until, now, one.session)
        if take:
            self._rest_until = now + len(take) / RATE
        return [one.session for one in take]

    def waits(self, strays: Sequence[Stray]) -> bool:
        """Whether time alone changes something: `next` should be asked again soon."""
        if self._asked:
            return True
        fit = [one for one in strays if one.key not in self._failed]
        if any(one.closing for one in fit):
            return True
        if self._failed or self.advice.paused:
            return False
        return any(self.advice.concerns(one.key[0], one.labels) for one in fit)

    def state(self, stray: Stray) -> tuple[str, str]:
        """How far it is, "old", "moving" or "cannot", and why it is there yet."""
        if stray.key in self._failed:
            return "cannot", self._failed[stray.key]
        if stray.key in self._asked:
            return "moving", stray.why
        if not self.advice.concerns(stray.key[0], stray.labels):
            return "old", "the advice is not for it"
        if self.advice.paused:
            return "old", "the advice is paused"
        if self._failed:
            name = next(iter(self._failed))[0]
            return "old", f"it waits: {name} cannot move"
        return "old", "it waits for its turn"

    def _judge(self, now: float, here: Mapping[Key, Stray]) -> None:
        """See who has moved, or is gone, and who has not in time."""
        for key in [key for key in self._failed if key not in here]:
            del self._failed[key]
        for key, asked in list(self._asked.items()):
            stray = here.get(key)
            if stray is None:
                del self._asked[key]
            elif stray.tries >= TRIES or now >= asked.until:
                del self._asked[key]
                silent = f"it has no other tunnel that works {WAIT_SECONDS:g} s after it was asked"
                self._failed[key] = stray.why or silent

    def _has_come_back(self, now: float, key: Key, stray: Stray) -> bool:
        """Whether it was asked, and dialled the old way again: it has asked too early."""
        asked = self._asked.get(key)
        if asked is None or asked.session == stray.session:
            return False
        return now >= asked.at + AGAIN_SECONDS


def _is_whole(value: object, most: int) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _are_words(value: object) -> TypeGuard[Mapping[str, str]]:
    if not isinstance(value, Mapping):
        return False
    return all(isinstance(one, str) for pair in value.items() for one in pair)
