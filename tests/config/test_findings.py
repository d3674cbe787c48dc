"""Tests for `tlsgate.config.findings`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config.findings import Findings, nearest
from tlsgate.config.marks import Marks, read_tree


class NearestTests(SynchronousTestCase):
    """Tests for `nearest`."""

    def test_guesses(self) -> None:
        """A slip of the fingers is understood; something else is not guessed at."""
        known = ("idle_seconds", "web_listen_addr", "enabled", "cn")
        table = {
            "idel": "idle_seconds",
            "idle": "idle_seconds",
            "web_listen_adr": "web_listen_addr",
            "enable": "enabled",
            "Enabled": "enabled",
            "colour": None,
            "x": None,
            "": None,
        }
        self.assertEqual({word: nearest(word, known) for word in table}, table)
        self.assertIsNone(nearest("idle", ()))


class FindingsTests(SynchronousTestCase):
    """Tests for `Findings`."""

    def test_what_a_refused_value_spoils(self) -> None:
        """Nothing below or above a refused value is trusted; its siblings are."""
        findings = Findings(Marks("f"))
        findings.wrong(("a", "b"), "no")
        trusted = {
            path: findings.trusts(*path)
            for path in [("a",), ("a", "b"), ("a", "b", "c"), ("a", "c"), ("b",), ()]
        }
        want = {("a",): False, ("a", "b"): False, ("a", "b", "c"): False}
        self.assertEqual(trusted, {**want, ("a", "c"): True, ("b",): True, (): False})

    def test_told_in_the_order_of_the_file(self) -> None:
        """Problems and warnings are sorted by place, whatever the order of their finding."""
        _, marks, _ = read_tree("a: 1\nb: 2\n", "f")
        findings = Findings(marks, aliases={"a": "alpha"})
        for path in (("b",), ("a",)):
            findings.wrong(path, "no")
            findings.warn(path, "hm")
        self.assertEqual(
            [str(one) for one in (*findings.sorted(), *findings.sorted_warnings())],
            ["f:1:4 alpha: no", "f:2:4 b: no", "f:1:1 alpha: hm", "f:2:1 b: hm"],
        )

    def test_what_was_lost_is_told_once(self) -> None:
        """A value that could not even be read draws no second complaint."""
        _, marks, problems = read_tree("a: *b\n", "f")
        findings = Findings(marks, problems=problems)
        findings.wrong(("a",), "has to be text")
        self.assertEqual(
            [one.message for one in findings.problems], ["alias *b: write the value out"]
        )
        self.assertFalse(findings.trusts("a"))
