"""Tests for `tests.support.together`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.support import together


class PartsTests(SynchronousTestCase):
    """Tests for `parts`."""

    def test_each_module_once(self) -> None:
        """Every integration test is run, beside others or alone."""
        beside, lonely = together.parts()
        there = {
            f"tests.integration.{path.stem}"
            for path in (together.ROOT / "tests" / "integration").glob("test_*.py")
        }
        self.assertEqual(sorted(there), sorted([*beside, *lonely]))
        self.assertIn("tests.integration.test_web", beside)
        self.assertIn("tests.integration.test_no_loss", lonely)
