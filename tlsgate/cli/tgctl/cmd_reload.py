"""`tgctl reload`: read the configuration again, all or nothing."""

from __future__ import annotations

from typing import Any

import click

from tlsgate.cli.show import plain
from tlsgate.cli.tgctl.call import Call, with_call

#: Certificates, plug-ins and every worker have to be ready before the swap.
SECONDS = 60.0


@click.command("reload")
@click.option("--force", is_flag=True, help="Close ports although clients are told to use them.")
@with_call
def command(call: Call, force: bool) -> None:
    """Read the configuration again, all or nothing.

    On any problem the running one stays. Connections are kept, and listeners that did
    not change are not touched.
    """
    path = "/v1/reload?force=1" if force else "/v1/reload"
    call.show(call.door().ask("POST", path, seconds=SECONDS), _text)


def _text(done: dict[str, Any]) -> str:
    changes = [
        f"{what}: {', '.join(done[what])}"
        for what in ("opened", "closed", "replaced")
        if done.get(what)
    ]
    # What else has changed (routes, certificates, plug-ins) is in force too, and not listed.
    same = "in force for new connections; listeners are as before"
    lines = ["reloaded; " + ("; ".join(changes) if changes else same)]
    lines += [f"warning: {warning}" for warning in done.get("warnings", ())]
    return "\n".join(plain(line) for line in lines)
