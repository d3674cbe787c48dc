"""What may stand in the file, and every default.

The blocks of other services are in `known`; addresses are checked by `endpoints`, and
what depends on two keys by `listeners` and `routes`.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Self

from pydantic import BeforeValidator, Field, model_validator

from tlsgate.config.blocks import Block
from tlsgate.config.endpoints import public_address
from tlsgate.config.fields import (
    Count,
    Duration,
    Flag,
    FreeMapping,
    Network,
    Seconds,
    SecondsOrNone,
    SecondsOrOff,
    Text,
    Texts,
    Unserved,
    a_list,
    common_name,
    flag,
    identifier,
    one_or_more,
    pin,
    server_name,
    text,
    token,
    uri,
    whole,
    words,
)

DATA_DIR: Final = "/var/lib/tlsgate"
WEB_ADDRESS: Final = "0.0.0.0:3080"
SSH_ADDRESS: Final = "0.0.0.0:3023"
TUNNEL_ADDRESS: Final = "0.0.0.0:3024"
KUBE_ADDRESS: Final = "0.0.0.0:3026"
#: Of an auth service whose process has no gateway.
AUTH_ADDRESS: Final = "0.0.0.0:3025"
#: Where an agent finds its host's sshd.
SSHD_ADDRESS: Final = "127.0.0.1:22"
#: How often the command of a label runs, unless it says so itself; and the least.
COMMAND_SECONDS: Final = 60.0
LEAST_COMMAND_SECONDS: Final = 1.0
#: Certificate files are looked at this often, unless `https_keypairs_reload_interval` says other.
KEYPAIRS_RELOAD_SECONDS: Final = 10.0
#: How long a closed listener's port tells clients where to go, unless it says other.
REFUSE_SECONDS: Final = 86400.0
#: How long clients may go by what they were told before a change of the mode.
SETTLE_SECONDS: Final = 60.0
#: Whose PROXY headers count where `proxy_protocol: on` names nobody.
TRUSTED: Final = ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128",
                  "fc00::/7")  # fmt: skip

UNAUTHENTICATED: Final = 4000
UNAUTHENTICATED_PER_ADDRESS: Final = 64
HANDSHAKES_PER_SECOND_PER_ADDRESS: Final = 50
CONNECTIONS: Final = 15000

_later = Unserved("")
Later = Annotated[Any, _later]


def _public(value: Any) -> str:
    public_address(text(value))
    return str(value)


Public = Annotated[
    tuple[Annotated[str, BeforeValidator(_public)], ...], BeforeValidator(one_or_more)
]


# -- teleport: -----------------------------------------------------------------------


class ConnectionLimits(Block):
    """teleport.connection_limits."""

    max_connections: Count | None = None
    max_users: Annotated[Any, Unserved("addresses are counted, identities not yet")] = None
    rates: Annotated[
        Any, Unserved("proxy_service.limits.handshakes_per_second_per_address is the rate here")
    ] = None


class LogFormat(Block):
    """teleport.log.format."""

    output: Annotated[str, BeforeValidator(words("text", "json"))] = "text"
    extra_fields: Annotated[Any, Unserved("every line has the same fields")] = None


def _log_format(value: Any) -> Any:
    """Teleport's older form is the list of fields alone."""
    return {"extra_fields": value} if isinstance(value, list) else value


class Log(Block):
    """teleport.log."""

    output: Text = "stderr"
    severity: Annotated[
        str,
        BeforeValidator(
            words(
                "debug",
                "info",
                "warn",
                "error",
                same={"warning": "warn", "err": "error", "trace": "debug"},
            )
        ),
    ] = "info"
    format: Annotated[LogFormat, BeforeValidator(_log_format)] = LogFormat()


class JoinParams(Block):
    """teleport.join_params."""

    method: Text = "token"
    token_name: Text | None = None
    azure: Later = None


class Cache(Block):
    """teleport.cache."""

    enabled: Later = None
    type: Later = None
    ttl: Later = None
    max_backoff: Later = None


