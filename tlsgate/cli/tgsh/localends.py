"""The two sides of a connection through a local proxy: the program's, and the gateway's.

A side gives what comes to its `got`, its end to `ended`, and its loss to `lost`; it takes
`send`, `finish` (nothing follows) and `close`. `couple` makes one of two: whoever takes no
more stops the other from being read, and each direction ends on its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.interfaces import IHalfCloseableProtocol, ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from tlsgate.cli.tgsh.tlspipe import Silent, TlsPipe


def _nothing(*_: object) -> None:
    """Do nothing: nobody is interested."""


@implementer(IHalfCloseableProtocol)
class Side(Protocol):
    """A plain connection.

    Attributes:
        got: called with bytes that came.
        ended: called once, when nothing more comes.
        lost: called once, when the connection is gone; with why, where it was cut.
    """

    transport: ITCPTransport

    def __init__(self) -> None:
        self.got: Callable[[bytes], object] = _nothing
        self.ended: Callable[[], object] = _nothing
        self.lost: Callable[[Exception | None], object] = _nothing
        self.read_all = False  #: nothing more comes
        self.said_all = False  #: nothing more goes
        self.gone = False
        self._why: Exception | None = None
        self._tied = False

    # -- what Twisted calls ------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        """Give on what came."""
        self.got(data)

    def readConnectionLost(self) -> None:
        """Tell of the other's end."""
        self._end()

    def writeConnectionLost(self) -> None:
        """Nothing: we have said so ourselves."""

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Tell that it is gone; an end in order comes first."""
        if self.gone:
            return
        self.gone = True
        why = self._why
        if why is None and not self.read_all:
            why = ConnectionResetError("the connection was cut")
        self.lost(why)

    # -- what the owner calls ----------------------------------------------------

    def send(self, data: bytes) -> None:
        """Write *data*."""
        if not self.gone and not self.said_all:
            self.transport.write(data)

    def finish(self) -> None:
        """Say that nothing follows; close where nothing comes either."""
        if self.gone or self.said_all:
            return
        self.said_all = True
        self._say_end()
        if self.read_all:
            self.close()

    def close(self) -> None:
        """End in order: what waits is still written."""
        if not self.gone:
            self.said_all = True
            self.loose()
            self.transport.loseConnection()

    def cut(self, why: Exception | None = None) -> None:
        """End at once."""
        if not self.gone:
            self._why = self._why or why
            self.loose()
            self.transport.abortConnection()

    def tie(self, other: Side) -> None:
        """Have *other* read only while this one takes what comes from there."""
        self.loose()
        self._tied = True
        cast(Any, self.transport).registerProducer(other.transport, True)

    def loose(self) -> None:
        """Undo `tie`, or nothing."""
        if self._tied and not self.gone:
            self._tied = False
            cast(Any, self.transport).unregisterProducer()

    # -- what differs ------------------------------------------------------------

    def _end(self) -> None:
        if not self.read_all:
            self.read_all = True
            self.ended()
            if self.said_all:
                self.close()

    def _say_end(self) -> None:
        self.loose()  # a transport that has paused its producer forgets to end
        self.transport.loseWriteConnection()


class SecureSide(Side):
    """The gateway's side: TLS, whose handshake is done, with frames where it has these."""

    def __init__(self, pipe: TlsPipe, now: Callable[[], float]) -> None:
        super().__init__()
        self._pipe = pipe
        self._now = now
        self.heard = now()
        self.spoke = False  #: a byte of the protocol inside has come

    def begin(self) -> None:
        """Give what came with the handshake; called once the callbacks are set."""
        self._read(None)

    def dataReceived(self, data: bytes) -> None:
        """See `Side.dataReceived`."""
        self.heard = self._now()
        self._read(data)

    def readConnectionLost(self) -> None:
        """The socket ends; TLS has said so before, or it was cut."""
        if not self.read_all:
            self._read(b"")
        if not self.read_all and not self.gone:
            self.cut()

    def send(self, data: bytes) -> None:
        """See `Side.send`."""
        if data and not self.gone and not self.said_all:
            for at in range(0, len(data), _FRAME_BYTES):
                self.transport.write(self._pipe.give(data[at : at + _FRAME_BYTES]))

    def check(self) -> None:
        """Cut a connection whose gateway has stopped its pings."""
        limit = self._pipe.silent_seconds()
        if limit is None or self.read_all or self.gone:
            return
        if self._now() - self.heard > limit:
            self.cut(Silent(f"the gateway has been silent for {limit:g} s"))

    def _read(self, data: bytes | None) -> None:
        try:
            found = self._pipe.rest() if data is None else self._pipe.take(data)
            self._answer()
            if found:
                self.spoke = True
                self.got(found)
                if self.gone:
                    return
            if self._pipe.ended:
                self._end()
            elif found:
                self._pipe.rest()  # raises what came after
        except OSError as e:
            self._answer()  # an alert of ours has to leave
            self.cut(e)

    def _answer(self) -> None:
        """Write what TLS says by itself: updated keys, alerts."""
        records = self._pipe.records()
        if records and not self.gone:
            self.transport.write(records)

    def _say_end(self) -> None:
        self.loose()
        self.transport.write(self._pipe.finish())


#: Of one frame that we write.
_FRAME_BYTES = 256 << 10


def couple(program: Side, gateway: Side) -> None:
    """Carry bytes between two sides until both have ended."""
    for one, other in ((program, gateway), (gateway, program)):
        one.got = other.send
        one.ended = other.finish
        one.tie(other)
    program.lost = lambda why: _follow(gateway, why)
    gateway.lost = lambda why: _follow(program, why)


def _follow(left: Side, why: Exception | None) -> None:
    """Whoever is left ends as the other did."""
    left.loose()
    if why is None:
        left.close()
    else:
        left.cut()
