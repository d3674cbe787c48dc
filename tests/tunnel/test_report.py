"""Tests for `tlsgate.tunnel.report`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tlsgate.errors import Unreachable
from tlsgate.interfaces import IAuthDoor, IWatch
from tlsgate.tunnel.report import MOST, Reports


@implementer(IAuthDoor)
class Door:
    """An auth service that remembers, and answers when and as the test says."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, list[str]]] = []
        self.followed: Mapping[str, int] = {}
        self.status = 200
        self.answer: Any = {}
        self.error: Exception | None = None
        self.waits: Deferred[None] | None = None

    async def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        address: str | None = None,
        as_anyone: bool = False,
    ) -> tuple[int, Any]:
        assert (method, path) == ("POST", "/v1/gateway/agents") and body is not None
        for row in body["agents"]:
            assert row["worker"] == body["worker"]
        self.heard.append((body["worker"], [row["name"] for row in body["agents"]]))
        self.followed = body["authorities"]
        if self.waits is not None:
            await self.waits
        if self.error is not None:
            raise self.error
        return self.status, self.answer

    def watch(self, heard: Callable[[Mapping[str, Any]], None]) -> IWatch:
        raise NotImplementedError

    def take(self) -> list[tuple[str, list[str]]]:
        heard, self.heard = self.heard, []
        return heard


class ReportsTests(SynchronousTestCase):
    """Tests for `Reports`."""

    def setUp(self) -> None:
        self.clock, self.door = Clock(), Door()
        self.names: list[str] = ["a"]
        self.gateways: list[tuple[str, ...]] = []
        self.followed: dict[str, int] = {}
        self.reports = Reports(
            self.door,
            lambda: [{"name": one} for one in self.names],
            "2",
            self.clock,
            self.gateways.append,
            lambda: self.followed,
        )
        self.logged: list[str] = []
        observer: Any = self.log
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def log(self, event: Any) -> None:
        if event.get("log_namespace") == "tlsgate.tunnel.report.Reports":
            self.logged.append(formatEvent(event))

    def test_change(self) -> None:
        """What changes within a moment is told at once, and then not for a while."""
        self.reports.changed()
        self.names.append("b")
        self.reports.changed()
        self.clock.advance(0.5)
        self.assertEqual(self.door.take(), [("2", ["a", "b"])])
        self.reports.changed()
        self.clock.advance(4.9)
        self.assertEqual(self.door.take(), [])
        self.clock.advance(0.1)
        self.assertEqual(self.door.take(), [("2", ["a", "b"])])

    def test_each_minute(self) -> None:
        """All is told anew each minute, also that nobody is there any more."""
        self.reports.changed()
        self.clock.pump([0.5, 60.0])
        self.names.clear()
        self.clock.pump([60.0])
        told = [("2", ["a"]), ("2", ["a"]), ("2", [])]
        self.assertEqual(self.door.take(), told)
        self.reports.stop()
        self.reports.changed()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_while_telling(self) -> None:
        """A change while something is told is told next."""
        waits = self.door.waits = Deferred()
        self.reports.changed()
        self.clock.advance(0.5)
        self.reports.changed()
        self.clock.advance(100)
        self.assertEqual(len(self.door.take()), 1)
        self.door.waits = None
        waits.callback(None)
        self.clock.advance(0.5)
        self.assertEqual(len(self.door.take()), 1)

    def test_at_once(self) -> None:
        """What an operator waits for is told without the pause between two reports."""
        self.reports.changed()
        self.clock.advance(0.5)
        self.door.take()
        waits = self.door.waits = Deferred()
        self.followed["user"] = 3
        self.reports.at_once()
        self.clock.advance(0.5)
        self.assertEqual((len(self.door.take()), self.door.followed), (1, {"user": 3}))
        self.followed["user"] = 4
        self.reports.at_once()
        self.door.waits = None
        waits.callback(None)
        self.clock.advance(5)
        self.assertEqual((len(self.door.take()), self.door.followed), (1, {"user": 4}))

    def test_gateways(self) -> None:
        """The answer says where gateways are, if it says anything."""
        self.reports.changed()
        self.clock.advance(0.5)
        for answer in ({"gateways": ["a:443", 7, "b:443"]}, {"gateways": "c"}, None):
            self.door.answer = answer
            self.clock.advance(60)
        self.assertEqual(self.gateways, [("a:443", "b:443")])

    def test_many(self) -> None:
        """More than a body takes go in parts, and a part that is over is emptied."""
        self.names = [f"a{number}" for number in range(MOST + 1)]
        self.reports.changed()
        self.clock.advance(0.5)
        first, second = self.door.take()
        self.assertEqual((first[0], len(first[1]), second), ("2", MOST, ("2.1", [f"a{MOST}"])))
        self.names = ["a"]
        self.clock.advance(60)
        self.assertEqual(self.door.take(), [("2", ["a"]), ("2.1", [])])
        self.clock.advance(60)
        self.assertEqual(self.door.take(), [("2", ["a"])])

    def test_away(self) -> None:
        """An auth service that does not hear is told again, and the log says so once."""
        self.door.error = Unreachable("the auth service", "no answer")
        self.reports.changed()
        self.clock.pump([0.5, 60.0])
        self.door.error, self.door.status = None, 503
        self.clock.advance(60)
        self.assertEqual(len(self.door.take()), 3)
        [line] = self.logged
        self.assertIn("no answer", line)
        self.door.status = 200
        self.clock.advance(60)
        self.door.status = 500
        self.clock.advance(60)
        self.assertEqual(len(self.logged), 2)

    def test_bug(self) -> None:
        """A bug is logged, and the next report comes."""
        self.door.error = ZeroDivisionError()
        self.reports.changed()
        self.clock.advance(0.5)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.door.error = None
        self.clock.advance(60)
        self.assertEqual(len(self.door.take()), 2)
