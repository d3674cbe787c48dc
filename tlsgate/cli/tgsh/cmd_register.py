"""`tgsh register`: an invite or reset link, answered in the terminal."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlsgate.cli.show import plain
from tlsgate.cli.tgsh.call import Call, with_call
from tlsgate.cli.tgsh.secrets import HELP, Secrets
from tlsgate.errors import BadAsk

if TYPE_CHECKING:
    from tlsgate.cli.api import Way

#: A link: the gateway, and the token.
_LINK = re.compile(r"https://([^/@?#]{1,300})/web/(?:invite|reset)/([A-Za-z0-9_.~-]{16,256})/?")


@click.command("register")
@click.argument("url", metavar="URL")
@click.option("--ca-pin", multiple=True, help="sha256:… of the cluster's host CA.")
@click.option("--password-file", type=click.Path(path_type=Path), help=HELP + "password, code.")
@click.option("--no-picture", is_flag=True, help="Print the secret only, not as a QR code.")
@click.option(
    "--unsafe-send-password",
    is_flag=True,
    help="With --insecure: send the password to whoever answers.",
)
@with_call
def command(
    call: Call,
    url: str,
    ca_pin: tuple[str, ...],
    password_file: Path | None,
    no_picture: bool,
    unsafe_send_password: bool,
) -> None:
    """Set a password and a second factor with the link of an operator.

    URL is what `tgctl users add` or `tgctl users reset` prints; '-' reads it from stdin. The
    link opens once, and in a browser as well.
    """
    from tlsgate.cli.tgsh.trust import find_gateway, login_way

    gateway, token = read_link(url)
    found = find_gateway(call, gateway, ca_pin)
    way = login_way(call, found, ca_pin, unsafe_send_password)
    begun = call.open_way(way).ask("POST", "/v1/invites/begin", body={"token": token})
    user = str(begun["user"])
    click.echo(f"{plain(user)}: choose a password", err=True)
    secrets = Secrets(call, password_file)
    password = secrets.new("Password")
    code = None
    if begun.get("otpauth"):
        _show_factor(begun, picture=not no_picture)
        code = secrets.next("One-time code of the app")
    accepted = _accept(call, way, {"token": token, "password": password, "otp": code})
    login = f"tgsh login --proxy={found.address} --user={user}"
    login += "".join(f" --ca-pin={pin}" for pin in ca_pin)
    call.show({**accepted, "login": login}, lambda _: plain(f"done; log in with: {login}"))


def read_link(url: str) -> tuple[str, str]:
    """The gateway's HOST:PORT and the token of a link.

    Raises:
        BadAsk: it is no such link. The message does not quote it: it is a secret.
    """
    from tlsgate.cli.api import Address
    from tlsgate.cli.tgsh.gateway import parse_proxy

    if url == "-":
        url = sys.stdin.readline(4096).strip()
    found = _LINK.fullmatch(url)
    try:
        if found is None:
            raise BadAsk("no link")
        host, port = parse_proxy(found[1])
    except BadAsk:
        why = "this is no invite or reset link: https://HOST/web/invite/… is one"
        raise BadAsk(why) from None
    return str(Address(host, port or 443)), found[2]


def _accept(call: Call, way: Way, body: dict[str, Any]) -> dict[str, Any]:
    answer = call.open_way(way).ask("POST", "/v1/invites/accept", body=body, seconds=60.0)
    return {"user": str(answer["user"])}


def _show_factor(begun: dict[str, Any], *, picture: bool) -> None:
    """Write the second factor to stderr: a code to be photographed, and the same as text."""
    click.echo("scan this with an authenticator app, or type the secret into it:\n", err=True)
    if picture:
        click.echo(qr(str(begun["otpauth"])), err=True)
    click.echo(f"secret: {plain(str(begun['secret']))}\n", err=True)


def qr(text: str) -> str:
    """*text* as a QR code of half blocks, black on white whatever the terminal's colours."""
    import segno

    rows = [list(row) for row in segno.make(text, error="m", micro=False).matrix_iter(border=2)]
    if len(rows) % 2:
        rows.append([0] * len(rows[0]))
    lines = []
    for upper, lower in zip(rows[::2], rows[1::2], strict=True):
        cells = (
            _HALVES[bool(above), bool(below)] for above, below in zip(upper, lower, strict=True)
        )
        lines.append(f"\x1b[30;47m{''.join(cells)}\x1b[0m")
    return "\n".join(lines)


#: (the upper half is dark, the lower half is dark) to a character in black on white.
_HALVES = {
    (False, False): " ",
    (True, False): "\u2580",
    (False, True): "\u2584",
    (True, True): "\u2588",
}
