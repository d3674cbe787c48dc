"""The two sides of a local proxy without sockets: transports and a gateway in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred, execute
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.cli.tgsh.localends import SecureSide, Side
from tlsgate.cli.tgsh.localgate import Gateway
from tlsgate.cli.tgsh.tlspipe import TlsPipe
from tlsgate.errors import GateError

T = TypeVar("T")


class Wire(StringTransport):
    """A transport that remembers how it was ended."""

    half = aborted = False

    def loseWriteConnection(self) -> None:
        """Remember it."""
        assert self.producer is None, "a producer that is paused would never be resumed"
        self.half = True

    def abortConnection(self) -> None:
        """Remember it."""
        self.aborted = True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Take it."""

    @property
    def read(self) -> bool:
        """Whether the side is read."""
        return self.producerState == "producing"

    @property
    def fate(self) -> str:
        """How it was ended."""
        return "cut" if self.aborted else "closed" if self.disconnecting else "half" * self.half

    def take(self) -> bytes:
        """What was written since the last time."""
        found: bytes = self.value()
        self.clear()
        return found


def wired(side: Side) -> tuple[Side, Wire]:
    """Connect *side* to a wire."""
    wire = Wire()
    side.makeConnection(cast(Any, wire))
    return side, wire


def lose(side: Side) -> None:
    """The connection of *side* is gone."""
    side.connectionLost(Failure(ConnectionDone()))


class FakePipe:
    """TLS whose records are the bytes with `<` and `>` around them."""

    def __init__(self, first: bytes = b"") -> None:
        self.ended = False
        self.waiting = b""
        self.first = first
        self.broken: OSError | None = None
        self.silent: float | None = None

    def rest(self) -> bytes:
        """What came with the handshake."""
        if self.broken is not None:
            raise self.broken
        found, self.first = self.first, b""
        return found

    def take(self, records: bytes) -> bytes:
        """Bytes as they are; `!` is an alert, `$` a close_notify, the socket's end one too."""
        if records == b"!":
            raise OSError("alert")
        if records == b"":
            raise ConnectionResetError("no close_notify")
        self.ended = self.ended or records.endswith(b"$")
        return records.rstrip(b"$")

    def give(self, data: bytes) -> bytes:
        """Records."""
        return b"<" + data + b">"

    def records(self) -> bytes:
        """What TLS says by itself."""
        found, self.waiting = self.waiting, b""
        return found

    def finish(self) -> bytes:
        """A close_notify."""
        return b"<$>"

    def silent_seconds(self) -> float | None:
        """How long the gateway may be silent."""
        return self.silent


def secure(clock: Clock, first: bytes = b"") -> tuple[SecureSide, Wire, FakePipe]:
    """A gateway's side under TLS."""
    pipe = FakePipe(first)
    side = SecureSide(cast(TlsPipe, pipe), clock.seconds)
    _, wire = wired(side)
    return side, wire, pipe


def at_once(work: Callable[[], T]) -> Deferred[T]:
    """Threads that need no time."""
    return execute(work)


class FakeGateway(Gateway):
    """Gives sides that a test has prepared; an error where it has prepared that."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock, cast(Any, at_once), "gate.test:443", cast(Any, None), print)
        self.sides: list[Side | GateError | Deferred[Side]] = []
        self.asked = 0

    async def reach(self, wanted: Callable[[], bool]) -> Side:
        """Give the next."""
        self.asked += 1
        found = self.sides.pop(0)
        if isinstance(found, Deferred):
            found = await found
        if isinstance(found, GateError):
            raise found
        return found


class WireCase(SynchronousTestCase):
    """A program, a gateway, and what people are told."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.program, self.local = wired(Side())
        self.gateway = FakeGateway(self.clock)
        self.said: list[str] = []
        self.refused: list[GateError] = []

    def prepare(self, first: bytes = b"") -> tuple[SecureSide, Wire, FakePipe]:
        """A side that the gateway gives next."""
        side, wire, pipe = secure(self.clock, first)
        self.gateway.sides.append(side)
        return side, wire, pipe
