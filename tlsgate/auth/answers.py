"""What each verb of the API gives, as schemas.

Answers are plain JSON types; tests hold them to these. One file, since it is one table that is
read from its top to its end beside the verbs, and a schema's name stands for one thing in all.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tlsgate.auth.ledgeranswers import GatewayReports as GatewayReports
from tlsgate.auth.ledgeranswers import LedgerRows as LedgerRows
from tlsgate.auth.ledgeranswers import Reported as Reported
from tlsgate.auth.ledgeranswers import WebMigration as WebMigration
from tlsgate.auth.migrationanswers import MigrationStatus as MigrationStatus
from tlsgate.auth.migrationanswers import Preflight as Preflight
from tlsgate.auth.migrationanswers import StepTaken as StepTaken
from tlsgate.auth.movesanswers import MovesGiven as MovesGiven
from tlsgate.auth.movesanswers import MovingAgents as MovingAgents


class Answer(BaseModel):
    """An answer; a reader takes what it knows, so keys may be added."""

    model_config = ConfigDict(extra="allow")


Labels = dict[str, str]
Traits = dict[str, list[str]]


class Problem(Answer):
    """One thing that is wrong, and where."""

    path: str
    message: str


class Error(Answer):
    """Why something was refused."""

    reason: str = Field(description="a short, stable word")
    fault: Literal["client", "operator", "target", "gate"]
    message: str = Field(description="one sentence that says what to do")
    problems: list[Problem] = []
    seconds: int | None = Field(None, description="when to ask again, where that is known")


class Refusal(Answer):
    """The answer where the status is not 200."""

    error: Error


class Trusted(Answer):
    """What to trust, by authority: PEM certificates, or OpenSSH public keys as lines."""

    user: list[str]
    host: list[str]
    db: list[str]
    ssh_user: list[str]
    ssh_host: list[str]


class Issued(Answer):
    """Certificates for the keys that were sent."""

    cluster: str
    certificate: str = Field(description="PEM")
    ssh_certificate: str | None = Field(description="an OpenSSH certificate as one line")
    not_before: float = Field(description="seconds since the epoch")
    not_after: float
    cas: Trusted
    revision: int


class UserCertificates(Issued):
    """A user's."""

    user: str
    roles: list[str]
    traits: Traits


class HostCertificate(Issued):
    """A host's."""

    name: str
    system_roles: list[str]
    names: list[str] = Field(description="DNS names that it is good for")
    labels: Labels = {}


class Certificates(Issued):
    """A user's or a host's, as the one that asked."""


class InviteBegun(Answer):
    """A link, opened."""

    user: str
    kind: Literal["invite", "reset"]
    otpauth: str | None
    secret: str | None = Field(description="base32; for authenticators without a camera")
    expires: float


class UserNamed(Answer):
    """A user."""

    user: str


class Cas(Answer):
    """What to trust."""

    cluster: str
    cas: Trusted
    pins: list[str] = Field(description="sha256: and hex, over the host authority's public key")


class Me(Answer):
    """Who asks."""

    name: str
    kind: Literal["user", "host", "local"]
    cluster: str
    roles: list[str]
    system_roles: list[str]
    traits: Traits
    logins: list[str]
    not_after: float | None


class Device(Answer):
    """A second factor."""

    name: str
    type: str
    added: float
    last_used: float | None


class Devices(Answer):
    """Second factors."""

    devices: list[Device]


class LoggedOut(Answer):
    """How many web sessions have ended."""

    user: str
    ended: int


class WebLoggedOut(Answer):
    """Whose web session has ended; null where there was none."""

    user: str | None
    ended: int


class Metadata(Answer):
    """What stands around every resource's spec."""

    name: str
    description: str = ""
    labels: Labels = {}
    expires: str | None = Field(None, description="RFC 3339")
    revision: int = Field(0, description="of the newest write; 0 or absent: nothing is kept")


class Resource(Answer):
    """A resource; `spec` is described in the guide, kind by kind."""

    kind: str
    version: str
    metadata: Metadata
    spec: dict[str, Any]
    warnings: list[Problem] = Field([], description="what was written and does nothing here")


class Written(Answer):
    """A resource as it is written; what its kind does not know is refused or warned of."""

    kind: str = Field(max_length=64)
    version: str | None = Field(None, max_length=16)
    metadata: dict[str, Any] = Field(
        default_factory=dict, description="name, description, labels, expires, revision"
    )
    spec: dict[str, Any] = Field(default_factory=dict)


class Resources(Answer):
    """A page of resources."""

    items: list[Resource]
    next: str | None = Field(description="`after` of the next page; null: this is the last")


class ResourceNamed(Answer):
    """The resource that is gone."""

    kind: str
    name: str


class Invite(Answer):
    """A link to choose a password by."""

    kind: Literal["invite", "reset"]
    token: str
    url: str | None = Field(description="null where no public address is configured")
    expires: float


class Invitation(Answer):
    """A user and the link."""

    user: str
    invite: Invite
    pins: list[str]
    proxy: str | None


class Token(Answer):
    """A join token; the secret is shown this once."""

    id: str
    secret: str
    types: list[str]
    expires: float
    uses: int | Literal["unlimited"]
    pins: list[str]
    proxy: str | None


class Authority(Answer):
    """The public part of an authority."""

    type: str
    phase: str
    since: float
    signing: str
    fingerprint: str
    keys: list[dict[str, Any]]
    revision: int


class Authorities(Answer):
    """Authorities by type."""

    cluster: str
    authorities: dict[str, Authority]


class Follower(Answer):
    """A host that does not follow yet."""

    kind: Literal["gateway", "agent"]
    name: str
    worker: str
    revision: int | None = Field(description="that it follows; null: it has not said")
    last_seen: float


