"""Who uses which listener: words, and one process's book."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.access import Identity
from tlsgate.core.accounts import Accounts
from tlsgate.core.claims import Claims
from tlsgate.core.ledger import (
    PART,
    STAY_SECONDS,
    Book,
    Row,
    Use,
    Wish,
    application_of,
    program_of,
    read_row,
    told,
    version_of,
    who,
)
from tlsgate.errors import BadBytes

ALICE = Use("user", "alice", "ssh", "raw", "OpenSSH_9.2")
BOB = Use("user", "bob", "web", "tls-alpn")
SCAN = Use("unknown", "192.0.2.9", "web", "tls")


def row(use: Use, count: int = 1, now: int = 0, first: float = 1.0, last: float = 2.0) -> Row:
    """A row in few words."""
    return Row(use=use, first=first, last=last, count=count, open=now)


class WordTests(SynchronousTestCase):
    """Who somebody is, and rows in JSON types."""

    def test_who(self) -> None:
        """A user, a host, somebody of another authority, and one who has shown nothing."""
        for kind, want in (("user", "user"), ("host", "agent")):
            claims = Claims(cluster="c", kind=kind, name="db1")  # type: ignore[arg-type]
            self.assertEqual(who(Identity(claims=claims), "192.0.2.1"), (want, "db1"))
        other = Identity(common_names=("carol",))
        self.assertEqual(who(other, "192.0.2.1"), ("user", "carol"))
        self.assertEqual(who(None, "192.0.2.1"), ("unknown", "192.0.2.1"))

    def test_version(self) -> None:
        """A version is one short line, whatever the client has said."""
        self.assertEqual(version_of(" tgsh/1.0\r\n\x1b[31m"), "tgsh/1.0[31m")
        self.assertEqual(version_of("x" * 99), "x" * 64)

    def test_program(self) -> None:
        """A program is its first word; of a browser the one that is its own."""
        chrome = (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML) Chrome/126.0 Safari/537.36"
        )
        for said, want in (
            ("tgsh/1.0.0 (linux)", "tgsh/1.0.0"),
            ("curl/8.5.0", "curl/8.5.0"),
            ("", ""),
            (chrome, "Chrome/126.0"),
            (f"{chrome} Edg/126.1", "Edg/126.1"),
            ("Mozilla/5.0 (compatible)", "Mozilla/5.0"),
        ):
            self.assertEqual(program_of(said), want)

    def test_application(self) -> None:
        """A database's client is one program, whatever it calls each of its connections."""
        for said, want in (
            ("psql", "psql"),
            ("PostgreSQL JDBC Driver", "PostgreSQL JDBC Driver"),
            ("pgAdmin 4 - CONN:1234567", "pgAdmin 4"),
            ("DBeaver 24.1.0 - SQLEditor <a - b.sql>", "DBeaver 24.1.0"),
            ("", ""),
        ):
            self.assertEqual(application_of(said), want)

    def test_json(self) -> None:
        """A row comes back as it was; anything else is refused."""
        one = row(ALICE, 3, 1)
        self.assertEqual(read_row(told(one)), one)
        for wrong in ({"kind": "ghost"}, {"transport": "x"}, {"count": "many"}, {"first": None}):
            with self.assertRaises(BadBytes):
                read_row({**told(one), **wrong})
        with self.assertRaises(BadBytes):
            read_row({})

    def test_wish(self) -> None:
        """A wish chooses by what it names; who is connected is seen now."""
        one = row(ALICE, last=50.0)
        for wish in (Wish(), Wish(listener="ssh", kind="user"), Wish(since=50.0)):
            self.assertTrue(wish.fits(one))
        self.assertTrue(Wish(since=51.0).fits(evolve(one, open=1)))
        for wish in (
            Wish(since=51.0),
            Wish(listener="web"),
            Wish(kind="agent"),
            Wish(transport="tls"),
            Wish(name="bob"),
        ):
            self.assertFalse(wish.fits(one))


