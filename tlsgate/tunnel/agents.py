"""Who has a tunnel to this process, and who offers what.

An agent has one session that serves; a newer one of the same name is held until it has proved
that it works, then it takes its place, and the older one drains. A name is a host's in one
role: of two hosts that share it in different ones neither takes the other's place. Nothing is
kept of who has gone: as many names as there are sessions, and as many offers as those have.
For a while after the start what was offered before counts, too (`tunnel.expected`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

from tlsgate.core.offers import KINDS, Asked, Offer
from tlsgate.interfaces import IReach
from tlsgate.tunnel.expected import Expected
from tlsgate.tunnel.session import Session


class Agents:
    """Sessions by identifier and by name, and their offers.

    Args:
        now: seconds of a monotonic clock.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.expected = Expected(now)
        #: The way to a target through the process that has succeeded this one; None: none has.
        self.onward: Callable[[Asked], IReach] | None = None
        self._by_id: dict[str, Session] = {}
        self._serving: dict[tuple[str, str], Session] = {}
        #: Sessions that are to serve once they have proved that they can.
        self._held: dict[tuple[str, str], Session] = {}
        #: By kind, name and session: who offers it.
        self._offers: dict[str, dict[str, dict[str, Session]]] = {}

    def __iter__(self) -> Iterator[Session]:
        """Every session, those that drain too."""
        return iter(list(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)

    def find(self, session_id: str) -> Session | None:
        """The session with this identifier."""
        return self._by_id.get(session_id)

    def serving(self, agent: str, role: str = "node") -> Session | None:
        """The session by which *agent* serves in this role of its certificate."""
        return self._serving.get((agent, role))

    def hold(self, session: Session) -> list[Session]:
        """Have *session* serve once it is `held` no more, if an older one serves now.

        Returns:
            sessions of the agent that serve no more, or never will.
        """
        names = _names(session)
        if not any(name in self._serving for name in names):
            return self.add(session)
        older = [self._held[name] for name in names if name in self._held]
        older = list(dict.fromkeys(older))
        for one in older:
            self._unhold(one)
        self._by_id[session.id] = session
        self._held.update(dict.fromkeys(names, session))
        return older

    def held(self, session: Session) -> bool:
        """Whether *session* waits for its turn."""
        return any(self._held.get(name) is session for name in _names(session))

    def add(self, session: Session) -> list[Session]:
        """Let *session* serve; gives older ones of the same agent, which serve no more."""
        names = _names(session)
        self._unhold(session)
        older = [self._serving[name] for name in names if name in self._serving]
        older = list(dict.fromkeys(older))
        for one in older:
            self._rest(one)
        self._by_id[session.id] = session
        self._serving.update(dict.fromkeys(names, session))
        self._file(session)
        return older

    def offered(self, session: Session, offers: tuple[Offer, ...]) -> None:
        """*session* offers these from now on."""
        serves = self._serves(session)
        if serves:
            self._unfile(session)
        session.offers = offers
        if serves:
            self._file(session)

    def rest(self, session: Session) -> list[Session]:
        """*session* serves no more; its streams are still its own.

        Who is held for its place has it then: nobody else could serve.

        Returns:
            sessions that serve no more because of that.
        """
        older: list[Session] = []
        self._unhold(session)
        if self._serves(session):
            self._rest(session)
            for name in _names(session):
                if (next_one := self._held.get(name)) is not None:
                    older += self.add(next_one)
        return older

    def remove(self, session: Session) -> list[Session]:
        """*session* is gone; see `rest`."""
        older = self.rest(session)
        self._by_id.pop(session.id, None)
        return older

    def succeeded(self, onward: Callable[[Asked], IReach]) -> None:
        """Agents go to another process; who stays reaches by *onward* what they offer now."""
        self.onward = onward
        self.expected.expect([one for kind in KINDS for one in self.offers(kind)], math.inf)

    def offers(self, kind: str) -> list[Offer]:
        """What is offered of *kind*, by name."""
        here = self._offers.get(kind, {})
        found = {one.name: one for one in self.expected.offers(kind)}
        found |= {name: self._offer(kind, name) for name in here}
        return [found[name] for name in sorted(found)]

    def offer(self, kind: str, name: str) -> Offer | None:
        """One of them; where several agents have it, the oldest's."""
        if name not in self._offers.get(kind, ()):
            return self.expected.offer(kind, name)
        return self._offer(kind, name)

    def pick(self, kind: str, name: str, agent: str | None = None) -> Session | None:
        """The session that serves it best: one that answers, has a free stream, and is idle.

        Args:
            agent: only one of this agent's.
        """
        sessions = self._offers.get(kind, {}).get(name, {}).values()
        fit = sessions if agent is None else [one for one in sessions if one.agent == agent]
        return min(fit, key=Session.rank, default=None)

    def _rest(self, session: Session) -> None:
        for name in _names(session):
            del self._serving[name]
        self._unfile(session)

    def _unhold(self, session: Session) -> None:
        for name in _names(session):
            if self._held.get(name) is session:
                del self._held[name]

    def _serves(self, session: Session) -> bool:
        return all(self._serving.get(name) is session for name in _names(session))

    def _offer(self, kind: str, name: str) -> Offer:
        session = next(iter(self._offers[kind][name].values()))
        return next(one for one in session.offers if (one.kind, one.name) == (kind, name))

    def _file(self, session: Session) -> None:
        for one in session.offers:
            names = self._offers.setdefault(one.kind, {})
            names.setdefault(one.name, {})[session.id] = session
        for one in session.offers:
            self.expected.came(one.kind, one.name)

    def _unfile(self, session: Session) -> None:
        for one in session.offers:
            names = self._offers[one.kind]
            sessions = names[one.name]
            del sessions[session.id]
            if not sessions:
                del names[one.name]


def _names(session: Session) -> list[tuple[str, str]]:
    """What is one agent's alone: its name, in each role that its certificate has."""
    return [(session.agent, role) for role in sorted(set(session.claims.system_roles))]
