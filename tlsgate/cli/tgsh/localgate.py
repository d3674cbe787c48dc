"""From a local proxy's loop to the gateway: dialled in a thread, adopted, watched.

1. `reach` has a thread dial and shake hands (a proxy of HTTPS_PROXY, names and certificates
   take their time), and the loop takes the socket over.
2. A gateway that is away, as while it restarts, is tried again with growing waits; one line
   says that it is away, one that it is back. A refusal is final.
3. Connections with frames are cut when the gateway's pings stop.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall, deferLater
from twisted.python.failure import Failure

from tlsgate.cli.alerts import explained
from tlsgate.cli.tgsh.gatedial import DIAL_SECONDS
from tlsgate.cli.tgsh.localends import SecureSide, Side
from tlsgate.cli.tgsh.tlspipe import TlsPipe
from tlsgate.errors import GateError, Unreachable

T = TypeVar("T")

#: So long a program waits for a gateway that is away, and so long between two attempts.
PATIENCE_SECONDS = 30.0
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.25, 4.0
#: Dials at once; more wait for their turn.
_AT_ONCE = 16
#: Between two looks at silent gateways.
_LOOK_SECONDS = 5.0


class Threads(Protocol):
    """Runs something that blocks beside the loop; tests run it at once."""

    def __call__(self, work: Callable[[], T], /) -> Deferred[T]:
        """Give what *work* gives."""


def beside(reactor: Any) -> Threads:
    """Threads that end with the program, whatever they wait for."""

    def run(work: Callable[[], T]) -> Deferred[T]:
        told: Deferred[T] = Deferred()

        def work_and_tell() -> None:
            try:
                found: Any = work()
            except BaseException:
                reactor.callFromThread(told.errback, Failure())
            else:
                reactor.callFromThread(told.callback, found)

        threading.Thread(target=work_and_tell, daemon=True).start()
        return told

    return run


class Left(Exception):  # a fact, as everywhere here
    """The program that wanted the connection has gone."""


class _Once(Factory):
    noisy = False

    def __init__(self, side: Side) -> None:
        self._side = side

    def buildProtocol(self, addr: Any) -> Any:
        """Give the one side."""
        return self._side


class Gateway:
    """How connections to the gateway are had.

    Args:
        reactor: the loop.
        threads: for what blocks.
        where: its address, for people.
        dial: blocks; gives TLS, or a plain socket.
        say: one line for people.
    """

    def __init__(
        self,
        reactor: Any,
        threads: Threads,
        where: str,
        dial: Callable[[], TlsPipe | socket.socket],
        say: Callable[[str], object],
    ) -> None:
        self.where = where
        self._reactor = reactor
        self._threads = threads
        self._dial = dial
        self._say = say
        self._turns = DeferredSemaphore(_AT_ONCE)
        self._away = False
        self._secure: set[SecureSide] = set()
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor

    async def reach(self, wanted: Callable[[], bool]) -> Side:
        """Connect; the side's callbacks are to be set at once, and then its `begin` called.

        Args:
            wanted: whether the program is still there.

        Raises:
            Left: it is not.
            GateError: refused, or the gateway has been away for too long.
        """
        until = self._reactor.seconds() + PATIENCE_SECONDS
        wait = FIRST_WAIT_SECONDS
        while True:
            try:
                found = await self._turns.run(self._threads, self._dial)
            except (OSError, GateError) as e:
                error = explained(e, self.where, DIAL_SECONDS) if isinstance(e, OSError) else e
                passes = isinstance(error, Unreachable)
                if not passes or self._reactor.seconds() + wait > until:
                    raise error from e
                self._say_away(error)
            else:
                return self._adopted(found, wanted)
            await deferLater(self._reactor, wait, lambda: None)
            if not wanted():
                raise Left
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)

    def meaning(self, why: Exception) -> GateError | None:
        """What the end of a connection means for the user; None: it says nothing."""
        if isinstance(why, GateError):
            return why
        if isinstance(why, OSError) and not isinstance(why, ConnectionResetError):
            return explained(why, self.where, DIAL_SECONDS)
        return None

    def stop(self) -> None:
        """Look after nothing any more."""
        if self._looking.running:
            self._looking.stop()

    def _adopted(self, found: TlsPipe | socket.socket, wanted: Callable[[], bool]) -> Side:
        sock = found.sock if isinstance(found, TlsPipe) else found
        if not wanted():
            sock.close()
            raise Left
        if self._away:
            self._away = False
            self._say(f"{self.where} is back")
        side = Side()
        if isinstance(found, TlsPipe):
            side = SecureSide(found, self._reactor.seconds)
            self._secure.add(side)
            if not self._looking.running:
                self._looking.start(_LOOK_SECONDS, now=False)
        with sock:
            sock.setblocking(False)
            self._reactor.adoptStreamConnection(sock.fileno(), sock.family, _Once(side))
        return side

    def _say_away(self, error: GateError) -> None:
        if not self._away:
            self._away = True
            self._say(f"{error}; trying again")

    def _look(self) -> None:
        for side in [*self._secure]:
            if side.gone:
                self._secure.discard(side)
            else:
                side.check()
