"""Kinds of which a cluster has one each, and its authorities as they are shown."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, ValidationInfo, field_validator

from tlsgate.auth.kindfields import (
    Duration,
    Flag,
    Name,
    Spec,
    Text,
    Texts,
    listed,
    numbered,
    one_of,
    whole,
)
from tlsgate.config.fields import Unserved
from tlsgate.core import durations

#: Where a setting of the cluster comes from stands in this label.
ORIGIN: Final = "teleport.dev/origin"
DEFAULTS: Final = "defaults"
CONFIG_FILE: Final = "config-file"
DYNAMIC: Final = "dynamic"
ORIGINS: Final = (DEFAULTS, CONFIG_FILE, DYNAMIC)

MODES: Final = ("separate", "multiplex")
ROUTING: Final = ("unambiguous_match", "most_recent")

Later = Annotated[Any, Unserved("")]


class TunnelStrategy(Spec):
    """spec.tunnel_strategy."""

    type: Annotated[
        str, BeforeValidator(lambda value: one_of(value, "agent_mesh", "proxy_peering"))
    ] = "agent_mesh"
    agent_connection_count: Annotated[
        int | None, BeforeValidator(lambda value: whole(value, 1, 64))
    ] = None


def _strategy(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


class NetworkingSpec(Spec):
    """spec of cluster_networking_config v2; a duration of 0s switches what it is for off."""

    #: 0 separate, 1 multiplex; the word is read too.
    proxy_listener_mode: Annotated[int, BeforeValidator(lambda value: numbered(value, *MODES))] = 0
    proxy_ping_interval: Duration = "30s"
    client_idle_timeout: Duration = "0s"
    client_idle_timeout_message: Text = ""
    web_idle_timeout: Duration = "0s"
    keep_alive_interval: Duration = "5m0s"
    keep_alive_count_max: Annotated[int, BeforeValidator(lambda value: whole(value, 1, 1000))] = 3
    session_control_timeout: Duration = "0s"
    #: 0 unambiguous_match, 1 most_recent; the word is read too.
    routing_strategy: Annotated[int, BeforeValidator(lambda value: numbered(value, *ROUTING))] = 0
    tunnel_strategy: Annotated[TunnelStrategy, BeforeValidator(_strategy)] = TunnelStrategy()
    idle_timeout_message: Later = None
    case_insensitive_routing: Later = None
    assist_command_execution_workers: Later = None
    ssh_dial_timeout: Later = None

    @field_validator("proxy_ping_interval", "keep_alive_interval", mode="after")
    @classmethod
    def _not_too_short(cls, value: str) -> str:
        if (durations.read(value) or 0.0) < 1:
            raise ValueError("has to be 1s or more")
        return value

    @property
    def mode(self) -> str:
        """The word: separate or multiplex."""
        return MODES[self.proxy_listener_mode]

    @property
    def ping_seconds(self) -> float:
        """Of the ping tokens."""
        return durations.read(self.proxy_ping_interval) or 0.0

    @property
    def client_idle_seconds(self) -> float | None:
        """None: idle connections are not ended."""
        return durations.read(self.client_idle_timeout) or None

    @property
    def web_idle_seconds(self) -> float | None:
        """None: idle web sessions are not ended."""
        return durations.read(self.web_idle_timeout) or None


_OTHER_FACTORS: Final = ("webauthn", "optional", "u2f")


def _second_factor(value: Any) -> str:
    if isinstance(value, bool):  # YAML 1.1 takes on and off for these
        value = "on" if value else "off"
    word = value.lower() if isinstance(value, str) else ""
    if word in _OTHER_FACTORS:
        raise ValueError(f"{word} is not served yet; otp is")
    return one_of(value, "otp", "on", "off")


class AuthPreferenceSpec(Spec):
    """spec of cluster_auth_preference v2."""

    type: Annotated[str, BeforeValidator(lambda value: one_of(value, "local"))] = "local"
    unsafe_second_factor_off: Flag = False
    #: "on" is any second factor that is served, so otp.
    second_factor: Annotated[str, BeforeValidator(_second_factor)] = "otp"
    disconnect_expired_cert: Flag = False
    locking_mode: Annotated[
        str, BeforeValidator(lambda value: one_of(value, "best_effort", "strict"))
    ] = "best_effort"
    local_auth: Later = None
    connector_name: Later = None
    allow_local_auth: Later = None
    allow_passwordless: Later = None
    allow_headless: Later = None
    default_session_ttl: Later = None
    device_trust: Later = None
    hardware_key: Later = None
    idp: Later = None
    message_of_the_day: Later = None
    okta: Later = None
    piv_slot: Later = None
    private_key_policy: Later = None
    require_session_mfa: Annotated[Any, Unserved("this is not enforced")] = None
    second_factors: Later = None
    signature_algorithm_suite: Later = None
    u2f: Later = None
    webauthn: Later = None

    @field_validator("second_factor", mode="after")
    @classmethod
    def _unsafe_is_said(cls, value: str, info: ValidationInfo) -> str:
        if value == "off" and not info.data.get("unsafe_second_factor_off"):
            raise ValueError(
                "off lets a password alone log in; write unsafe_second_factor_off: yes beside it"
            )
        return value

    @property
    def asks_otp(self) -> bool:
        """Whether a login needs a one-time code."""
        return self.second_factor != "off"


class AuthoritySpec(Spec):
    """spec of a cert_authority: only ever shown, and never with a key."""

    type: Name
    cluster_name: Text
    phase: Text = "standby"
    #: PEM certificates, or OpenSSH public key lines.
    certificates: Annotated[tuple[str, ...], BeforeValidator(listed)] = ()
    pins: Texts = ()
