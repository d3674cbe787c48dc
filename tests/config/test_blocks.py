"""Tests for `tlsgate.config.blocks`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config.blocks import Block, blocks_below, pattern_of, unserved
from tlsgate.config.fields import Flag, Text, Unserved, a_list


class Leaf(Block):
    """The innermost block of the tests."""

    name: Text
    depth: int = 0
    old: Annotated[Any, Unserved("gone")] = None


class Switch(Block):
    """A block that can be switched off."""

    enabled: Flag = True
    old: Annotated[Any, Unserved("gone")] = None


class Top(Block):
    """The outermost one."""

    title: Text = "untitled"
    leaf: Leaf | None = None
    leaves: Annotated[tuple[Leaf, ...], BeforeValidator(a_list)] = ()
    named: dict[str, Leaf] = Field(default_factory=dict)
    switch: Switch = Switch()
    whole: Annotated[Leaf | None, Unserved("all of it")] = None


class BlockTests(SynchronousTestCase):
    """Tests for what is known of a schema."""

    def test_blocks_below(self) -> None:
        """Blocks are found behind optionals, lists and free keys."""
        found = dict(blocks_below(Top))
        self.assertEqual(
            found,
            {
                (): Top,
                ("leaf",): Leaf,
                ("leaves", "*"): Leaf,
                ("named", "*"): Leaf,
                ("switch",): Switch,
                ("whole",): Leaf,
            },
        )
        self.assertEqual(pattern_of(("leaves", 3), found), ("leaves", "*"))
        self.assertEqual(pattern_of(("named", "x"), found), ("named", "*"))
        self.assertIsNone(pattern_of(("named",), found))

    def test_unserved(self) -> None:
        """Unserved keys are told where they are written, and not below a switched-off block."""
        made = Top.model_validate(
            {
                "leaf": {"name": "a", "old": "1"},
                "leaves": [{"name": "b"}, {"name": "c", "old": "1"}],
                "named": {"x": {"name": "d", "old": "1"}},
                "switch": {"enabled": "no", "old": "1"},
                "whole": {"name": "e", "old": "1"},
            }
        )
        self.assertEqual(
            list(unserved(made)),
            [
                (("leaf", "old"), "gone"),
                (("leaves", 1, "old"), "gone"),
                (("named", "x", "old"), "gone"),
                (("whole",), "all of it"),
            ],
        )
