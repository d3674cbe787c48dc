"""Tests for `cli.show`: values as text."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.cli.show import Column, amount, key, pairs, plain, span, table


class PlainTests(SynchronousTestCase):
    """Tests for `plain`."""

    def test_control_characters(self) -> None:
        """What steers a terminal, or turns the line around, is spelled out; letters stay."""
        self.assertEqual(plain("é 日 \U0001f600"), "é 日 \U0001f600")
        self.assertEqual(plain("a\x1b[2J\n\u202e\x9b"), "a\\x1b[2J\\n\\u202e\\x9b")


class TableTests(SynchronousTestCase):
    """Tests for `table`."""

    def test_columns(self) -> None:
        """Titles, then a line a row; numbers to the right, no space at the end."""
        columns = (Column("NAME", key("name")), Column("COUNT", key("count"), right=True))
        rows: list[dict[str, object]] = [
            {"name": "a", "count": 7},
            {"name": None, "count": 1234567},
        ]
        self.assertEqual(
            table(columns, rows).splitlines(),
            ["NAME    COUNT", "a           7", "-     1234567"],
        )

    def test_wide_letters(self) -> None:
        """What takes two places of a terminal counts two."""
        columns = (Column("NAME", key("name")), Column("COUNT", key("count")))
        rows: list[dict[str, object]] = [{"name": "日本", "count": 1}, {"name": "a", "count": 2}]
        self.assertEqual(table(columns, rows).splitlines()[1:], ["日本  1", "a     2"])

    def test_long_cells(self) -> None:
        """Outside of a terminal a row is one line, however long."""
        rows = [{"name": "x" * 500}]
        self.assertEqual(table((Column("NAME", key("name")),), rows).splitlines()[1], "x" * 500)


class UnitsTests(SynchronousTestCase):
    """Tests for `amount`, `span` and `pairs`."""

    def test_amount(self) -> None:
        """Bytes as people read them, three digits at the most before the unit changes."""
        for count, want in (
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (150 * 1024, "150 KiB"),
            (1536 << 20, "1.5 GiB"),
            (5000 << 30, "5000 GiB"),
        ):
            self.assertEqual(amount(count), want)

    def test_span(self) -> None:
        """Times by their two largest parts."""
        for seconds, want in (
            (0, "0.0 s"),
            (9.94, "9.9 s"),
            (12.7, "12 s"),
            (60, "1 m 0 s"),
            (3725, "1 h 2 m"),
            (90000, "1 d 1 h"),
        ):
            self.assertEqual(span(seconds), want)

    def test_pairs(self) -> None:
        """Values stand below each other; none is no line."""
        self.assertEqual(pairs([("a", 1), ("bcd", "")]), "a    1\nbcd")
        self.assertEqual(pairs([]), "")
