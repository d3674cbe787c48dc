"""Tests for `tlsgate.auth.lockout`."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tests.auth.people import HOME, AuthTestCase
from tlsgate.auth import lockout
from tlsgate.auth.lockout import PER_SLOT, SLOTS, Attempt, Ladder, Ladders, Lockout, network
from tlsgate.core.keeping import Item
from tlsgate.errors import LockedOut

#: One wrong try is free, in each of three ladders of different lengths.
SHORT = Ladders(
    pair=Ladder(free=2, first_seconds=10, cap_seconds=40, forget_seconds=1000),
    address=Ladder(free=6, first_seconds=5, cap_seconds=20, forget_seconds=500),
    user=Ladder(free=4, first_seconds=7, cap_seconds=28, forget_seconds=2000),
)


class LadderTests(AuthTestCase):
    """Tests for `Ladder`."""

    def test_waits_double_up_to_the_cap(self) -> None:
        """Free tries, then growing waits, then the longest one."""
        waits = [SHORT.pair.wait_seconds(failures) for failures in range(7)]
        self.assertEqual(waits, [0, 0, 10, 20, 40, 40, 40])

    @given(st.integers(0, 1 << 40))
    def test_no_number_of_failures_waits_for_ever(self, failures: int) -> None:
        """Every wait has an end."""
        for ladder in (Ladders().pair, Ladders().address, Ladders().user):
            self.assertLessEqual(ladder.wait_seconds(failures), 1200)


class NetworkTests(AuthTestCase):
    """Tests for `network`."""

    def test_what_counts_as_one_place(self) -> None:
        """An IPv4 address however it is written, an IPv6 /64, and one place for the rest."""
        for address, want in (
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
            ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            (None, "unknown"),
            ("", "unknown"),
            ("localhost", "unknown"),
            ("1" * 1000, "unknown"),
        ):
            self.assertEqual(network(address), want)


class LockoutTests(AuthTestCase):
    """Tests for `Lockout`."""

    def setUp(self) -> None:
        super().setUp()
        self.lockout = Lockout(self.store, self.now, SHORT)

    def admit(self, user: str = "alice", address: str = HOME, **more: object) -> Attempt:
        return self.run_now(self.lockout.admit(user, address, **more))  # type: ignore[arg-type]

    def wrong(self, user: str = "alice", address: str = HOME, **more: object) -> float:
        attempt = self.admit(user, address, **more)
        wait = self.run_now(self.lockout.failed(attempt))
        self.lockout.done(attempt)
        return wait

    def held(self, user: str = "alice", address: str = HOME, **more: object) -> float:
        """How long an attempt would have to wait; 0 when it is let in."""
        try:
            self.lockout.done(self.admit(user, address, **more))
        except LockedOut as e:
            return e.seconds
        return 0.0

    def items(self) -> list[Item]:
        return list(self.run_now(self.store.scan("lockout/")))

    def test_waits_grow_with_the_failures_of_a_pair(self) -> None:
        """After the free tries each failure makes the next one wait longer."""
        waits = []
        for _ in range(5):
            waits.append(self.wrong())
            self.seconds += waits[-1]
        self.assertEqual(waits, [0, 10, 20, 40, 40])

    def test_a_try_during_a_wait_is_not_looked_at_and_moves_nothing(self) -> None:
        """The wait ends when it was to end, however often somebody knocks."""
        self.wrong()
        self.wrong()
        for passed in range(10):
            self.assertEqual(self.held(), 10 - passed)
            self.seconds += 1
        self.assertEqual(self.held(), 0)

    def test_others_at_other_places_do_not_wait(self) -> None:
        """A pair that waits holds neither the address's other users nor the user elsewhere."""
        self.wrong()
        self.wrong()
        self.assertEqual(
            (self.held("bob"), self.held("alice", "192.0.2.11"), self.held()), (0, 0, 10)
        )

    def test_one_password_on_many_names(self) -> None:
        """An address that fails with ever new names waits, with any name."""
        waits = [self.wrong(f"user{number}") for number in range(6)]
        self.assertEqual(waits, [0, 0, 0, 0, 0, 5])
        self.assertEqual((self.held("another"), self.held("another", "192.0.2.11")), (5, 0))

    def test_one_name_from_many_places(self) -> None:
        """A name that is tried from everywhere waits, but not where its user is known."""
        for number in range(4):
            self.wrong("alice", f"198.51.100.{number}")
        self.assertEqual(self.held("alice", "203.0.113.1"), 7)
        self.assertEqual(self.held("alice", HOME, familiar=True), 0)

    def test_nobody_is_kept_out_of_a_known_place_by_tries_from_elsewhere(self) -> None:
        """However long an attack goes on, the user's own network is let in."""
        for number in range(300):
            place = f"2001:db8:{number:x}::1"
            self.seconds += self.held("alice", place)
            self.wrong("alice", place)
            self.assertEqual(self.held("alice", HOME, familiar=True), 0)

    def test_a_known_place_still_has_its_own_waits(self) -> None:
        """Being known is no free pass."""
        self.assertEqual([self.wrong(familiar=True) for _ in range(2)], [0, 10])
        self.assertEqual(self.held(familiar=True), 10)

    def test_a_success_is_forgiven_to_the_user_not_to_the_address(self) -> None:
        """A good account buys no tries on others."""
        for _ in range(2):
            self.wrong("bob")
            self.wrong("alice", "192.0.2.12")
        self.seconds += 40
        attempt = self.admit("bob")
        self.run_now(self.lockout.passed(attempt))
        self.lockout.done(attempt)
        self.assertEqual(self.wrong("bob"), 0)
        for number in range(3):
            wait = self.wrong(f"user{number}")
        self.assertEqual(wait, 5)

    def test_a_new_epoch_starts_at_nothing(self) -> None:
        """An operator's reset frees the user everywhere at once."""
        for _ in range(2):
            self.wrong(epoch="one")
        self.assertEqual((self.held(epoch="one"), self.held(epoch="two")), (10, 0))

    def test_what_is_long_past_is_forgotten(self) -> None:
        """Each counter ends by itself, and its item with it."""
        self.wrong()
        self.seconds += 1000
        self.assertEqual(self.wrong(), 0)
        self.seconds += 2000
        self.assertEqual(self.items(), [])

    def test_a_restart_forgives_nothing(self) -> None:
        """What counts is in the store, whichever process asks."""
        self.wrong()
        self.wrong()
        self.lockout = Lockout(self.store, self.now, SHORT)
        self.assertEqual(self.held(), 10)

    def test_many_at_once_are_not_all_the_first(self) -> None:
        """Attempts under way count as if they had failed, so none is free twice."""
        under_way = [self.admit() for _ in range(2)]
        self.assertEqual(self.held(), 1)
        for each in under_way:
            self.lockout.done(each)
        self.assertEqual(self.held(), 0)
        self.wrong()
        one = self.admit()
        self.assertEqual(self.held(), 1)
        self.lockout.done(one)
        self.assertEqual(sum(self.lockout._under_way.values()), 0)
        self.assertEqual(len(self.lockout._under_way), 0)

    def test_a_clock_put_back_makes_no_wait_longer(self) -> None:
        """After a jump back one attempt is looked at, and counts from there."""
        self.wrong()
        self.wrong()
        self.seconds -= 86400
        self.assertEqual(self.held(), 0)
        self.assertEqual(self.wrong(), 20)
        self.assertEqual(self.held(), 20)

    def test_no_name_stands_in_the_table(self) -> None:
        """Counters are named by a keyed hash: the table tells nobody who was tried."""
        self.wrong("canary", "192.0.2.99")
        text = b"".join(item.key.encode() + item.value for item in self.items())
        self.assertNotIn(b"canary", text)
        self.assertNotIn(b"192.0.2.99", text)

    def test_two_clusters_count_in_different_slots(self) -> None:
        """Nobody outside knows which names share a slot."""
        self.wrong()
        mine = [item.key for item in self.items()]
        super().setUp()
        self.lockout = Lockout(self.store, self.now, SHORT)
        self.wrong()
        self.assertNotEqual(mine, [item.key for item in self.items()])

    def test_the_table_never_grows_beyond_its_size(self) -> None:
        """A slot holds a few counters, however many names are tried."""
        self.patch(lockout, "SLOTS", 2)
        for number in range(60):
            self.wrong(f"user{number}", f"198.51.100.{number}")
        sizes = [len(item.value) for item in self.items()]
        self.assertEqual(len(sizes), 2)
        self.assertLess(max(sizes), PER_SLOT * 64)
        self.assertLess(SLOTS * PER_SLOT * 64, 2 * 1024 * 1024 + 1)

    def test_a_flood_of_names_does_not_free_one_that_waits(self) -> None:
        """Of a full slot the counter with the fewest failures goes first."""
        self.patch(lockout, "SLOTS", 1)
        self.wrong()
        self.wrong()
        for number in range(60):
            self.wrong(f"user{number}", f"198.51.100.{number}", familiar=True)
        self.assertEqual(self.held(), 10)

    def test_a_table_full_of_failures_still_counts_the_next_one(self) -> None:
        """What was just counted stays, so nobody buys free tries by filling the table."""
        self.patch(lockout, "SLOTS", 1)
        for number, _ in itertools.product(range(8), range(2)):
            self.wrong(f"user{number}", f"198.51.100.{number}", familiar=True)
        self.assertEqual([self.wrong(), self.wrong()], [0, 10])

    def test_failures_at_the_same_time_are_all_counted(self) -> None:
        """Two processes that count at once lose no failure."""
        other = Lockout(self.store, self.now, SHORT)
        one = self.admit()
        two = self.run_now(other.admit("alice", HOME))
        waits = [self.run_now(self.lockout.failed(one)), self.run_now(other.failed(two))]
        self.assertEqual(waits, [0, 10])
