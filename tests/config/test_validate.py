"""Tests for `tlsgate.config.validate`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.test_blocks import Leaf, Top
from tlsgate.config.findings import Findings
from tlsgate.config.marks import read_tree
from tlsgate.config.validate import unknown_key, validated


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
