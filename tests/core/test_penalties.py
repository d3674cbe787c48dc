"""Tests for `tlsgate.core.penalties`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.penalties import LONGEST_SECONDS, Penalties, network


class PenaltiesTests(SynchronousTestCase):
    """Tests for `Penalties`."""

    def setUp(self) -> None:
        """A table, and a clock to move."""
        self.time = 100.0
        self.penalties = Penalties(lambda: self.time, most=3)

    def test_grows(self) -> None:
        """Each failure costs twice as much as the last; under the threshold nobody is kept out."""
        owed = []
        for _ in range(4):
            self.penalties.charge("192.0.2.1", 5.0)
            owed.append(self.penalties.owes("192.0.2.1"))
        self.assertEqual(owed, [0.0, 0.0, 35.0, 75.0])
        self.assertEqual(self.penalties.owes("192.0.2.2"), 0.0)

    def test_steady(self) -> None:
        """What does not grow is only summed."""
        for _ in range(20):
            self.penalties.charge("192.0.2.1", 1.0, grows=False)
        self.assertEqual(self.penalties.owes("192.0.2.1"), 20.0)

    def test_passes(self) -> None:
        """When it has passed, all is as at first, and nothing is remembered."""
        for _ in range(3):
            self.penalties.charge("192.0.2.1", 5.0)
        self.time += 35.0
        self.assertEqual((self.penalties.owes("192.0.2.1"), len(self.penalties)), (0.0, 0))
        self.penalties.charge("192.0.2.1", 5.0)
        self.time += 6.0
        self.penalties.charge("192.0.2.1", 16.0)
        self.assertEqual(self.penalties.owes("192.0.2.1"), 16.0)

    def test_bounded(self) -> None:
        """No address stays away for more than the longest time; the oldest are forgotten."""
        for _ in range(40):
            self.penalties.charge("192.0.2.1", 60.0)
        self.assertEqual(self.penalties.owes("192.0.2.1"), LONGEST_SECONDS)
        for host in range(2, 5):
            self.penalties.charge(f"192.0.2.{host}", 60.0)
        self.assertEqual((len(self.penalties), self.penalties.owes("192.0.2.1")), (3, 0.0))

    def test_forgiven(self) -> None:
        """Who logs in owes nothing."""
        self.penalties.charge("192.0.2.1", 60.0)
        self.penalties.forgive("192.0.2.1")
        self.penalties.forgive("192.0.2.9")
        self.assertEqual(self.penalties.owes("192.0.2.1"), 0.0)


class NetworkTests(SynchronousTestCase):
    """Tests for `network`."""

    def test_network(self) -> None:
        """An IPv4 address is itself, a host's IPv6 ones are one."""
        for address, want in (
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("fe80::1%eth0", "fe80::"),
            ("unix", "unix"),
        ):
            self.assertEqual(network(address), want)
