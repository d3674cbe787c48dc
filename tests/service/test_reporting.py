"""Tests for `tlsgate.service.reporting`."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.ledger import PART, STAY_SECONDS, Book, Use
from tlsgate.errors import Unreachable
from tlsgate.service import reporting
from tlsgate.service.reporting import EACH_SECONDS, SOON_SECONDS, Reporting

ALICE = Use("user", "alice", "ssh", "raw")


class FakeDoor:
    """An auth service that answers as the test wants."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self.answers: list[Any] = []
        self.held: Deferred[None] | None = None

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Take a report."""
        assert (method, path) == ("POST", "/v1/gateway/report")
        self.bodies.append(body)
        if self.held is not None:
            await self.held
        answer = self.answers.pop(0) if self.answers else (200, {"known": True})
        if isinstance(answer, Exception):
            raise answer
        return answer[0], answer[1]


class ReportingTests(SynchronousTestCase):
    """Tests for `Reporting`."""

    def setUp(self) -> None:
        self.clock, self.book, self.door = Clock(), Book(), FakeDoor()
        self.looks: list[None] = []
        self.now = 7.0
        self.reporting = Reporting(
            self.door,  # type: ignore[arg-type]
            self.book,
            lambda: {"worker": "0"},
            self.clock,
            lambda: self.looks.append(None),
            lambda: self.now,
        )

    def told(self) -> list[tuple[int, int, int]]:
        """Number, count and open connections of what was told, row by row."""
        return [
            (body["number"], row["count"], row["open"])
            for body in self.door.bodies
            for row in body["ledger"]
        ]

    def test_told(self) -> None:
        """Soon after the start, then every few seconds, and at once after a change."""
        self.book.opened(ALICE, 5.0)
        self.reporting.at_once()  # nothing before the start
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.reporting.start()
        self.clock.advance(SOON_SECONDS)
        (body,) = self.door.bodies
        self.assertEqual((body["worker"], body["started"], body["leaving"]), ("0", 7.0, False))
        self.assertEqual(body["now"], 7.0)
        self.assertEqual(self.told(), [(1, 1, 1)])
        self.clock.advance(EACH_SECONDS)
        self.assertEqual(len(self.door.bodies), 2)
        self.reporting.at_once()
        self.reporting.at_once()
        self.clock.advance(SOON_SECONDS)
        self.reporting.leave()
        self.clock.advance(SOON_SECONDS)
        self.assertEqual([one["leaving"] for one in self.door.bodies], [False] * 3 + [True])
        self.assertEqual(len(self.looks), 4)
        self.reporting.stop()
        self.reporting.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stays(self) -> None:
        """Who is connected for hours is told anew: a crash must not leave him unseen for days."""
        self.book.opened(ALICE, 5.0)
        self.reporting.start()
        self.clock.advance(SOON_SECONDS)
        self.now += STAY_SECONDS
        self.clock.advance(EACH_SECONDS)
        self.assertEqual(self.told(), [(1, 1, 1), (2, 0, 1)])
        self.assertEqual(self.door.bodies[-1]["ledger"][0]["last"], self.now)

    def test_leaves(self) -> None:
        """Who drains tells at once, for the auth service may end with it."""
        self.reporting.leave()  # it has never begun
        self.assertEqual(self.door.bodies, [])
        self.reporting.start()
        self.book.opened(ALICE, 5.0)
        self.reporting.leave()
        self.assertEqual(self.told(), [(1, 1, 1)])
        self.door.held = Deferred()
        self.clock.advance(EACH_SECONDS)
        self.reporting.leave()
        self.assertEqual(len(self.door.bodies), 2)
        held, self.door.held = self.door.held, None
        held.callback(None)
        self.clock.advance(SOON_SECONDS)
        self.assertEqual(len(self.door.bodies), 3)

    def test_parts(self) -> None:
        """Much follows at once, in parts."""
        for number in range(PART + 3):
            self.book.opened(evolve(ALICE, name=str(number)), 5.0)
        self.reporting.start()
        self.clock.advance(SOON_SECONDS)
        self.assertEqual([len(one["ledger"]) for one in self.door.bodies], [PART, 3])

    def test_many_parts(self) -> None:
        """Very much follows soon, and lets others be heard in between."""
        self.patch(reporting, "_PARTS", 2)
        for number in range(3 * PART):
            self.book.opened(evolve(ALICE, name=str(number)), 5.0)
        self.reporting.start()
        self.clock.advance(SOON_SECONDS)
        self.assertEqual(len(self.door.bodies), 2)
        self.clock.advance(SOON_SECONDS)
        self.assertEqual([len(one["ledger"]) for one in self.door.bodies], [PART] * 3)
        self.clock.advance(EACH_SECONDS - SOON_SECONDS)
        self.assertEqual(len(self.door.bodies), 3)

    def test_again(self) -> None:
        """What was not taken is told again with its number, after growing waits."""
        self.door.answers = [Unreachable("auth", "away"), (503, None), RuntimeError("a bug")]
        self.book.opened(ALICE, 5.0)
        self.reporting.start()
        for seconds in (SOON_SECONDS, 1.0, 2.0, 4.0):
            self.clock.advance(seconds)
        self.assertEqual(self.told(), [(1, 1, 1)] * 4)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.clock.advance(EACH_SECONDS)
        self.assertEqual((self.door.bodies[-1]["number"], len(self.told())), (2, 4))

    def test_leaves_unheard(self) -> None:
        """Who leaves and is not heard says it again soon: one that is silent is taken for gone."""
        self.reporting.start()
        self.clock.advance(SOON_SECONDS)
        self.door.answers = [Unreachable("auth", "away")] * 9
        self.reporting.leave()
        for seconds in (1.0, 2.0, 4.0, EACH_SECONDS, EACH_SECONDS):
            self.clock.advance(seconds)
        self.assertEqual(len(self.door.bodies), 7)

    def test_never_taken(self) -> None:
        """Rows that are not understood do not keep the next ones back."""
        self.door.answers = [(400, None)]
        self.book.opened(ALICE, 5.0)
        self.reporting.start()
        self.clock.advance(SOON_SECONDS)
        self.book.closed(ALICE, 6.0)
        self.clock.advance(1.0)
        self.assertEqual(self.told(), [(1, 1, 1), (2, 0, 0)])

    def test_not_known(self) -> None:
        """To an auth service that has started, all that is open is told anew."""
        self.book.opened(ALICE, 5.0)
        self.door.answers = [(200, {"known": False})]
        self.reporting.start()
        self.clock.advance(SOON_SECONDS)
        self.assertEqual(self.told(), [(1, 1, 1), (2, 0, 1)])

    def test_changed_meanwhile(self) -> None:
        """What changes while a report is on its way is told right after."""
        self.door.held = Deferred()
        self.reporting.start()
        self.clock.advance(SOON_SECONDS)
        self.reporting.at_once()
        held, self.door.held = self.door.held, None
        held.callback(None)
        self.clock.advance(SOON_SECONDS)
        self.assertEqual(len(self.door.bodies), 2)

    def test_stopped_meanwhile(self) -> None:
        """An answer after the end makes nothing go on."""
        self.door.held = Deferred()
        self.reporting.start()
        self.clock.advance(SOON_SECONDS)
        self.reporting.stop()
        self.door.held.callback(None)
        self.assertEqual(self.clock.getDelayedCalls(), [])
