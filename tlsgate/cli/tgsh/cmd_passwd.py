"""`tgsh passwd`: a new password for whoever is logged in."""

from __future__ import annotations

from pathlib import Path

import click

from tlsgate.cli.tgsh.call import Call, with_call
from tlsgate.cli.tgsh.secrets import HELP, Secrets


@click.command("passwd")
@click.option(
    "--password-file", type=click.Path(path_type=Path), help=HELP + "old one, new one, code."
)
@with_call
def command(call: Call, password_file: Path | None) -> None:
    """Change your password; the old one and a one-time code are asked for."""
    api = call.api()
    # The devices say whether a code is wanted, and whether the cluster answers at all.
    devices = api.ask("GET", "/v1/me/mfa")["devices"]
    secrets = Secrets(call, password_file)
    old = secrets.next("Current password")
    new = secrets.new("New password")
    code = secrets.next("One-time code") if devices else None
    api.ask("POST", "/v1/me/password", body={"old": old, "new": new, "otp": code}, seconds=60.0)
    click.echo("the password is changed; certificates stay good to their end", err=True)