class Teleport(Block):
    """teleport: what every service of the process shares."""

    nodename: Text | None = None
    data_dir: Text = DATA_DIR
    diag_addr: Text | None = None
    log: Log = Log()
    #: Whether anything is done that cannot be recorded.
    audit: Annotated[str, BeforeValidator(words("best_effort", "strict"))] = "best_effort"
    #: Our own: after how many days files of the trail go; without it never.
    audit_keep_days: Count | None = None
    connection_limits: ConnectionLimits = ConnectionLimits()
    auth_servers: Public = ()
    auth_server: Annotated[str | None, BeforeValidator(_public)] = None
    proxy_server: Annotated[str | None, BeforeValidator(_public)] = None
    auth_token: Text | None = None
    join_params: JoinParams | None = None
    ca_pin: Annotated[
        tuple[Annotated[str, BeforeValidator(pin)], ...], BeforeValidator(one_or_more)
    ] = ()
    #: Our own: join whoever answers.
    unsafe_no_ca_pin: Flag = False
    pid_file: Annotated[Any, Unserved("the pid file is in the data directory")] = None
    advertise_ip: Later = None
    storage: Annotated[FreeMapping | None, Unserved("nothing is stored yet but certificates")] = (
        None
    )
    cache: Annotated[Cache | None, _later] = None
    seed_config: Later = None
    ciphersuites: Annotated[
        Any, Unserved("TLS 1.3 and TLS 1.2 with AEAD ciphers are all there is")
    ] = None
    ciphers: Later = None
    kex_algos: Later = None
    mac_algos: Later = None
    ca_signature_algo: Later = None


class ProxyProtocol(Block):
    """proxy_protocol; `on` and `off` alone are short for the mode."""

    mode: Annotated[str, BeforeValidator(words("on", "off"))] = "on"
    trusted: Annotated[tuple[Network, ...], BeforeValidator(one_or_more)] | None = None


_proxy_mode = words("on", "off")


def _proxy_protocol(value: Any) -> Any:
    if isinstance(value, dict):
        return value
    try:
        return {"mode": _proxy_mode(value)}
    except ValueError as e:
        raise ValueError(f"{e}; or write {{mode: on, trusted: [10.0.0.0/8]}}") from None


ProxyMode = Annotated[ProxyProtocol, BeforeValidator(_proxy_protocol)]


# -- auth_service: -----------------------------------------------------------------------


class Webauthn(Block):
    """auth_service.authentication.webauthn."""

    rp_id: Text | None = None
    attestation_allowed_cas: Later = None
    attestation_denied_cas: Later = None
    disabled: Later = None


class Authentication(Block):
    """auth_service.authentication; what the ping document tells of it."""

    type: Annotated[str, BeforeValidator(words("local", "github", "oidc", "saml"))] = "local"
    second_factor: Annotated[
        str, BeforeValidator(words("off", "otp", "webauthn", "on", "optional", "u2f"))
    ] = "otp"
    unsafe_second_factor_off: Flag = False
    connector_name: Text | None = None
    local_auth: Flag = True
    passwordless: Flag | None = None
    headless: Flag | None = None
    webauthn: Webauthn | None = None
    u2f: Later = None
    private_key_policy: Text | None = None
    locking_mode: Annotated[str | None, BeforeValidator(words("strict", "best_effort"))] = None
    require_session_mfa: Later = None
    device_trust: Later = None
    default_session_ttl: Later = None


#: What of it the ping document may tell.
TOLD: Final[dict[str, Any]] = {
    "type": True,
    "second_factor": True,
    "connector_name": True,
    "local_auth": True,
    "passwordless": True,
    "headless": True,
    "webauthn": {"rp_id"},
    "private_key_policy": True,
}


#: Keys of auth_service that are the cluster's networking; any one of them, and the file
#: manages all of it.
NETWORKING: Final = (
    "client_idle_timeout",
    "client_idle_timeout_message",
    "web_idle_timeout",
    "session_control_timeout",
    "keep_alive_interval",
    "keep_alive_count_max",
    "routing_strategy",
    "tunnel_strategy",
    "proxy_ping_interval",
)


