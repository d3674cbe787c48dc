"""Databases and applications: who may reach which, and an agent's certificates for servers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from twisted.internet.task import deferLater

from tlsgate.auth import dbcerts, offered
from tlsgate.auth.agentbodies import DatabaseCertificate, NodesAsked
from tlsgate.auth.bodies import SignDatabase
from tlsgate.auth.calls import Call, Verb
from tlsgate.auth.offered import Offered
from tlsgate.auth.parts import Parts
from tlsgate.auth.reaching import Sight, holder_of, is_shut, person_of, sight_of
from tlsgate.auth.verbs_agents import fits, pairs
from tlsgate.core.access import Identity
from tlsgate.core.appnames import host_of
from tlsgate.core.roles import Target
from tlsgate.errors import Forbidden

#: After so many offers others have their turn.
_TURN: Final = 200


async def _certificate(call: Call) -> Any:
    body: DatabaseCertificate = call.body
    principal, parts = call.principal, call.parts
    if principal.kind != "host" or "db" not in principal.system_roles:
        raise Forbidden(str(principal), "have database certificates", "it is no agent for them")
    told = {"name": body.database, "db_user": body.db_user, "cert_type": "db"}
    try:
        offer = await offered.of_agent(parts, "db", principal.name, body.database)
        if offer is None:
            why = f"it has not said that it offers the database {body.database!a}"
            raise Forbidden(str(principal), "have a certificate for it", why)
        identity = holder_of(parts, body.user_certificate)
        target = Target(
            kind="db",
            name=offer.name,
            labels=offer.labels,
            db_user=body.db_user,
            db_name=body.db_name,
        )
        await _require(parts, identity, target, body.address)
    except Forbidden as e:
        call.emit("cert.create", told, success=False, error=e.why)
        raise
    signed = dbcerts.for_client(
        parts.authorities, body.db_user, body.public_key, parts.now(), identity.not_after
    )
    who = {"identity.user": identity.name}
    call.emit("cert.create", {**told, **who}, expires=signed.not_after)
    return _signed(signed)


async def _server(call: Call) -> Any:
    body: SignDatabase = call.body
    call.rights.require("cert_authority", "use")
    parts = call.parts
    signed = dbcerts.for_server(
        parts.authorities, body.hosts, body.tls_public_key, parts.now(), body.ttl_seconds
    )
    told = {"cert_type": "db-server", "identity.names": list(body.hosts)}
    call.emit("cert.create", told, expires=signed.not_after)
    return _signed(signed)


def _signed(signed: dbcerts.Signed) -> dict[str, Any]:
    return {
        "certificate": signed.pem,
        "cas": list(signed.cas),
        "not_before": signed.not_before,
        "not_after": signed.not_after,
    }


async def _require(parts: Parts, identity: Identity, target: Target, address: str | None) -> None:
    """Let a user pass who may reach *target* now.

    Raises:
        Forbidden: the user may not; it says why.
        Locked: a lock is in force.
    """
    shown = await person_of(parts, identity, address)
    decision = (await sight_of(parts, shown, identity.claims)).decide(target)
    if not decision.allowed:
        raise Forbidden(shown.name, f"reach the database {target.name}", decision.why)


# -- what there is -----------------------------------------------------------------------


async def _databases(call: Call) -> Any:
    return {"databases": await databases_of(call, await _own_sight(call), call.query)}


async def _apps(call: Call) -> Any:
    return {"apps": await apps_of(call, await _own_sight(call), call.query)}


async def _own_sight(call: Call) -> Sight:
    return await sight_of(call.parts, call.rights.person, call.principal.claims)


async def databases_of(call: Call, sight: Sight, asked: NodesAsked) -> list[dict[str, Any]]:
    """The databases in *sight*, by name, each with the users and the names that are allowed."""
    found = []
    for one, target in (await _seen(call, sight, "db", asked)).values():
        users = sight.inside(target, "db_users")
        row = {**_row(one), "db_users": users, "db_names": sight.inside(target, "db_names")}
        found.append(row)
    return found


async def apps_of(call: Call, sight: Sight, asked: NodesAsked) -> list[dict[str, Any]]:
    """The applications in *sight*, by name, each with the URL that a browser goes to."""
    seen = await _seen(call, sight, "app", asked)
    return [{**_row(one), **_place(call, one)} for one, _ in seen.values()]


async def _seen(
    call: Call, sight: Sight, kind: offered.Kind, asked: NodesAsked
) -> dict[str, tuple[Offered, Target]]:
    """What may be reached of a kind: of several agents' offers the first that may."""
    wanted, word = pairs(asked.labels), asked.search.lower()
    found: dict[str, tuple[Offered, Target]] = {}
    count = 0
    async for one in offered.every(call.parts, kind):
        count += 1
        if not count % _TURN:
            await deferLater(call.parts.clock, 0)
        if one.name in found or not fits(_row(one), word, wanted):
            continue
        target = Target(kind=kind, name=one.name, labels=one.labels)
        if sight.decide(target).allowed and not is_shut(call.parts, one.agent, kind):
            found[one.name] = one, target
    return dict(sorted(found.items()))


