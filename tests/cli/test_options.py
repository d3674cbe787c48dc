"""Tests for `cli.options`: durations, moments, lists, labels."""

from __future__ import annotations

import datetime

import click
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.cli.options import DURATION, LABELS, MOMENT, WORDS, merged, seconds_of


class OptionsTests(SynchronousTestCase):
    """Tests for the types of options."""

    def test_durations(self) -> None:
        """As Go writes them, and days."""
        for text, want in (("30m", 1800), ("1h30m", 5400), ("7d", 604800), ("1d12h", 129600)):
            self.assertEqual(DURATION.convert(text, None, None), want)
        self.assertEqual(DURATION.convert(5, None, None), 5)
        for text in ("", "soon", "-1h", "0", "1", "1dx"):
            self.assertRaises(click.BadParameter, DURATION.convert, text, None, None)
        self.assertIsNone(seconds_of("1dx"))

    def test_moments(self) -> None:
        """How long ago, or when; a date without a zone is UTC."""
        hour = datetime.timedelta(hours=1)
        for text, want in (
            *(("1h", hour), ("1970-01-02", 86400.0), ("1970-01-01T01:00:00+01:00", 0.0)),
        ):
            self.assertEqual(MOMENT.convert(text, None, None), want)
        self.assertEqual(MOMENT.convert(hour, None, None), hour)
        self.assertRaises(click.BadParameter, MOMENT.convert, "yesterday", None, None)

    def test_lists(self) -> None:
        """With commas; spaces and empty words are nothing."""
        self.assertEqual(WORDS.convert(" a, b,,", None, None), ["a", "b"])
        self.assertEqual(WORDS.convert(["a"], None, None), ["a"])
        self.assertEqual(merged([["a", "b"], ["b", "c"]]), ["a", "b", "c"])

    def test_labels(self) -> None:
        """Keys and values; a value may hold an equals sign."""
        self.assertEqual(
            LABELS.convert("a=b,c=d=e,f=", None, None), {"a": "b", "c": "d=e", "f": ""}
        )
        self.assertEqual(LABELS.convert({"a": "b"}, None, None), {"a": "b"})
        for text in ("a", "=b"):
            self.assertRaises(click.BadParameter, LABELS.convert, text, None, None)
