"""`tgctl rm`: resources are removed; settings go back to their defaults."""

from __future__ import annotations

import click

from tlsgate.cli.tgctl import resources
from tlsgate.cli.tgctl.call import Call, with_api
from tlsgate.cli.tgctl.cmd_users import remove, said


@click.command("rm")
@click.argument("what", nargs=-1, required=True, metavar="KIND/NAME...")
@click.option("-f", "--force", is_flag=True, help="Even where a guard warns of it.")
@with_api
def command(call: Call, what: tuple[str, ...], force: bool) -> None:
    """Remove resources; a setting that a cluster has one of is reset to its default."""
    parsed = [resources.parse(one) for one in what]
    which = [(kind, name or kind) for kind, name in parsed]
    removed = remove(call.api(), which, force=force)
    call.show(removed, lambda _: "\n".join(map(said, removed)))
