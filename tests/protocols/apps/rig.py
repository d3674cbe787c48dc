"""A gateway's applications in memory: a client's connection, and targets that a test plays."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config.settings import Settings
from tlsgate.core.offers import Offer
from tlsgate.net.ends import CHUNK, End
from tlsgate.net.poller import READ, TROUBLE, WRITE
from tlsgate.protocols.apps.protocol import Apps
from tlsgate.testing import FakeCluster, FakeContext, FakeTunnels, connect, member, settings
from tlsgate.tls.fast import AGAIN, BROKEN, ENDED, RECORD, Slab

NAME = "wiki.gw.test"
GET = b"GET /p HTTP/1.1\r\nHost: wiki.gw.test\r\n\r\n"
PUT = b"PUT /p HTTP/1.1\r\nHost: wiki.gw.test\r\nContent-Length: 6\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class _Lease:
    """What an end's owner uses of a lease."""

    def __init__(self) -> None:
        self.mask = 0
        self.closed = False
        self.on_ready: Any = None

    def want(self, mask: int) -> None:
        self.mask = mask

    def close(self) -> None:
        self.closed = True

    abort = close


class Target(End):
    """A target's end: what it got, and what it says.

    Attributes:
        got: what was written to it.
        room: how much it takes; None: everything.
    """

    def __init__(self) -> None:
        self.fake = _Lease()
        super().__init__(self.fake)  # type: ignore[arg-type]
        self.got = bytearray()
        self.room: int | None = None
        self._says = bytearray()
        self._end = AGAIN

    def fill(self, slab: Slab, size: int) -> int:
        count = min(size, len(self._says))
        if not count:
            return self._end
        slab.view[:count] = self._says[:count]
        del self._says[:count]
        self.drained = not self._says and self._end == AGAIN
        return count

    def put(self, slab: Slab, size: int) -> int:
        if self._end == BROKEN:
            return BROKEN
        count = size if self.room is None else min(size, self.room)
        if self.room is not None:
            self.room -= count
        self.got += slab.view[:count]
        return count

    def step(self) -> int:
        return CHUNK

    def says(self, data: bytes = b"", end: int = AGAIN) -> None:
        """Say *data*, and perhaps end."""
        self._says += data
        self._end = end
        self.wake()

    def wake(self) -> None:
        """Tell whoever listens."""
        if self.fake.mask & READ and not self.fake.closed:
            self.fake.on_ready(READ)

    def takes(self, room: int | None) -> None:
        """Take more."""
        self.room = room
        if self.fake.mask & WRITE:
            self.fake.on_ready(WRITE)

    def ends(self) -> None:
        """Hang up in order."""
        self.says(end=ENDED)

    def breaks(self) -> None:
        """Break off."""
        self._end = BROKEN
        self.fake.on_ready(READ | WRITE | TROUBLE)

    def take(self) -> bytes:
        """What it got since the last time."""
        got = bytes(self.got)
        self.got.clear()
        return got


class AppsCase(SynchronousTestCase):
    """Tests with one application and somebody who may use it."""

    alpn: bytes | None = b"http/1.1"

    def setUp(self) -> None:
        self.tunnels = FakeTunnels(self.offer())
        self.cluster = FakeCluster()
        self.protocol = Apps()
        self.addCleanup(self.stop)
        self.contexts: list[FakeContext] = []

    def stop(self) -> None:
        """End what lives as long as the daemon."""
        self.protocol.stop()

    def offer(self, **facts: str) -> Offer:
        """The application."""
        return Offer(kind="app", name="wiki", facts={"protocol": "http", **facts})

    def settings(self) -> Settings:
        """With one public name."""
        return settings("version: v3\nproxy_service: {public_addr: 'gw.test:443'}\n")

    def client(self, user: str | None = "ann", **fields: Any) -> Any:
        """A connection of somebody's."""
        made = FakeContext(
            **{
                "token": self.alpn,
                "server_name": NAME,
                "identity": None if user is None else member(user, "access"),
                "der": b"" if user is None else b"certificate of " + user.encode(),
                "cluster": self.cluster,
                "tunnels": self.tunnels,
                "slab": Slab(16 * RECORD),
                "settings": self.settings(),
                **fields,
            }
        )
        if self.contexts:
            made.clock = self.contexts[0].clock
        self.contexts.append(made)
        return connect(self.protocol, made)

    def reach(self, number: int = -1) -> Target:
        """Let the agent give a target for a request."""
        target = Target()
        self.tunnels.reaches[number].reached(target)
        return target
