"""`tgctl users`: who may log in, with which roles."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import click

from tlsgate.cli.door import Asks
from tlsgate.cli.group import Whole
from tlsgate.cli.options import DURATION, WORDS
from tlsgate.cli.show import Column, plain, span, table
from tlsgate.cli.tgctl import resources
from tlsgate.cli.tgctl.call import Call, with_api
from tlsgate.errors import BadAsk

F = TypeVar("F", bound=Callable[..., Any])

#: Options that fill a user's traits; roles take them by `{{internal.logins}}` and so on.
TRAITS = (
    "logins",
    "db_users",
    "db_names",
    "kubernetes_users",
    "kubernetes_groups",
)


def with_traits(prefix: str) -> Callable[[F], F]:
    """An option for each trait: --logins, or --set-logins."""

    def decorate(command: F) -> F:
        for trait in reversed(TRAITS):
            name = f"--{prefix}{trait.replace('_', '-')}"
            text = f"The user's {trait.replace('_', ' ')}."
            command = click.option(name, trait, type=WORDS, help=text)(command)
        return command

    return decorate


@click.group("users", cls=Whole)
def command() -> None:
    """Invite, list, change and remove users."""


@command.command("add")
@click.argument("name")
@click.option("--roles", type=WORDS, required=True, help="Roles, with commas.")
@with_traits("")
@click.option("--ttl", type=DURATION, help="The link's life: 1h; two days at most.")
@with_api
def add(
    call: Call, name: str, roles: list[str], ttl: int | None, **traits: list[str] | None
) -> None:
    """Make a user, and print the link by which a password is chosen."""
    body = {
        "name": name,
        "roles": roles,
        "traits": {trait: values for trait, values in traits.items() if values is not None},
        "ttl_seconds": ttl,
    }
    answer = call.api().ask("POST", "/v1/users", body=body)
    call.show(answer, lambda _: _invitation(answer, f"user {name} is made, without a password yet"))


@command.command("reset")
@click.argument("name")
@click.option("--ttl", type=DURATION, help="The link's life: 8h; a day at most.")
@with_api
def reset(call: Call, name: str, ttl: int | None) -> None:
    """Make a link for a new password and second factor; the old ones end now."""
    path = f"/v1/users/{quote(name, safe='')}/reset"
    answer = call.api().ask("POST", path, body={"ttl_seconds": ttl})
    call.show(answer, lambda _: _invitation(answer, f"user {name} has no password any more"))


def _invitation(answer: Mapping[str, Any], head: str) -> str:
    invite, proxy = answer["invite"], answer.get("proxy")
    url = invite.get("url") or f"https://PROXY/web/{invite.get('kind')}/{invite['token']}"
    pins = "".join(f" --ca-pin={pin}" for pin in answer.get("pins", ())[:1])
    left = span(max(0.0, float(invite["expires"]) - time.time()))
    lines = [
        f"{head}; this link sets it, once, within {left}:",
        "",
        f"  {url}",
        "",
        "in a browser, or in a terminal:",
        "",
        f"  tgsh register {url}{pins}",
        "",
        "and then:",
        "",
        f"  tgsh login --proxy={proxy or 'PROXY'} --user={answer['user']}{pins}",
    ]
    if proxy is None:
        lines += ["", "PROXY is the gateway: proxy_service.public_addr does not say which"]
    return "\n".join(map(plain, lines))


COLUMNS = (
    Column("USER", resources.name_of),
    Column("ROLES", lambda row: ", ".join(resources.spec_of(row).get("roles", ())) or "-"),
    Column(
        "LOGINS",
        lambda row: ", ".join(resources.spec_of(row).get("traits", {}).get("logins", ())) or "-",
    ),
)


@command.command("ls")
@with_api
def ls(call: Call) -> None:
    """List the users."""
    rows = list(resources.fetch(call.api(), "user"))
    call.show(rows, lambda _: table(COLUMNS, rows) if rows else "no user")


@command.command("update")
@click.argument("name")
@click.option("--set-roles", type=WORDS, help="Roles, with commas, in place of the old ones.")
@with_traits("set-")
@with_api
def update(call: Call, name: str, set_roles: list[str] | None, **traits: list[str] | None) -> None:
    """Change a user's roles and traits; from the next certificate on they count."""
    changed = {trait: values for trait, values in traits.items() if values is not None}
    if set_roles is None and not changed:
        raise BadAsk("say what to change: --set-roles, --set-logins, …")
    api = call.api()
    (user,) = resources.fetch(api, "user", name)
    spec = dict(resources.spec_of(user))
    if set_roles is not None:
        spec["roles"] = set_roles
    kept = {**spec.get("traits", {}), **changed}
    spec["traits"] = {trait: values for trait, values in kept.items() if values}
    # The revision that was read goes along: nobody's change in between is lost.
    answer = resources.put(api, {**user, "spec": spec})
    call.show(answer, lambda _: f"user {plain(name)} is changed")


@command.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@with_api
def rm(call: Call, names: tuple[str, ...]) -> None:
    """Remove users; their sessions end, their certificates where a lock is set."""
    removed = remove(call.api(), [("user", name) for one in names for name in one.split(",")])
    call.show(removed, lambda _: "\n".join(said(one) for one in removed))


def remove(api: Asks, which: list[tuple[str, str]], *, force: bool = False) -> list[dict[str, Any]]:
    """Remove each of (kind, name)."""
    query = {"force": "1"} if force else None
    return [api.ask("DELETE", resources.path_of(kind, name), query) for kind, name in which]


def said(removed: Mapping[str, Any]) -> str:
    """What happened to a resource that was removed."""
    text = f"{removed['kind']} {removed['name']} is removed"
    if removed.get("lock"):  # of a node: its agent would come back
        text += f", and its agent is locked; to undo that: tgctl rm lock/{removed['lock']}"
    return plain(text)
