"""The blocks of agents' services, of those that are not part of this version, and the whole file.

A file that runs a service elsewhere that is not built still loads: its keys are checked, a
mistyped one is an error, and the service is one warning. Only a written `enabled: yes` is
refused. What `ssh_service` means is `config.agents`' to say.
"""

from __future__ import annotations

from typing import Annotated, Any

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
    labels,
    one_or_more,
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


class Rewrite(Block):
    """app_service.apps[].rewrite."""

    redirect: Later = None
    headers: Later = None
    jwt_claims: Later = None


class App(Block):
    """One entry of app_service.apps."""

    name: Text
    uri: Later = None
    public_addr: Later = None
    labels: Labels = Field(default_factory=dict)
    commands: Commands = ()
    insecure_skip_verify: Later = None
    rewrite: Rewrite | None = None
    description: Later = None
    cloud: Later = None
    aws: Later = None


class AppService(Service):
    """app_service."""

    listen_addr: Later = None
    debug_app: Later = None
    apps: Annotated[tuple[App, ...], BeforeValidator(a_list)] = ()
    resources: Matchers = ()


class DatabaseTls(Block):
    """db_service.databases[].tls."""

    mode: Annotated[str | None, BeforeValidator(words("verify-full", "verify-ca", "insecure"))] = (
        None
    )
    server_name: Later = None
    ca_cert_file: Later = None
    trust_system_cert_pool: Later = None


class DatabaseMysql(Block):
    """db_service.databases[].mysql."""

    server_version: Later = None


class Database(Block):
    """One entry of db_service.databases."""

    name: Text
    description: Later = None
    protocol: Later = None
    uri: Later = None
    ca_cert_file: Later = None
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
    """db_service."""

    listen_addr: Later = None
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
