"""Tests for `cli.yamltext`: what a reader of YAML makes of it."""

from __future__ import annotations

import yaml
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.cli.yamltext import to_yaml

_TEXT = st.text(max_size=12) | st.sampled_from(
    [
        "on",
        "No",
        "~",
        "null",
        "1e3",
        "0x1",
        "2026-01-02",
        "a: b",
        "- x",
        "a\nb\n",
        "a \nb",
        "=",
        "<<",
    ]
)
_LEAF = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXT
_ANY = st.recursive(
    _LEAF.filter(lambda one: one not in (float("inf"), float("-inf"))),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=20,
)


class YamlTests(SynchronousTestCase):
    """Tests for `to_yaml`."""

    def test_round_trip(self) -> None:
        """Keys keep their order, and what would be read as something else is quoted."""
        value = {"z": "on", "a": ["1", 1, None, "é"], "text": "a\nb"}
        shown = to_yaml(value)
        self.assertEqual(yaml.safe_load(shown), value)
        self.assertTrue(shown.startswith("z: "))

    def test_only_ascii(self) -> None:
        """A terminal is not steered by it, and bytes that are no text are spelled out."""
        value = {"a": "x\x1b[2J\u202e", "b": ["/\udcff"]}
        shown = to_yaml(value)
        self.assertTrue(shown.isascii() and "\x1b" not in shown)
        self.assertEqual(yaml.safe_load(shown), {"a": value["a"], "b": ["/\\udcff"]})

    @given(_ANY)
    def test_anything(self, value: object) -> None:
        """Whatever JSON holds comes back the same."""
        shown = to_yaml(value)
        self.assertTrue(shown.isascii() and shown.endswith("\n"))
        self.assertEqual(yaml.safe_load(shown), value)

    def test_lines(self) -> None:
        """A certificate stands there as lines."""
        value = {"keys": [{"pem": "-----BEGIN-----\nAA==\n"}]}
        self.assertEqual(to_yaml(value), "keys:\n- pem: |\n    -----BEGIN-----\n    AA==\n")
