"""`tgsh apps`: certificates for applications, and what programs need beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from tlsgate.cli.credential import moment
from tlsgate.cli.group import Whole
from tlsgate.cli.show import Column, key, pairs, plain, table
from tlsgate.cli.tgsh import narrow as narrows
from tlsgate.cli.tgsh.appconf import App, app_of, curl_words, settings
from tlsgate.cli.tgsh.call import Call, with_call, with_call_and
from tlsgate.cli.tgsh.flat import Place
from tlsgate.cli.tgsh.nodes import place_for
from tlsgate.cli.tgsh.offered import named, offered
from tlsgate.core.certroutes import APP
from tlsgate.errors import BadAsk

LOGIN = "tgsh apps login"
NONE = "no application that your roles open"


@click.group("apps", cls=Whole)
def command() -> None:
    """Reach applications: list them, get a certificate for one."""


@command.command("ls")
@click.argument("labels", nargs=-1)
@click.option("--search", default="", help="Only those whose name or labels have it.")
@click.option("-v", "--verbose", is_flag=True, help="Addresses as well.")
@with_call_and("names")
def ls(
    call: Call, labels: tuple[str, ...], search: str, verbose: bool, out_format: str | None
) -> None:
    """List the applications that you may reach; LABELS such as env=prod narrow it down."""
    found = offered(call.api(), APP, labels, search)
    if out_format is not None:
        for one in found:
            click.echo(plain(str(one["name"])))
        return
    there = set() if call.identity else {one.name for one in narrows.all_kept(call, APP)}
    for one in found:
        one["logged_in"] = one["name"] in there
    place = place_for(call)
    for one in found:
        one["uri"] = _uri(place, one)
    columns = _COLUMNS + (_MORE if verbose else ())
    call.show({"apps": found}, lambda _: table(columns, found) if found else NONE)


@command.command("login")
@click.argument("name")
@click.option("--ttl", type=click.IntRange(min=1), help="The certificate's life in minutes.")
@with_call
def login(call: Call, name: str, ttl: int | None) -> None:
    """Get a certificate that is good for the application NAME only."""
    narrows.saved_login(call)
    app = app_of(place_for(call), named(call.api(), APP, name))
    routes = {APP: name}
    if ttl is None:
        made = narrows.fresh(call, APP, routes)
    else:
        made = narrows.issue(call, APP, routes, ttl * 60)
    found = settings(place_for(call), app, made)
    until = moment(made.not_after)
    shown = {**found, "valid_until": until}
    ways = f"  tgsh proxy app {name}"
    if app.protocol == "http":
        ways += f"\n  curl $(tgsh apps config {name} --format=curl)"
    lines = pairs([("Application", name), ("Address", app.uri), ("Valid until", until)])
    call.show(shown, lambda _: f"{lines}\n\nNow:\n{ways}")
    _warn(app)


@command.command("logout")
@click.argument("name", required=False)
@with_call
def logout(call: Call, name: str | None) -> None:
    """Remove the certificate for NAME, or those for every application."""
    gone = [one for one in narrows.all_kept(call, APP) if name in (None, one.name)]
    if name is not None and not gone:
        raise BadAsk(f"there is no certificate for {plain(name)}: `tgsh apps ls` marks those")
    for one in gone:
        narrows.forget(call, one)
    names = [one.name for one in gone]
    said = f"logged out of {', '.join(names)}" if names else "there was no certificate"
    call.show({"logged_out": names}, lambda _: plain(said))


@command.command("config")
@click.argument("name", required=False)
@with_call_and("curl", "uri", "ca", "cert", "key")
def config(call: Call, name: str | None, out_format: str | None) -> None:
    """Print what a program needs for the application: address and files.

    For curl in one word: curl $(tgsh apps config NAME --format=curl)
    """
    one = narrows.one_kept(call, APP, name, LOGIN)
    place = place_for(call)
    app = app_of(place, named(call.api(), APP, one.name))
    found = settings(place, app, one)
    if out_format in (None, "curl", "uri"):
        _warn(app)
    if out_format is None:
        call.show(found, lambda _: pairs([*found.items()]))
    elif out_format == "curl":
        click.echo(curl_words(found))
    else:
        click.echo(found[out_format])


def _warn(app: App) -> None:
    """Say where a wildcard certificate helps nobody: no program takes one for *.localhost."""
    if app.protocol == "http" and app.host.endswith(".localhost"):
        click.echo(
            "tgsh: warning: no program takes a certificate for *.localhost; unless the gateway has "
            f"one for {plain(app.host)} itself, give the application a public_addr",
            err=True,
        )


def _uri(place: Place, one: Mapping[str, Any]) -> str:
    """Where an application is found; "" where no host name can be made of its name."""
    try:
        return app_of(place, one).uri
    except BadAsk:
        return ""


def _address(one: Mapping[str, Any]) -> str:
    """What people take to it: no browser opens what speaks TCP."""
    return f"tgsh proxy app {one['name']}" if one["protocol"] == "tcp" else one["uri"] or "-"


def _labels(one: Mapping[str, Any]) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted(one["labels"].items())) or "-"


def _mark(one: Mapping[str, Any]) -> str:
    return f"> {one['name']}" if one["logged_in"] else str(one["name"])


_COLUMNS = (
    Column("Name", _mark),
    Column("Protocol", key("protocol")),
    Column("Address", _address),
    Column("Description", key("description")),
    Column("Labels", _labels),
)
_MORE = (Column("Public address", key("public_addr")),)
