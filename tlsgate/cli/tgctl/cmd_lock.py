"""`tgctl lock`: somebody or something is shut out, at once."""

from __future__ import annotations

import click

from tlsgate.cli.options import DURATION
from tlsgate.cli.show import plain
from tlsgate.cli.tgctl import resources
from tlsgate.cli.tgctl.call import Call, with_api
from tlsgate.errors import BadAsk


@click.command("lock")
@click.option("--user", help="Lock this user.")
@click.option("--role", help="Lock everybody who has this role.")
@click.option("--agent", help="Lock this agent or gateway.")
@click.option(
    "--certificate", help="Lock the certificate with this serial number (hex) or sha256: digest."
)
@click.option("--login", help="Lock this account on targets; with --user, for that user alone.")
@click.option("--ttl", type=DURATION, help="How long it holds [until it is removed].")
@click.option("--message", default="", help="What whoever is locked out is told.")
@with_api
def command(
    call: Call,
    user: str | None,
    role: str | None,
    agent: str | None,
    certificate: str | None,
    login: str | None,
    ttl: int | None,
    message: str,
) -> None:
    """Shut out a user, a role, an agent or a certificate; live connections end in a second.

    With several of these only who is all of them is shut out.
    `tgctl get locks` lists the locks, `tgctl rm lock/ID` takes one away.
    """
    named = {
        "user": user,
        "role": role,
        "agent": agent,
        "certificate": certificate,
        "login": login,
    }
    target = {kind: name for kind, name in named.items() if name is not None}
    if not target:
        raise BadAsk("name --user, --role, --agent, --certificate or --login")
    body = {"target": target, "ttl_seconds": ttl, "message": message}
    lock = call.api().ask("POST", "/v1/locks", body=body)
    said = ", ".join(f"{kind} {name}" for kind, name in target.items())
    name = resources.name_of(lock)
    call.show(lock, lambda _: plain(f"{said} is locked; to undo it: tgctl rm lock/{name}"))
