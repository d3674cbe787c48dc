"""The documents at /webapi/ping and /webapi/find: what clients learn before they log in.

Pure: settings and the parts of protocols in, JSON values out. A field without a value is
left out, since clients take its absence for "guess".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import define

from tlsgate import __version__
from tlsgate.config.settings import Settings
from tlsgate.errors import Fault, GateError

Document = dict[str, Any]

#: `auth` in the find document: there, and empty, so that it costs nothing to make.
#: The first major release.
_FIRST = 1
_NO_AUTH: Document = {"type": "", "private_key_policy": "", "has_motd": False}


@define(eq=False)
class NoConnector(GateError):
    """No authentication connector has the name that a client asked for."""

    fault = Fault.CLIENT
    reason = "no_connector"
    valid: tuple[str, ...]

    def __str__(self) -> str:
        return f"there is no such connector; valid names are {', '.join(self.valid)}"


def find(settings: Settings, parts: Iterable[Mapping[str, Any]]) -> Document:
    """The cheap document, by which agents and leaf clusters find the gate's addresses.

    Args:
        settings: the configuration in force.
        parts: what each protocol advertises below `proxy`.
    """
    return {"auth": _NO_AUTH, **_common(settings, parts)}


def ping(
    settings: Settings, parts: Iterable[Mapping[str, Any]], connector: str | None = None
) -> Document:
    """The whole document, with how to log in.

    Args:
        settings: the configuration in force.
        parts: what each protocol advertises below `proxy`.
        connector: the part of /webapi/ping/<connector>; None: the default one.

    Raises:
        NoConnector: *connector* is not known.
    """
    return {"auth": _auth(settings.authentication, connector), **_common(settings, parts)}


def oldest_client(version: str) -> str:
    """The oldest client that works with a server of *version*: one major release behind.

    Before the first release there was none; `tests.integration.test_old_client` runs the oldest.
    """
    return f"{max(int(version.partition('.')[0]) - 1, _FIRST)}.0.0"


def _common(settings: Settings, parts: Iterable[Mapping[str, Any]]) -> Document:
    proxy: Document = {}
    for part in parts:
        _merge(proxy, part)
    proxy["tls_routing_enabled"] = settings.mode == "multiplex"
    return {
        "proxy": proxy,
        "server_version": __version__,
        "min_client_version": oldest_client(__version__),
        "cluster_name": settings.cluster_name,
    }


def _merge(into: Document, part: Mapping[str, Any]) -> None:
    """Add *part*, section by section; what a protocol said first stays."""
    for key, value in part.items():
        if isinstance(value, Mapping):
            section = into.setdefault(key, {})
            if isinstance(section, dict):
                _merge(section, value)
        else:
            into.setdefault(key, value)


def _auth(written: Mapping[str, object], connector: str | None) -> Document:
    """How to log in, from `auth_service.authentication` as it is written."""
    kind = _text(written, "type", "local")
    factor = _text(written, "second_factor", "otp")
    webauthn = written.get("webauthn")
    keys = isinstance(webauthn, Mapping) and factor in ("webauthn", "on", "optional")
    passwordless = keys and written.get("passwordless") not in (False, "no", "off", "false")
    valid = {"local": "local", **({"passwordless": "local"} if passwordless else {})}
    if kind != "local":
        valid[_text(written, "connector_name", kind)] = kind
    if connector is not None:
        if connector not in valid:
            raise NoConnector(tuple(valid))
        kind = valid[connector]
    auth: Document = {"type": kind, "second_factor": factor}
    if factor != "off":
        auth["preferred_local_mfa"] = "webauthn" if keys else "otp"
    if passwordless:
        auth["allow_passwordless"] = True
    if kind == "local":
        auth["local"] = {"name": "passwordless" if connector == "passwordless" else ""}
    else:
        name = _text(written, "connector_name", kind)
        auth[kind] = {"name": name, "display": name}
    if keys and isinstance(webauthn, Mapping):
        auth["webauthn"] = {"rp_id": _text(webauthn, "rp_id", "")}
    auth["private_key_policy"] = "none"
    auth["has_motd"] = bool(written.get("message_of_the_day"))
    return auth


def _text(written: Mapping[Any, object], key: str, default: str) -> str:
    value = written.get(key)
    return value if isinstance(value, str) and value else default