def _row(one: Offered) -> dict[str, Any]:
    return {
        "name": one.name,
        "protocol": one.facts.get("protocol", ""),
        "description": one.facts.get("description", ""),
        "labels": dict(one.labels),
        "addresses": list(one.addresses),
        "facts": dict(one.facts),
        "hostname": one.hostname,
    }


def _place(call: Call, one: Offered) -> dict[str, Any]:
    """Where the application is in a browser; null where that is not known."""
    addresses = call.parts.public_addresses()
    public, _, port = addresses[0].rpartition(":") if addresses else ("", "", "")
    host = host_of(one.name, one.facts.get("public_addr", ""), public) if public else None
    where = None if host is None else host if port == "443" else f"{host}:{port}"
    return {
        "public_addr": one.facts.get("public_addr", ""),
        "host": host,
        "url": None if where is None else f"https://{where}",
    }


async def _all_databases(call: Call) -> Any:
    return await _all(call, "db")


async def _all_apps(call: Call) -> Any:
    return await _all(call, "app")


async def _all(call: Call, kind: offered.Kind) -> Any:
    """Everything that agents say, once for each agent."""
    call.rights.require(kind, "list")
    call.rights.require(kind, "readnosecrets", "read")
    asked: NodesAsked = call.query
    wanted, word = pairs(asked.labels), asked.search.lower()
    rows = []
    async for one in offered.every(call.parts, kind):
        row: dict[str, Any] = {**_row(one), "agent": one.agent, "version": one.version}
        row["last_seen"] = one.last_seen
        if kind == "app":
            row |= _place(call, one)
        if fits(row, word, wanted):
            rows.append(row)
    return {"items": sorted(rows, key=_order)}


def _order(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["name"], row["agent"]


VERBS: Final = (
    Verb(
        name="agent.db_certificates",
        method="POST",
        path="/v1/agent/db-certificates",
        who="host",
        summary="Get a certificate by which to open a session at a database server, for a user.",
        answer=_certificate,
        reply="DatabaseCertificates",
        changes=True,
        body=DatabaseCertificate,
    ),
    Verb(
        name="sign.database",
        method="POST",
        path="/v1/sign/database",
        who="user",
        summary="Issue a certificate for a database server, and say whom it is to trust.",
        answer=_server,
        reply="DatabaseCertificates",
        changes=True,
        body=SignDatabase,
    ),
    Verb(
        name="me.databases",
        method="GET",
        path="/v1/me/databases",
        who="user",
        summary="List the databases that I may reach, and as whom.",
        answer=_databases,
        reply="MyDatabases",
        query=NodesAsked,
    ),
    Verb(
        name="me.apps",
        method="GET",
        path="/v1/me/apps",
        who="user",
        summary="List the applications that I may reach.",
        answer=_apps,
        reply="MyApps",
        query=NodesAsked,
    ),
    Verb(
        name="databases.list",
        method="GET",
        path="/v1/databases",
        who="user",
        summary="List the databases that agents offer, and which agent each is at.",
        answer=_all_databases,
        reply="Databases",
        query=NodesAsked,
    ),
    Verb(
        name="apps.list",
        method="GET",
        path="/v1/apps",
        who="user",
        summary="List the applications that agents offer, and which agent each is at.",
        answer=_all_apps,
        reply="Apps",
        query=NodesAsked,
    ),
)
