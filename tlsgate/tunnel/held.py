"""One stream of an agent as the gateway holds it: between its socket, a pool, and a client.

The gateway's table of connections has it (`IKept`) for as long as its socket is open, so that
locks, drains and lists see streams as they see everything else.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Final, Protocol

from zope.interface import implementer

from tlsgate.core.offers import Asked
from tlsgate.errors import GateError
from tlsgate.interfaces import IKept
from tlsgate.net.ends import End, SecureEnd
from tlsgate.tunnel.session import Session

#: A drain closes a stream that has been idle for so long: a client may just be on its way.
_REST_SECONDS: Final = 2.0

#: A dead agent is noticed after a minute even where nothing is to be sent (tcp(7)).
_KEEP_ALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)


class Stream(Protocol):
    """What is asked of `tunnel.stream.GatewayStream` here."""

    @property
    def busy(self) -> bool: ...
    def ask(
        self,
        asked: Asked,
        reached: Callable[[End], None],
        missed: Callable[[GateError, bool], None],
    ) -> None: ...
    def cancel(self) -> None: ...
    def close(self) -> None: ...
    def abort(self, why: str) -> None: ...


#: Makes a stream of an end, with what it calls when it is idle, and when it is lost.
MakeStream = Callable[
    [SecureEnd, Callable[[object], None], Callable[[object, GateError], None]], Stream
]


@implementer(IKept)
class HeldStream:
    """See the module.

    Args:
        session: whose it is.
        until: when the agent's certificate ends, in seconds since the epoch.
        now: seconds of a monotonic clock; `wall` since the epoch.
    """

    __slots__ = ("_idle_since", "_now", "_session", "_stream", "_until", "_wall", "cause")

    def __init__(
        self,
        session: Session,
        end: SecureEnd,
        make: MakeStream,
        until: float,
        *,
        now: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self.cause = ""
        self._session: Session | None = session
        self._until = until
        self._now = now
        self._wall = wall
        self._idle_since = now()
        keep_alive(end.lease.socket)
        self._stream = make(end, self._idle, self._lost)

    # -- `pool.Stream` --

    @property
    def usable(self) -> bool:
        """False once the certificate by which it came has ended."""
        return self._session is not None and self._wall() < self._until

    def close(self) -> None:
        """See `pool.Stream`."""
        self.cause = self.cause or "retired"
        self._stream.close()

    def abort(self, cause: str) -> None:
        """See `pool.Stream`."""
        self.cause = self.cause or cause
        self._stream.abort(cause)

    # -- one client --

    def ask(
        self,
        asked: Asked,
        reached: Callable[[End], None],
        missed: Callable[[GateError, bool], None],
    ) -> None:
        """Have the agent reach a target; see `tunnel.stream.GatewayStream`."""
        self._stream.ask(asked, reached, missed)

    def cancel(self) -> None:
        """The client that asked is gone."""
        self._stream.cancel()

    # -- `IKept` --

    def end_in_order(self, cause: str) -> None:
        """See `IKept`."""
        self.cause = self.cause or cause
        if self._stream.busy:
            self._stream.abort(cause)
        else:
            self._stream.close()

    def resting(self) -> bool:
        """See `IKept`."""
        return not self._stream.busy and self._now() - self._idle_since >= _REST_SECONDS

    def carried(self) -> tuple[int, int]:
        """See `IKept`: each client's own connection counts its bytes."""
        return 0, 0

    # -- what the stream says --

    def _idle(self, _: object) -> None:
        self._idle_since = self._now()
        if self._session is not None:
            self._session.pool.returned(self)

    def _lost(self, _: object, error: GateError) -> None:
        self.cause = self.cause or error.reason
        session, self._session = self._session, None
        if session is not None:
            session.pool.lost(self)
            session.lacks_streams()


def keep_alive(sock: socket.socket) -> None:
    """Have the kernel look whether the other side of *sock* is there."""
    for level, option, value in _KEEP_ALIVE:
        with contextlib.suppress(OSError):  # a UNIX socket's other side is always there
            sock.setsockopt(level, option, value)
