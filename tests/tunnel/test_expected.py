"""Tests for `tlsgate.tunnel.expected`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.tunnel.gateside import db, node
from tlsgate.tunnel import expected as module
from tlsgate.tunnel.expected import EXPECT_SECONDS, Expected


class FakeWaiter:
    """Somebody who counts."""

    def __init__(self) -> None:
        self.times = 0

    def came(self) -> None:
        self.times += 1


class ExpectedTests(SynchronousTestCase):
    """Tests for `Expected`."""

    def setUp(self) -> None:
        self.time = 100.0
        self.expected = Expected(lambda: self.time)

    def test_nobody(self) -> None:
        """At first nobody is expected, and nobody waits."""
        self.assertEqual(self.expected.offers("node"), [])
        self.assertFalse(self.expected.wait("node", "db1", FakeWaiter()))
        self.expected.came("node", "db1")

    def test_until_it_comes(self) -> None:
        """What is expected counts as offered, and who waits for it is told once."""
        self.expected.expect([node("db1"), node("db2"), db("orders")])
        self.assertEqual(self.expected.offers("node"), [node("db1"), node("db2")])
        self.assertEqual(self.expected.offer("db", "orders"), db("orders"))
        first, gone, other = FakeWaiter(), FakeWaiter(), FakeWaiter()
        for one in (first, gone):
            self.assertTrue(self.expected.wait("node", "db1", one))
        self.assertTrue(self.expected.wait("db", "orders", other))
        self.expected.forget(gone)
        self.expected.forget(gone)
        for _ in range(2):
            self.expected.came("node", "db1")
        self.assertEqual((first.times, gone.times, other.times), (1, 0, 0))
        self.assertEqual(self.expected.offers("node"), [node("db2")])

    def test_not_for_ever(self) -> None:
        """After a while nobody is expected any more."""
        self.expected.expect([node("db1")])
        self.time += EXPECT_SECONDS
        self.assertEqual(self.expected.offer("node", "db1"), None)
        self.assertFalse(self.expected.wait("node", "db1", FakeWaiter()))

    def test_one_takes_another_along(self) -> None:
        """Of two who wait the first may have the second go."""
        self.expected.expect([node("db1")])
        second = FakeWaiter()

        class First(FakeWaiter):
            def came(one) -> None:
                self.expected.forget(second)

        for waiter in (First(), second):
            self.assertTrue(self.expected.wait("node", "db1", waiter))
        self.expected.came("node", "db1")
        self.assertEqual(second.times, 0)

    def test_bounded(self) -> None:
        """More than so many do not wait."""
        self.patch(module, "MOST_WAITING", 2)
        self.expected.expect([node("db1")])
        said = [self.expected.wait("node", "db1", FakeWaiter()) for _ in range(3)]
        self.assertEqual(said, [True, True, False])
