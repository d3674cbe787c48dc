"""Tests for `tests.support.together`."""

from __future__ import annotations

from collections.abc import Sequence

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


_SAID = """\
tests.integration.test_a
  ATests
    test_one ...                                                         [ERROR]

===============================================================================
[ERROR]
Traceback (most recent call last):
  File "tests/integration/test_a.py", line 1, in test_one
builtins.AssertionError: it never came

tests.integration.test_a.ATests.test_one
tests.integration.test_a.ATests.test_two
===============================================================================
[FAIL]
Traceback (most recent call last):
  File "tests/net/test_b.py", line 1, in test_three
twisted.trial.unittest.FailTest: 1 != 2

tests.net.test_b.BTests.test_three
tests.net.test_b.BTests.test_three
-------------------------------------------------------------------------------
Ran 3 tests in 0.001s
"""
_THREE = ["tests.integration.test_a.ATests.test_one", "tests.integration.test_a.ATests.test_two"]
_THREE += ["tests.net.test_b.BTests.test_three"]


class AgainTests(SynchronousTestCase):
    """Tests for what is asked again."""

    def test_names_of_failed_tests(self) -> None:
        """Each is found once; what is named before a failure has not failed."""
        self.assertEqual(together.failed(_SAID.splitlines(keepends=True)), _THREE)
        self.assertEqual(together.failed(["tests.net.test_b.BTests.test_three\n"]), [])

    def _main(self, *outcomes: tuple[int, list[str]]) -> tuple[int, list[list[str]]]:
        """The exit code of one run of given tests whose trials end with *outcomes*."""
        asked: list[list[str]] = []
        left = list(outcomes)

        def run(arguments: Sequence[str]) -> tuple[int, list[str]]:
            asked.append(list(arguments))
            return left.pop(0)

        self.patch(together, "run", run)
        return together.main(["--temp-directory=t", "tests.net"]), asked

    def test_a_failure_is_asked_again_alone(self) -> None:
        """It passes when it passes then; else the run has failed."""
        first, again = ["--temp-directory=t-0", "tests.net"], ["--temp-directory=t-again", "a"]
        self.assertEqual(self._main((0, [])), (0, [first]))
        self.assertEqual(self._main((1, ["a"]), (0, [])), (0, [first, again]))
        self.assertEqual(self._main((1, ["a"]), (1, ["a"])), (1, [first, again]))

    def test_many_failures_are_no_accident(self) -> None:
        """Nothing is asked again of a run that is broken, or that names no test."""
        self.assertEqual(self._main((1, list("abcdef")))[0], 1)
        self.assertEqual(self._main((3, []))[0], 3)
