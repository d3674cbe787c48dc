"""Run the integration tests, those that bear it side by side.

    python -m tests.support.together [ARGUMENTS OF TRIAL]

Most of these tests wait a good part of their time, so there is one process more than there are
processors. A module that says `ALONE = "why"` measures the machine or loads it, and runs
afterwards, with nothing beside it. Names of tests among the arguments are run as they are.

A test that fails is asked again, alone, when all others are through: what measures time or
waits for a process may fail for the machine's sake. It counts as passed if it passes then, and
its name is printed; whatever is broken fails twice. More than a few failures are no accident,
and are not asked again.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FOLDER = ROOT / "tests" / "integration"
#: More failures than this are not the machine's.
_ACCIDENTS = 5
#: How trial names a test below its traceback.
_NAME = re.compile(r"tests(?:\.[A-Za-z_]\w*){3,}")
_HEADING = re.compile(r"\[(?:FAIL|ERROR)\]")


def alone(module: Path) -> bool:
    """Whether *module* says that it has to run alone."""
    return any(
        isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == "ALONE" for target in node.targets)
        for node in ast.parse(module.read_text()).body
    )


def parts(folder: Path = _FOLDER) -> tuple[list[str], list[str]]:
    """The modules that run side by side, and those that run alone."""
    found: tuple[list[str], list[str]] = ([], [])
    for module in sorted(folder.glob("test_*.py")):
        found[alone(module)].append(f"tests.integration.{module.stem}")
    return found


def failed(output: Iterable[str]) -> list[str]:
    """The tests that *output* of trial, line by line, says to have failed; each once."""
    names: dict[str, None] = {}
    told = False
    for line in output:
        text = line.strip()
        if _HEADING.fullmatch(text):
            told = True
        elif told and _NAME.fullmatch(text):
            names[text] = None
    return list(names)


def run(arguments: Sequence[str]) -> tuple[int, list[str]]:
    """Run trial, its output passed on; gives its exit code and which tests failed."""
    command = [sys.executable, "-m", "twisted.trial", *arguments]
    seen = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as trial:
        assert trial.stdout is not None
        for line in trial.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            seen.append(line)
    return trial.returncode, failed(seen)


def again(names: Sequence[str], options: Sequence[str]) -> int:
    """Ask each test of *names* once more; gives an exit code."""
    print(f"\nasked again, alone: {', '.join(names)}", flush=True)
    code, still = run([*options, *names])
    lucky = [name for name in names if name not in still]
    if not code or still:
        print(f"passed at the second try: {', '.join(lucky) or 'none'}", flush=True)
    return code


def main(arguments: Sequence[str]) -> int:
    """Run trial, and once more what failed; gives the first exit code that is not 0."""
    folder = next((one for one in arguments if one.startswith("--temp-directory=")), None)
    rest = [one for one in arguments if one != folder]
    if any(one.startswith("tests.") for one in rest):
        runs = [rest]
    else:
        beside, lonely = parts()
        jobs = str(min((os.cpu_count() or 1) + 1, 4))  # they wait a quarter of their time
        runs = [["-j", jobs, *rest, *beside], [*rest, *lonely]]
    codes, names = [], []
    for number, one in enumerate(runs):
        own = [] if folder is None else [f"{folder}-{number}"]
        code, those = run([*own, *one])
        codes.append(code)
        names += those
        if code and not those:
            return code  # it broke before it could name a test
    if not names or len(names) > _ACCIDENTS:
        return next(filter(None, codes), 0)
    return again(names, [] if folder is None else [f"{folder}-again"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
