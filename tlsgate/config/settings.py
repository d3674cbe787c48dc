"""What a configuration file means, once read: frozen values without defaults.

Defaults stand in `schema`; `read` makes these from a file. A reload builds a
whole new `Settings` and swaps it in.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Literal

from attrs import field, frozen

from tlsgate.core.routing import Route
from tlsgate.errors import Place, Problem

Network = IPv4Network | IPv6Network


@frozen(kw_only=True)
class Limits:
    """How much a listener takes on; 0 never means "unlimited", None does.

    Addresses are counted until a connection is authenticated.
    """

    connections: int
    unauthenticated: int
    unauthenticated_per_address: int
    handshakes_per_second_per_address: int


@frozen(kw_only=True)
class Timeouts:
    """Every wait of a connection, in seconds; None switches one off."""

    prelude_seconds: float  #: accept to the handshake's end, every prelude counted
    opening_seconds: float  #: to the protocol's own opening
    dial_seconds: float  #: to a target that answers
    idle_seconds: float | None  #: no byte in either direction
    write_stall_seconds: float  #: bytes wait and the peer takes none
    close_seconds: float  #: one side has ended, the other goes on silent
    lifetime_seconds: float | None
    drain_seconds: float  #: SIGTERM to the forced end


@frozen(kw_only=True)
class ProxyProtocol:
    """PROXY headers on a listener; on means mandatory, and from *trusted* only."""

    on: bool
    trusted: tuple[Network, ...]


@frozen(kw_only=True)
class Listener:
    """One port to open."""

    name: str  #: "web", "ssh", "tunnel", "kube", "mysql", "postgres", "mongo", or a plug-in's
    protocol: str | None  #: None: the web port, where all routes meet; else the port's own protocol
    endpoint: str  #: a Twisted server endpoint string
    written: str  #: as the operator wrote it, for messages
    proxy_protocol: ProxyProtocol
    limits: Limits
    timeouts: Timeouts


@frozen(kw_only=True)
class Closing:
    """A listener that no file names any more: its port says where to go, and serves nobody.

    Attributes:
        listener: as it was; under another name where its own is open elsewhere.
        since, until: seconds since the epoch.
        moved: the name of the listener that is open elsewhere now; "": it is not.
    """

    listener: Listener
    since: float
    until: float
    moved: str = ""

    @property
    def name(self) -> str:
        """The listener's."""
        return self.listener.name


@frozen(kw_only=True)
class KeyPair:
    """A certificate chain and its key, as PEM files."""

    cert_file: Path
    key_file: Path


@frozen(kw_only=True)
class Public:
    """The addresses that clients are told, "host:port" each, first one first."""

    web: tuple[str, ...]
    ssh: tuple[str, ...]
    tunnel: tuple[str, ...]
    kube: tuple[str, ...]
    mysql: tuple[str, ...]
    postgres: tuple[str, ...]
    mongo: tuple[str, ...]


@frozen(kw_only=True)
class LogSettings:
    """Where log lines go and how they look."""

    output: str  #: "stderr", "stdout", or a file's path
    severity: Literal["debug", "info", "warn", "error"]
    format: Literal["text", "json"]


@frozen(kw_only=True)
class AuthSettings:
    """What auth_service says that only the auth service itself acts on."""

    #: Its own addresses, "host:port" each, beside the listener "auth".
    public: tuple[str, ...] = ()
    #: Static join tokens, each "type,type:secret" or the path of a file that holds one.
    tokens: tuple[str, ...] = field(default=(), repr=False)
    locking_mode: str | None = None  #: "strict" or "best_effort"; None: nothing is said


@frozen(kw_only=True)
class Join:
    """Where the cluster is that a gateway without an auth service, or an agent, belongs to."""

    #: Of the auth service, or for an agent of gateways; "host:port" each, tried in this order.
    servers: tuple[str, ...]
    cluster: str | None  #: its name, where the file says it
    token: str | None = field(repr=False)  #: for the first start; or the path of its file
    pins: tuple[str, ...]  #: of the host authority; a path: of a file with pins
    unsafe_no_pin: bool  #: join whoever answers


@frozen(kw_only=True)
class LabelCommand:
    """A label whose value a command says, in its first line."""

    name: str
    command: tuple[str, ...]
    period_seconds: float


@frozen(kw_only=True)
class TargetTls:
    """How the certificate of a target is verified.

    Attributes:
        mode: "verify-full": by whom it is issued, and its name; "verify-ca": by whom only;
            "insecure": not at all.
        server_name: that it has to be for, and the SNI; None: the host that is dialled.
        ca_file: of the authorities that may have issued it; None: of a database the cluster's
            database authority, of an application those of the system.
        system_roots: those of the system too.
    """

    mode: Literal["verify-full", "verify-ca", "insecure"] = "verify-full"
    server_name: str | None = None
    ca_file: str | None = None
    system_roots: bool = False