class AuthService(Block):
    """auth_service: the cluster, and how people log in to it."""

    enabled: Flag = True
    cluster_name: Text | None = None
    proxy_listener_mode: Annotated[str | None, BeforeValidator(words("separate", "multiplex"))] = (
        None
    )
    authentication: Authentication | None = None
    listen_addr: Text | None = None
    public_addr: Public = ()
    proxy_protocol: ProxyMode | None = None
    tokens: Texts = ()
    session_recording: Later = None
    proxy_checks_host_keys: Later = None
    license_file: Later = None
    reverse_tunnels: Later = None
    client_idle_timeout: Any = None
    client_idle_timeout_message: Text | None = None
    web_idle_timeout: Any = None
    disconnect_expired_cert: Later = None
    session_control_timeout: Any = None
    kubeconfig_file: Later = None
    keep_alive_interval: Any = None
    keep_alive_count_max: Count | None = None
    message_of_the_day: Later = None
    ca_key_params: Later = None
    routing_strategy: Text | None = None
    tunnel_strategy: Any = None
    proxy_ping_interval: Any = None
    #: Our own: how long after a change of the mode nothing that it has ended is closed.
    settle_seconds: SecondsOrNone = SETTLE_SECONDS
    assist_command_execution_workers: Later = None
    load_all_cas: Later = None


# -- proxy_service: ------------------------------------------------------------------------


class KeyPair(Block):
    """One entry of proxy_service.https_keypairs."""

    key_file: Text
    cert_file: Text


class Limits(Block):
    """Limits of the process, or of one listener; None: what stands one level up."""

    connections: Count | None = None
    unauthenticated: Count | None = None
    unauthenticated_per_address: Count | None = None
    handshakes_per_second_per_address: Count | None = None


class Timeouts(Block):
    """Every wait of a connection; a listener's block changes only what it names."""

    prelude_seconds: Seconds = 5.0
    opening_seconds: Seconds = 10.0
    dial_seconds: Seconds = 10.0
    idle_seconds: SecondsOrOff = 3600.0
    write_stall_seconds: Seconds = 30.0
    close_seconds: Seconds = 60.0
    lifetime_seconds: SecondsOrOff = None
    drain_seconds: Seconds = 300.0


def _forwarders(value: Any) -> Any:
    """Address ranges; Teleport's `yes` stands for those of `TRUSTED`."""
    try:
        return TRUSTED if flag(value) else ()
    except ValueError:
        return one_or_more(value)


Forwarders = Annotated[tuple[Network, ...], BeforeValidator(_forwarders)]


class ListenerBlock(Block):
    """One entry of proxy_service.listeners; an address alone is short for `endpoint`."""

    endpoint: Text | None = None
    proxy_protocol: ProxyMode | None = None
    limits: Limits | None = None
    timeouts: Timeouts | None = None


