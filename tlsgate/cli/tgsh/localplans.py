"""What `tgsh proxy db` and `tgsh proxy app` run: plans for `localrun`."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tlsgate.cli.outward import connect
from tlsgate.cli.tgsh import gatedial
from tlsgate.cli.tgsh.appconf import App
from tlsgate.cli.tgsh.call import Call
from tlsgate.cli.tgsh.flat import Place
from tlsgate.cli.tgsh.localcert import Keeper
from tlsgate.cli.tgsh.localends import Side
from tlsgate.cli.tgsh.localgate import Gateway
from tlsgate.cli.tgsh.localhttp import Names
from tlsgate.cli.tgsh.localproxy import LOOPBACK
from tlsgate.cli.tgsh.localrun import Address, Plan, Refusal
from tlsgate.cli.tgsh.localtunnel import Postgres, Straight
from tlsgate.cli.tgsh.localweb import Web
from tlsgate.cli.tgsh.pgconf import Reached, straight, through
from tlsgate.cli.tgsh.tlspipe import TlsPipe
from tlsgate.cli.tgsh.way import say
from tlsgate.core.certroutes import APP, DB

POSTGRES_TOKENS = ("tlsgate-postgres-ping", "tlsgate-postgres")
TCP_TOKENS = ("tlsgate-tcp-ping", "tlsgate-tcp")


def database(
    call: Call, place: Place, routes: Mapping[str, str], wanted: Address, *, tunnel: bool
) -> Plan:
    """A plan for a database of PostgreSQL.

    Args:
        call: whose login it is.
        place: the same.
        routes: what the certificate is for.
        wanted: where to listen.
        tunnel: the proxy does TLS; else whoever connects does it, with the files.
    """
    keeper = Keeper(call, DB, routes)
    secure = functools.partial(_secure, place, keeper, POSTGRES_TOKENS)
    plain = functools.partial(connect, place.host, place.port, gatedial.DIAL_SECONDS)
    kind = Postgres if tunnel else Straight

    def begin(
        program: Side, gateway: Gateway, reactor: Any, address: Address, refused: Refusal
    ) -> None:
        kind(program, gateway, reactor, say, refused)

    def ready(address: Address) -> dict[str, Any]:
        narrow = keeper.current()
        # A folder and a port are what libpq makes a socket's name of.
        folder = None if address.socket is None else str(address.socket.parent)
        port = address.port
        if address.socket is not None:
            port = int("0" + address.socket.name.rpartition(".")[2])
        if tunnel:
            where = through(folder or LOOPBACK, port, narrow)
        else:
            where = straight(place, narrow)
            tls = {**where.tls, "hostaddr": LOOPBACK}
            where = Reached(where.host, port, where.user, where.database, tls)
        command = f"psql {shlex.quote(where.uri)}"
        lines = [f"Local proxy for the database {narrow.name} on {address}."]
        if tunnel:
            lines.append("Whoever can connect there is logged in already: no certificate, no TLS.")
        else:
            width = max(map(len, where.tls))
            lines += [f"  {name:<{width}}  {value}" for name, value in where.tls.items()]
        if wanted.socket is None and not wanted.port:
            lines.append("--port fixes the port.")
        lines += ["", f"  {command}", "", "Ctrl-C ends it."]
        return {
            **_where(address),
            "database": narrow.name,
            "tunnel": tunnel,
            "settings": where.settings,
            "uri": where.uri,
            "command": command,
            "lines": lines,
        }

    return Plan(keeper, place.where, wanted, secure if tunnel else plain, begin, ready)


def application(call: Call, place: Place, app: App, wanted: Address) -> Plan:
    """A plan for an application; the arguments are those of `database`."""
    keeper = Keeper(call, APP, {APP: app.name})
    is_http = app.protocol == "http"

    def dial() -> TlsPipe:
        if not is_http:
            return _secure(place, keeper, TCP_TOKENS)
        narrow = keeper.current()
        return gatedial.dial_web(place, app.host, str(narrow.certificate), str(narrow.key))

    def begin(
        program: Side, gateway: Gateway, reactor: Any, address: Address, refused: Refusal
    ) -> None:
        if is_http:
            Web(program, gateway, reactor, say, refused, names_of(app, address))
        else:
            Straight(program, gateway, reactor, say, refused)

    def ready(address: Address) -> dict[str, Any]:
        scheme = "http" if is_http else "tcp"
        uri = f"{scheme}://{LOOPBACK}:{address.port}" if address.socket is None else ""
        if not is_http:
            command = ""
        elif address.socket is None:
            command = f"curl {uri}/"
        else:
            command = f"curl --unix-socket {shlex.quote(str(address.socket))} http://localhost/"
        lines = [f"Local proxy for the application {app.name} on {uri or address}."]
        lines.append("Whoever can connect there is you.")
        if wanted.socket is None and not wanted.port:
            lines.append("--port fixes the port.")
        if command:
            lines += ["", f"  {command}"]
        lines += ["", "Ctrl-C ends it."]
        return {
            **_where(address),
            "app": app.name,
            "uri": uri,
            "command": command,
            "lines": lines,
        }

    return Plan(keeper, place.where, wanted, dial, begin, ready)


def names_of(app: App, address: Address) -> Names:
    """What an application's proxy at *address* may be called by programs of this machine."""
    if address.socket is not None:
        return Names(frozenset({b"localhost"}), b"localhost", app.authority.encode())
    end = f":{address.port}" if address.port != 80 else ""
    own = [f"{host}{end}".encode() for host in (LOOPBACK, "localhost")]
    return Names(frozenset(own), own[0], app.authority.encode())


def socket_of(path: Path, port: int) -> Path:
    """The socket that *path* means: in a folder the one that libpq looks for there."""
    return path / f".s.PGSQL.{port or 5432}" if path.is_dir() else path


def _where(address: Address) -> dict[str, Any]:
    if address.socket is not None:
        return {"address": str(address), "socket": str(address.socket)}
    return {"address": str(address), "host": LOOPBACK, "port": address.port}


def _secure(place: Place, keeper: Keeper, tokens: tuple[str, str]) -> TlsPipe:
    narrow = keeper.current()
    return gatedial.dial(place, tokens, str(narrow.certificate), str(narrow.key))
