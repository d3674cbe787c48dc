"""Errors to text and exit code: the one place where a command line says what went wrong.

Exit codes: 0 done; 1 the gateway, a target or a peer is at fault; 2 whoever runs the
command or wrote the configuration has to act (click's own usage errors are 2 as well).
"""

from __future__ import annotations

from tlsgate.cli.faults import NotWritten
from tlsgate.cli.show import plain
from tlsgate.errors import (
    BadSettings,
    DaemonAway,
    DaemonSaid,
    DoorClosed,
    Fault,
    GateError,
    Problem,
)

#: The exit code of each fault.
EXIT = {Fault.OPERATOR: 2, Fault.GATE: 1, Fault.CLIENT: 1, Fault.TARGET: 1}


def exit_code(error: GateError) -> int:
    """The exit code that *error* ends a command with."""
    return EXIT[error.whose if isinstance(error, DaemonSaid) else error.fault]


def sentences(error: GateError, config: str | None = None) -> list[str]:
    """What to tell about *error*, the way out last; lines without control characters.

    Args:
        config: the configuration file as the operator named it, for the advice.
    """
    problems = error.problems if isinstance(error, BadSettings | DaemonSaid | NotWritten) else ()
    if problems:
        count = len(problems)
        head = f"{count} problem{'s' if count > 1 else ''}; nothing was changed"
        if isinstance(error, NotWritten):
            head = str(error)
        lines = [_problem(problem) for problem in problems] + [head]
    else:
        lines = str(error).splitlines() or [error.reason]
    return [plain(line) for line in lines] + [plain(line) for line in _advice(error, config)]


def _problem(problem: Problem) -> str:
    """A problem's line; what the API says of a resource has no place of ours."""
    if problem.place.file:
        return str(problem)
    return f"{problem.path}: {problem.message}" if problem.path else problem.message


def _advice(error: GateError, config: str | None) -> list[str]:
    match error:
        case DaemonAway():
            start = f"twistd tlsgate --config {config}" if config else "twistd tlsgate"
            return [
                f"start it with: {start}",
                "or name the data directory of the one that runs: tgctl --data-dir DIR ...",
            ]
        case DoorClosed():
            return ["run tgctl as that user, for instance with sudo"]
        case _:
            return []
