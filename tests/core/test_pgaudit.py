"""Tests for `tlsgate.core.pgaudit`."""

from __future__ import annotations

from struct import pack

from hypothesis import given, settings
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core import pgaudit
from tlsgate.core.pgaudit import NAME, PORTALS, STATEMENTS, TEXT, TEXTS, Audit, Query


def message(kind: bytes, body: bytes = b"") -> bytes:
    """One message."""
    return kind + pack(">L", 4 + len(body)) + body


def query(text: bytes) -> bytes:
    """A Query."""
    return message(b"Q", text + b"\0")


def parse(text: bytes, name: bytes = b"") -> bytes:
    """A Parse with one parameter's type."""
    return message(b"P", name + b"\0" + text + b"\0" + pack(">HL", 1, 23))


def bind(name: bytes = b"", portal: bytes = b"", count: int = 2, formats: int = 1) -> bytes:
    """A Bind with *count* values, which are secrets."""
    head = portal + b"\0" + name + b"\0" + pack(">H", formats) + bytes(2 * formats)
    values = b"".join(pack(">L", 4) + b"hush" for _ in range(count))
    return message(b"B", head + pack(">H", count) + values + pack(">H", 0))


def execute(portal: bytes = b"") -> bytes:
    """An Execute."""
    return message(b"E", portal + b"\0" + bytes(4))


SYNC = message(b"S")


