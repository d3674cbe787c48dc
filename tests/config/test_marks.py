"""Tests for `tlsgate.config.marks`."""

from __future__ import annotations

import resource
import time

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config import marks
from tlsgate.config.marks import read_tree, resolve
from tlsgate.errors import BadSettings, Place


class TreeTests(SynchronousTestCase):
    """Tests for `read_tree` and the places that it notes."""

    def test_scalars_stay_text(self) -> None:
        """Nothing becomes a boolean, a number or a date; only a plain null is nothing."""
        text = 'a: on\nb: no\nc: 0x10\nd: 2026-01-01\ne: ~\nf: "~"\ng:\nh: "null"\n'
        tree, _, problems = read_tree(text, "f")
        self.assertEqual(problems, [])
        self.assertEqual(
            tree,
            {"a": "on", "b": "no", "c": "0x10", "d": "2026-01-01"}
            | {"e": None, "f": "~", "g": None, "h": "null"},
        )

    def test_places_count_characters_from_one(self) -> None:
        """A key and its value have their own places, behind wide characters too."""
        _, found, _ = read_tree("a: {ü: 'é', b: [x, y]}\n", "f")
        self.assertEqual(found.place(("a", "b"), key=True), Place("f", 1, 13))
        self.assertEqual(found.place(("a", "b", 1)), Place("f", 1, 20))

    def test_place_of_what_is_missing(self) -> None:
        """What is not there is placed at the key, or the entry, that should hold it."""
        _, found, _ = read_tree("a:\n  - b: {}\n", "f")
        self.assertEqual(found.place(("a", 0, "name")), Place("f", 2, 5))
        self.assertEqual(found.place(("a", 0, "b", "c", "d")), Place("f", 2, 5))
        self.assertEqual(found.place(("z",)), Place("f", 1, 1))

    def test_the_rest_is_read_behind_a_fault(self) -> None:
        """A key written twice keeps its first value, and what follows is still read."""
        tree, _, problems = read_tree("a: {x: 1}\na: {y: 2, y: 3}\nb: *gone\nc: 4\n", "f")
        self.assertEqual(tree, {"a": {"x": "1"}, "b": None, "c": "4"})
        self.assertEqual(
            [str(problem) for problem in problems],
            [
                "f:2:1 a: written twice; first at line 1",
                "f:2:11 a.y: written twice; first at line 2",
                "f:3:4 b: alias *gone: write the value out",
            ],
        )

    def test_keys_that_are_no_text(self) -> None:
        """A list, a mapping or a NUL in a key is told, and takes nothing along."""
        tree, _, problems = read_tree('? [x]\n: {y: 1}\n"a\\0b": 2\nc: 3\n', "f")
        self.assertEqual(tree, {"c": "3"})
        self.assertEqual(
            [str(problem) for problem in problems],
            ["f:1:3: a key has to be text", "f:3:1: a key may not hold a NUL"],
        )

    def test_resolve_is_yaml_1_2(self) -> None:
        """For plug-ins numbers are numbers, quoted ones text, and `yes` stays a word."""
        tree, _, _ = read_tree(
            "{a: 1, b: 1.5, c: true, d: yes, e: '1', f: ~, g: [-3, 1e3, 0x1], h: 1_0}", "f"
        )
        self.assertEqual(
            resolve(tree),
            {"a": 1, "b": 1.5, "c": True, "d": "yes", "e": "1", "f": None}
            | {"g": [-3, 1000.0, "0x1"], "h": "1_0"},
        )

    def test_both_parsers_give_the_same(self) -> None:
        """Without libyaml the pure parser of PyYAML reads the same tree and places."""
        text = "a: {b: [on, 'x', ~]}\nd: |\n  two\n  lines\ne: &f !g 1\n"
        fast = read_tree(text, "f")
        self.patch(marks, "_Loader", yaml.SafeLoader)
        slow = read_tree(text, "f")
        self.assertEqual(
            (fast[0], fast[1].values, fast[1].keys), (slow[0], slow[1].values, slow[1].keys)
        )
        self.assertEqual([str(one) for one in fast[2]], [str(one) for one in slow[2]])
        self.assertEqual(fast[0]["a"]["b"][0].plain, slow[0]["a"]["b"][0].plain)
        self.assertEqual([one.plain for one in fast[0]["a"]["b"][:2]], [True, False])


class RefusalTests(SynchronousTestCase):
    """Tests for texts that `read_tree` does not take."""

    def refusal(self, text: str) -> str:
        """What is said of *text*, which is refused whole."""
        return str(self.assertRaises(BadSettings, read_tree, text, "f"))

    def test_s34_bombs_end_early(self) -> None:
        """Each bomb is refused within 50 ms and 8 MiB; nothing is expanded or run."""
        aliases = "a: &a [x]\n" + "".join(
            f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n"
            for n in range(9)
        )
        bombs = {
            "aliases": (aliases, "alias *a: write the value out"),
            "flow depth": ("[" * 10_000, "nested deeper than 32 levels"),
            "map depth": ("{a: " * 10_000, "nested deeper than 32 levels"),
            "block depth": ("- " * 10_000, "nested deeper than 32 levels"),
            "size": ("a: " + "x" * marks.LIMIT_BYTES, "larger than 1048576 bytes"),
            "wide size": ("a: " + "é" * (marks.LIMIT_BYTES // 2), "larger than 1048576 bytes"),
            "object": ("a: !!python/object/apply:os.system [x]", "tags are not read"),
        }
        for name, (text, want) in bombs.items():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            start = time.process_time()
            try:
                problems = read_tree(text, "f")[2]
            except BadSettings as error:
                problems = list(error.problems)
            spent = time.process_time() - start
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            self.assertIn(want, "\n".join(map(str, problems)), name)
            self.assertLess(spent, 0.05, name)
            self.assertLess(grown, 8 * 1024, name)

    def test_depth_at_the_limit(self) -> None:
        """32 levels are read, 33 are not."""
        tree, _, problems = read_tree("[" * 32 + "]" * 32, "f")
        self.assertEqual((problems, tree != []), ([], True))
        self.assertEqual(self.refusal("[" * 33 + "]" * 33), "f:1:33: nested deeper than 32 levels")

    def test_characters_that_yaml_forbids(self) -> None:
        """A control character is named with its place."""
        self.assertEqual(
            self.refusal("a: 1\nb: \x07\n"), "f:2:4: character U+0007 may not stand in YAML"
        )
        self.assertEqual(self.refusal("\ud800"), "f:1:1: character U+D800 may not stand in YAML")

    def test_faults_before_the_end_are_told_too(self) -> None:
        """What was found before the text stops being YAML is not lost."""
        self.assertEqual(
            self.refusal("a: 1\na: 2\nb: [\n").split("\n")[0],
            "f:2:1 a: written twice; first at line 1",
        )
