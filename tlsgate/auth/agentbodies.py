"""What agents say of themselves, and gateways of the agents that they have; one model a body."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from tlsgate.auth.bodies import Address, Body, Line, Pem, Query

OfferKind = Literal["node", "db", "app", "kube"]


def _one_line(text: str) -> str:
    if any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in text):
        raise ValueError("has a control character")
    return text


Word = Annotated[str, StringConstraints(min_length=1, max_length=256), AfterValidator(_one_line)]
Value = Annotated[str, StringConstraints(max_length=1024), AfterValidator(_one_line)]
Fact = Annotated[str, StringConstraints(max_length=4096), AfterValidator(_one_line)]
#: A certificate's DER in base64.
Der = Annotated[
    str, StringConstraints(min_length=4, max_length=24 * 1024, pattern=r"^[A-Za-z0-9+/]+={0,2}$")
]


#: By type of authority, the revision that is in force at a host.
Revisions = Annotated[
    dict[Word, Annotated[int, Field(ge=0)]],
    Field(max_length=16, description="which revision of each authority has been taken up"),
]


class OfferBody(Body):
    """One thing that an agent serves."""

    kind: OfferKind
    name: Word
    labels: Annotated[dict[Word, Value], Field(max_length=64)] = Field(default_factory=dict)
    addresses: Annotated[list[Word], Field(max_length=64)] = Field(default_factory=list)
    facts: Annotated[dict[Word, Fact], Field(max_length=64)] = Field(
        default_factory=dict, description="what the kind adds: protocol, description, public_addr"
    )


class Heartbeat(Body):
    """An agent's word that it is there, and with what."""

    version: Line
    hostname: Line = ""
    offers: Annotated[list[OfferBody], Field(max_length=64)] = Field(default_factory=list)
    sshd: Annotated[dict[Word, Value | bool | int | None], Field(max_length=16)] | None = Field(
        None, description="what the agent has seen of its host's sshd"
    )
    authorities: Revisions = Field(default_factory=dict)


class AgentBody(Body):
    """An agent with a tunnel to a gateway."""

    name: Word
    roles: Annotated[list[OfferKind], Field(max_length=8)] = Field(default_factory=list)
    version: Line = ""
    hostname: Line = ""
    listener: Line = ""
    transport: Line = ""
    address: Line = ""
    worker: Line = ""
    since: Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)] = 0.0
    streams: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    should: Line = Field("", description="the listener at which it should be now")
    move: Literal["", "moved", "moving", "old", "cannot"] = Field(
        "", description="how far it is on its way there"
    )
    why: Value = Field("", description="why it is not there yet")


class AgentsBody(Body):
    """All agents of a gateway, or of one worker of it; those that it had before are gone."""

    agents: Annotated[list[AgentBody], Field(max_length=5000)]
    worker: Line | None = Field(
        None, description="whose agents these are all; without it, of each worker that they name"
    )
    authorities: Revisions = Field(default_factory=dict)


class DatabaseCertificate(Body):
    """As whom an agent opens a session at a database server, and for whom."""

    database: Word = Field(description="that this agent offers")
    db_user: Word = Field(description="the certificate's common name")
    db_name: Word | None = Field(None, description="of the database inside, where it is known")
    user_certificate: Der = Field(
        description="of the user who asks: DER in base64, as the gateway has sent it"
    )
    address: Address | None = Field(
        None, description="of the user; certificates that are pinned are good with it only"
    )
    public_key: Pem = Field(description="PEM, SubjectPublicKeyInfo")


class NodesAsked(Query):
    """Which of my nodes."""

    search: Line = Field("", description="in names, hostnames and labels, of any case")
    labels: Annotated[str, StringConstraints(max_length=1024)] = Field(
        "", description="a=b,c=d: those that have all of these"
    )
