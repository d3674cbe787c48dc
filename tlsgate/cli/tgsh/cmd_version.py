"""`tgsh version`: what is installed here, and what the gateway runs."""

from __future__ import annotations

import platform

import click

import tlsgate
from tlsgate.cli.show import pairs, plain
from tlsgate.cli.tgsh.call import Call, with_call
from tlsgate.errors import GateError


@click.command("version")
@click.option("--client", is_flag=True, help="Do not ask the gateway.")
@with_call
def command(call: Call, client: bool) -> None:
    """Print the version of tgsh, and of the gateway where one is known."""
    found = {"tgsh": tlsgate.__version__, "Python": platform.python_version()}
    home = call.profiles()
    host = None if client else home.current()
    profile = None if host is None else home.profile(host)
    proxy = None if client else call.proxy or (None if profile is None else profile.web_proxy_addr)
    if proxy is not None:
        from tlsgate.cli.tgsh.trust import find_gateway

        try:
            answer = find_gateway(call, proxy)
            found |= {
                "gateway": answer.text("server_version"),
                "address": str(answer.address),
                "takes clients from": answer.text("min_client_version"),
            }
        except GateError as e:
            click.echo(f"tgsh: warning: {plain(str(e))}", err=True)
    call.show(found, lambda value: pairs(list(value.items())))
