"""`tgctl tokens`: what agents and gateways join a cluster with."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import click

from tlsgate.cli.group import Whole
from tlsgate.cli.options import DURATION, LABELS, WORDS
from tlsgate.cli.show import Column, plain, span, table
from tlsgate.cli.tgctl import resources
from tlsgate.cli.tgctl.call import Call, with_api
from tlsgate.cli.tgctl.cmd_users import remove, said


@click.group("tokens", cls=Whole)
def command() -> None:
    """Make, list and remove join tokens."""


class Uses(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """A number, or the word unlimited."""

    name = "N|unlimited"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read *value*."""
        if value == "unlimited" or isinstance(value, int):
            return value
        if not (str(value).isdecimal() and 0 < int(value[:8]) <= 1_000_000):
            self.fail(f"{value!r} is no number up to 1000000, nor 'unlimited'", param, ctx)
        return int(value)


@command.command("add")
@click.option("--type", "types", type=WORDS, required=True, help="gateway, node, db, app, kube.")
@click.option("--ttl", type=DURATION, default="30m", show_default=True, help="The token's life.")
@click.option("--uses", type=Uses(), default="1", show_default=True, help="How many may join.")
@click.option("--labels", type=LABELS, default="", help="Labels for what joins: a=b,c=d.")
@with_api
def add(call: Call, types: list[str], ttl: int, uses: int | str, labels: dict[str, str]) -> None:
    """Make a join token; its secret is shown this once."""
    body = {"types": types, "ttl_seconds": ttl, "uses": uses, "labels": labels}
    answer = call.api().ask("POST", "/v1/tokens", body=body)
    call.show(answer, _added)


def _added(answer: dict[str, Any]) -> str:
    uses = answer["uses"]
    often = "as often as you like" if uses == "unlimited" else f"{uses} time{'s'[: uses != 1]}"
    left = "for ever"
    if answer.get("expires") is not None:
        left = "for " + span(max(0.0, float(answer["expires"]) - time.time()))
    lines = [
        f"{answer['secret']}",
        "",
        f"is good for {', '.join(answer['types'])}, {often}, {left}. Where it is to be used, write",
        f"it to a file of mode 0600, {_TOKEN} here, and",
        "",
        *(_gateway(answer) if answer["types"] == ["gateway"] else _agent(answer)),
        "",
        f"to remove it: tgctl tokens rm {answer['id']}",
    ]
    return "\n".join(map(plain, lines))


_TOKEN = "/etc/tlsgate/token"  # the path of a file


#: What an agent's file says of each type; names and addresses are to be replaced. A database
#: is called by the name that its certificate shows, which is none of 127.0.0.1 mostly.
_SERVICES: Final = {
    "node": ["  ssh_service: {enabled: yes}"],
    "db": [
        "  db_service:",
        "    databases:",
        "      - {name: orders, protocol: postgres, uri: pg.internal:5432}",
    ],
    "app": [
        "  app_service:",
        "    apps:",
        "      - {name: grafana, uri: http://127.0.0.1:3000}",
    ],
}


def _agent(answer: dict[str, Any]) -> list[str]:
    """The file of an agent, and how to start it."""
    server = answer.get("proxy") or "HOST:PORT"
    lines = ["  version: v3", "  teleport:", f"    proxy_server: {server}"]
    return [
        *lines,
        *_secrets(answer),
        *(line for name, lines in _SERVICES.items() if name in answer["types"] for line in lines),
        "",
        "to /etc/tlsgate/agent.yaml. The agent joins at its first start, once for all:",
        "",
        "  twistd -n tlsgate -c /etc/tlsgate/agent.yaml",
    ]


def _gateway(answer: dict[str, Any]) -> list[str]:
    """The file of a gateway apart from the auth service."""
    server = answer.get("proxy") or "HOST:PORT"
    return [
        "  version: v2",
        "  teleport:",
        f"    auth_servers: [{server!r}]",
        *_secrets(answer),
        "  auth_service: {enabled: no}",
        "  proxy_service: {public_addr: HOST:PORT}",
        "",
        "to /etc/tlsgate/tlsgate.yaml. The gateway joins at its first start:",
        "",
        "  twistd -n tlsgate -c /etc/tlsgate/tlsgate.yaml",
    ]


def _secrets(answer: dict[str, Any]) -> list[str]:
    pins = [f'    ca_pin: "{pin}"' for pin in answer.get("pins", ())[:1]]
    return [f"    auth_token: {_TOKEN}", *pins]


def _spec(row: Any, key: str) -> Any:
    return resources.spec_of(row).get(key)


def _pairs(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in labels.items()) or "-"


def _second(moment: str | None) -> str:
    """A moment without what is less than a second."""
    whole, dot, _ = (moment or "").partition(".")
    return f"{whole}Z" if dot else whole


COLUMNS = (
    Column("TOKEN", resources.name_of),
    Column("TYPES", lambda row: ", ".join(_spec(row, "types") or ())),
    Column("USED", lambda row: f"{_spec(row, 'used') or 0} of {_spec(row, 'uses') or 1}"),
    Column("LABELS", lambda row: _pairs(_spec(row, "labels") or {})),
    Column("EXPIRES", lambda row: _second(row.get("metadata", {}).get("expires")) or "never"),
)


@command.command("ls")
@with_api
def ls(call: Call) -> None:
    """List the join tokens that are still good, by their ids."""
    rows = list(resources.fetch(call.api(), "token"))
    call.show(rows, lambda _: table(COLUMNS, rows) if rows else "no active token")


@command.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="ID...")
@with_api
def rm(call: Call, names: tuple[str, ...]) -> None:
    """Remove join tokens by their ids; who has joined stays."""
    removed = remove(call.api(), [("token", name) for name in names])
    call.show(removed, lambda _: "\n".join(map(said, removed)))
