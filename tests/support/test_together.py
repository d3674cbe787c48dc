"""Tests for `tests.support.together`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support import together
from tests.support.together import Parts, Run


class PartsTests(SynchronousTestCase):
    """Tests for `parts`."""

    def test_each_module_once(self) -> None:
        """Every integration test is run, beside others or alone, in the slow tier at least."""
        parts = together.parts(slow=True)
        there = {
            f"tests.integration.{path.stem}"
            for path in (together.ROOT / "tests" / "integration").glob("test_*.py")
        }
        self.assertEqual(sorted(there), sorted([*parts.beside, *parts.lonely]))
        self.assertIn("tests.integration.test_web", parts.beside)
        self.assertIn("tests.integration.test_no_loss", parts.lonely)
        self.assertEqual(parts.left_out, {})

    def test_slow_only(self) -> None:
        """What only the slow tier can run is left out of the other, with its reason."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "test_a.py").write_text("")
        (folder / "test_b.py").write_text('ALONE = "it measures"\n')
        (folder / "test_c.py").write_text('SLOW_ONLY = "it takes long"\n')
        (folder / "test_d.py").write_text('ALONE = "it measures"\nSLOW_ONLY = "it is rough"\n')
        a, b, c, d = (f"tests.integration.test_{letter}" for letter in "abcd")
        self.assertEqual(
            together.parts(folder, slow=False),
            Parts(
                beside=[a],
                lonely=[b],
                left_out={c: "it takes long", d: "it is rough"},
            ),
        )
        self.assertEqual(together.parts(folder, slow=True), Parts(beside=[a, c], lonely=[b, d]))
        for said, left_out in (("", {c, d}), ("1", set())):
            self.patch(os, "environ", {"TLSGATE_SLOW": said})
            self.assertEqual(together.parts(folder).left_out.keys(), left_out)

    def test_the_dearest_first(self) -> None:
        """By what was recorded; what nobody knows is guessed; the file names what there is."""
        known = together.recorded(together.TIMES.read_text())
        parts = together.parts(slow=True)
        for modules in (parts.beside, parts.lonely):
            names = [name.rpartition(".")[2] for name in modules]
            seconds = [known.get(name, 20.0) for name in names]
            self.assertEqual(seconds, sorted(seconds, reverse=True))
            known = {name: seconds for name, seconds in known.items() if name not in names}
        self.assertEqual(known, {})


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

        def run(arguments: Sequence[str]) -> Run:
            asked.append(list(arguments))
            code, names = left.pop(0)
            return Run(code=code, names=names)

        self.patch(together, "run", run)
        self.patch(together, "show", lambda text: None)
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


class SpreadTests(SynchronousTestCase):
    """Tests for `spread`, and for all modules together."""

    def setUp(self) -> None:
        self.shown: list[str] = []
        self.asked: list[list[str]] = []
        self.broken: dict[str, Run] = {}
        self.patch(together, "show", self.shown.append)
        self.patch(together, "run_quietly", self._trial)

    def _trial(self, arguments: Sequence[str]) -> tuple[Run, str]:
        self.asked.append(list(arguments))
        module = arguments[-1]
        return self.broken.get(module, Run(code=0, names=[])), f"PASSED {module}\n"

    def test_each_once_in_order(self) -> None:
        """Each module is run once, with the options, in a folder of its process; output whole."""
        done = together.spread(["a", "b", "c"], ["-u"], "f", 1)
        self.assertEqual(list(done), ["a", "b", "c"])
        self.assertEqual(self.asked, [["--temp-directory=f-0", "-u", one] for one in "abc"])
        self.assertEqual(self.shown[::2], ["PASSED a\n", "PASSED b\n", "PASSED c\n"])
        self.assertEqual(self.shown[1], "a: 0.0 s, 0.0 s of CPU\n\n")

    def test_side_by_side(self) -> None:
        """However many processes there are, each module is run once."""
        names = [str(number) for number in range(20)]
        self.assertEqual(sorted(together.spread(names, [], "f", 3)), sorted(names))
        self.assertEqual(len(self.asked), 20)

    def test_all_modules(self) -> None:
        """Those that run alone come last, who is left out is named; failures are asked again."""
        parts = Parts(
            beside=[f"tests.integration.test_{one}" for one in "abc"],
            lonely=[f"tests.integration.test_{one}" for one in "de"],
            left_out={"tests.integration.test_f": "it is long"},
        )
        self.patch(together, "parts", lambda: parts)
        beside, lonely = parts.beside, parts.lonely
        second: list[Sequence[str]] = []

        def run(arguments: Sequence[str]) -> Run:
            second.append(arguments)
            return Run(code=0, names=[])

        self.patch(together, "run", run)
        self.assertEqual(together.main(["--temp-directory=t"]), 0)
        asked = [one[-1] for one in self.asked]
        self.assertEqual(sorted(asked[: len(beside)]), sorted(beside))
        self.assertEqual(asked[len(beside) :], lonely)
        said = "tests.integration.test_f is left out, TLSGATE_SLOW is not set: it is long\n"
        self.assertEqual(self.shown.count(said), 1)
        self.broken = {one: Run(code=1, names=[f"{one}.Tests.test"]) for one in lonely[:2]}
        self.assertEqual(together.main(["--temp-directory=t"]), 0)
        tests = [f"{one}.Tests.test" for one in lonely[:2]]
        self.assertEqual(second, [["--temp-directory=t-again", *tests]])
        self.broken[beside[0]] = Run(code=3, names=[])
        self.assertEqual(together.main(["--temp-directory=t"]), 3)

    def test_times(self) -> None:
        """What was recorded is read again; modules that have gone are forgotten."""
        file = Path(self.mktemp())
        file.write_text("test_gone 7\ntest_web 8\n")
        self.patch(together, "TIMES", file)
        together.record({"tests.integration.test_apps": Run(code=0, names=[], seconds=9.6)})
        self.assertEqual(together.recorded(file.read_text()), {"test_apps": 10, "test_web": 8})
