"""Run the integration tests, those that bear it side by side.

    python -m tests.support.together [--record] [ARGUMENTS OF TRIAL]

Each module is given whole to one process, since its tests share a cluster that takes seconds to
start; the dearest first, by the seconds that `times.txt` has (`--record` writes them anew). Most
of these tests wait half of their time, so there are two processes more than there are
processors. A module that says `ALONE = "why"` measures the machine or loads it, and runs
afterwards, with nothing beside it. One that says `SLOW_ONLY = "why"` is left out, and named, where
TLSGATE_SLOW is not set. Names of tests among the arguments are run as they are.

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
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from attrs import field, frozen

ROOT = Path(__file__).parents[2]
#: What each module took beside others, by name: "test_web 12.3".
TIMES = Path(__file__).with_name("times.txt")
_FOLDER = ROOT / "tests" / "integration"
#: More failures than this are not the machine's.
_ACCIDENTS = 5
#: What a module takes of which nobody knows.
_GUESS_SECONDS = 20.0
#: A module that takes longer has hung; with TLSGATE_SLOW everything takes its time.
_MODULE_SECONDS = 7200 if os.environ.get("TLSGATE_SLOW") else 900
#: How trial names a test below its traceback.
_NAME = re.compile(r"tests(?:\.[A-Za-z_]\w*){3,}")
_HEADING = re.compile(r"\[(?:FAIL|ERROR)\]")


@frozen(kw_only=True)
class Run:
    """What came of one run of trial."""

    code: int
    #: The tests that failed.
    names: list[str]
    seconds: float = 0.0
    #: What it and all that it waited for took of the processors.
    cpu_seconds: float = 0.0


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "twisted.trial", *arguments]


def says(module: Path, word: str) -> str:
    """Why *module* asks for ALONE or SLOW_ONLY; "" where it does not."""
    for node in ast.parse(module.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            if any(isinstance(one, ast.Name) and one.id == word for one in node.targets):
                return str(node.value.value)
    return ""


def recorded(text: str) -> dict[str, float]:
    """The seconds by module that *text* tells, line by line."""
    return {name: float(seconds) for name, seconds in map(str.split, text.splitlines())}


@frozen(kw_only=True)
class Parts:
    """The modules by name, the dearest first.

    Attributes:
        beside: those that run side by side.
        lonely: those that run alone.
        left_out: those that do not run, and why.
    """

    beside: list[str] = field(factory=list)
    lonely: list[str] = field(factory=list)
    left_out: dict[str, str] = field(factory=dict)


def parts(folder: Path = _FOLDER, *, slow: bool | None = None) -> Parts:
    """What is to be run of *folder*; *slow*: the slow tier too, None: as the environment says."""
    slow = bool(os.environ.get("TLSGATE_SLOW")) if slow is None else slow
    known = recorded(TIMES.read_text())
    found = Parts()
    there = sorted(
        folder.glob("test_*.py"), key=lambda one: (-known.get(one.stem, _GUESS_SECONDS), one)
    )
    for module in there:
        name = f"tests.integration.{module.stem}"
        if (why := says(module, "SLOW_ONLY")) and not slow:
            found.left_out[name] = why
        elif says(module, "ALONE"):
            found.lonely.append(name)
        else:
            found.beside.append(name)
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


def show(text: str) -> None:
    """Print *text* at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def run(arguments: Sequence[str]) -> Run:
    """Run trial, its output passed on line by line."""
    seen = []
    with subprocess.Popen(
        _command(arguments), cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as trial:
        assert trial.stdout is not None
        for line in trial.stdout:
            show(line)
            seen.append(line)
    return Run(code=trial.returncode, names=failed(seen))


def run_quietly(arguments: Sequence[str]) -> tuple[Run, str]:
    """Run trial; gives what it said beside what came of it.

    The output goes through a file: a daemon that a test forgot would hold a pipe open.
    """
    began = time.monotonic()
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        trial = subprocess.Popen(_command(arguments), cwd=ROOT, stdout=said, stderr=said)
        hung = threading.Timer(_MODULE_SECONDS, trial.kill)
        hung.start()
        _, status, used = os.wait4(trial.pid, 0)
        hung.cancel()
        trial.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read()
    one = Run(
        code=trial.returncode,
        names=failed(text.splitlines()),
        seconds=time.monotonic() - began,
        cpu_seconds=used.ru_utime + used.ru_stime,
    )
    return one, text


def spread(
    modules: Sequence[str], options: Sequence[str], folder: str, jobs: int
) -> dict[str, Run]:
    """Run each of *modules* in a process of its own, *jobs* at a time, in their order.

    The output of each comes whole, when it has ended.
    """
    left = list(reversed(modules))
    done: dict[str, Run] = {}
    turn = threading.Lock()

    def work(number: int) -> None:
        while True:
            with turn:
                if not left:
                    return
                module = left.pop()
            one, said = run_quietly([f"--temp-directory={folder}-{number}", *options, module])
            with turn:
                done[module] = one
                show(said)
                show(f"{module}: {one.seconds:.1f} s, {one.cpu_seconds:.1f} s of CPU\n\n")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done


def again(names: Sequence[str], options: Sequence[str]) -> int:
    """Ask each test of *names* once more; gives an exit code."""
    show(f"\nasked again, alone: {', '.join(names)}\n")
    second = run([*options, *names])
    lucky = [name for name in names if name not in second.names]
    if not second.code or second.names:
        show(f"passed at the second try: {', '.join(lucky) or 'none'}\n")
    return second.code


def record(done: dict[str, Run]) -> None:
    """Write what each module took."""
    known = recorded(TIMES.read_text())
    known |= {name.rpartition(".")[2]: one.seconds for name, one in done.items()}
    there = sorted(name for name in known if (_FOLDER / f"{name}.py").exists())
    TIMES.write_text("".join(f"{name} {known[name]:.0f}\n" for name in there))


def main(arguments: Sequence[str]) -> int:
    """Run trial, and once more what failed; gives the first exit code that is not 0."""
    given = next((one for one in arguments if one.startswith("--temp-directory=")), None)
    rest = [one for one in arguments if one not in (given, "--record")]
    folder = given.partition("=")[2] if given else str(Path(tempfile.mkdtemp()) / "trial")
    if any(one.startswith("tests.") for one in rest):
        runs = [run([f"--temp-directory={folder}-0", *rest])]
    else:
        there = parts()
        jobs = min((os.cpu_count() or 1) + 2, 6)  # they wait half of their time
        done = spread(there.beside, rest, folder, jobs) | spread(there.lonely, rest, folder, 1)
        for name, why in there.left_out.items():
            show(f"{name} is left out, TLSGATE_SLOW is not set: {why}\n")
        if "--record" in arguments:
            record(done)
        runs = list(done.values())
    for one in runs:
        if one.code and not one.names:
            return one.code  # it broke before it could name a test
    names = [name for one in runs for name in one.names]
    if not names or len(names) > _ACCIDENTS:
        return next((one.code for one in runs if one.code), 0)
    return again(names, [f"--temp-directory={folder}-again"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
