"""Tests for `tlsgate.auth.reads`."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from tests.auth.people import AuthTestCase
from tlsgate.auth.reads import read_all
from tlsgate.core.keeping import Item, Put
from tlsgate.errors import StoreFailed


class ReadAllTests(AuthTestCase):
    """Tests for `read_all`."""

    def test_items_come_in_the_order_of_their_keys(self) -> None:
        """What is not there is None in its place."""
        self.run_now(self.store.commit([Put("a", b"1"), Put("b", b"2")]))
        found = self.run_now(read_all(self.store, ["b", "x", "a"]))
        self.assertEqual(
            [None if item is None else item.value for item in found], [b"2", None, b"1"]
        )
        self.assertEqual(self.run_now(read_all(self.store, [])), [])

    def test_all_are_asked_for_before_the_first_answers(self) -> None:
        """A store in a thread serves them together; one that fails fails the whole."""
        asked: list[Deferred[Item | None]] = []

        async def get(key: str) -> Item | None:
            asked.append(Deferred())
            return await asked[-1]

        self.patch(self.store, "get", get)
        reading = self.begin(read_all(self.store, ["a", "b", "c"]))
        self.assertEqual(len(asked), 3)
        asked[1].errback(StoreFailed("the disk is gone"))
        asked[2].errback(StoreFailed("the disk is gone"))
        error = self.failureResultOf(reading, StoreFailed).value
        self.assertEqual(str(error), "the store failed: the disk is gone")
        asked[0].callback(None)
