r"""Tests for `tlsgate.core.patterns`."""

from __future__ import annotations

import re
import time

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core import patterns
from tlsgate.core.patterns import PATTERN_LIMIT, fault, fits

#: Patterns with what they take and what they do not.
CASES: list[tuple[str, list[str], list[str]]] = [
    ("prod", ["prod"], ["", "Prod", "prod ", "production"]),
    ("*", ["", "prod", "*"], []),
    ("db-*", ["db-", "db-1", "db-*"], ["db", "xdb-1"]),
    ("*-*-x", ["a-b-x", "--x", "a-x-x"], ["a-x", "-x", "x"]),
    ("a*a", ["aa", "aba"], ["a", "ab"]),
    ("a**b", ["ab", "axb"], ["a", "b"]),
    ("[a]", ["[a]"], ["a"]),  # a glob has stars only
    ("^", ["^"], [""]),
    ("^$", [""], ["x"]),
    ("^prod$", ["prod"], ["^prod$", "xprod", "prod\n"]),
    ("^(dev|stag(e|ing))$", ["dev", "stage", "staging"], ["stag", "devstage"]),
    ("^a|b$", ["a", "b"], ["ab", ""]),
    ("^(|a)$", ["", "a"], ["aa"]),
    ("^(?:ab)+$", ["ab", "abab"], ["", "aba"]),
    ("^a?b*c+$", ["c", "abbcc", "ac"], ["aac", "b"]),
    (r"^\d{2,3}$", ["12", "123"], ["1", "1234", "ab"]),
    (r"^\D\S\W$", ["ax-"], ["1x-", "a -", "axx"]),
    (r"^\w+\s\w+$", ["a_1 b"], ["ab", "a-b"]),
    ("^x{2}$", ["xx"], ["x", "xxx"]),
    ("^x{2,}$", ["xx", "xxxx"], ["x"]),
    ("^x{0}$", [""], ["x"]),
    ("^[a-cx-]+$", ["abc", "x-"], ["d", "y"]),
    ("^[^a-c]$", ["d", "-", "\n"], ["a", ""]),
    (r"^[\d\]a]+$", ["1]a"], ["b", "\\"]),
    (r"^[\--\.]$", ["-", "."], ["/", "\\"]),
    (r"^[+-\.]$", ["+", ",", "."], ["/"]),
    ("^[]x]$", ["]", "x"], ["y"]),
    ("^[^]]$", ["x"], ["]"]),
    (r"^a\.b\$$", ["a.b$"], ["axb$", "a.b"]),
    ("^.$", ["x", "\n", "é"], ["", "xy"]),
    ("^]}$", ["]}"], [""]),
    ("^(a*)*$", ["", "aaa"], ["b"]),
    ("^((a|b)|c)d$", ["ad", "bd", "cd"], ["d"]),
]

#: Patterns that are refused, with a word of why.
WRONG: dict[str, str] = {
    "": "is empty",
    "x" * (PATTERN_LIMIT + 1): "has more than 256 characters",
    "^(a$": "a '(' without its ')'",
    "^a)$": "a ')' without its '('",
    "^[a$": "a '[' without its ']'",
    "^[a-$": "a '[' without its ']'",
    "^[z-a]$": "the range z-a is empty",
    r"^[\D]$": "are not served inside",
    "^[[:alpha:]]$": "[:names:] are not served",
    r"^[a-\$": "a '[' without its ']'",
    "^*a$": "'*' has nothing before it",
    "^(+)$": "'+' has nothing before it",
    "^a|?$": "'?' has nothing before it",
    "^{2}$": "'{' has nothing before it",
    "^a**$": "'*' follows another quantifier",
    "^a+?$": "'?' follows another quantifier",
    "^a{2}{3}$": "'{' follows another quantifier",
    "^a{3,2}$": "ends before it begins",
    "^(?i)a$": "only '(?:' is served",
    "^(?P<x>a)$": "only '(?:' is served",
    r"^\1$": r"\1 is not served",
    r"^\b$": r"\b is not served",
    "^a\\$": "it ends in a backslash",
    "^a^b$": "'^' may only be the first or last",
    "^a$b$": "'$' may only be the first or last",
    "^a{300}$": "it is too big",
    "^((a{16}){16}){16}$": "it is too big",
    "^(a{0,16}){0,16}$": "it is too big",
    "^" + "(" * 17 + "a" + ")" * 17 + "$": "more than 16 groups",
    "^" + "a|" * 120 + "$": "it is too big",
    "^((((((((a|b)*|c)*|d)*|e){9})*)*){9})*$": "it is too big",
}


