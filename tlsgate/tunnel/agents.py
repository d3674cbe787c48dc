"""Who has a tunnel to this process, and who offers what.

An agent has one session that serves; a newer one of the same name takes its place, and the
older one drains. Nothing is kept of who has gone: as many names as there are sessions, and
as many offers as those have.
"""

from __future__ import annotations

from collections.abc import Iterator

from tlsgate.core.offers import Offer
from tlsgate.tunnel.session import Session


class Agents:
    """Sessions by identifier and by name, and their offers."""

    def __init__(self) -> None:
        self._by_id: dict[str, Session] = {}
        self._serving: dict[str, Session] = {}
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

    def serving(self, agent: str) -> Session | None:
        """The session by which *agent* serves."""
        return self._serving.get(agent)

    def add(self, session: Session) -> Session | None:
        """Let *session* serve; gives the older one of the same agent, which serves no more."""
        older = self._serving.get(session.agent)
        if older is not None:
            self.rest(older)
        self._by_id[session.id] = session
        self._serving[session.agent] = session
        self._file(session)
        return older

    def offered(self, session: Session, offers: tuple[Offer, ...]) -> None:
        """*session* offers these from now on."""
        serves = self._serving.get(session.agent) is session
        if serves:
            self._unfile(session)
        session.offers = offers
        if serves:
            self._file(session)

    def rest(self, session: Session) -> None:
        """*session* serves no more; its streams are still its own."""
        if self._serving.get(session.agent) is session:
            del self._serving[session.agent]
            self._unfile(session)

    def remove(self, session: Session) -> None:
        """*session* is gone."""
        self.rest(session)
        self._by_id.pop(session.id, None)

    def offers(self, kind: str) -> list[Offer]:
        """What is offered of *kind*, by name."""
        return [self._offer(kind, name) for name in sorted(self._offers.get(kind, ()))]

    def offer(self, kind: str, name: str) -> Offer | None:
        """One of them; where several agents have it, the oldest's."""
        if name not in self._offers.get(kind, ()):
            return None
        return self._offer(kind, name)

    def pick(self, kind: str, name: str) -> Session | None:
        """The session that serves it best: one that answers, has a free stream, and is idle."""
        sessions = self._offers.get(kind, {}).get(name)
        return None if sessions is None else min(sessions.values(), key=Session.rank)

    def _offer(self, kind: str, name: str) -> Offer:
        session = next(iter(self._offers[kind][name].values()))
        return next(one for one in session.offers if (one.kind, one.name) == (kind, name))

    def _file(self, session: Session) -> None:
        for one in session.offers:
            names = self._offers.setdefault(one.kind, {})
            names.setdefault(one.name, {})[session.id] = session

    def _unfile(self, session: Session) -> None:
        for one in session.offers:
            names = self._offers[one.kind]
            sessions = names[one.name]
            del sessions[session.id]
            if not sessions:
                del names[one.name]
