"""Tests for `tlsgate.config.blocks` and `tlsgate.config.validate`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config.blocks import Block, blocks_below, pattern_of, unserved
from tlsgate.config.fields import Flag, Text, Unserved, a_list
from tlsgate.config.findings import Findings
from tlsgate.config.marks import read_tree
from tlsgate.config.validate import unknown_key, validated


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


class ValidatedTests(SynchronousTestCase):
    """Tests for `validated`."""

    def check(self, text: str) -> tuple[Top | None, list[str]]:
        """The block that is left of *text*, and what is wrong with it."""
        tree, marks, _ = read_tree(text, "f")
        findings = Findings(marks)
        made = validated(Top, tree, (), findings)
        return made, [str(problem) for problem in findings.sorted()]

    def test_the_rest_is_usable(self) -> None:
        """What is refused is left out with the list that it is in, and its siblings stay."""
        made, problems = self.check(
            "title: ok\nleaf: {name: a, deep: 1}\nleaves: [{name: b}, {depth: 1}]\nswich: 1\n"
        )
        self.assertEqual(made, Top(title="ok", leaf=Leaf(name="a")))
        self.assertEqual(
            problems,
            [
                "f:2:17 leaf.deep: is not a setting; did you mean depth?",
                "f:3:21 leaves[1].name: is missing",
                "f:4:1 swich: is not a setting; did you mean switch?",
            ],
        )

    def test_a_refused_key_is_not_missing(self) -> None:
        """A required key that is there and wrong is told once, and its block is left out."""
        made, problems = self.check("leaf: {name: [a]}\ntitle: ok\n")
        self.assertEqual((made, len(problems)), (Top(title="ok"), 1))

    def test_nothing_usable(self) -> None:
        """Text where a mapping has to be leaves nothing."""
        self.assertEqual(
            self.check("text"), (None, ["f:1:1: has to be a mapping (key: value), not 'text'"])
        )

    def test_kinds_of_pydantic(self) -> None:
        """A kind without a validator of ours has pydantic's words, and still its place."""
        _, problems = self.check("leaf: {name: a, depth: deep}\n")
        self.assertEqual(len(problems), 1)
        self.assertTrue(problems[0].startswith("f:1:24 leaf.depth: input should be"), problems)

    def test_a_key_without_a_value_is_not_written(self) -> None:
        """A null leaves the default, and an unknown key is unknown all the same."""
        made, problems = self.check("title:\nswitch: ~\nnone:\n")
        self.assertEqual(made, Top())
        self.assertEqual(len(problems), 1)


class HintTests(SynchronousTestCase):
    """Tests for `unknown_key`."""

    def test_hints(self) -> None:
        """A slip is guessed; a key of another block is sent there; else the keys are listed."""
        table = {
            ("titel",): "is not a setting; did you mean title?",
            ("enabled",): "is not a setting here; it belongs under switch",
            ("leaf", "colour"): "is not a setting; there are name, depth, old",
            ("nowhere", "colour"): "is not a setting",
        }
        self.assertEqual({loc: unknown_key(Top, loc) for loc in table}, table)


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