class Followers(Answer):
    """How far an authority's last step has been taken up."""

    type: str
    phase: str
    revision: int
    known: int = Field(description="gateways, by worker, and agents that are there")
    behind_count: int
    behind: list[Follower] = Field(description="the first hundred of them")


class Events(Answer):
    """A page of the audit trail; there may be another although this one is short."""

    events: list[dict[str, Any]]
    next: str | None


class Phase(Answer):
    """How far an authority's rotation is."""

    phase: str
    since: float
    fingerprint: str


class Cluster(Answer):
    """What the cluster is."""

    cluster_name: str
    version: str
    authorities: dict[str, Phase]
    pins: list[str]
    networking: Resource
    public_addresses: list[str]
    users: int | None = Field(description="how many; null for who may not list them")


class Explained(Answer):
    """A decision and the rule that made it."""

    allowed: bool
    why: str
    roles: list[str]
    audit_queries: bool = Field(False, description="what is asked of the database is audited")


class BackedUp(Answer):
    """The copy."""

    file: str
    revision: int
    bytes: int


class GatewayCertificates(Answer):
    """A certificate for names."""

    certificate: str
    chain: str
    not_before: float
    not_after: float
    ssh_certificate: str | None = Field(
        None, description="of the host that clients of SSH see, where its key was sent"
    )


class WatchLine(Answer):
    """One line: a snapshot first, then events; alive when nothing happens; end is the last."""

    kind: Literal["snapshot", "event", "alive", "end"]


class WebSession(Answer):
    """A web session; cookie and bearer are shown this once."""

    cookie: str
    bearer: str
    user: str
    expires: float


class WebLink(Answer):
    """The token of a link for the browser that has asked."""

    user: str
    token: str
    expires: float


class WebUser(Answer):
    """Whose a web session is."""

    user: str
    roles: list[str]
    traits: Traits
    proved: bool
    sid: str
    expires: float


class Beaten(Answer):
    """When the next heartbeat is due, and when an agent without one is gone."""

    next_seconds: float
    expires: float
    labels: Labels = Field(description="of the token by which the agent has joined")
    gateways: list[str] = Field(description="host:port of each that is known")


class Taken(Answer):
    """How many agents were said, and where agents find the cluster's gateways."""

    taken: int
    gateways: list[str] = Field(description="host:port of each that is known")


class MyNode(Answer):
    """A node that one may reach."""

    name: str
    hostname: str
    labels: Labels
    addresses: list[str]
    logins: list[str] = Field(description="as whom, where roles name logins")


class MyNodes(Answer):
    """Nodes, by name."""

    nodes: list[MyNode]


class DatabaseCertificates(Answer):
    """A certificate of the database authority, and whom to trust at the other end."""

    certificate: str = Field(description="PEM")
    cas: list[str] = Field(description="PEM, the one that signs first")
    not_before: float = Field(description="seconds since the epoch")
    not_after: float


class Target(Answer):
    """A database or an application that agents offer."""

    name: str
    protocol: str
    description: str
    labels: Labels
    addresses: list[str]
    facts: Labels = Field(description="what the agent says of it beside that")
    hostname: str = Field(description="of the agent's host")


class Place(Answer):
    """Where an application is for browsers; null where that is not known."""

    public_addr: str = Field(description='"" where it is a name below the gateway\'s')
    host: str | None
    url: str | None


class Held(Answer):
    """Which agent says so."""

    agent: str
    version: str
    last_seen: float


class MyDatabase(Target):
    """A database that one may reach."""

    db_users: list[str] = Field(description="as whom; a word with * or ^…$ is a pattern")
    db_names: list[str] = Field(description="which databases inside; the same")


class MyDatabases(Answer):
    """Databases, by name."""

    databases: list[MyDatabase]


class MyApp(Target, Place):
    """An application that one may reach."""


class MyApps(Answer):
    """Applications, by name."""

    apps: list[MyApp]


class Database(Target, Held):
    """A database at one agent."""


class Databases(Answer):
    """All databases, by name and agent."""

    items: list[Database]


class App(Target, Place, Held):
    """An application at one agent."""


class Apps(Answer):
    """All applications, by name and agent."""

    items: list[App]


class AppCode(Answer):
    """A code for an application's host; good once, for a minute."""

    code: str
    app: str


class AppSession(Answer):
    """Whose a session at an application is."""

    sid: str = Field(description="by which the watch tells of its end")
    user: str
    expires: float


class AppBegun(AppSession):
    """A session at an application; its cookie is shown this once."""

    cookie: str


class AppCertified(AppSession):
    """A user's certificate for one application; `expires` is its end."""

    certificate: str = Field(description="PEM")


class SignedToken(Answer):
    """A JSON web token, ES256; its keys are those of the authority jwt."""

    token: str
    expires: float


class WebTargets(Answer):
    """What somebody may reach."""

    user: str
    apps: list[MyApp]
    databases: list[MyDatabase]
    nodes: list[MyNode]


class AgentRow(Answer):
    """An agent, and its tunnel."""

    name: str
    roles: list[str]
    version: str
    hostname: str
    listener: str = Field(description="of the gateway, that it came by")
    transport: str
    address: str
    worker: str
    since: float = Field(description="seconds since the epoch")
    streams: int
    gateway: str | None = Field(description="null: it is heard, and no gateway has a tunnel")
    last_seen: float


class AgentRows(Answer):
    """A page of agents, by name."""

    items: list[AgentRow]
    next: str | None


class EventsTaken(Answer):
    """How many of a node's events were taken, the first ones."""

    taken: int
    wait_seconds: float = Field(description="after which the others may be told")


class Anything(Answer):
    """An object."""
