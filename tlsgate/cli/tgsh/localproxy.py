"""A local proxy: a listener on this machine, and what becomes of each connection.

1. `Listener` opens a port of 127.0.0.1, or a UNIX socket that only its owner may use.
2. Each program that connects has a `Side`; *begin* makes of it what the protocol wants.
3. The certificate is looked at twice a minute. When it is over, and the login with it,
   `expired` decides: a new login at the terminal, or the end.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall

from tlsgate.cli.faults import NotLoggedIn
from tlsgate.cli.tgsh.localcert import Keeper
from tlsgate.cli.tgsh.localends import Side
from tlsgate.cli.tgsh.localgate import Threads
from tlsgate.errors import BadAsk, GateError

LOOPBACK = "127.0.0.1"
#: Between two looks at the certificate.
LOOK_SECONDS = 30.0
#: Of programs that have not been taken yet.
_BACKLOG = 128


class _Program(Side):
    """A program that has connected."""

    def __init__(self, listener: Listener) -> None:
        super().__init__()
        self._listener = listener

    def connectionMade(self) -> None:
        """Begin."""
        self._listener.sides.add(self)
        with suppress(AttributeError):  # a UNIX socket has no such option
            self.transport.setTcpNoDelay(True)
        self._listener.begin(self)

    def connectionLost(self, reason: Any = None) -> None:
        """See `Side.connectionLost`."""
        self._listener.sides.discard(self)
        super().connectionLost(reason)


class Listener(Factory):
    """The open port or socket.

    Args:
        begin: takes a program that has connected.
    """

    noisy = False

    def __init__(self, begin: Callable[[Side], object]) -> None:
        self.begin = begin
        self.sides: set[Side] = set()
        self._port: Any = None

    def buildProtocol(self, addr: Any) -> Any:
        """Give the side of a program."""
        return _Program(self)

    def open_port(self, reactor: Any, port: int) -> int:
        """Listen on 127.0.0.1; gives the port.

        Raises:
            BadAsk: it cannot be had.
        """
        try:
            self._port = reactor.listenTCP(port, self, backlog=_BACKLOG, interface=LOOPBACK)
        except CannotListenError as e:
            raise BadAsk(f"{LOOPBACK}:{port} cannot be had: {_why(e)}") from e
        return int(self._port.getHost().port)

    def open_socket(self, reactor: Any, path: Path) -> None:
        """Listen on a UNIX socket, mode 0600; one that was left behind is replaced.

        Raises:
            BadAsk: it cannot be had.
        """
        _clear(path)
        before = os.umask(0o177)
        try:
            self._port = reactor.listenUNIX(str(path), self, backlog=_BACKLOG, mode=0o600)
        except CannotListenError as e:
            raise BadAsk(f"{path} cannot be had: {_why(e)}") from e
        finally:
            os.umask(before)

    def stop(self) -> Deferred[Any]:
        """Listen no more, and cut what is there; gives when the socket's file is gone."""
        port, self._port = self._port, None
        for side in [*self.sides]:
            side.cut()
        return maybeDeferred(port.stopListening) if port is not None else succeed(None)


class Watch:
    """Looks after the certificate while a proxy runs.

    Args:
        keeper: has it.
        expired: told once when it is over and cannot be renewed; may be told again after
            `Watch.again`.
    """

    def __init__(
        self,
        keeper: Keeper,
        reactor: Any,
        threads: Threads,
        expired: Callable[[NotLoggedIn], object],
    ) -> None:
        self._keeper = keeper
        self._threads = threads
        self._expired = expired
        self._told = False
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor

    def start(self) -> None:
        """Begin."""
        self._looking.start(LOOK_SECONDS, now=False)

    def stop(self) -> None:
        """End."""
        if self._looking.running:
            self._looking.stop()

    def again(self) -> None:
        """There is a new login."""
        self._told = False

    def refused(self, error: GateError) -> None:
        """A connection was refused: by a gateway, or since the login has ended."""
        if isinstance(error, NotLoggedIn):
            self._over(error)
        else:
            self._keeper.renew()

    def _look(self) -> Deferred[None]:
        async def look() -> None:
            try:
                await self._threads(self._keeper.current)
            except NotLoggedIn as e:
                self._over(e)
            except GateError:
                pass  # the gateway is away: whoever connects is told

        return Deferred.fromCoroutine(look())

    def _over(self, error: NotLoggedIn) -> None:
        if not self._told:
            self._told = True
            self._expired(error)


def _clear(path: Path) -> None:
    """Remove a socket that nobody listens on.

    Raises:
        BadAsk: somebody does, or it is no socket.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as e:
        raise BadAsk(f"{path} cannot be had: {e.strerror}") from e
    if not stat.S_ISSOCK(mode):
        raise BadAsk(f"{path} is there already, and no socket")
    with socket.socket(socket.AF_UNIX) as tried:
        try:
            tried.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except OSError as e:
            raise BadAsk(f"{path} cannot be had: {e.strerror}") from e
    raise BadAsk(f"somebody listens on {path} already")


def _why(error: CannotListenError) -> str:
    found = error.socketError
    return str(getattr(found, "strerror", None) or found)
