"""`tgsh proxy`: connections for other programs. `entry` runs `ssh` without this file."""

from __future__ import annotations

from pathlib import Path

import click

from tlsgate.cli.group import Whole
from tlsgate.cli.tgsh.call import Call, with_call
from tlsgate.cli.tgsh.nodes import place_for
from tlsgate.core.certroutes import APP, DB, DB_NAME, DB_USER
from tlsgate.errors import BadAsk


@click.group("proxy", cls=Whole)
def command() -> None:
    """Connect other programs with what is behind the gateway."""


@command.command("ssh")
@click.option("--cluster", help="The cluster; only that of the login so far.")
@click.argument("target", metavar="[LOGIN@]HOST[:PORT]")
@with_call
def ssh(call: Call, cluster: str | None, target: str) -> None:
    """Connect stdin and stdout with a node's sshd: the ProxyCommand of `tgsh config`."""
    from tlsgate.cli.tgsh.dialssh import Asked, run

    if call.identity is not None:
        raise BadAsk("`tgsh proxy ssh` takes a login, no identity file")
    asked = Asked()
    asked.folder = str(call.profiles().folder)
    asked.proxy, asked.cluster, asked.target = call.proxy, cluster, target
    click.get_current_context().exit(run(asked))


@command.command("db")
@click.argument("name", required=False)
@click.option("-p", "--port", type=click.IntRange(0, 65535), default=0, help="Of 127.0.0.1.")
@click.option("--socket", type=click.Path(path_type=Path), help="A UNIX socket, or its folder.")
@click.option("--tunnel", is_flag=True, help="Whoever connects needs no certificate, and no TLS.")
@click.option("--db-user", help="The database user.")
@click.option("--db-name", help="The database inside.")
@with_call
def db(
    call: Call,
    name: str | None,
    port: int,
    socket: Path | None,
    tunnel: bool,
    db_user: str | None,
    db_name: str | None,
) -> None:
    """Listen on this machine for clients of a database, such as those with windows.

    It runs until Ctrl-C. With --format=json one line says when it is ready, and where.
    """
    from tlsgate.cli.tgsh import narrow as narrows
    from tlsgate.cli.tgsh.cmd_db import LOGIN, certificate_for, routes_of
    from tlsgate.cli.tgsh.localplans import database, socket_of
    from tlsgate.cli.tgsh.localrun import Address, ready_login, run

    if socket is not None and not tunnel:
        raise BadAsk("--socket goes with --tunnel: no client speaks TLS to a UNIX socket")
    ready_login(call)
    if name is None:
        name = narrows.one_kept(call, DB, None, LOGIN).name
    known = narrows.kept(call, DB, name)
    if known is not None:
        db_user = db_user or known.routes.get(DB_USER)
        db_name = db_name or known.routes.get(DB_NAME)
        routes = routes_of(name, db_user, db_name)
    else:
        routes = {**certificate_for(call, name, db_user, db_name).routes}
    wanted = Address(port, None if socket is None else socket_of(socket.absolute(), port))
    plan = database(call, place_for(call), routes, wanted, tunnel=tunnel)
    click.get_current_context().exit(run(call, plan))


@command.command("app")
@click.argument("name", required=False)
@click.option("-p", "--port", type=click.IntRange(0, 65535), default=0, help="Of 127.0.0.1.")
@click.option("--socket", type=click.Path(path_type=Path), help="A UNIX socket.")
@with_call
def app(call: Call, name: str | None, port: int, socket: Path | None) -> None:
    """Listen on this machine for an application: a browser needs no login there.

    It runs until Ctrl-C. With --format=json one line says when it is ready, and where.
    """
    from tlsgate.cli.tgsh import narrow as narrows
    from tlsgate.cli.tgsh.appconf import app_of
    from tlsgate.cli.tgsh.cmd_apps import LOGIN
    from tlsgate.cli.tgsh.localplans import application
    from tlsgate.cli.tgsh.localrun import Address, ready_login, run
    from tlsgate.cli.tgsh.offered import named

    ready_login(call)
    if name is None:
        name = narrows.one_kept(call, APP, None, LOGIN).name
    place = place_for(call)
    made = app_of(place, named(call.api(), APP, name))
    wanted = Address(port, None if socket is None else socket.absolute())
    click.get_current_context().exit(run(call, application(call, place, made, wanted)))
