"""What agents have to tell the audit trail: whom a node's sshd let in, what databases were asked.

Only that, so bounded and so often; under the agent's name, whatever it says of itself.

1. A login counts where its certificate is of one of the cluster's authorities: of others the
   node has nothing to tell.
2. A query counts where the agent offers that database.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from tlsgate.auth import offered
from tlsgate.auth.bodies import Address, Body, Line, Text
from tlsgate.auth.calls import Call, Verb
from tlsgate.core.addresses import split
from tlsgate.core.sshdlines import digest_of
from tlsgate.errors import Forbidden

#: When a node may ask again where it told more.
WAIT_SECONDS: Final = 5.0
#: In one body.
EVENTS: Final = 100

_Digest = Annotated[str, StringConstraints(pattern=r"^SHA256:[0-9A-Za-z+/]{43}$")]


class SshdAccept(Body):
    """One login; see `core.sshdlines.Accepted`."""

    at: float = Field(ge=0, lt=253402300800.0, description="seconds since the epoch")
    login: Annotated[Line, Field(min_length=1)]
    name: Line = Field(description="the certificate's ID")
    serial: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,20}$")]
    key: _Digest
    ca: _Digest
    address: Address
    port: int = Field(ge=0, le=65535)


class AgentEvents(Body):
    """What a node's sshd has done since it was told last.

    `lost` counts events that the agent could not keep.
    """

    sshd_accepts: Annotated[list[SshdAccept], Field(max_length=EVENTS)]
    lost: int = Field(0, ge=0, le=1 << 31)


class DbQuery(Body):
    """One thing that a database was asked; see `core.pgaudit.Query`."""

    at: float = Field(ge=0, lt=253402300800.0, description="seconds since the epoch")
    user: Annotated[Line, Field(min_length=1)]
    client: Line = Field(description="address and port; empty where it has none")
    trace: Line
    db_service: Line
    db_protocol: Line
    db_user: Text
    db_name: Text
    db_query: Text = Field(repr=False)
    db_query_cut: bool
    db_query_kind: Line
    db_query_statement: Text
    db_query_parameters_count: int | None = Field(ge=0, le=1 << 16)


class AgentQueries(Body):
    """What the databases of an agent were asked since it told last.

    `lost` counts those that the agent could not keep.
    """

    queries: Annotated[list[DbQuery], Field(max_length=EVENTS)]
    lost: int = Field(0, ge=0, le=1 << 31)


async def _events(call: Call) -> Any:
    body: AgentEvents = call.body
    principal, parts = call.principal, call.parts
    if principal.kind != "host" or "node" not in principal.system_roles:
        raise Forbidden(str(principal), "tell of logins", "only nodes have any")
    told = body.sshd_accepts
    taken = parts.agent_events.take(principal.name, len(told), parts.now())
    ours = frozenset(map(digest_of, parts.authorities.cas()["ssh_user"]))
    for one in told[:taken]:
        if one.ca in ours:
            call.emit(
                "sshd.accept",
                {"addr.remote": one.address, "addr.port": one.port, "cert.serial": one.serial},
                user=one.name,
                login=one.login,
                server_hostname=principal.name,
                reported_by=str(principal),
                at=one.at,
                key=one.key,
            )
    if body.lost and taken == len(told):
        call.emit("audit.lost", success=False, events=body.lost, reported_by=str(principal))
    return {"taken": taken, "wait_seconds": 0.0 if taken == len(told) else WAIT_SECONDS}


async def _queries(call: Call) -> Any:
    body: AgentQueries = call.body
    principal, parts = call.principal, call.parts
    if principal.kind != "host" or "db" not in principal.system_roles:
        raise Forbidden(str(principal), "tell of queries", "only agents of databases have any")
    told = body.queries
    taken = parts.agent_queries.take(principal.name, len(told), parts.now())
    offers: dict[str, bool] = {}
    for one in told[:taken]:
        name = one.db_service
        if name not in offers:
            found = await offered.of_agent(parts, "db", principal.name, name)
            offers[name] = found is not None
        if offers[name]:
            fields = one.model_dump(exclude={"client"})
            address, _ = split(one.client)
            if address:
                fields["addr.remote"] = address
            call.emit("db.session.query", fields, reported_by=str(principal))
    if body.lost and taken == len(told):
        call.emit("audit.lost", success=False, events=body.lost, reported_by=str(principal))
    return {"taken": taken, "wait_seconds": 0.0 if taken == len(told) else WAIT_SECONDS}


VERBS: Final = (
    Verb(
        name="agent.events",
        method="POST",
        path="/v1/agent/events",
        who="host",
        summary="Tell the audit trail whom a node's own sshd let in.",
        answer=_events,
        reply="EventsTaken",
        changes=True,
        body=AgentEvents,
    ),
    Verb(
        name="agent.queries",
        method="POST",
        path="/v1/agent/queries",
        who="host",
        summary="Tell the audit trail what databases were asked, where roles audit it.",
        answer=_queries,
        reply="EventsTaken",
        changes=True,
        body=AgentQueries,
    ),
)