class FitsTests(SynchronousTestCase):
    """Tests for `fits` and `fault`."""

    def test_cases(self) -> None:
        """Each pattern takes what the hand-written table says, and nothing else of it."""
        for pattern, takes, leaves in CASES:
            with self.subTest(pattern=pattern):
                self.assertEqual([v for v in takes if not fits(pattern, v)], [])
                self.assertEqual([v for v in leaves if fits(pattern, v)], [])
                self.assertIsNone(fault(pattern))

    def test_wrong(self) -> None:
        """A pattern outside of the subset is refused with the reason, and fits nothing."""
        for pattern, why in WRONG.items():
            with self.subTest(pattern=pattern):
                self.assertIn(why, fault(pattern) or "")
                if pattern.startswith("^"):
                    self.assertFalse(fits(pattern, pattern))

    def test_never_backtracks(self) -> None:
        """Expressions that take Python's own minutes cost length times steps here."""
        began = time.process_time()
        for pattern in ("^(a|a)*b$", "^(a*)*b$", "^(a+)+$", "^.*.*.*.*.*.*.*=$", "^(.?){60}b$"):
            self.assertIsNone(fault(pattern))
            self.assertFalse(fits(pattern, "a" * 1000 + "c"), pattern)
        self.assertLess(time.process_time() - began, 5)

    def test_memory_is_bounded(self) -> None:
        """An expression forgets what it has seen before it remembers too much."""
        self.patch(patterns, "_REMEMBERED", 3)
        for value in ("axbxc", "cxbxa", "abcabc"):
            self.assertTrue(fits("^[a-cx]*.?[a-c]$", value))
        expression = patterns._expression("^[a-cx]*.?[a-c]$")
        self.assertLessEqual(len(expression._taking), 3)

    def test_agrees_with_re(self) -> None:
        """Whatever is served means the same as to Python."""
        atoms = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\w", r"\d", r"\.", "-"])

        def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
            return st.one_of(
                st.tuples(inner, inner).map("".join),
                st.tuples(inner, inner).map(lambda pair: f"({pair[0]}|{pair[1]})"),
                st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{1,}"])).map(
                    lambda pair: f"(?:{pair[0]}){pair[1]}"
                ),
            )

        bodies = st.recursive(atoms, grown, max_leaves=6)

        @given(bodies, st.text("ab1.-", max_size=6))
        def check(body: str, value: str) -> None:
            pattern = f"^{body}$"
            if fault(pattern) is None:
                wanted = re.fullmatch(body, value, re.DOTALL | re.ASCII) is not None
                self.assertEqual(fits(pattern, value), wanted, (pattern, value))

        check()

    def test_globs_agree_with_re(self) -> None:
        """A glob is its text with any text for each star."""

        @given(st.text("ab*", min_size=1, max_size=6), st.text("ab", max_size=8))
        def check(pattern: str, value: str) -> None:
            body = ".*".join(map(re.escape, pattern.split("*")))
            wanted = re.fullmatch(body, value) is not None
            self.assertEqual(fits(pattern, value), wanted)

        check()

    def test_any_text(self) -> None:
        """Whatever is written, there is an answer; nothing is raised."""

        @given(st.text(max_size=20), st.text(max_size=10))
        def check(body: str, value: str) -> None:
            for pattern in (body, f"^{body}$"):
                fault(pattern)
                fits(pattern, value)

        check()
