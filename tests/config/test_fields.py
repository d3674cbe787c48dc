"""Tests for `tlsgate.config.fields`."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config import fields

_mode = fields.words("separate", "multiplex", same={"multi": "multiplex"})

TAKEN: dict[Callable[[Any], Any], dict[str, Any]] = {
    fields.flag: {"yes": True, "On": True, "TRUE": True, "no": False, "off": False, "False": False},
    _mode: {"separate": "separate", "MULTIPLEX": "multiplex", "multi": "multiplex"},
    fields.whole(0, 10): {"0": 0, "10": 10, "007": 7},
    fields.seconds: {"1": 1.0, "0.5": 0.5, "31536000": 31_536_000.0},
    fields.seconds_or_off: {"OFF": None, "2": 2.0},
    fields.duration: {"0": 0.0, "10s": 10.0, "1h30m": 5400.0, "1m0s": 60.0, "1.5h": 5400.0}
    | {"250ms": 0.25, "5us": 5e-6, "5µs": 5e-6, "5ns": 5e-9},
    fields.network: {
        "10.0.0.0/8": ip_network("10.0.0.0/8"),
        "10.0.0.1": ip_network("10.0.0.1/32"),
        "fd00::/8": ip_network("fd00::/8"),
    },
    fields.server_name: {"A.Example.": "a.example", "*.A.example": "*.a.example"},
    fields.token: {"h2": "h2", "é" * 127: "é" * 127},
    fields.common_name: {"alice": "alice", "é" * 32: "é" * 32},
    fields.uri: {"spiffe://a/b": "spiffe://a/b", "urn:x": "urn:x"},
}

REFUSED: dict[Callable[[Any], Any], tuple[Any, ...]] = {
    fields.text: ("", None, [], {}),
    fields.flag: ("1", "y", "", None, []),
    _mode: ("both", "", None),
    fields.whole(0, 10): ("11", "-1", "1.0", "1_0", "٣", "", "9" * 5000, None),
    fields.seconds: ("0", "-1", "1e3", "inf", "nan", "5s", "31536001", "", None),
    fields.seconds_or_off: ("no", "none", "0"),
    fields.duration: ("", "5", "1h 30m", "-1s", "1d", "s", None),
    fields.network: ("", "10.0.0.1/8", "gate.example.com", "10.0.0.0/33", "010.0.0.1", None),
    fields.server_name: ("*", "", "a.*.b", "**.a", "10.0.0.1", "bücher.example", "a..b", None),
    fields.token: ("", "é" * 128, None),
    fields.common_name: ("", "é" * 33, None),
    fields.uri: ("", "alice", "//a/b", None),
    fields.labels: ({"a b": "x"}, {"a": ["x"]}, "a"),
    fields.a_list: ("a", {}, None),
    fields.one_or_more: ({},),
    fields.free_mapping: ("a", [], None),
}


class KindTests(SynchronousTestCase):
    """Tests for the kinds of values."""

    def test_what_is_taken(self) -> None:
        """Each way to write a value gives the value."""
        made = {kind: {text: kind(text) for text in cases} for kind, cases in TAKEN.items()}
        self.assertEqual(made, TAKEN)

    def test_what_is_refused(self) -> None:
        """Everything else is a ValueError with a sentence, and nothing but that."""
        for kind, cases in REFUSED.items():
            for value in cases:
                error = self.assertRaises(ValueError, kind, value)
                self.assertTrue(str(error), (kind, value))

    def test_labels(self) -> None:
        """Labels are text; one without a value is empty."""
        self.assertEqual(
            fields.labels({"a/b:c*.d-e_f": "x", "g": None}), {"a/b:c*.d-e_f": "x", "g": ""}
        )

    def test_long_values_are_cut(self) -> None:
        """A message never carries more than the beginning of a value."""
        error = self.assertRaises(ValueError, fields.flag, "x" * 10_000)
        self.assertLess(len(str(error)), 120)
