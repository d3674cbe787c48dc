"""Doubles of processes, channels and crews, for tests of the service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from tlsgate.config.settings import Settings
from tlsgate.net.tally import Tally
from tlsgate.service import counts
from tlsgate.service.crew import ICrew, Orders


class FakeReactor(Clock):
    """A clock that can be told to stop."""

    def __init__(self) -> None:
        super().__init__()
        self.stops = 0

    def stop(self) -> None:
        """Count it."""
        self.stops += 1

    def callWhenRunning(self, call: Any, *arguments: Any) -> None:
        """It always runs."""
        call(*arguments)

    def addReader(self, reader: Any) -> None:
        """Nothing is ever readable."""

    def removeReader(self, reader: Any) -> None:
        """Nothing is ever readable."""


class FakeBound:
    """A listening socket of which only the identity and a number matter."""

    endpoint = "tcp:0"
    address = "127.0.0.1:1"
    inode = None

    def __init__(self, number: int = 7) -> None:
        self.number = number
        self.closed: list[bool] = []

    @property
    def socket(self) -> Any:
        """Itself."""
        return self

    def fileno(self) -> int:
        """Its number."""
        return self.number

    def close(self, *, leave_name: bool = False) -> None:
        """Remember it, and whether the name stays."""
        self.closed.append(leave_name)


def fake_bound(number: int = 7) -> Any:
    """A `FakeBound` where a `Bound` is wanted."""
    return FakeBound(number)


@implementer(ICrew)
class FakeCrew:
    """A crew that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.error: Exception | None = None
        self.begins: Deferred[None] | None = None
        self.drained: Deferred[int] = Deferred()
        self.remarks: list[str] = []
        self.in_cluster: dict[str, Any] | None = None
        self.foreseen: dict[str, Any] | None = None

    async def begin(self, orders: Orders) -> None:
        """See `ICrew.begin`."""
        self.told.append(("begin", orders.text))
        if self.begins is not None:
            await self.begins
        if self.error is not None:
            raise self.error

    async def prepare(self, orders: Orders) -> Sequence[str]:
        """See `ICrew.prepare`."""
        self.told.append(("prepare", orders.text))
        if self.error is not None:
            raise self.error
        return self.remarks

    async def commit(self) -> None:
        """See `ICrew.commit`."""
        self.told.append("commit")

    def abort(self) -> None:
        """See `ICrew.abort`."""
        self.told.append("abort")

    async def stop_accepting(self, finish: bool) -> None:
        """See `ICrew.stop_accepting`."""
        self.told.append(("stop", finish))

    def drain(self, seconds: float) -> Deferred[int]:
        """See `ICrew.drain`."""
        self.told.append(("drain", seconds))
        return self.drained

    def cut(self) -> None:
        """See `ICrew.cut`."""
        self.told.append("cut")

    def reopen_logs(self) -> None:
        """See `ICrew.reopen_logs`."""
        self.told.append("reopen")

    async def connections(self) -> list[dict[str, Any]]:
        """See `ICrew.connections`."""
        return [{"peer": "x"}]

    async def tally(self) -> dict[str, Any]:
        """See `ICrew.tally`."""
        tally = Tally()
        tally.accepted["web"], tally.active["web"] = 3, 2
        tally.refused["web", "no_route"] = tally.refused["web", "limit"] = 4
        return counts.fields(tally)

    async def explain(
        self, listener: str, sni: str | None, alpn: Sequence[str], cert_pem: str | None
    ) -> dict[str, Any]:
        """See `ICrew.explain`."""
        return {"listener": listener, "alpn": list(alpn)}

    def members(self) -> list[dict[str, Any]]:
        """See `ICrew.members`."""
        return []

    async def cluster(self) -> dict[str, Any] | None:
        """See `ICrew.cluster`."""
        return self.in_cluster

    async def foresee(self, text: str, settings: Settings) -> dict[str, Any] | None:
        """See `ICrew.foresee`."""
        return self.foreseen


class FakeChannel:
    """One end of a wire, in the hands of a test."""

    def __init__(self, hear: Any, lost: Any) -> None:
        self.hear = hear
        self.lost = lost
        self.told: list[Any] = []
        self.open = True

    def tell(self, word: str, descriptors: Any = (), **fields: Any) -> None:
        """A word from whoever is tested."""
        self.told.append((word, fields) if fields else word)

    def hang_up(self) -> None:
        """Closed by whoever is tested."""
        self.open = False

    def say(self, word: str, **fields: Any) -> Deferred[Any]:
        """A word to whoever is tested; what it answers."""
        return Deferred.fromCoroutine(self.hear(word, fields, []))
