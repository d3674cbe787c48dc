"""Run the integration tests, those that bear it side by side.

    python -m tests.support.together [ARGUMENTS OF TRIAL]

Most of these tests wait more than they work, so two processes share them. A module that says
`ALONE = "why"` measures the machine or loads it, and runs afterwards, with nothing beside it.
Names of tests among the arguments are run as they are, one after the other.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FOLDER = ROOT / "tests" / "integration"


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


def main(arguments: Sequence[str]) -> int:
    """Run trial once or twice; gives the first exit code that is not 0."""
    trial = [sys.executable, "-m", "twisted.trial"]
    if any(not argument.startswith("-") for argument in arguments):
        return subprocess.call([*trial, *arguments], cwd=ROOT)
    beside, lonely = parts()
    jobs = str(min(os.cpu_count() or 1, 4))
    folder = next((one for one in arguments if one.startswith("--temp-directory=")), None)
    rest = [one for one in arguments if one != folder]
    codes = []
    for number, more in enumerate((["-j", jobs, *beside], lonely)):
        own = [] if folder is None else [f"{folder}-{number}"]
        codes.append(subprocess.call([*trial, *own, *rest, *more], cwd=ROOT))
    return next(filter(None, codes), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
