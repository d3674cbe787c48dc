"""`tgctl explain`: the decisions about a hypothetical connection, with their reasons."""

from __future__ import annotations

import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any

import click

from tlsgate.cli.options import LABELS
from tlsgate.cli.show import plain
from tlsgate.cli.tgctl.built import built, settings_of
from tlsgate.cli.tgctl.call import Call, with_api
from tlsgate.errors import BadAsk


@click.command("explain")
@click.option("--listener", default="web", show_default=True, help="The listener's name.")
@click.option("--sni", help="The server name in the hello.")
@click.option(
    "--alpn", multiple=True, help="Protocols that the client offers: a,b or several times."
)
@click.option(
    "--cert",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The client's certificate, PEM, with its intermediates.",
)
@click.option("--running", is_flag=True, help="Ask the daemon even though --config is given.")
@click.option("--user", help="Ask about this user's roles instead; with --target.")
@click.option("--target", help="ssh://LOGIN@NODE, db://USER@DB/NAME, app://APP, kube://CLUSTER.")
@click.option(
    "--labels",
    type=LABELS,
    default="",
    help="The target's labels: a=b,c=d; without them those that its agent says.",
)
@with_api
def command(
    call: Call,
    listener: str,
    sni: str | None,
    alpn: tuple[str, ...],
    cert: Path | None,
    running: bool,
    user: str | None,
    target: str | None,
    labels: dict[str, str],
) -> None:
    """Print what a connection would meet, step by step, or what a user's roles decide.

    The running daemon answers. With --config the file is asked instead, before it is
    loaded. Nothing is dialled. With --user and --target the cluster decides by the user's
    roles, and names the rule. Exit code 0: allowed, 1: refused.
    """
    if user is not None or target is not None:
        if user is None or target is None:
            raise BadAsk("name both --user and --target")
        _by_role(call, user, target, labels)
        return
    offers = [token for written in alpn for token in written.split(",") if token]
    pem = None if cert is None else _certificates(cert)
    if call.config_written and not running:
        told = _offline(call, listener, sni, offers, pem)
    else:
        query = {"listener": listener, "alpn": ",".join(offers)}
        query |= {name: value for name, value in (("sni", sni), ("cert", pem)) if value}
        told = call.door().ask("GET", "/v1/explain", query)
    call.show(told, text)
    if told["outcome"] != "allowed":
        click.get_current_context().exit(1)


def _by_role(call: Call, user: str, target: str, labels: dict[str, str]) -> None:
    body = {"user": user, "target": target, "labels": labels}
    told = call.api().ask("POST", "/v1/explain", body=body)
    roles = ", ".join(told["roles"]) or "none"
    verdict = "allowed" if told["allowed"] else "refused"
    audited = "\nqueries there are audited" if told.get("audit_queries") else ""
    call.show(
        told,
        lambda _: plain(f"{verdict}: {told['why']}") + f"\nroles: {plain(roles)}{audited}",
    )
    if not told["allowed"]:
        click.get_current_context().exit(1)


def _certificates(file: Path) -> str:
    """The certificates of *file*: a key in it stays where it is.

    Raises:
        BadAsk: there is none.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        found = x509.load_pem_x509_certificates(file.read_bytes())
    except (OSError, ValueError) as e:
        raise BadAsk(f"{file} holds no PEM certificate") from e
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in found)


def _offline(
    call: Call, listener: str, sni: str | None, alpn: list[str], pem: str | None
) -> dict[str, Any]:
    from tlsgate.service.explain import explain

    file = call.config_file(needed=True)
    assert file is not None
    settings = settings_of(file, call.data_dir)
    with built(settings) as made:
        for remark in made.remarks:
            click.echo(f"tgctl: {plain(remark)}", err=True)
        told = explain(made.gate, listener, sni, alpn, pem)
    if told["certificate"] and not settings.keypairs:
        told["certificate"] |= {"files": [], "not_after": None}
        for step in told["steps"]:
            if step["step"] == "certificate":
                names = ", ".join(told["certificate"]["names"])
                step["text"] = f"the gateway shows {names}, signed by itself at its first start"
    return told


def text(told: dict[str, Any]) -> str:
    """An explanation for people: the steps, the routes, the verdict."""
    lines = [line for step in told["steps"] for line in _wrapped(step["step"], step["text"])]
    if told["routes"]:
        width = max(len(route["route"]) for route in told["routes"])
        lines += ["", "routes, in the order of the table:"]
        lines += [
            f"{'>' if route['chosen'] else ' '} {route['route']:<{width}}  {route['why']}"
            for route in told["routes"]
        ]
    lines += ["", f"{told['outcome']}: {told['message']}"]
    if told["alert"] is not None:
        lines[-1] += f" (TLS alert {told['alert']})"
    return "\n".join(plain(line) for line in lines)


def _wrapped(name: str, what: str) -> list[str]:
    """A step's lines: on a terminal as wide as that, in a pipe one."""
    line = f"{name:<12} {what}"
    if not sys.stdout.isatty():
        return [line]
    width = max(40, shutil.get_terminal_size().columns)
    return textwrap.wrap(line, width, subsequent_indent=" " * 13) or [line]
