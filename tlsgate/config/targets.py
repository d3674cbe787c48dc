"""What db_service and app_service mean: one offer for each database and each application.

A database of a protocol that is not served yet is named in a warning, and not offered: the
others of the file are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, cast

from tlsgate.config import known, schema
from tlsgate.config.files import Files
from tlsgate.config.findings import Findings
from tlsgate.config.marks import Path
from tlsgate.config.settings import LabelCommand, OfferSettings, TargetTls
from tlsgate.config.uris import Uri, database_uri
from tlsgate.core.appnames import RESERVED

#: As many labels or addresses as one offer carries, and offers as a heartbeat does.
ENTRIES: Final = 64
#: Of all that an agent says of them, before commands have said anything: the auth service
#: keeps twice that of one agent.
BYTES: Final = 64 * 1024
#: Of one fact, in characters (`core.offers`).
_FACT: Final = 4096

_INSECURE: Final = (
    "whoever answers there is believed: with a key of its own it reads and changes everything"
)

Mode = Literal["verify-full", "verify-ca", "insecure"]


def databases(
    service: known.DbService, files: Files, findings: Findings
) -> Iterator[OfferSettings]:
    """Give an offer for each database."""
    at: Path = ("db_service", "databases")
    _unlike(at, [one.name for one in service.databases], findings)
    for index, one in enumerate(service.databases):
        path: Path = (*at, index)
        if one.protocol in known.LATER_DATABASES:
            findings.warn(
                (*path, "protocol"),
                f"{one.protocol} is not served yet: {one.name} is not offered; "
                f"{' and '.join(known.DATABASES)} is",
            )
            continue
        uri = _database_uri(one, path, findings)
        offer = OfferSettings(
            kind="db",
            name=one.name,
            labels=one.static_labels,
            commands=commands(
                one.dynamic_labels, one.static_labels, (*path, "dynamic_labels"), findings
            ),
            addresses=() if uri is None else (uri.address,),
            protocol=one.protocol,
            facts={"protocol": one.protocol, "description": one.description},
            tls=_database_tls(one, path, files, findings),
        )
        bounded(offer, (*path, "static_labels"), findings)
        yield offer


def apps(service: known.AppService, files: Files, findings: Findings) -> Iterator[OfferSettings]:
    """Give an offer for each application."""
    at: Path = ("app_service", "apps")
    _unlike(at, [one.name for one in service.apps], findings)
    hosts: dict[str, str] = {}
    for index, one in enumerate(service.apps):
        path: Path = (*at, index)
        host = one.public_addr
        if host is not None and hosts.setdefault(host, one.name) != one.name:
            findings.wrong((*path, "public_addr"), f"is that of {hosts[host]} already")
        if one.name in RESERVED and host is None:
            findings.wrong(
                (*path, "name"),
                f"{one.name} is a name of the gateway's own; write another, or a public_addr",
            )
        offer = OfferSettings(
            kind="app",
            name=one.name,
            labels=one.labels,
            commands=commands(one.commands, one.labels, (*path, "commands"), findings),
            addresses=(one.uri.address,),
            protocol="tcp" if one.uri.scheme == "tcp" else "http",
            facts=_app_facts(one, path, findings),
            tls=_app_tls(one, path, files, findings),
        )
        bounded(offer, (*path, "labels"), findings)
        yield offer


def commands(
    wanted: Sequence[known.Command], labels: Mapping[str, str], at: Path, findings: Findings
) -> tuple[LabelCommand, ...]:
    """The labels that commands compute, beside *labels*."""
    made: list[LabelCommand] = []
    seen = set(labels)
    for index, one in enumerate(wanted):
        if one.name in seen:
            findings.wrong((*at, index, "name"), f"there is a label {one.name} already")
        seen.add(one.name)
        if not one.command:
            findings.wrong((*at, index, "command"), "is empty")
        period = schema.COMMAND_SECONDS if one.period is None else one.period
        if period < schema.LEAST_COMMAND_SECONDS:
            findings.wrong(
                (*at, index, "period"), f"has to be at least {schema.LEAST_COMMAND_SECONDS:g}s"
            )
        made.append(LabelCommand(name=one.name, command=one.command, period_seconds=period))
    return tuple(made)


def bounded(offer: OfferSettings, path: Path, findings: Findings) -> None:
    """Say where there are more labels than an offer carries."""
    count = len({*offer.labels, *(one.name for one in offer.commands)})
    if count > ENTRIES:
        findings.wrong(path, f"are {count}; {ENTRIES} are the most")


def size(offers: Sequence[OfferSettings]) -> int:
    """How many bytes an agent says of *offers*, about."""
    told = [[one.name, dict(one.labels), one.addresses, dict(one.facts)] for one in offers]
    return len(json.dumps(told))


def _unlike(at: Path, names: Sequence[str], findings: Findings) -> None:
    """Refuse a second one of a name: nobody could say which is meant."""
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            findings.wrong((*at, index, "name"), f"there is {name} already")
        seen.add(name)


# -- databases ---------------------------------------------------------------------------


def _database_uri(one: known.Database, path: Path, findings: Findings) -> Uri | None:
    try:
        return database_uri(one.uri, port=one.protocol in known.DATABASES)
    except ValueError as error:
        findings.wrong((*path, "uri"), str(error))
        return None


def _database_tls(one: known.Database, path: Path, files: Files, findings: Findings) -> TargetTls:
    tls = one.tls or known.DatabaseTls()
    mode = cast(Mode, tls.mode or "verify-full")
    at, written = (*path, "tls", "ca_cert_file"), tls.ca_cert_file
    if one.ca_cert_file is not None:
        if written is not None:
            findings.wrong((*path, "ca_cert_file"), "is under tls too; write one of both")
        at, written = (*path, "ca_cert_file"), one.ca_cert_file
    if mode == "insecure":
        findings.warn((*path, "tls", "mode"), f"insecure: {_INSECURE}")
        if written is not None:
            findings.warn(at, "has no effect beside mode: insecure")
    return TargetTls(
        mode=mode,
        server_name=tls.server_name,
        ca_file=None if written is None else str(files.existing(written, at)),
        system_roots=tls.trust_system_cert_pool,
    )


# -- applications ------------------------------------------------------------------------


def _app_facts(one: known.App, path: Path, findings: Findings) -> Mapping[str, str]:
    rewrite = one.rewrite or known.Rewrite()
    is_tcp = one.uri.scheme == "tcp"
    if one.rewrite is not None and is_tcp:
        findings.warn((*path, "rewrite"), "has no effect: a tcp:// application has no headers")
    facts = {
        "protocol": "tcp" if is_tcp else "http",
        "public_addr": one.public_addr or "",
        "description": one.description,
        "rewrite_redirect": json.dumps(list(rewrite.redirect)),
        "rewrite_headers": json.dumps(list(rewrite.headers)),
        "jwt_claims": rewrite.jwt_claims or "roles-and-traits",
    }
    for fact, key in (("rewrite_redirect", "redirect"), ("rewrite_headers", "headers")):
        if len(facts[fact]) > _FACT:
            findings.wrong((*path, "rewrite", key), f"is longer than {_FACT} characters")
    return facts


def _app_tls(one: known.App, path: Path, files: Files, findings: Findings) -> TargetTls | None:
    secure = one.uri.scheme == "https"
    for name in ("insecure_skip_verify", "ca_cert_file"):
        if one.wrote(name) and getattr(one, name) and not secure:
            findings.warn((*path, name), "has no effect: the uri is not https://")
    if not secure:
        return None
    if one.insecure_skip_verify:
        findings.warn((*path, "insecure_skip_verify"), f"yes: {_INSECURE}")
    at = (*path, "ca_cert_file")
    written = one.ca_cert_file
    return TargetTls(
        mode="insecure" if one.insecure_skip_verify else "verify-full",
        ca_file=None if written is None else str(files.existing(written, at)),
    )
