"""`tgctl auth`: the cluster's authorities, and identities for scripts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from tlsgate.cli.credential import moment
from tlsgate.cli.group import Whole
from tlsgate.cli.options import DURATION, DURATION_OR_NONE, WORDS
from tlsgate.cli.show import Column, key, plain, table
from tlsgate.cli.tgctl.call import Call, with_api, with_api_and
from tlsgate.errors import BadAsk

#: What --type of `export` takes: the authority, and how it is written.
EXPORTS = {
    "user": ("ssh_user", "ssh"),
    "host": ("ssh_host", "ssh"),
    "tls-user": ("user", "pem"),
    "tls-host": ("host", "pem"),
    "tls-user-der": ("user", "der"),
    "tls-host-der": ("host", "der"),
    "db": ("db", "pem"),
    "db-der": ("db", "der"),
}
PHASES = ("init", "update_clients", "update_servers", "standby", "rollback")
OUT_FORMATS = ("file", "openssh", "tls", "pkcs12")
#: Of `sign`, for a server and not for a person.
DB_FORMAT = "db"


@click.group("auth", cls=Whole)
def command() -> None:
    """Export and rotate authorities; sign identities."""


@command.command("export")
@click.option("--type", "kind", type=click.Choice([*EXPORTS]), help="One of them [all].")
@with_api
def export(call: Call, kind: str | None) -> None:
    """Print what others need in order to trust the cluster; never a private key.

    `user` and `host` are OpenSSH's, for TrustedUserCAKeys and for known_hosts; the tls-
    ones are certificates. While an authority is rotated there are two of it.
    """
    answer = call.api().ask("GET", "/v1/cas")
    if kind is not None and kind.endswith("-der"):
        from tlsgate.cli.certfile import pem_blocks

        first = pem_blocks("".join(answer["cas"][EXPORTS[kind][0]]))[0]
        sys.stdout.buffer.write(first)
        return
    call.show(answer, lambda _: _exported(answer, kind))


def _exported(answer: dict[str, Any], kind: str | None) -> str:
    """The text of one export, or of all that are text."""
    cluster, lines = str(answer["cluster"]), []
    for one in (kind,) if kind else ("user", "host", "tls-user", "tls-host", "db"):
        which, how = EXPORTS[one]
        for text in answer["cas"].get(which, ()):
            whole = text.strip()
            if how == "ssh" and which == "ssh_host":
                whole = f"@cert-authority *.{cluster},{cluster} {whole}"
            elif how == "ssh" and kind is None:
                whole = f"cert-authority {whole}"
            lines += whole.splitlines()
    return "\n".join(map(plain, lines))


@command.command("ls")
@with_api
def ls(call: Call) -> None:
    """List the authorities with their rotation."""
    answer = call.api().ask("GET", "/v1/authorities")["authorities"]
    rows = [{"type": kind, **public} for kind, public in answer.items()]
    call.show(answer, lambda _: table(COLUMNS, rows))


COLUMNS = (
    Column("TYPE", key("type")),
    Column("PHASE", key("phase")),
    Column("KEYS", lambda row: len(row.get("keys", ())), right=True),
    Column("SINCE", lambda row: _since(row.get("since"))),
    Column("FINGERPRINT", key("fingerprint")),
)


def _since(value: object) -> str:
    return moment(value) if isinstance(value, int | float) and value else "-"


@command.command("rotate")
@click.option("--type", "kind", required=True, help="user, host, db, ssh_user, ssh_host or jwt.")
@click.option("--phase", type=click.Choice(PHASES), required=True, help="The next phase.")
@click.option(
    "--grace-period",
    type=DURATION_OR_NONE,
    help="How long what the old key has signed stays good; 0s with standby ends it now.",
)
@click.option("--wait/--no-wait", default=True, help="Wait until all hosts have followed [yes].")
@click.option("--timeout", type=DURATION, default="4m", help="Wait no longer than this [4m].")
@with_api
def rotate(
    call: Call, kind: str, phase: str, grace_period: int | None, wait: bool, timeout: int
) -> None:
    """Take an authority's rotation to its next phase.

    init makes the new key; update_clients lets everybody trust it; update_servers signs
    with it; standby drops the old one; rollback goes back before that.

    Then it waits until every gateway and agent that is there has taken that up, or names
    those that have not.
    """
    from tlsgate.cli.tgctl.following import wait_for_all

    path = f"/v1/authorities/{quote(kind, safe='')}"
    api = call.api()
    body = {"phase": phase, "grace_seconds": grace_period}
    answer = api.ask("POST", f"{path}/rotate", body=body)
    following = {
        "init": "update_clients",
        "update_clients": "update_servers",
        "update_servers": "standby",
        "rollback": "standby",
    }.get(str(answer.get("phase")))
    said = f"{kind} is in phase {answer.get('phase')}"
    if following is not None:
        said += f"; next: tgctl auth rotate --type={kind} --phase={following}"
    call.show(answer, lambda _: plain(said))
    if wait:
        wait_for_all(lambda: api.ask("GET", f"{path}/followers"), timeout)


@command.command("sign")
@click.option("--user", help="Whose identity it is to be.")
@click.option(
    "--host", "hosts", type=WORDS, help="With --format=db: what the server is dialled by."
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The files' name.")
@click.option("--ttl", type=DURATION, help="Its life [12h, or what the roles allow; db: 90 days].")
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
@with_api_and(*OUT_FORMATS, DB_FORMAT)
def sign(
    call: Call,
    user: str | None,
    hosts: list[str] | None,
    out: Path,
    ttl: int | None,
    overwrite: bool,
    out_format: str | None,
) -> None:
    """Write an identity for a script, or a database server's certificate.

    The key is made here and never leaves this machine. For a script: `tgsh -i OUT …`. `file` is
    all in one; `openssh` is OUT and OUT-cert.pub; `tls` is OUT.key, OUT.crt and OUT.cas;
    `pkcs12` is OUT.p12.

    `db` takes --host instead of --user: OUT.key and OUT.crt are the server's, and OUT.cas says
    whose certificates it is to take from clients.
    """
    if out_format == DB_FORMAT:
        if user is not None or not hosts:
            raise BadAsk("--format=db takes --host NAME[,NAME…], and no --user")
        _sign_server(call, hosts, out, ttl, overwrite=overwrite)
        return
    if user is None or hosts:
        raise BadAsk("name --user; --host goes with --format=db")
    from tlsgate.cli.issued import read_issued, write_out
    from tlsgate.cli.newkey import make_key

    made = make_key()
    body = {
        "user": user,
        "ttl_seconds": ttl,
        "tls_public_key": made.public_pem,
        "ssh_public_key": made.ssh_public,
    }
    issued = read_issued(call.api().ask("POST", "/v1/sign", body=body), "the cluster")
    how = out_format or OUT_FORMATS[0]
    files = [str(one) for one in write_out(issued, made, how, out, overwrite=overwrite)]
    shown = {"user": issued.user, "files": files, "not_after": issued.not_after}
    until = f"good until {moment(issued.not_after)}"
    call.show(shown, lambda _: "\n".join([*map(plain, files), until]))


def _sign_server(
    call: Call, hosts: list[str], out: Path, ttl: int | None, *, overwrite: bool
) -> None:
    from tlsgate.cli.issued import write_files
    from tlsgate.cli.newkey import make_key

    made = make_key()
    body = {"hosts": hosts, "tls_public_key": made.public_pem, "ttl_seconds": ttl}
    answer = call.api().ask("POST", "/v1/sign/database", body=body)
    contents = {
        f"{out}.key": made.private_pem,
        f"{out}.crt": str(answer["certificate"]).encode(),
        f"{out}.cas": "".join(map(str, answer["cas"])).encode(),
    }
    files = [str(one) for one in write_files(contents, overwrite=overwrite)]
    shown = {"hosts": hosts, "files": files, "not_after": answer["not_after"]}
    lines = [
        *files,
        f"good until {moment(answer['not_after'])}",
        "",
        "in postgresql.conf, with the files where the server may read them:",
        "",
        "  ssl = on",
        f"  ssl_cert_file = '{out.name}.crt'",
        f"  ssl_key_file = '{out.name}.key'",
        f"  ssl_ca_file = '{out.name}.cas'",
        "",
        "and in pg_hba.conf, before other lines for the same clients:",
        "",
        "  hostssl all all all cert",
    ]
    call.show(shown, lambda _: "\n".join(map(plain, lines)))
