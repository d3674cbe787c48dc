"""The blocks of agents' services, of those that are not part of this version, and the whole file.

A file that runs a service elsewhere that is not built still loads: its keys are checked, a
mistyped one is an error, and the service is one warning. Only a written `enabled: yes` is
refused. What an agent's services mean is `config.agents`' to say.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, ConfigDict, Field

from tlsgate.config.blocks import Block
from tlsgate.config.endpoints import public_address
from tlsgate.config.fields import (
    Duration,
    Flag,
    Labels,
    Text,
    TextList,
    Unserved,
    a_list,
    identifier,
    kind,
    labels,
    one_or_more,
    server_name,
    text,
    words,
)
from tlsgate.config.schema import (
    SSHD_ADDRESS,
    AuthService,
    Later,
    ProxyService,
    Teleport,
)
from tlsgate.config.uris import Uri, app_uri

#: Databases that are served, and those that Teleport knows beside them.
DATABASES: Final = ("postgres",)
LATER_DATABASES: Final = (
    *("mysql", "mongodb", "redis", "sqlserver", "cockroachdb", "snowflake", "cassandra"),
    *("elasticsearch", "opensearch", "dynamodb", "clickhouse", "clickhouse-http", "oracle"),
    *("spanner",),
)

#: Those of drop-ins.
DROPPED_DATABASE: Final = re.compile("x-[a-z0-9-]{1,30}")

_NOTHING_LISTENS: Final = Unserved("nothing listens; clients come through the gateway")


class Service(Block):
    """A service of an agent."""

    enabled: Flag | None = None


class OpenService(Service):
    """One of which we know the name only."""

    model_config = ConfigDict(extra="allow")


def _label_name(value: Any) -> str:
    written = text(value)
    labels({written: ""})
    return written


def _dialled(value: Any) -> str:
    """An address of what an agent serves."""
    written = text(value)
    if public_address(written)[1] == 0:
        raise ValueError("port 0 cannot be dialled")
    return written


class Command(Block):
    """A label that a command computes."""

    name: Annotated[str, BeforeValidator(_label_name)]
    command: TextList
    period: Duration | None = None


def _description(value: Any) -> str:
    """A line for people."""
    written = text(value)
    if len(written) > 1024 or not written.isprintable():
        raise ValueError("has to be one line of at most 1024 characters")
    return written


Description = Annotated[str, BeforeValidator(_description)]
Commands = Annotated[tuple[Command, ...], BeforeValidator(a_list)]


class Matcher(Block):
    """One entry of a service's resources."""

    labels: Later = None
    aws: Later = None


Matchers = Annotated[tuple[Matcher, ...], BeforeValidator(a_list)]


_later = Unserved("")
_sshd = Unserved("sshd_config decides")
Sshd = Annotated[Any, _sshd]


class Pam(Block):
    """ssh_service.pam."""

    enabled: Flag | None = None
    service_name: Later = None
    use_pam_auth: Later = None
    environment: Later = None


class EnhancedRecording(Block):
    """ssh_service.enhanced_recording."""

    enabled: Flag | None = None
    command_buffer_size: Later = None
    disk_buffer_size: Later = None
    network_buffer_size: Later = None
    cgroup_path: Later = None
    root_path: Later = None


class X11(Block):
    """ssh_service.x11."""

    enabled: Flag | None = None
    display_offset: Later = None
    max_display: Later = None


class SshService(Service):
    """ssh_service: this host's own sshd, reached through tunnels."""

    listen_addr: Annotated[
        Any, Unserved("nothing listens; clients come through the gateway, to sshd_addr")
    ] = None
    public_addr: Annotated[Any, Unserved("clients come through the gateway")] = None
    labels: Labels = Field(default_factory=dict)
    commands: Commands = ()
    permit_user_env: Sshd = None
    disable_create_host_user: Annotated[Any, Unserved("no user is ever created")] = None
    port_forwarding: Annotated[Any, Unserved("roles and sshd_config decide")] = None
    ssh_file_copy: Sshd = None
    enhanced_recording: Annotated[EnhancedRecording | None, _later] = None
    restricted_session: Later = None
    pam: Annotated[Pam | None, _sshd] = None
    x11: Annotated[X11 | None, _sshd] = None
    namespace: Later = None
    aws: Later = None
    # Our own.
    #: Where the host's sshd is.
    sshd_addr: Annotated[str, BeforeValidator(_dialled)] = SSHD_ADDRESS
    #: Where it logs: "journal", "none", or a file.
    sshd_log: Text = "journal"
    #: Other "host:port" that may be reached through this agent.
    targets: Annotated[
        tuple[Annotated[str, BeforeValidator(_dialled)], ...], BeforeValidator(one_or_more)
    ] = ()


def _host(value: Any) -> str:
    """A host, with a port or without."""
    written = text(value)
    public_address(written)
    return written


def _own_host(value: Any) -> str:
    """The host name of one application; any scheme and path are not its own."""
    written = text(value)
    if "*" in written or "/" in written or ":" in written:
        raise ValueError(f"has to be a host name such as wiki.example.com, not {kind(value)}")
    return server_name(written)