class AuditTests(SynchronousTestCase):
    """Tests for `Audit`."""

    def setUp(self) -> None:
        self.told: list[Query] = []
        self.audit = Audit(self.told.append)

    def read(self, *wire: bytes) -> list[Query]:
        """What is told of these bytes."""
        for one in wire:
            self.audit.to_target(memoryview(one))
        told, self.told[:] = self.told[:], []
        return told

    def test_every_split(self) -> None:
        """Wherever the bytes are cut, and one by one, the same is told."""
        wire = (
            query(b"select 1")
            + parse(b"select $1", b"s1")
            + message(b"D", b"Ss1\0")
            + bind(b"s1")
            + execute()
            + SYNC
            + message(b"d", b"rows")
            + message(b"c")
            + message(b"F", pack(">L", 1234) + b"rest")
            + query(b"x" * (TEXT + 7))
            + message(b"X")
        )
        want = [
            Query("simple", "select 1"),
            Query("extended", "select $1", False, "s1", 2),
            Query("function", "function call of OID 1234"),
            Query("simple", "x" * TEXT, cut=True),
        ]
        self.assertEqual(self.read(wire), want)
        self.assertEqual(self.read(*(wire[at : at + 1] for at in range(len(wire)))), want)
        for cut in range(200):
            self.setUp()
            self.assertEqual(self.read(wire[:cut], wire[cut:]), want, cut)

    def test_secrets(self) -> None:
        """Values of parameters are counted, and nowhere told."""
        told = self.read(parse(b"insert $1"), bind(count=3), execute())
        self.assertEqual(told, [Query("extended", "insert $1", parameters=3)])
        self.assertNotIn("hush", repr([(one.text, one) for one in told]))

    def test_text_is_bounded(self) -> None:
        """A text as long as the limit is whole, and one byte more is cut, with a mark."""
        for length, cut in ((TEXT, False), (TEXT + 1, True), (3 * TEXT, True)):
            for wire in (
                query(b"x" * length),
                parse(b"x" * length) + bind() + execute(),
                parse(b"x" * length, b"n" * 200) + bind(b"n" * 200) + execute(),
            ):
                (told,) = self.read(wire)
                self.assertEqual((len(told.text), told.cut), (TEXT, cut), length)

    def test_odd_text(self) -> None:
        """A text without its end, an empty one, and one that is not UTF-8 are told as they are."""
        self.assertEqual(self.read(message(b"Q")), [Query("simple", "")])
        self.assertEqual(self.read(message(b"Q", b"a")), [Query("simple", "a")])
        self.assertEqual(self.read(query(b"\xff")), [Query("simple", "\ufffd")])
        head = message(b"Q")
        self.assertEqual(self.read(head[:3], head[3:]), [Query("simple", "")])

    def test_portal_is_told_once(self) -> None:
        """Rows that are fetched in turns are one query; a new Bind is another one."""
        self.read(parse(b"select", b"s"), bind(b"s", b"p"))
        once = Query("extended", "select", False, "s", 2)
        self.assertEqual(self.read(execute(b"p"), SYNC, execute(b"p")), [once])
        self.assertEqual(self.read(bind(b"s", b"p"), execute(b"p")), [once])

    def test_closed(self) -> None:
        """What is closed, or was never made, is told without a text."""
        self.read(parse(b"select", b"s"), bind(b"s", b"p"))
        self.read(message(b"C", b"Ss\0"), message(b"C", b"Pp\0"), message(b"C", b"Snone\0"))
        unknown = Query("extended", "", cut=True)
        self.assertEqual(self.read(execute(b"p")), [unknown])
        told = self.read(bind(b"s"), execute())
        self.assertEqual(told, [Query("extended", "", True, "s", 2)])

    def test_s44_second_text(self) -> None:
        """A text of the same name, which the server refuses or skips, hides no first one."""
        first = Query("extended", "drop", False, "s")
        self.assertEqual(self.read(parse(b"drop", b"s"), SYNC, parse(b"select", b"s")), [first])
        self.assertEqual(self.read(message(b"C", b"Ss\0"))[0].text, "select")
        self.assertEqual(self.read(parse(b"drop", b"s"), message(b"C", b"Ss\0")), [first])
        # Where it was run it stands there already.
        self.read(parse(b"drop", b"s"), bind(b"s"), execute())
        self.assertEqual(self.read(parse(b"select", b"s")), [])

    def test_s44_second_portal(self) -> None:
        """A portal's query that was not told is, when another one seems to take its place."""
        self.read(parse(b"drop", b"a"), parse(b"select", b"b"), bind(b"a", b"p"))
        drop = Query("extended", "drop", False, "a", 2)
        select = Query("extended", "select", False, "b", 2)
        self.assertEqual(self.read(bind(b"b", b"p"), execute(b"p")), [drop, select])
        self.assertEqual(self.read(bind(b"b", b"p"), message(b"C", b"Pp\0")), [select])

    def test_names_are_bounded(self) -> None:
        """A client that prepares without end has the oldest forgotten."""
        for number in range(STATEMENTS + 1):
            self.read(parse(b"select", b"s%d" % number))
        for number in range(PORTALS + 1):
            self.read(bind(b"s%d" % STATEMENTS, b"p%d" % number))
        self.assertEqual(self.read(execute(b"p0")), [Query("extended", "", cut=True)])
        self.assertEqual(self.read(execute(b"p1"))[0].text, "select")
        self.assertEqual(self.read(bind(b"s0"), execute())[0].text, "")
        self.assertEqual(self.read(bind(b"s1"), execute())[0].text, "select")

    def test_texts_are_bounded(self) -> None:
        """Long texts are forgotten earlier; the same name does not count twice."""
        long = b"x" * TEXT
        for _ in range(3 * TEXTS // TEXT):
            self.read(parse(long, b"same"))
        self.assertEqual(self.read(bind(b"same"), execute())[0].text, long.decode())
        for number in range(TEXTS // TEXT):
            self.read(parse(long, b"s%d" % number))
        self.assertEqual(self.read(bind(b"same"), execute())[0].text, "")
        self.assertEqual(self.read(bind(b"s0"), execute())[0].text, long.decode())

    def test_long_names(self) -> None:
        """A name that is too long is nobody's: it cannot be taken for another one's."""
        long = b"n" * (NAME + 1)
        self.read(parse(b"select", long), parse(b"select", b"n" * 9000), bind(long))
        told = self.read(execute())
        self.assertEqual(told, [Query("extended", "", True, "n" * NAME, 2)])
        self.assertEqual(self.read(bind(b"", long), execute(long))[0].text, "")
        self.assertEqual(self.read(message(b"B", b"p\0" + b"n" * 9000), execute(b"p"))[0].text, "")

    def test_many_formats(self) -> None:
        """Where the count of values lies beyond what is kept, it is not told."""
        self.read(parse(b"select", b"s"), bind(b"s", formats=3000))
        self.assertEqual(self.read(execute())[0].parameters, None)

    def test_copy_is_passed(self) -> None:
        """COPY data of any size keeps nothing, and the next query is found behind it."""
        row = message(b"d", bytes(100_000))
        wire = row * 5 + message(b"c") + query(b"end")
        parts = [wire[at : at + 65536] for at in range(0, len(wire), 65536)]
        self.assertEqual(self.read(*parts), [Query("simple", "end")])
        rows = message(b"d", b"a row") * 3 + message(b"d") + query(b"end")
        for cut in range(len(rows)):
            self.assertEqual(self.read(rows[:cut], rows[cut:]), [Query("simple", "end")], cut)

    def test_unreadable(self) -> None:
        """What no server takes is told once, and nothing is read any more."""
        broken = [Query("unreadable", "")]
        for wire in (b"Q\0\0\0\3", b"d\0\0\0\0", b"\0\0\0\x20\0\3\0\0", b"y\0\0\0\4"):
            for parts in ((wire,), (wire[:2], wire[2:])):
                self.setUp()
                self.assertEqual(self.read(*parts, query(b"x")), broken)

    @settings(max_examples=150)
    @given(some.lists(some.binary(max_size=30), max_size=8))
    def test_any_bytes(self, parts: list[bytes]) -> None:
        """Any bytes are read without an error, and cut as they come or whole they tell the same."""
        self.setUp()
        first = self.read(*parts)
        self.setUp()
        self.assertEqual(self.read(b"".join(parts)), first)

    @settings(max_examples=100)
    @given(some.lists(some.tuples(some.sampled_from(b"QPBECFDSdc"), some.binary(max_size=20))))
    def test_any_messages(self, messages: list[tuple[int, bytes]]) -> None:
        """So are messages with any bodies, and none of them ends the reading."""
        self.setUp()
        wire = b"".join(message(bytes((kind,)), body) for kind, body in messages)
        self.assertEqual(self.read(wire, query(b"end"))[-1], Query("simple", "end"))

    def test_limits_are_small(self) -> None:
        """One client keeps the agent from less than a megabyte."""
        # One character out of the usual makes Python take four bytes for each.
        self.assertLess(4 * TEXTS + (STATEMENTS + PORTALS) * (2 * NAME + 500), 1 << 20)
        self.assertLess(sum(pgaudit._KEPT.values()), 1 << 16)
