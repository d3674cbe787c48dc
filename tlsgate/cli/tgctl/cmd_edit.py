"""`tgctl edit`: a resource in an editor, and back."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

import click

from tlsgate.cli.show import plain
from tlsgate.cli.tgctl import documents, resources
from tlsgate.cli.tgctl.call import Call, with_api
from tlsgate.cli.tgctl.cmd_create import read_text, write
from tlsgate.errors import BadAsk, BadSettings, GateError


@click.command("edit")
@click.argument("what", metavar="KIND/NAME")
@click.option("--confirm", is_flag=True, help="Change what a configuration file manages, too.")
@with_api
def command(call: Call, what: str, confirm: bool) -> None:
    """Edit a resource with $VISUAL or $EDITOR.

    It is written back only where nobody has changed it meanwhile. A text that is refused
    stays in its file, and its problems are told with their places in it.
    """
    from tlsgate.cli.yamltext import to_yaml

    kind, name = resources.parse(what)
    api = call.api()
    # A setting that a cluster has one of is called by its kind alone.
    (resource,) = resources.fetch(api, kind, name or kind)
    before = to_yaml(resource)
    # For its owner only: mkstemp makes it so.
    opened, path = tempfile.mkstemp(prefix=f"{kind}-", suffix=".yaml")
    file = Path(path)
    with os.fdopen(opened, "w", encoding="utf-8") as to:
        to.write(before)
    try:
        _run_editor(file)
        after = read_text(file)
        if after == before:
            file.unlink()
            click.echo("nothing was changed", err=True)
            return
        found = documents.read(after, str(file))
        if len(found) != 1:
            raise BadSettings([documents.problem(str(file), "one resource is edited at a time")])
        document = found[0]
        answer = write(api, document, 0, force=False, confirm=confirm)
    except GateError:
        click.echo(f"tgctl: what was edited is kept in {plain(str(file))}", err=True)
        raise
    file.unlink()
    call.show(answer, lambda _: plain(f"{kind} {resources.name_of(answer)} is changed"))


def _run_editor(file: Path) -> None:
    """Let the user edit *file*.

    Raises:
        BadAsk: there is no such editor, or it failed.
    """
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        done = subprocess.run([*shlex.split(editor), str(file)], check=False)  # noqa: S603 -- it is the user's own
    except (OSError, ValueError) as e:
        raise BadAsk(f"the editor {editor!r} cannot be run: set EDITOR") from e
    if done.returncode:
        raise BadAsk(f"the editor {editor!r} ended with {done.returncode}; nothing was changed")
