"""`tgctl sshd`: the machine's own sshd trusts the cluster, or no longer does."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from tlsgate.cli.group import Whole
from tlsgate.cli.show import plain
from tlsgate.cli.tgctl import dropin
from tlsgate.cli.tgctl.call import Call, with_call
from tlsgate.cli.tgctl.dropin import Done, Machine
from tlsgate.errors import BadAsk

F = TypeVar("F", bound=Callable[..., Any])


@click.group("sshd", cls=Whole)
def command() -> None:
    """Have this machine's sshd take the cluster's certificates, as its agent says.

    The agent keeps a host certificate, the cluster's authorities and a file for each login
    in its data directory; --agent-data-dir before `sshd` says where that is.
    """


def with_machine(function: F) -> F:
    """Say which sshd is meant; the command gets it as *machine*."""

    @click.option(
        "--sshd-config",
        type=click.Path(path_type=Path),
        default=dropin.MAIN,
        show_default=True,
        help="sshd's main configuration.",
    )
    @click.option(
        "--dir",
        "folder",
        type=click.Path(path_type=Path),
        help=f"The folder that it includes [{dropin.FOLDER} beside it].",
    )
    @click.option(
        "--file", type=click.Path(path_type=Path), help=f"The file there [{dropin.NAME}]."
    )
    @click.option("--sshd", "program", type=click.Path(path_type=Path), help="sshd itself.")
    @functools.wraps(function)
    def wrapped(
        *args: Any,
        sshd_config: Path,
        folder: Path | None,
        file: Path | None,
        program: Path | None,
        **rest: Any,
    ) -> Any:
        main = sshd_config.absolute()
        inside = (folder or main.parent / dropin.FOLDER).absolute()
        found = program or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin")
        if found is None:
            raise BadAsk(
                "there is no sshd in /usr/sbin: install openssh-server, or name it: --sshd"
            )
        machine = Machine(
            program=Path(found).absolute(), main=main, file=inside / (file or dropin.NAME)
        )
        return function(*args, machine=machine, **rest)

    return wrapped  # type: ignore[return-value]  # click's decorators keep the shape


@command.command("print")
@with_machine
@with_call
def show(call: Call, machine: Machine) -> None:
    """Print what `install` would write; change nothing."""
    folder = agent_folder(call)
    for path in dropin.missing(folder):
        click.echo(f"tgctl: {plain(str(path))} is not there yet: the agent writes it", err=True)
    try:
        keys = machine.machine_keys(machine.facts(), folder)
    except BadAsk:  # only root may ask it: it reads its keys
        keys = dropin.default_keys()
    named = keys if machine.names_keys(keys, folder) else None
    click.echo(dropin.text(folder, named), nl=False)


@command.command("install")
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
@click.option("--no-reload", is_flag=True, help="Do not tell the sshd that runs.")
@click.option("--replace", is_flag=True, help="Even where sshd has such words of its own.")
@with_machine
@with_call
def install(call: Call, machine: Machine, dry_run: bool, no_reload: bool, replace: bool) -> None:
    """Write our part of sshd's configuration, check it, and tell sshd.

    sshd checks the whole before anything is told; where it refuses, what was there is put
    back. Sessions that are open stay so.
    """
    need_root("install")
    folder = agent_folder(call)
    if absent := dropin.missing(folder):
        raise BadAsk(
            f"{absent[0]} is not there: start the agent, and let it join, before "
            "(--agent-data-dir names its data directory)"
        )
    if (why := dropin.owned_by_others(folder)) is not None:
        raise BadAsk(f"{why}: they could have this machine's sshd trust whom they like")
    facts = machine.facts()
    if not replace and (why := machine.in_the_way(facts, folder)) is not None:
        raise BadAsk(f"{why}; --replace does it all the same")
    keys = machine.machine_keys(facts, folder)
    content = dropin.text(folder, keys if machine.names_keys(keys, folder) else None)
    if dry_run:
        call.show(
            {"file": str(machine.file), "text": content, "written": False},
            lambda told: f"would write {told['file']}:\n{told['text']}".rstrip(),
        )
        return
    tell(call, machine, "wrote", _put(lambda: machine.install(content, reload=not no_reload)))


@command.command("uninstall")
@click.option("--no-reload", is_flag=True, help="Do not tell the sshd that runs.")
@with_machine
@with_call
def uninstall(call: Call, machine: Machine, no_reload: bool) -> None:
    """Take our part of sshd's configuration away, and tell sshd."""
    need_root("uninstall")
    tell(call, machine, "removed", _put(lambda: machine.uninstall(reload=not no_reload)))


def agent_folder(call: Call) -> Path:
    """Where the agent keeps what sshd reads."""
    root = (call.agent_data_dir or call.where()).absolute()
    return (root if root.name == "agent" else root / "agent") / "ssh"


def need_root(verb: str) -> None:
    """Refuse anybody else.

    Raises:
        BadAsk: it is not root who asks.
    """
    if os.geteuid() != 0:
        raise BadAsk(f"sshd's configuration is root's: sudo tgctl sshd {verb} ...")


def tell(call: Call, machine: Machine, verb: str, done: Done) -> None:
    """Say what was done."""
    told = {"file": str(machine.file), "changed": done.changed, "reloaded": done.reloaded}

    def text(told: dict[str, Any]) -> str:
        if not told["changed"]:
            return plain(f"nothing to do: {told['file']} is as it should be")
        then = "no sshd was told: it reads the file when it starts"
        if told["reloaded"] is not None:
            then = f"sshd (process {told['reloaded']}) reads it anew"
        return plain(f"{verb} {told['file']}; {then}")

    call.show(told, text)


def _put(change: Callable[[], Done]) -> Done:
    try:
        return change()
    except OSError as error:
        raise BadAsk(f"{error.filename}: {error.strerror}") from error