class RuleBlock(Block):
    """One entry of a route's allow; exactly one of the three."""

    cn: Annotated[str, BeforeValidator(common_name)] | None = None
    san: Annotated[str, BeforeValidator(uri)] | None = None
    dns: Annotated[str, BeforeValidator(server_name)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError("has to say exactly one of cn, san and dns")
        return self


Names = Annotated[
    tuple[Annotated[str, BeforeValidator(server_name)], ...], BeforeValidator(one_or_more)
]
Tokens = Annotated[tuple[Annotated[str, BeforeValidator(token)], ...], BeforeValidator(one_or_more)]
RouteName = Annotated[
    str,
    BeforeValidator(
        identifier("[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "letters, digits and . _ - (64 at most)")
    ),
]
ProtocolName = Annotated[
    str,
    BeforeValidator(identifier("[a-z][a-z0-9-]{0,62}", "lower case letters, digits and -")),
]


class RouteBlock(Block):
    """One entry of proxy_service.routes."""

    #: It has to be there; with a default the rest of a route is checked without it too.
    name: RouteName = ""
    target: Text | None = None  #: a drop-in may serve the connection itself
    sni: Names = ()
    alpn: Tokens = ()
    listener: Text | None = None
    protocol: ProtocolName = "raw"
    client_cert: Annotated[str, BeforeValidator(words("none", "optional", "required"))] = "required"
    client_ca_files: Texts = ()
    allow: Annotated[tuple[RuleBlock, ...], BeforeValidator(a_list)] = ()
    require_role: Texts = ()
    unsafe_anyone: Flag = False
    passthrough: Flag = False
    plain: Flag = False
    send_proxy: Annotated[str, BeforeValidator(words("none", "v1", "v2"))] = "none"
    idle_seconds: Seconds | None = None


class LegacyKubernetes(Block):
    """proxy_service.kubernetes, the form of old files."""

    enabled: Flag = False
    listen_addr: Text | None = None
    public_addr: Public = ()
    kubeconfig_file: Later = None
    cluster_name: Later = None


class Acme(Block):
    """proxy_service.acme."""

    enabled: Flag = False
    email: Text | None = None
    uri: Text | None = None


class Saml(Block):
    """proxy_service.idp.saml."""

    enabled: Later = None
    base_url: Later = None


class Idp(Block):
    """proxy_service.idp."""

    saml: Saml | None = None


class Ui(Block):
    """proxy_service.ui."""

    scrollback_lines: Later = None
    scrollback_length: Later = None
    show_resources: Later = None


class ProxyService(Block):
    """proxy_service: the gateway."""

    enabled: Flag = True
    web_listen_addr: Text | None = None
    listen_addr: Text | None = None
    tunnel_listen_addr: Text | None = None
    kube_listen_addr: Text | None = None
    mysql_listen_addr: Text | None = None
    postgres_listen_addr: Text | None = None
    mongo_listen_addr: Text | None = None
    peer_listen_addr: Annotated[Any, Unserved("gateways do not peer")] = None
    public_addr: Public = ()
    ssh_public_addr: Public = ()
    tunnel_public_addr: Public = ()
    kube_public_addr: Public = ()
    mysql_public_addr: Public = ()
    postgres_public_addr: Public = ()
    mongo_public_addr: Public = ()
    peer_public_addr: Annotated[Any, Unserved("gateways do not peer")] = None
    https_keypairs: Annotated[tuple[KeyPair, ...], BeforeValidator(a_list)] = ()
    https_keypairs_reload_interval: Duration = KEYPAIRS_RELOAD_SECONDS
    https_key_file: Text | None = None
    https_cert_file: Text | None = None
    acme: Annotated[
        Acme | None, Unserved("no certificate is fetched yet; write https_keypairs")
    ] = None
    proxy_protocol: ProxyMode | None = None
    proxy_protocol_allow_downgrade: Annotated[
        Any, Unserved("an IPv6 peer is told to targets as it is")
    ] = None
    kubernetes: LegacyKubernetes | None = None
    idp: Annotated[Idp | None, _later] = None
    ui: Annotated[Ui | None, _later] = None
    ui_config: Annotated[Ui | None, _later] = None
    trust_x_forwarded_for: Forwarders = ()
    mysql_server_version: Later = None
    mysql_engine_version: Later = None
    automatic_upgrades_channels: Annotated[FreeMapping | None, _later] = None
    # Our own.
    routes: Annotated[tuple[Any, ...], BeforeValidator(a_list)] = ()
    listeners: FreeMapping = Field(default_factory=dict)
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    strict_sni: Flag = False
    strict_stale_seconds: Seconds = 300.0
    refuse_seconds: SecondsOrNone = REFUSE_SECONDS
    workers: Annotated[int, BeforeValidator(whole(1, 64))] = 1
    plugins_dir: Text | None = None
    client_ca_files: Texts = ()
    protocols: FreeMapping = Field(default_factory=dict)
