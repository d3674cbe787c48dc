"""Tests for `tlsgate.auth.kindfields`; most are in `test_kinds`, with their paths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.auth.kindfields import (
    called,
    duration,
    flag,
    labels,
    mapped,
    numbered,
    one_of,
    text,
    time,
    whole,
    written_time,
)


class FieldsTests(SynchronousTestCase):
    """Tests for the kinds of values."""

    def refused(self, check: Callable[..., object], *value: Any) -> str:
        return str(self.assertRaises(ValueError, check, *value))

    def test_called(self) -> None:
        """A message quotes little of a value."""
        wanted = ["nothing", "a mapping", "a list", "yes", "no", "'3'", f"{'x' * 64!r}..."]
        values: list[Any] = [None, {}, (), True, False, 3, "x" * 1000]
        self.assertEqual([called(value) for value in values], wanted)

    def test_text(self) -> None:
        """Text has lines and tabs, and no other control characters or half characters."""
        self.assertEqual(text("a\n\tb"), "a\n\tb")
        for wrong in ("\x1b", "\r", "\x00", "\x85", "\u2028", "\ud800"):
            self.assertEqual(self.refused(text, wrong), "has a control character")

    def test_types(self) -> None:
        """JSON's types are told apart: a number is no text, and a flag is no number."""
        self.assertEqual([flag(value) for value in (True, "off", "YES")], [True, False, True])
        self.assertIn("yes or no", self.refused(flag, 1))
        self.assertIn("from 1 to 3", self.refused(whole, True, 1, 3))
        self.assertIn("from 1 to 3", self.refused(whole, "2", 1, 3))
        self.assertEqual(numbered("B", "a", "b"), 1)
        self.assertIn("a (0) or b (1)", self.refused(numbered, -1, "a", "b"))
        self.assertIn("did you mean node?", self.refused(one_of, "nod", "node", "db"))
        self.assertIn("not a list", self.refused(one_of, [], "node"))

    def test_mappings(self) -> None:
        """Keys are text, and few; labels have Teleport's letters."""
        self.assertIn("has to be text", self.refused(mapped, {1: 2}))
        self.assertIn(
            "more than 256 keys", self.refused(mapped, dict.fromkeys(map(str, range(257))))
        )
        self.assertEqual(labels({"a/b": "c d"}), {"a/b": "c d"})
        self.assertIn("control character", self.refused(labels, {"a": "\x1b"}))

    def test_durations(self) -> None:
        """0 alone is a number that is a duration."""
        self.assertEqual([duration(value) for value in (0, "0", "90s")], ["0s", "0s", "1m30s"])
        for wrong in (False, 30, None, "-1s", "1 h"):
            self.assertIn("has to be a duration", self.refused(duration, wrong))

    def test_times(self) -> None:
        """A time is written in UTC, and reads back."""
        for seconds in (0.0, 1.5, 1893456000.0):
            self.assertEqual(time(written_time(seconds)), seconds)
        self.assertEqual(written_time(1893456000.0), "2030-01-01T00:00:00Z")
        self.assertIn("has to be a time", self.refused(time, "2030-13-01T00:00:00Z"))
