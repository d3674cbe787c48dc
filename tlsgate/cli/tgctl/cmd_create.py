"""`tgctl create`: resources from a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from tlsgate.cli.door import Asks
from tlsgate.cli.faults import NotWritten
from tlsgate.cli.show import plain
from tlsgate.cli.tgctl import documents, resources
from tlsgate.cli.tgctl.call import Call, with_api
from tlsgate.errors import BadAsk, DaemonSaid, Problem


@click.command("create")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), default="-")
@click.option("-f", "--force", is_flag=True, help="Overwrite what is there.")
@click.option("--confirm", is_flag=True, help="Change what a configuration file manages, too.")
@with_api
def command(call: Call, file: Path, force: bool, confirm: bool) -> None:
    """Write the resources of FILE, or of stdin.

    FILE may have several YAML documents, or lists. All of it is read before anything is
    written; a problem is told as FILE:line:column.
    """
    found = documents.read(read_text(file), "stdin" if str(file) == "-" else str(file))
    api = call.api()
    written: list[dict[str, Any]] = []
    try:
        for document in found:
            written.append(write(api, document, len(written), force=force, confirm=confirm))
    finally:
        if written:
            call.show(written, lambda _: "\n".join(map(_said, written)))


def read_text(file: Path) -> str:
    """The text of *file*, or of stdin.

    Raises:
        BadAsk: it cannot be read.
    """
    try:
        if str(file) == "-":
            return sys.stdin.read(documents.LIMIT_BYTES + 1)
        with file.open(encoding="utf-8") as opened:
            return opened.read(documents.LIMIT_BYTES + 1)
    except OSError as e:
        raise BadAsk(f"{file} cannot be read: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise BadAsk(f"{file} is not UTF-8") from e


def write(
    api: Asks, document: documents.Document, before: int, *, force: bool, confirm: bool
) -> dict[str, Any]:
    """Write one resource; warnings go to stderr.

    Raises:
        NotWritten: the cluster refuses it; with the places of what is wrong.
    """
    try:
        answer = resources.put(api, document.value, force=force, confirm=confirm)
    except DaemonSaid as e:
        problems = document.problems(e)
        hint = {"exists": "-f overwrites it", "needs_confirm": "--confirm does it"}.get(e.word)
        if hint is not None:
            problems = (Problem(problems[0].place, "", f"{e}; {hint}"),)
        raise NotWritten(problems, before) from e
    for warning in document.told(answer.pop("warnings", ())):
        click.echo(f"tgctl: warning: {plain(str(warning))}", err=True)
    return answer


def _said(one: dict[str, Any]) -> str:
    return plain(f"{one.get('kind')} {resources.name_of(one)} is written")
