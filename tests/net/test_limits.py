"""Tests for `tlsgate.net.limits`."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config.settings import Limits
from tlsgate.errors import TooMany
from tlsgate.net.limits import Census


class CensusTests(SynchronousTestCase):
    """Tests for `Census`."""

    def setUp(self) -> None:
        """A census whose clock the test moves."""
        self.time = 0.0
        limits = Limits(
            connections=3,
            unauthenticated=2,
            unauthenticated_per_address=2,
            handshakes_per_second_per_address=5,
        )
        self.census = Census(limits, lambda: self.time)

    def refused(self, call: Callable[..., None], *args: object) -> str:
        """Which limit *call* met."""
        error: TooMany = self.assertRaises(TooMany, call, *args)
        return error.what

    def test_anonymous_then_known(self) -> None:
        """Who is known makes room for the next unknown one, and still counts as a connection."""
        self.census.arrive()
        self.census.arrive()
        self.assertEqual(self.refused(self.census.arrive), "unauthenticated")
        self.census.known(None)
        self.census.arrive()
        self.census.known(None)
        self.assertEqual(self.refused(self.census.arrive), "connections")
        self.census.leave()
        self.census.arrive()

    def test_per_address(self) -> None:
        """Each address has its own count, which is forgotten when it reaches zero."""
        self.census.name("a")
        self.census.name("a")
        self.assertEqual(self.refused(self.census.name, "a"), "unauthenticated_per_address")
        self.census.name("b")
        for _ in range(3):
            self.census.anonymous += 1
        self.census.known("a")
        self.census.known("a")
        self.assertEqual(self.census.by_source, {"b": 1})

    def test_s16_handshakes_per_second(self) -> None:
        """A burst of four seconds' worth, then the rate."""

        def come() -> None:
            self.census.name("a")
            self.census.anonymous += 1
            self.census.known("a")

        for _ in range(20):
            come()
        self.assertEqual(self.refused(come), "handshakes_per_second_per_address")
        self.time += 1.0
        for _ in range(5):
            come()
        self.assertEqual(self.refused(come), "handshakes_per_second_per_address")

    def test_remembers_a_bounded_number_of_sources(self) -> None:
        """An attacker with many addresses does not grow it without end."""
        self.census.limits = Limits(
            connections=1,
            unauthenticated=1,
            unauthenticated_per_address=1,
            handshakes_per_second_per_address=1,
        )
        for number in range(70_000):
            self.census.anonymous += 1
            self.census.name(str(number))
            self.census.known(str(number))
        self.assertLessEqual(len(self.census._buckets), 65_536)
        self.assertEqual(self.census.by_source, {})
