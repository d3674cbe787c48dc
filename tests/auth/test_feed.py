"""Tests for `tlsgate.auth.feed`: what thousands of watchers have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.auth.feed import Feed, Following
from tlsgate.core.keeping import Event, Put
from tlsgate.errors import StoreFailed
from tlsgate.store.memory import MemoryStore


class FeedTests(SynchronousTestCase):
    """A feed of what stands below "a/"."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = MemoryStore(self.clock.seconds, lambda call: self.clock.callLater(0, call))
        self.feed = Feed(self.store, self.make, lambda event: event.key.startswith("a/"))
        #: Snapshots that are being made; each is as long as the test wants.
        self.making: list[Deferred[None]] = []
        self.slow = False
        self.heard: list[str] = []

    async def make(self, revision: int, people: bool) -> Mapping[str, Any]:
        wait: Deferred[None] = Deferred()
        self.making.append(wait)
        if not self.slow:
            wait.callback(None)
        await wait
        return {"revision": revision, "people": people}

    def hear(self, events: Sequence[Event]) -> None:
        self.heard += [event.key for event in events]

    def put(self, *keys: str) -> None:
        """Write, and let everybody hear."""
        self.run_it(self.store.commit([Put(key, b"x") for key in keys]))
        self.turn()

    def turn(self) -> None:
        for _ in range(3):
            self.clock.advance(0)

    def run_it(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def ask(self, following: Following, people: bool = True) -> Deferred[tuple[int, Any]]:
        """A snapshot, some day."""
        return Deferred.fromCoroutine(self.feed.snapshot(following, people))

    def test_what_matters(self) -> None:
        """Followers hear of that alone, from when they came; the revision is that of all."""
        self.put("a/0")
        one = self.feed.follow(self.hear)
        self.put("a/1", "b/1")
        self.put("b/2")
        self.assertEqual(self.heard, ["a/1"])
        self.assertEqual(self.feed.revision, self.run_it(self.store.revision()))
        one.stop()
        one.stop()
        self.put("a/3")
        self.assertEqual((self.heard, self.store.watches), (["a/1"], []))

    def test_one_watch_and_one_snapshot(self) -> None:
        """However many follow, the store is watched once, and read once for each sort."""
        followers = [self.feed.follow(self.hear) for _ in range(9)]
        made = [self.successResultOf(self.ask(one)) for one in followers]
        self.assertEqual((len(self.store.watches), len(self.making)), (1, 1))
        self.assertTrue(all(line is made[0][1] for _, line in made))
        self.put("b/1")
        self.successResultOf(self.ask(followers[0]))
        self.assertEqual(len(self.making), 1)
        _, without = self.successResultOf(self.ask(followers[0], False))
        self.assertEqual((len(self.making), without["people"]), (2, False))
        self.put("a/1")
        revision, line = self.successResultOf(self.ask(followers[0]))
        self.assertEqual((len(self.making), line["revision"]), (3, revision))
        self.assertEqual(revision, self.run_it(self.store.revision()))

    def test_together(self) -> None:
        """Who asks while a snapshot is being made waits for it."""
        self.slow = True
        asked = [self.ask(self.feed.follow(self.hear)) for _ in range(3)]
        self.assertEqual(len(self.making), 1)
        self.making[0].callback(None)
        lines = [self.successResultOf(one)[1] for one in asked]
        self.assertTrue(lines[0] is lines[1] is lines[2])

    def test_too_old(self) -> None:
        """A snapshot that was begun before a change is not for who came after it."""
        self.slow = True
        early = self.ask(self.feed.follow(self.hear))
        self.put("a/1")
        late = self.ask(self.feed.follow(self.hear))
        self.making[0].callback(None)
        self.assertEqual(self.successResultOf(early)[1]["revision"], 0)
        self.assertNoResult(late)
        self.making[1].callback(None)
        self.assertEqual(self.successResultOf(late)[1]["revision"], 1)

    def test_one_that_fails(self) -> None:
        """Who waited for a snapshot that cannot be made asks by itself."""
        self.slow = True
        first, second = (self.ask(self.feed.follow(self.hear)) for _ in range(2))
        self.making[0].errback(StoreFailed("disk"))
        self.failureResultOf(first, StoreFailed)
        self.making[1].callback(None)
        self.assertEqual(self.successResultOf(second)[1]["revision"], 0)

    def test_a_line_is_made_once(self) -> None:
        """The first who asks makes it."""
        made: list[int] = []

        def make() -> dict[str, Any]:
            made.append(1)
            return {}

        one, two = (Event("a/1", None, revision) for revision in (1, 2))
        self.assertIs(self.feed.line(one, make), self.feed.line(one, make))
        self.feed.line(two, make)
        self.assertEqual(len(made), 2)
