"""Brings a gateway's agents from one way to another, without a client that notices.

1. `aim` says at which listeners agents should be. Who is elsewhere, or came by an address
   that is no more, is a stray.
2. `core.moves` says who is asked when; `look` asks them, at each change and while it waits.
3. An agent that is asked dials anew, serves by the new tunnel once that has answered to a
   ping (`agents`), and drains the old one. One that cannot says why and goes on as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall

from tlsgate.core.moves import Advice, Stray, Waves
from tlsgate.tunnel.agents import Agents
from tlsgate.tunnel.session import Session

#: Between two looks while agents move.
_LOOK_SECONDS: Final = 0.25
_TEXT: Final = 256
#: Of a tunnel that nobody has to wait for.
_DRAINS: Final = "it takes nobody new, and ends with its last client"


class Moves:
    """See the module.

    Args:
        clock: the reactor.
        changed: called when agents' states are others.
    """

    def __init__(self, agents: Agents, clock: Any, changed: Callable[[], None]) -> None:
        self._agents = agents
        self._clock = clock
        self._changed = changed
        self._waves = Waves()
        self._wanted: frozenset[str] | None = None
        self._open: frozenset[str] | None = None
        #: Sessions that are not newer than this came by an address that is no more.
        self._floor = 0
        self._newest = 0
        self._why = ""
        self._call: IDelayedCall | None = None
        self._stopped = False
        self._last: dict[str, tuple[str, str]] = {}

    def aim(
        self,
        wanted: Collection[str] | None,
        opened: Collection[str],
        why: str,
        *,
        anew: bool = False,
    ) -> None:
        """Have agents come by *wanted* listeners from now on.

        Args:
            wanted: their names; None: whichever.
            opened: all that are open for service.
            why: what agents that are asked are told.
            anew: those at the right listener have to dial anew, too.
        """
        self._wanted = None if wanted is None else frozenset(wanted)
        self._open, self._why = frozenset(opened), why
        if anew:
            self._floor = self._newest
        self._waves.begin(self._clock.seconds())
        self.look()

    def advise(self, advice: Advice) -> None:
        """Follow the operator's advice."""
        if advice != self._waves.advice:
            self._waves.advise(advice)
            self.look()

    def came(self, session: Session) -> None:
        """There is a new session."""
        self._newest += 1
        session.order = self._newest

    def stop(self) -> None:
        """Ask nobody any more."""
        self._stopped = True
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def look(self) -> None:
        """Ask whoever is to be asked now."""
        if self._stopped:
            return
        strays = self._strays()
        for session_id in self._waves.next(self._clock.seconds(), strays):
            session = self._agents.find(session_id)
            assert session is not None
            session.move(self._why)
        states = {one.session: self._waves.state(one) for one in strays}
        if states != self._last:
            self._last = states
            self._changed()
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if self._waves.waits(strays):
            self._call = self._clock.callLater(_LOOK_SECONDS, self._look_again)

    def told(self, session: Session) -> dict[str, str]:
        """Where *session* should be and how far it is, as JSON types."""
        should = session.origin.listener
        if self._wanted is not None and should not in self._wanted:
            should = ",".join(sorted(self._wanted))
        if self._is_right(session):
            return {"should": should, "move": "moved", "why": ""}
        if session.draining:
            return {"should": should, "move": "moved", "why": _DRAINS}
        state, why = self._waves.state(_stray(session, self._closes(session)))
        if self._agents.held(session):
            state, why = "moving", ""
        return {"should": should, "move": state, "why": why[:_TEXT]}

    def _look_again(self) -> None:
        self._call = None
        self.look()

    def _strays(self) -> list[Stray]:
        return [
            _stray(one, self._closes(one))
            for one in self._agents
            if not self._is_right(one) and not one.draining and not self._agents.held(one)
        ]

    def _is_right(self, session: Session) -> bool:
        there = self._wanted is None or session.origin.listener in self._wanted
        return there and session.order > self._floor and not self._closes(session)

    def _closes(self, session: Session) -> bool:
        return self._open is not None and session.origin.listener not in self._open


def _stray(session: Session, closing: bool) -> Stray:
    return Stray(
        key=(session.agent, tuple(sorted(session.roles))),
        session=session.id,
        labels=tuple(one.labels for one in session.offers),
        closing=closing,
        tries=session.tries,
        why=session.why_here,
    )
