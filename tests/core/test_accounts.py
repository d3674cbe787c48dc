"""The cluster's ledger: what all processes tell, as one."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.core.test_ledger import ALICE, BOB, SCAN, row
from tlsgate.core import accounts as limits
from tlsgate.core.accounts import Accounts
from tlsgate.core.ledger import Row


class AccountsTests(SynchronousTestCase):
    """Tests for `Accounts`."""

    def take(self, accounts: Accounts, *rows: Row) -> None:
        """Merge and apply."""
        accounts.apply(accounts.merged(rows))

    def test_merge(self) -> None:
        """Counts add up, and so do those who are connected to several processes."""
        accounts = Accounts([row(ALICE, 5, now=9)])
        self.take(accounts, row(ALICE, 2, first=0.5, last=1.5), row(ALICE, 1, last=7.0))
        accounts.connected("gw/0", [row(ALICE, now=2), row(BOB, now=0)])
        accounts.connected("gw/1", [row(ALICE, now=1)])
        self.assertEqual(list(accounts.rows()), [row(ALICE, 8, 3, 0.5, 7.0)])
        accounts.gone("gw/0")
        accounts.gone("gw/2")
        self.assertEqual(accounts.open(), {ALICE: 1})
        accounts.connected("gw/1", [row(ALICE, now=0)])
        self.assertEqual(accounts.open(), {})

    def test_by_listener(self) -> None:
        """A process that has no ports any more has connections still."""
        accounts = Accounts()
        other = evolve(ALICE, name="carol")
        accounts.connected("gw/0", [row(ALICE, now=2), row(BOB, now=1), row(other, now=3)])
        self.assertEqual(accounts.by_listener("gw/0"), {"ssh": 5, "web": 1})
        self.assertEqual(accounts.by_listener("gw/1"), {})

    def test_connected_bound(self) -> None:
        """A process cannot fill the memory with who is connected; what it has said may change."""
        self.patch(limits, "BOOK", 1)
        accounts = Accounts()
        accounts.connected("gw/0", [row(ALICE, now=1), row(BOB, now=1), row(ALICE, now=3)])
        self.assertEqual(accounts.open(), {ALICE: 3})
        accounts.connected("gw/0", [row(ALICE, now=0), row(BOB, now=2)])
        self.assertEqual(accounts.open(), {BOB: 2})

    def test_taken_back(self) -> None:
        """A process takes back what it has told itself, and nothing of what others have."""
        accounts = Accounts([row(ALICE, 5)])
        told = accounts.fair("gw/0", [row(ALICE, -(10**9)), row(BOB, 2)])
        self.assertEqual(told, (row(ALICE, 0), row(BOB, 2)))
        self.take(accounts, *told)
        accounts.noted("gw/0", told)
        self.assertEqual({one.use: one.count for one in accounts.rows()}, {ALICE: 5, BOB: 2})
        back = [row(BOB, -1), row(BOB, -7)]
        self.assertEqual(accounts.fair("gw/1", back), (row(BOB, 0), row(BOB, 0)))
        told = accounts.fair("gw/0", back)
        self.assertEqual(told, (row(BOB, -1), row(BOB, -1)))
        accounts.noted("gw/0", told)
        self.assertEqual(accounts.fair("gw/0", back), (row(BOB, 0), row(BOB, 0)))
        accounts.noted("gw/0", [row(BOB, 3)])
        accounts.gone("gw/0")
        self.assertEqual(accounts.fair("gw/0", back), (row(BOB, 0), row(BOB, 0)))

    def test_taken_back_bound(self) -> None:
        """What is remembered of a process has a bound; what was told long ago stays told."""
        self.patch(limits, "TOLD", 2)
        accounts = Accounts()
        accounts.noted("gw/0", [row(ALICE, 1), row(BOB, 1), row(ALICE, 1), row(SCAN, 1)])
        back = [row(ALICE, -9), row(BOB, -9), row(SCAN, -9)]
        self.assertEqual(accounts.fair("gw/0", back), (row(ALICE, -2), row(BOB, 0), row(SCAN, -1)))

    def test_bound_of_a_gateway(self) -> None:
        """However many processes it has, a gateway fills the memory with its own share only."""
        self.patch(limits, "OF_ONE", 2)
        accounts = Accounts()
        accounts.noted("gw/0", [row(ALICE, 1)])
        accounts.connected("gw/1", [row(ALICE, now=1)])
        accounts.connected("gw/2", [row(BOB, now=1)])
        accounts.noted("gw/2", [row(BOB, 1)])
        self.assertEqual(accounts.open(), {ALICE: 1})
        self.assertEqual(accounts.fair("gw/2", [row(BOB, -1)]), (row(BOB, 0),))
        accounts.connected("other/0", [row(BOB, now=1)])
        self.assertEqual(accounts.open(), {ALICE: 1, BOB: 1})
        accounts.gone("gw/1")
        accounts.connected("gw/2", [row(BOB, now=2)])
        self.assertEqual(accounts.open(), {BOB: 3})

    def test_connected_before_it_was_known(self) -> None:
        """Whoever is connected has a row, also where the accounts are younger than that."""
        accounts = Accounts([row(BOB, 5)])
        self.take(accounts, row(ALICE, 0, 2), row(BOB, 0, 1))
        self.assertEqual({one.use: one.count for one in accounts.rows()}, {ALICE: 2, BOB: 5})

    def test_a_clock_that_was_ahead(self) -> None:
        """Nobody stays the newest because a clock has once been years ahead."""
        accounts = Accounts([row(ALICE, first=9.0, last=9.0), row(BOB, last=4.0)])
        accounts.settle(5.0)
        self.assertEqual(
            set(accounts.rows()), {row(ALICE, first=5.0, last=5.0), row(BOB, last=4.0)}
        )

    def test_told_twice(self) -> None:
        """A row of which nothing is left and that nobody knew leaves nothing."""
        accounts = Accounts()
        changed = accounts.merged([row(ALICE, 0)])
        self.assertEqual((changed.rows, changed.dropped, changed.lost), ((), (), 0))

    def test_oldest_out(self) -> None:
        """The oldest row makes room, one of those with somebody connected last of all."""
        accounts = Accounts([row(ALICE, last=1.0), row(BOB, last=2.0)], 3, most=2)
        accounts.connected("gw/0", [row(ALICE, now=1)])
        carol = evolve(BOB, name="carol")
        self.take(accounts, row(carol, last=5.0))
        self.assertEqual({one.use for one in accounts.rows()}, {ALICE, carol})
        self.assertEqual(accounts.lost, 4)

    def test_many_programs(self) -> None:
        """Somebody who calls his program otherwise each time pushes out his own rows only."""
        accounts = Accounts([row(ALICE, last=1.0), row(BOB, last=1.0)])
        for number in range(20):
            self.take(accounts, row(evolve(BOB, version=f"v{number:02}"), last=10.0 + number))
        known = sorted(one.use for one in accounts.rows())
        self.assertEqual(known[0], ALICE)
        self.assertEqual([one.version for one in known[1:]], [f"v{n}" for n in range(12, 20)])
        self.assertEqual(accounts.lost, 13)

    def test_many_programs_of_which_one_is_connected(self) -> None:
        """A program by which somebody is connected stays, however long ago it came."""
        accounts = Accounts([row(ALICE, last=1.0)])
        accounts.connected("gw/0", [row(ALICE, now=1)])
        for number in range(20):
            self.take(accounts, row(evolve(ALICE, version=f"v{number:02}"), last=10.0 + number))
        self.assertIn(ALICE, {one.use for one in accounts.rows()})
        self.assertEqual(len(list(accounts.rows())), limits.MOST_VERSIONS)

    def test_moves_within_a_full_share(self) -> None:
        """A connection that turns out to be somebody's makes room for its own row."""
        accounts = Accounts([row(ALICE, last=1.0), row(SCAN, last=2.0)], most=2, most_unknown=1)
        self.take(accounts, row(SCAN, -1), row(BOB, 1, last=3.0))
        self.assertEqual({one.use for one in accounts.rows()}, {ALICE, BOB})
        self.assertEqual(accounts.lost, 0)
        carol, dave = evolve(BOB, name="carol"), evolve(BOB, name="dave")
        self.take(accounts, row(BOB, -1), row(carol, last=4.0), row(dave, last=5.0))
        self.assertEqual({one.use for one in accounts.rows()}, {carol, dave})
        self.assertEqual(accounts.lost, 1)

    def test_unknown_out_first(self) -> None:
        """Addresses without an identity have a share of their own."""
        accounts = Accounts([row(ALICE, last=1.0)], most=3, most_unknown=1)
        for number in range(5):
            self.take(accounts, row(evolve(SCAN, name=str(number)), last=10.0 + number))
        self.assertEqual([one.use.name for one in accounts.rows()], ["alice", "4"])
        self.assertEqual(accounts.lost, 4)

    def test_no_more_than_a_commit_takes(self) -> None:
        """Accounts that were larger before shrink part by part."""
        self.patch(limits, "MOST_OUT", 2)
        accounts = Accounts(
            [row(evolve(BOB, name=str(number)), last=number) for number in range(9)], most=3
        )
        for left in (8, 7, 6):
            self.take(accounts, row(evolve(ALICE, name=f"a{left}"), last=99.0))
            self.assertEqual(len(list(accounts.rows())), left)
