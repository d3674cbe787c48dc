"""`tgctl check`: every problem of a configuration file, with its place."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlsgate.cli.show import plain
from tlsgate.cli.tgctl.built import built, settings_of
from tlsgate.cli.tgctl.call import Call, with_call
from tlsgate.errors import BadSettings, GateError, Place, Problem

if TYPE_CHECKING:
    from tlsgate.service.local import Built


@click.command("check")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@with_call
def command(call: Call, file: Path | None) -> None:
    """Print every problem of FILE with its place; start nothing.

    Everything that a start needs is looked at: settings, certificates, plug-ins, routes.
    Exit code 0: it can be used (warnings may be there); 2: it cannot. Without FILE
    the file of --config is checked.
    """
    checked = file or call.config_file(needed=True)
    assert checked is not None
    problems: Sequence[Problem] = ()
    warnings: Sequence[Problem] = ()
    try:
        settings = settings_of(checked, call.data_dir)
        warnings = settings.warnings
        with built(settings) as made:
            whole = Place(str(checked), 1, 1)
            warnings = (*warnings, *(Problem(whole, "", remark) for remark in _remarks(made)))
    except BadSettings as e:
        problems = e.problems
    except GateError as e:
        problems = [Problem(Place(str(checked), 1, 1), "", str(e))]
    found = {
        "file": str(checked),
        "ok": not problems,
        "problems": [as_json(problem) for problem in problems],
        "warnings": [as_json(warning) for warning in warnings],
    }
    call.show(found, _text)
    if problems:
        click.get_current_context().exit(2)


def _remarks(made: Built) -> Iterator[str]:
    """What an operator should know of a gate that can be built."""
    yield from made.remarks
    certificates = made.gate.certificates
    yield from (*certificates.notes, *made.gate.contexts.notes)
    for life, notice in certificates.notices(time.time()):
        day = datetime.datetime.fromtimestamp(life.not_after, datetime.UTC).date()
        left = {"third": "a third", "tenth": "a tenth"}.get(notice)
        yield f"{life.file}: " + (
            f"expires on {day}; {left} of its life is left" if left else f"expired on {day}"
        )


def as_json(problem: Problem) -> dict[str, Any]:
    """*problem* in JSON types."""
    place = problem.place
    return {
        "file": place.file,
        "line": place.line,
        "column": place.column,
        "path": problem.path,
        "message": problem.message,
    }


def _text(found: dict[str, Any]) -> str:
    lines = [_line(problem) for problem in found["problems"]]
    lines += [_line(warning, "warning: ") for warning in found["warnings"]]
    counts = [
        f"{len(found[kind])} {kind if len(found[kind]) != 1 else kind[:-1]}"
        for kind in ("problems", "warnings")
        if found[kind]
    ]
    verdict = "good" if found["ok"] else "cannot be used"
    lines.append(
        plain(f"{found['file']}: {verdict}") + (f" ({', '.join(counts)})" if counts else "")
    )
    return "\n".join(lines)


def _line(problem: dict[str, Any], kind: str = "") -> str:
    place = f"{problem['file']}:{problem['line']}:{problem['column']}"
    path = f" {problem['path']}" if problem["path"] else ""
    return plain(f"{place}{path}: {kind}{problem['message']}")
