"""`tgsh db`: certificates for databases, and what native clients need beside them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import click

from tlsgate.cli.credential import moment
from tlsgate.cli.group import Whole
from tlsgate.cli.show import Column, key, pairs, plain, table
from tlsgate.cli.tgsh import narrow as narrows
from tlsgate.cli.tgsh.call import Call, with_call, with_call_and
from tlsgate.cli.tgsh.narrow import Narrow
from tlsgate.cli.tgsh.nodes import place_for
from tlsgate.cli.tgsh.offered import named, offered
from tlsgate.core.certroutes import DB, DB_NAME, DB_USER
from tlsgate.errors import BadAsk

LOGIN = "tgsh db login"
NONE = "no database that your roles open"
#: Whose clients are known here.
POSTGRES = "postgres"


@click.group("db", cls=Whole)
def command() -> None:
    """Reach databases: list them, get a certificate for one, connect."""


@command.command("ls")
@click.argument("labels", nargs=-1)
@click.option("--search", default="", help="Only those whose name or labels have it.")
@click.option("-v", "--verbose", is_flag=True, help="Users and databases inside as well.")
@with_call_and("names")
def ls(
    call: Call, labels: tuple[str, ...], search: str, verbose: bool, out_format: str | None
) -> None:
    """List the databases that you may reach; LABELS such as env=prod narrow it down."""
    found = offered(call.api(), DB, labels, search)
    if out_format is not None:
        for one in found:
            click.echo(plain(str(one["name"])))
        return
    there = set() if call.identity else {one.name for one in narrows.all_kept(call, DB)}
    for one in found:
        one["logged_in"] = one["name"] in there
    columns = _COLUMNS + (_MORE if verbose else ())
    call.show({"databases": found}, lambda _: table(columns, found) if found else NONE)


@command.command("login")
@click.argument("name")
@click.option("--db-user", help="The database user; only this one then.")
@click.option("--db-name", help="The database inside; only this one then.")
@click.option("--ttl", type=click.IntRange(min=1), help="The certificate's life in minutes.")
@with_call
def login(call: Call, name: str, db_user: str | None, db_name: str | None, ttl: int | None) -> None:
    """Get a certificate that is good for the database NAME only."""
    made = certificate_for(call, name, db_user, db_name, ttl)
    call.show(_shown(made), lambda _: _told(made, left_open(call, made)))


@command.command("logout")
@click.argument("name", required=False)
@with_call
def logout(call: Call, name: str | None) -> None:
    """Remove the certificate for NAME, or those for every database."""
    gone = [one for one in narrows.all_kept(call, DB) if name in (None, one.name)]
    if name is not None and not gone:
        raise BadAsk(f"there is no certificate for {plain(name)}: `tgsh db ls` marks those")
    for one in gone:
        narrows.forget(call, one)
    names = [one.name for one in gone]
    said = f"logged out of {', '.join(names)}" if names else "there was no certificate"
    call.show({"logged_out": names}, lambda _: plain(said))


@command.command("config")
@click.argument("name", required=False)
@click.option("--legacy", is_flag=True, help="TLS after an SSLRequest, for libpq before 17.")
@with_call_and("uri", "cmd")
def config(call: Call, name: str | None, legacy: bool, out_format: str | None) -> None:
    """Print what a client of the database needs: address, user, files.

    For psql 17 and later in one word: psql "$(tgsh db config NAME --format=uri)". With
    --legacy it is for any psql.
    """
    one = narrows.one_kept(call, DB, name, LOGIN)
    where = _reached(call, one, legacy)
    if out_format == "uri":
        click.echo(where.uri)
    elif out_format == "cmd":
        click.echo(f"psql {shlex.quote(where.uri)}")
    else:
        shown = {"name": one.name, **where.settings, "uri": where.uri}
        call.show(shown, lambda _: pairs([*shown.items()]))


@command.command("env")
@click.argument("name", required=False)
@click.option("--legacy", is_flag=True, help="TLS after an SSLRequest, for libpq before 17.")
@with_call
def env(call: Call, name: str | None, legacy: bool) -> None:
    """Print the same as variables: eval "$(tgsh db env orders)"."""
    from tlsgate.cli.tgsh.pgconf import VARIABLES

    one = narrows.one_kept(call, DB, name, LOGIN)
    settings = _reached(call, one, legacy).settings
    found = {VARIABLES[word]: value for word, value in settings.items()}
    call.show(
        found,
        lambda _: "\n".join(f"export {word}={shlex.quote(text)}" for word, text in found.items()),
    )


@command.command("connect")
@click.argument("name", required=False)
@click.option("--db-user", help="The database user.")
@click.option("--db-name", help="The database inside.")
@click.argument("words", nargs=-1, metavar="[-- PSQL-OPTIONS]")
@with_call
def connect(
    call: Call,
    name: str | None,
    db_user: str | None,
    db_name: str | None,
    words: tuple[str, ...],
) -> None:
    """Run psql, straight where it can, else through a local proxy by itself.

    Its exit code is psql's. What stands after `--` is psql's as well:
    tgsh db connect orders -- -c 'SELECT 1'
    """
    from tlsgate.cli.tgsh.pgconnect import NOT_CONNECTED, run_psql

    if name is not None and name.startswith("-"):  # what stands after `--`, without a name
        words = (name, *words)
        name = None
    if name is None:
        name = narrows.one_kept(call, DB, None, LOGIN).name
    known = narrows.kept(call, DB, name)
    if known is not None:
        db_user = db_user or known.routes.get(DB_USER)
        db_name = db_name or known.routes.get(DB_NAME)
        made = narrows.fresh(call, DB, routes_of(name, db_user, db_name))
    else:
        made = certificate_for(call, name, db_user, db_name)
    code = run_psql(call, made, words)
    if code == NOT_CONNECTED:
        for option, open_to in left_open(call, made).items():
            click.echo(f"tgsh: without {option} psql guesses; you may: {open_to}", err=True)
    click.get_current_context().exit(code)


def certificate_for(
    call: Call, name: str, db_user: str | None, db_name: str | None, ttl: int | None = None
) -> Narrow:
    """A certificate for the database *name*, which has to be there.

    Raises:
        BadAsk: it is not, or its clients are not known here.
        GateError: the cluster refuses.
    """
    narrows.saved_login(call)
    one = named(call.api(), DB, name)
    if one["protocol"] not in ("", POSTGRES):
        raise BadAsk(f"{plain(name)} speaks {plain(one['protocol'])}, which is not served yet")
    # What can only be one thing need not be said.
    db_user = db_user or _only(one["db_users"])
    db_name = db_name or _only(one["db_names"])
    routes = routes_of(name, db_user, db_name)
    if ttl is None:
        return narrows.fresh(call, DB, routes)
    return narrows.issue(call, DB, routes, ttl * 60)


def left_open(call: Call, made: Narrow) -> dict[str, str]:
    """What *made* does not name, by the option that does: the words that roles have for it."""
    asked = {"--db-user": DB_USER, "--db-name": DB_NAME}
    unsaid = {option: route for option, route in asked.items() if route not in made.routes}
    if not unsaid:
        return {}
    words = {DB_USER: "db_users", DB_NAME: "db_names"}
    one = named(call.api(), DB, made.name)
    return {option: plain(", ".join(one[words[route]])) for option, route in unsaid.items()}


def routes_of(name: str, db_user: str | None, db_name: str | None) -> dict[str, str]:
    """What a certificate for a database says."""
    found = {DB: name, DB_USER: db_user or "", DB_NAME: db_name or ""}
    return {key: value for key, value in found.items() if value}


def _only(words: list[str]) -> str | None:
    if len(words) != 1 or any(sign in words[0] for sign in "*^?{"):
        return None
    return words[0]


def _reached(call: Call, one: Narrow, legacy: bool) -> Any:
    """Where the client of a database connects."""
    from tlsgate.cli.tgsh.pgconf import is_guess, is_leaf, straight

    place = place_for(call)
    if is_guess(place):
        click.echo(
            "tgsh: warning: after a login with --ca-pin the web certificate's authority is not "
            f"known; where psql does not believe it, `tgsh proxy db {one.name} --tunnel` does",
            err=True,
        )
    elif is_leaf(place):
        click.echo(
            "tgsh: warning: the login has seen the web certificate without its authority, and "
            f"libpq believes authorities only; `tgsh proxy db {one.name} --tunnel` does without",
            err=True,
        )
    return straight(place, one, _listener(call) if legacy else None)


def _listener(call: Call) -> tuple[str, int]:
    """Where TLS may begin with an SSLRequest, by what the gateway says now."""
    import json

    from tlsgate.cli.alerts import explained
    from tlsgate.cli.tgsh.fromping import profile_from
    from tlsgate.cli.tgsh.way import PING_SECONDS, answer_now
    from tlsgate.core.sshway import address

    place = place_for(call)
    try:
        answer = answer_now(place, ask=call.ask_ping, now=call.now)
    except OSError as e:
        raise explained(e, place.where, PING_SECONDS) from e
    told = profile_from(answer, place.where, place.host, place.user, place.cluster)
    call.trace(f"PostgreSQL's listener: {json.dumps(told.postgres_proxy_addr)}")
    if not told.postgres_proxy_addr:
        return place.host, place.port
    host, port = address(told.postgres_proxy_addr)
    return host or place.host, port


def _shown(made: Narrow) -> dict[str, Any]:
    return {
        "name": made.name,
        "db_user": made.routes.get(DB_USER),
        "db_name": made.routes.get(DB_NAME),
        "valid_until": moment(made.not_after),
        "certificate": str(made.certificate),
        "key": str(made.key),
    }


def _told(made: Narrow, unsaid: Mapping[str, str]) -> str:
    from tlsgate.cli.tgsh.pgconnect import DIRECT, psql_there

    name = shlex.quote(made.name)
    # A psql that is there decides; where there is none, somebody else's may be newer.
    legacy = " --legacy" if 0 < psql_there() < DIRECT else ""

    def which(route: str, option: str) -> str:
        return made.routes.get(route) or f"{option} says which, of: {unsaid[option]}"

    lines = pairs(
        [
            ("Database", made.name),
            ("User", which(DB_USER, "--db-user")),
            ("Inside", which(DB_NAME, "--db-name")),
            ("Valid until", moment(made.not_after)),
        ]
    )
    return (
        f"{lines}\n\nNow:\n  tgsh db connect {name}\n  tgsh proxy db {name} --tunnel\n"
        f'  psql "$(tgsh db config {name} --format=uri{legacy})"'
    )


def _labels(one: Mapping[str, Any]) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted(one["labels"].items())) or "-"


def _words(name: str) -> Any:
    return lambda one: ",".join(one[name]) or "-"


def _mark(one: Mapping[str, Any]) -> str:
    return f"> {one['name']}" if one["logged_in"] else str(one["name"])


_COLUMNS = (
    Column("Name", _mark),
    Column("Protocol", key("protocol")),
    Column("Description", key("description")),
    Column("Labels", _labels),
)
_MORE = (Column("Users", _words("db_users")), Column("Databases", _words("db_names")))