#: RFC 9110 section 5.6.2, and what a value may be without a line's end.
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x1f\x7f]*)")
#: What says how a message is carried is the gateway's alone (RFC 9110 section 7.6.1, S20).
_HOP = frozenset(
    {
        *("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"),
        *("content-length", "expect", "http2-settings", "proxy-connection"),
        *("proxy-authenticate", "proxy-authorization"),
    }
)


def _header(value: Any) -> str:
    """A header that goes to an application, as "Name: value"."""
    written = text(value)
    found = _HEADER.fullmatch(written)
    if found is None:
        raise ValueError(f'has to be "Name: value", not {kind(value)}')
    if found.group(1).lower() in _HOP:
        raise ValueError(f"{found.group(1)} is between gateway and application, and not written")
    return f"{found.group(1)}: {found.group(2).strip()}"


TargetName = Annotated[
    str,
    BeforeValidator(
        identifier(
            "[a-z]([a-z0-9-]{0,61}[a-z0-9])?",
            "small letters, digits and -, at most 63, such as orders (it is part of a host name)",
        )
    ),
]


class Rewrite(Block):
    """app_service.apps[].rewrite."""

    redirect: Annotated[
        tuple[Annotated[str, BeforeValidator(_host)], ...], BeforeValidator(one_or_more)
    ] = ()
    headers: Annotated[
        tuple[Annotated[str, BeforeValidator(_header)], ...], BeforeValidator(one_or_more)
    ] = ()
    jwt_claims: Annotated[
        str | None, BeforeValidator(words("roles-and-traits", "roles", "traits", "none"))
    ] = None


class App(Block):
    """One entry of app_service.apps."""

    name: TargetName
    uri: Annotated[Uri, BeforeValidator(app_uri)]
    public_addr: Annotated[str | None, BeforeValidator(_own_host)] = None
    labels: Labels = Field(default_factory=dict)
    commands: Commands = ()
    insecure_skip_verify: Flag = False
    rewrite: Rewrite | None = None
    description: Description = ""
    cloud: Later = None
    aws: Later = None
    # Our own.
    #: Of the authorities that an https target's certificate may be of.
    ca_cert_file: Text | None = None


class AppService(Service):
    """app_service: applications, reached through tunnels."""

    listen_addr: Annotated[Any, _NOTHING_LISTENS] = None
    debug_app: Later = None
    apps: Annotated[tuple[App, ...], BeforeValidator(a_list)] = ()
    resources: Matchers = ()


_database_word = words(*DATABASES, *LATER_DATABASES)


def _database(value: Any) -> str:
    """A protocol of databases; "x-…" is one of a drop-in."""
    written = text(value)
    return written if DROPPED_DATABASE.fullmatch(written) else _database_word(written)


class DatabaseTls(Block):
    """db_service.databases[].tls."""

    mode: Annotated[str | None, BeforeValidator(words("verify-full", "verify-ca", "insecure"))] = (
        None
    )
    server_name: Annotated[str | None, BeforeValidator(_own_host)] = None
    ca_cert_file: Text | None = None
    trust_system_cert_pool: Flag = False


class DatabaseMysql(Block):
    """db_service.databases[].mysql."""

    server_version: Later = None


class Database(Block):
    """One entry of db_service.databases."""

    name: TargetName
    description: Description = ""
    protocol: Annotated[str, BeforeValidator(_database)]
    uri: Text
    ca_cert_file: Text | None = None
    static_labels: Labels = Field(default_factory=dict)
    dynamic_labels: Commands = ()
    tls: DatabaseTls | None = None
    mysql: DatabaseMysql | None = None
    ad: Later = None
    aws: Later = None
    gcp: Later = None
    azure: Later = None
    admin_user: Later = None
    oracle: Later = None


class DbService(Service):
    """db_service: databases, reached through tunnels."""

    listen_addr: Annotated[Any, _NOTHING_LISTENS] = None
    databases: Annotated[tuple[Database, ...], BeforeValidator(a_list)] = ()
    resources: Matchers = ()
    aws: Later = None
    azure: Later = None


class KubernetesService(Service):
    """kubernetes_service."""

    listen_addr: Later = None
    public_addr: Later = None
    kubeconfig_file: Later = None
    kube_cluster_name: Later = None
    labels: Labels = Field(default_factory=dict)
    commands: Commands = ()
    resources: Matchers = ()


class File(Block):
    """The whole file."""

    version: Any = None
    teleport: Teleport = Teleport()
    auth_service: AuthService = AuthService()
    proxy_service: ProxyService = ProxyService()
    ssh_service: SshService | None = None
    kubernetes_service: KubernetesService | None = None
    db_service: DbService | None = None
    app_service: AppService | None = None
    windows_desktop_service: OpenService | None = None
    discovery_service: OpenService | None = None
    okta_service: OpenService | None = None
    metrics_service: OpenService | None = None
    tracing_service: OpenService | None = None
    jamf_service: OpenService | None = None
    debug_service: OpenService | None = None


#: What people use instead, or what takes its place here.
ADVICE = {
    "metrics_service": "metrics are on teleport.diag_addr",
    "debug_service": "the admin socket is in the data directory",
}