@frozen(kw_only=True)
class OfferSettings:
    """One thing that an agent serves, as the file has it.

    Attributes:
        protocol: what is spoken there: "ssh", "postgres", "http", "tcp".
        facts: what gateways and users are told of it, see `core.offers.Offer`.
        tls: None: it is reached without; a database always has it.
    """

    kind: Literal["node", "db", "app", "kube"]
    name: str
    labels: Mapping[str, str] = field(factory=dict)
    commands: tuple[LabelCommand, ...] = ()
    addresses: tuple[str, ...] = ()  #: "host:port" each; no other one is dialled
    protocol: str = "ssh"
    facts: Mapping[str, str] = field(factory=dict)
    tls: TargetTls | None = None


@frozen(kw_only=True)
class AgentSettings:
    """What a process is that only has an agent's services; where it joins is `Settings.join`.

    Attributes:
        roles: its system roles, one for each service; a join token has to be for all of them.
        sshd_log: where the host's sshd tells of logins: "journal", "none", or a file's path.
    """

    offers: tuple[OfferSettings, ...]
    roles: tuple[str, ...] = ("node",)
    sshd_log: str = "journal"


@frozen(kw_only=True)
class Settings:
    """Everything that one configuration says."""

    file: Path
    version: Literal["v1", "v2", "v3"]
    mode: Literal["separate", "multiplex"]
    cluster_name: str
    node_name: str
    data_dir: Path
    plugins_dir: Path
    diag: str | None  #: a server endpoint string for /healthz, /readyz, /metrics
    workers: int  #: 1: no supervisor
    auth_enabled: bool
    auth_written: bool  #: the file has a block of auth_service; else it is on by default
    proxy_enabled: bool
    listeners: tuple[Listener, ...]  #: none without proxy_service
    routes: tuple[Route, ...]  #: the static ones, in the file's order
    protocols: Mapping[str, Mapping[str, object]]  #: raw settings of plug-ins, by name
    client_ca_files: tuple[str, ...]  #: for routes of protocols, until the cluster has its own
    keypairs: tuple[KeyPair, ...]  #: (): a self-signed certificate is made
    keypairs_reload_seconds: float  #: how often files are looked at; 0: only on reload
    public: Public
    strict_sni: bool
    limits: Limits  #: the process's own; a listener may have smaller ones
    timeouts: Timeouts
    log: LogSettings
    audit_strict: bool  #: nothing new begins while the audit trail cannot be written
    #: What auth_service says of the cluster's networking; None: nothing.
    networking: Mapping[str, object] | None
    authentication: Mapping[str, object]  #: auth_service.authentication, for the ping document
    warnings: tuple[Problem, ...]  #: keys that are known and not served
    auth: AuthSettings = AuthSettings()
    audit_keep_days: int | None = None  #: after so many days files of the trail go; None: never
    #: How old what a gateway knows of its cluster may be, where locks are strict.
    strict_stale_seconds: float = 300.0
    join: Join | None = None  #: None: the auth service is here, or there is no cluster
    agent: AgentSettings | None = None  #: None: this process is a gateway, an auth service or both
    #: How long the port of a listener that a reload takes away says where to go; 0: not at all.
    refuse_seconds: float = 86400.0
    #: How long after a change of the mode clients may still do as they were told before.
    settle_seconds: float = 60.0
    #: Whose X-Forwarded-For counts on the web port.
    forwarders: tuple[Network, ...] = ()
    #: Listeners that a reload has taken away; put here by the daemon, not by the file.
    closing: tuple[Closing, ...] = ()
    #: Where things stand in the file, for what is found wrong with them later: by
    #: "proxy_service.routes.NAME" (and below it), "proxy_service.protocols.NAME".
    places: Mapping[str, Place] = field(factory=dict, eq=False, repr=False)

    @property
    def joins(self) -> str:
        """The addresses of the auth service elsewhere, for messages; `service.reload.FIXED`."""
        return "none" if self.join is None else ", ".join(self.join.servers)

    @property
    def is_agent(self) -> bool:
        """Whether this process dials out to gateways, and listens nowhere."""
        return self.agent is not None

    @property
    def in_cluster(self) -> bool:
        """Whether there is an auth service, here or elsewhere."""
        return self.auth_enabled or self.join is not None

    def waits(self, listener: str) -> Timeouts:
        """The timeouts of *listener*: its own, or the process's."""
        return next((one.timeouts for one in self.listeners if one.name == listener), self.timeouts)

    def place(self, path: str) -> Place:
        """Where *path* stands, or what holds it; the file's start when that is unknown."""
        while path:
            if (found := self.places.get(path)) is not None:
                return found
            path = path.rpartition(".")[0]
        return Place(str(self.file), 1, 1)
