"""Tests for `tlsgate.core.labels`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.labels import EVERYTHING, Selector, fault, fitting, met, missed

LABELS = {"env": "prod", "team": "db\n"}
TRAITS = {"env": ("prod", "dev"), "star": ("*",)}


class LabelsTests(SynchronousTestCase):
    """Tests for `met`, `missed` and `fault`."""

    def test_met(self) -> None:
        """Every name has to be there with one of its values; the text says by which."""
        cases: list[tuple[Selector, str | None]] = [
            ({}, None),
            (EVERYTHING, "*=*"),
            ({"env": ("prod",)}, "env=prod"),
            ({"env": ("dev", "prod")}, "env=prod"),
            ({"env": ("prod", "*", "p*")}, "env=*"),  # the least that fits
            ({"team": ("*",), "env": ("^p.*$",)}, "env=^p.*$, team=*"),
            ({"env": ("prod",), "team": ("web",)}, None),
            ({"env": ()}, None),
            ({"zone": ("*",)}, None),
            ({"env": ("{{internal.env}}",)}, "env={{internal.env}}"),
            ({"env": ("{{internal.none}}",)}, None),
            ({"env": ("{{internal.star}}",)}, None),  # a trait is data
            ({"*": ("*",), "env": ("dev",)}, None),
            ({"*": ("prod",)}, None),
        ]
        for selector, wanted in cases:
            self.assertEqual(met(selector, LABELS, TRAITS), wanted, selector)

    def test_everything_takes_what_has_no_labels(self) -> None:
        """`*` with `*` needs no label to be there."""
        self.assertEqual(met(EVERYTHING, {}, {}), "*=*")

    def test_missed(self) -> None:
        """The first name that is not met is told, with what is there instead."""
        cases: list[tuple[Selector, str]] = [
            ({}, "no labels are given, which means none"),
            ({"env": ("prod",)}, ""),
            ({"zone": ("b", "a")}, "zone has to be a or b, there is no such label"),
            ({"team": ("web",), "env": ("*",)}, "team has to be web, it is 'db\\n'"),
            ({"env": ()}, "env has to be nothing, it is 'prod'"),
        ]
        for selector, wanted in cases:
            self.assertEqual(missed(selector, LABELS, TRAITS), wanted)

    def test_fitting(self) -> None:
        """Of several words that fit the least is given."""
        self.assertEqual(fitting(("p*", "*od", "x"), "prod", {}), "*od")
        self.assertIsNone(fitting((), "prod", {}))

    def test_fault(self) -> None:
        """A pattern and a template are each held to their own rules."""
        self.assertIsNone(fault("{{internal.env}}"))
        self.assertIsNone(fault("^a$"))
        self.assertIn("is no template", fault("{{x}}") or "")
        self.assertIn("regular expression", fault("^($") or "")
