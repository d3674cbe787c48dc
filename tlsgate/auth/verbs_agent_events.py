"""What nodes have to tell the audit trail: whom their own sshd let in.

Only that, so bounded and so often; under the node's name, whatever it says of itself. An
event counts where the certificate is of one of the cluster's authorities: of others the node
has nothing to tell.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from tlsgate.auth.bodies import Address, Body, Line
from tlsgate.auth.calls import Call, Verb
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
)