class BookTests(SynchronousTestCase):
    """Tests for `Book`."""

    def test_news(self) -> None:
        """What is new is told once it is accepted, and what is open as it is now."""
        book = Book()
        book.opened(ALICE, 1.0)
        book.opened(ALICE, 2.0)
        part = book.news()
        self.assertEqual((part.number, part.more), (1, False))
        self.assertEqual(part.rows, (row(ALICE, 2, 2),))
        book.closed(ALICE, 3.0)
        again = book.news()  # nobody has said yes: the same, but for who is connected
        self.assertEqual((again.number, again.more), (1, True))
        self.assertEqual(again.rows, (row(ALICE, 2, 1),))
        book.accepted()
        self.assertEqual(book.news().rows, (row(ALICE, 0, 1, last=3.0),))
        book.accepted()
        self.assertEqual(book.news().rows, ())
        book.accepted()
        book.closed(ALICE, 4.0)
        self.assertEqual(book.news().rows, (row(ALICE, 0, 0, last=4.0),))
        book.accepted()
        book.opened(ALICE, 9.0)  # who has gone and was told is forgotten
        self.assertEqual(book.news().rows, (row(ALICE, 1, 1, 9.0, 9.0),))
        self.assertEqual((book.totals, book.active), ({("ssh", "raw"): 3}, {("ssh", "raw"): 1}))

    def test_stayed(self) -> None:
        """Who is connected for long is told anew by the hour, with the time: he was there."""
        book = Book()
        book.opened(ALICE, 1.0)
        book.opened(BOB, 1.0)
        book.closed(BOB, 2.0)
        book.news()
        book.accepted()
        book.stayed(STAY_SECONDS)
        self.assertEqual(book.news().rows, ())
        book.accepted()
        book.stayed(STAY_SECONDS + 1)
        self.assertEqual(book.news().rows, (row(ALICE, 0, 1, last=STAY_SECONDS + 1),))
        book.accepted()
        book.stayed(0.0)  # the clock is set back
        self.assertEqual(book.news().rows, ())

    def test_known_later(self) -> None:
        """A connection that turns out to be somebody's moves, even when it was told before."""
        book, accounts = Book(), Accounts()
        book.opened(SCAN, 1.0)
        accounts.apply(accounts.merged(book.news().rows))
        book.accepted()
        book.known(SCAN, BOB, 2.0)
        rows = book.news().rows
        self.assertEqual(rows, (row(SCAN, -1, 0), row(BOB, 1, 1, 2.0)))
        changed = accounts.merged(rows)
        self.assertEqual((changed.dropped, changed.lost), ((SCAN,), 0))
        accounts.apply(changed)
        self.assertEqual(list(accounts.rows()), [row(BOB, 1, 0, 2.0)])

    def test_parts(self) -> None:
        """Much news comes in parts."""
        book = Book()
        for number in range(PART + 1):
            book.opened(evolve(BOB, name=str(number)), 1.0)
        first = book.news()
        self.assertEqual((len(first.rows), first.more), (PART, True))
        book.accepted()
        second = book.news()
        self.assertEqual((second.number, len(second.rows), second.more), (2, 1, False))

    def test_forgotten(self) -> None:
        """To accounts that begin anew everything open is told again."""
        book = Book()
        book.opened(ALICE, 1.0)
        book.opened(BOB, 1.0)
        book.closed(BOB, 1.0)
        book.news()
        book.opened(BOB, 1.0)
        book.accepted()
        book.closed(BOB, 2.0)
        book.news()
        book.accepted()
        book.opened(SCAN, 3.0)
        book.closed(SCAN, 3.0)
        book.forgotten()
        self.assertEqual(book.news().rows, (row(SCAN, 1, 0, 3.0, 3.0), row(ALICE, 0, 1, last=1.0)))
        book.accepted()
        book.accepted()  # nothing was told: nothing happens

    def test_bound(self) -> None:
        """A process that nobody hears remembers so much; who is connected stays."""
        book = Book(most=2)
        book.opened(ALICE, 1.0)
        book.opened(BOB, 1.0)
        book.news()
        book.closed(BOB, 1.0)
        book.opened(SCAN, 1.0)
        self.assertEqual(book.lost, 1)
        self.assertEqual([one.open for one in book.news().rows], [1, 0])
        book.accepted()
        self.assertEqual([one.use for one in book.news().rows], [SCAN])
        book.opened(evolve(SCAN, name="192.0.2.10"), 1.0)  # nobody may go
        self.assertEqual(book.lost, 1)
