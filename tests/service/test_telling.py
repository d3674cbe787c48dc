"""Tests for `tlsgate.service.telling`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.errors import GateError, Unreachable
from tlsgate.service import telling
from tlsgate.service.telling import GATHER_SECONDS, Telling

PATH = "/v1/agent/things"


class TellingTests(SynchronousTestCase):
    """Tests for `Telling`."""

    def setUp(self) -> None:
        """An auth service that takes everything."""
        self.clock = Clock()
        self.bodies: list[Any] = []
        self.answers: list[tuple[int, Any] | Exception] = []
        self.telling = Telling(self.tell, self.clock, path=PATH, key="things", what="things")

    async def tell(self, method: str, path: str, body: Mapping[str, Any]) -> tuple[int, Any]:
        """Answer as the test wants."""
        self.assertEqual((method, path), ("POST", PATH))
        self.bodies.append(body)
        answer = self.answers.pop(0) if self.answers else (200, {"taken": 1000})
        if isinstance(answer, Exception):
            raise answer
        return answer

    def put(self, count: int = 1) -> None:
        """Have something to tell."""
        for number in range(count):
            self.telling.put({"n": number})

    def counts(self) -> list[int]:
        """How many were told each time."""
        return [len(body["things"]) for body in self.bodies]

    def test_told(self) -> None:
        """It is told soon, as it was."""
        self.put()
        self.assertEqual(self.bodies, [])
        self.clock.advance(GATHER_SECONDS)
        self.assertEqual(self.bodies, [{"things": [{"n": 0}], "lost": 0}])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_parts(self) -> None:
        """Many are told in parts, in order."""
        self.put(120)
        self.clock.pump([GATHER_SECONDS] * 3)
        self.assertEqual(self.counts(), [50, 50, 20])
        told = [one["n"] for body in self.bodies for one in body["things"]]
        self.assertEqual(told, list(range(120)))

    def test_away(self) -> None:
        """What is not taken is told again, after growing waits."""
        away: list[tuple[int, Any] | Exception] = [Unreachable("auth", "away"), (503, None)]
        self.answers = [*away, (200, {"taken": 0, "wait_seconds": 5.0}), (200, {"taken": 1})]
        self.put()
        for seconds, count in ((GATHER_SECONDS, 1), (1.0, 2), (2.0, 3), (4.9, 3), (0.1, 4)):
            self.clock.advance(seconds)
            self.assertEqual(len(self.bodies), count)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_lost(self) -> None:
        """What cannot be kept is counted, and told with the last ones."""
        self.patch(telling, "KEPT", 60)
        self.answers = [Unreachable("auth", "away")]
        self.put(62)
        self.assertTrue(self.telling.is_full)
        self.telling.lose()
        self.clock.pump([GATHER_SECONDS, 1.0, 1.0])
        self.assertEqual(self.counts(), [50, 50, 10])
        self.assertEqual([body["lost"] for body in self.bodies], [0, 0, 3])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_unreadable(self) -> None:
        """One that cannot be read takes none of the others with it, and is counted."""
        bad, told = 37, []

        async def tell(method: str, path: str, body: Mapping[str, Any]) -> tuple[int, Any]:
            self.bodies.append(body)
            numbers = [one["n"] for one in body["things"]]
            if bad in numbers:
                return 400, {}
            told.extend(numbers)
            return 200, {"taken": len(numbers)}

        self.patch(self.telling, "_tell", tell)
        self.put(120)
        self.clock.pump([GATHER_SECONDS] * 30)
        self.assertEqual(told, [number for number in range(120) if number != bad])
        self.assertEqual([body["lost"] for body in self.bodies if body["lost"]], [1])
        self.assertLess(len(self.bodies), 30)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_another_version(self) -> None:
        """An auth service that knows of no such thing is not asked again and again."""
        self.answers = [(404, {})]
        self.put()
        self.clock.pump([GATHER_SECONDS, 100.0])
        self.assertEqual(self.counts(), [1])

    def test_a_bug(self) -> None:
        """A fault of ours is logged, and it goes on."""
        self.answers = [(200, {"taken": "x"})]
        self.put()
        self.clock.pump([GATHER_SECONDS, 1.0])
        self.assertEqual(self.counts(), [1, 1])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_stopped(self) -> None:
        """Nothing is told after the end."""
        self.put()
        self.telling.stop()
        self.put()
        self.telling.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_errors_are_ours(self) -> None:
        """Only a `GateError` is an auth service that is away."""
        self.assertTrue(issubclass(Unreachable, GateError))
