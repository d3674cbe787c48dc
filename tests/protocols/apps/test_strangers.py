"""Tests for `tlsgate.protocols.apps.strangers`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.protocols.apps.strangers import COOKIES, SECONDS, Strangers


class StrangersTests(SynchronousTestCase):
    """Cookies that nobody knows."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.strangers = Strangers(self.clock)

    def shown(self, address: str | None, count: int = 2 * COOKIES) -> int:
        """How many of *count* may be asked for."""
        return sum(self.strangers.may_ask(address) for _ in range(count))

    def test_bounded(self) -> None:
        """So many in a while; then that address waits, and others do not."""
        self.assertEqual(self.shown("192.0.2.1"), COOKIES)
        self.assertEqual(self.shown("192.0.2.2"), COOKIES)
        self.clock.advance(SECONDS + 1)
        self.assertEqual(self.shown("192.0.2.1"), COOKIES)

    def test_one_host(self) -> None:
        """All addresses of one host's IPv6 network are one; a client without one has a name."""
        self.assertEqual(self.shown("2001:db8::1"), COOKIES)
        self.assertEqual(self.shown("2001:db8::2"), 0)
        self.assertEqual(self.shown(None), COOKIES)

    def test_good(self) -> None:
        """Cookies of sessions do not count."""
        for _ in range(3 * COOKIES):
            self.assertTrue(self.strangers.may_ask("192.0.2.1"))
            self.strangers.was_good("192.0.2.1")
        self.strangers.was_good("192.0.2.9")
        self.assertEqual(self.shown("192.0.2.1"), COOKIES)

    def test_many_addresses(self) -> None:
        """However many addresses there are, few are remembered."""
        for number in range(5000):
            self.strangers.may_ask(f"10.0.{number >> 8}.{number & 255}")
        self.assertEqual(len(self.strangers._shown), 4096)

    def test_dead(self) -> None:
        """What was nobody's is so for a moment, and few are remembered."""
        self.strangers.was_bad("a")
        self.assertEqual((self.strangers.is_bad("a"), self.strangers.is_bad("b")), (True, False))
        self.clock.advance(6)
        self.assertFalse(self.strangers.is_bad("a"))
        for number in range(5000):
            self.strangers.was_bad(number)
        self.assertEqual((self.strangers.is_bad(0), self.strangers.is_bad(4999)), (False, True))
