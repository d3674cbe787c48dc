"""The cluster's ledger, kept."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.auth import ledger
from tlsgate.auth.ledger import LOST, ROWS, Ledger, key_of
from tlsgate.core.accounts import Accounts
from tlsgate.core.keeping import Change, Put
from tlsgate.core.ledger import Row, Use
from tlsgate.store.memory import MemoryStore

ALICE = Use("user", "alice", "ssh", "raw", "OpenSSH_9.2")
ROW = Row(use=ALICE, first=1.0, last=2.0, count=3)


class LedgerTests(SynchronousTestCase):
    """Tests for `Ledger`."""

    def setUp(self) -> None:
        clock = Clock()
        self.store = MemoryStore(clock.seconds, lambda call: clock.callLater(0, call))

    def commit(self, changes: list[Change]) -> None:
        """Write."""
        self.successResultOf(Deferred.fromCoroutine(self.store.commit(changes)))

    def begun(self) -> Ledger:
        """A ledger that has read what is kept."""
        made = Ledger()
        self.successResultOf(Deferred.fromCoroutine(made.start(self.store)))
        return made

    def test_kept(self) -> None:
        """Rows, and how many had to go, are there again; page by page."""
        self.patch(ledger, "PAGE", 2)
        made = Ledger()
        made.accounts = Accounts(most=5)
        for number in range(7):
            changed = made.merged([evolve(ROW, use=evolve(ALICE, name=str(number)), last=number)])
            self.commit(made.changes(changed))
            made.accounts.apply(changed)
        again = self.begun()
        self.assertEqual(again.rows(), made.rows())
        self.assertEqual(([row.use.name for row in again.rows()], again.lost), (list("23456"), 2))

    def test_unread(self) -> None:
        """A row of another version is passed over."""
        self.commit([Put(ROWS + "x", b'{"kind": "ghost"}'), Put(LOST, b"{}")])
        self.assertEqual((self.begun().rows(), self.begun().lost), ((), 0))

    def test_key(self) -> None:
        """Each use has a key of its own, whatever its words are."""
        uses = (ALICE, evolve(ALICE, name="\ud800/" * 300), evolve(ALICE, version=""))
        self.assertEqual(len({key_of(use) for use in uses}), 3)
        self.assertEqual({len(key_of(use)) for use in uses}, {len(ROWS) + 40})
