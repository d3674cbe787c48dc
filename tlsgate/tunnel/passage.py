"""One client's way to a target of an agent: a stream, the question, the answer.

1. `start` picks the agent that serves it best and takes a stream of its pool, which may mean
   to wait for one, at most `WAIT_SECONDS`.
2. The stream asks the agent. A stream that dies before it has answered, and a pool that closes
   before it has given one, are replaced once, and nobody is told.
3. Where the agent is expected back (`tunnel.expected`) it is waited for first, as long.
4. A process that another one has succeeded has no agents any more: that one is asked.
5. The target's end is there, or there is a reason why not; or the client goes (`cancel`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

from zope.interface import implementer

from tlsgate.core.offers import Asked
from tlsgate.errors import AgentBusy, GateError, NoAgent
from tlsgate.interfaces import IReach
from tlsgate.net.ends import End
from tlsgate.net.wheel import Wheel
from tlsgate.tunnel.agents import Agents
from tlsgate.tunnel.held import HeldStream
from tlsgate.tunnel.pool import Stream
from tlsgate.tunnel.session import Session

#: For a stream of an agent; less than a client's wait for its target.
WAIT_SECONDS: Final = 5.0

#: For another process, which waits that long for one of its own, and then for the agent.
ONWARD_SECONDS: Final = 15.0

Reached = Callable[[End], None]
Missed = Callable[[GateError], None]


@implementer(IReach)
class Passage:
    """See the module.

    Attributes:
        agent: who is asked; None: whoever offers it, until one has been found.
    """

    def __init__(
        self, agents: Agents, asked: Asked, wheel: Wheel, agent: str | None = None
    ) -> None:
        self.agent = agent
        self._only = agent
        self._agents = agents
        self._asked = asked
        self._wheel = wheel
        self._session: Session | None = None
        self._stream: HeldStream | None = None
        self._replaced = False
        self._onward: IReach | None = None
        #: Whom to tell; None: it has not begun, or it is over.
        self._told: tuple[Reached, Missed] | None = None
        self.slot = 0

    def start(self, reached: Callable[[End], None], missed: Callable[[GateError], None]) -> None:
        """See `IReach`."""
        self._told = (reached, missed)
        self._begin()

    def cancel(self) -> None:
        """See `IReach`."""
        stream, session, onward = self._stream, self._session, self._onward
        if self._finish() is None:
            return
        if onward is not None:
            onward.cancel()
        elif stream is not None:
            stream.cancel()
        elif session is not None:
            session.pool.forget(self)

    # -- `expected.Waiter`, `pool.Waiter`, and the wheel --

    def came(self) -> None:
        """The agent is back."""
        self._begin()

    def given(self, stream: Stream) -> None:
        """A stream is ours."""
        self._wheel.drop(self)
        self._stream = cast(HeldStream, stream)
        self._stream.ask(self._asked, self._answered, self._refused)

    def missed(self, error: GateError) -> None:
        """There is none in this pool."""
        session = self._session
        if session is not None and session.pool.closed and not self._replaced:
            self._replaced = True
            self._begin()
        else:
            self._miss(error)

    def due(self, now: float) -> float | None:
        """The wheel calls this: no stream has come in time."""
        if self._onward is not None:
            self._onward.cancel()
        if self._session is None:
            self._miss(NoAgent(self._asked.kind, self._asked.name))  # it has not come back
            return None
        self._session.pool.forget(self)
        self._miss(AgentBusy(self._asked.name, f"no tunnel of it was free for {WAIT_SECONDS:g} s"))
        return None

    # -- inside --

    def _begin(self) -> None:
        asked = self._asked
        session = self._session = self._agents.pick(asked.kind, asked.name, self._only)
        if session is None and self._agents.onward is not None and self._only is None:
            self._onward = self._agents.onward(asked)
            self._wheel.arm(self, ONWARD_SECONDS)
            self._onward.start(self._answered, self._miss)
            return
        if session is None:
            expected = self._agents.expected
            if self._only is None and expected.wait(asked.kind, asked.name, self):
                self._wait()
            else:
                self._miss(NoAgent(asked.kind, asked.name))
            return
        self.agent = session.agent
        self._wait()
        session.pool.take(self)

    def _wait(self) -> None:
        if not self.slot:
            self._wheel.arm(self, WAIT_SECONDS)

    def _answered(self, end: End) -> None:
        told = self._finish()
        if told is not None:
            told[0](end)
        else:
            end.lease.abort()  # the client went in this very turn

    def _refused(self, error: GateError, died: bool) -> None:
        self._stream = None
        if self._told is None:
            return
        if died and not self._replaced:
            self._replaced = True
            self._begin()
        else:
            self._miss(error)

    def _miss(self, error: GateError) -> None:
        if (told := self._finish()) is not None:
            told[1](error)

    def _finish(self) -> tuple[Reached, Missed] | None:
        """It is over; gives whom to tell, the first time."""
        self._wheel.drop(self)
        self._agents.expected.forget(self)
        self._stream = self._session = self._onward = None
        told, self._told = self._told, None
        return told
