"""Static resources of Envoy 1.22 or later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tlsgate.cli.export.rules import Rules, head, no_openings

_TYPE = "type.googleapis.com/envoy.extensions"


def envoy(rules: Rules) -> Mapping[str, Any]:
    """Write *rules* as the value of a YAML file that `envoy -c` takes."""
    host, port = rules.bind
    rest = "tlsgate" if rules.other is None else "other"
    address: dict[str, Any] = {"address": host or "::", "port_value": port}
    if not host:
        address["ipv4_compat"] = True
    matches: list[dict[str, Any]] = []
    if rules.names:
        matches.append({"transport_protocol": "tls", "server_names": list(rules.names)})
    matches.append({"transport_protocol": "tls", "application_protocols": list(rules.tokens)})
    listener = {
        "name": "tlsgate_front",
        "address": {"socket_address": address},
        "listener_filters_timeout": "5s",
        "continue_on_listener_filters_timeout": True,
        "listener_filters": [
            {
                "name": "envoy.filters.listener.tls_inspector",
                "typed_config": {
                    "@type": f"{_TYPE}.filters.listener.tls_inspector.v3.TlsInspector"
                },
            }
        ],
        "filter_chains": [
            {"filter_chain_match": match, "filters": [_tcp_proxy("tlsgate", rules)]}
            for match in matches
        ],
        "default_filter_chain": {"filters": [_tcp_proxy(rest, rules)]},
    }
    clusters = [_cluster("tlsgate", rules.gateways, rules.send_proxy)]
    if rules.other is not None:
        clusters.append(_cluster("other", (rules.other,), False))
    return {"static_resources": {"listeners": [listener], "clusters": clusters}}


def envoy_head(rules: Rules) -> str:
    """The comment above it."""
    lines = head(rules)
    if rules.openings and rules.other is not None:
        lines.append(no_openings(rules))
    return "\n".join(lines)


def _tcp_proxy(cluster: str, rules: Rules) -> dict[str, Any]:
    return {
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": f"{_TYPE}.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": cluster,
            "cluster": cluster,
            "idle_timeout": f"{rules.idle_seconds}s",
        },
    }


def _cluster(name: str, addresses: Iterable[str], send_proxy: bool) -> dict[str, Any]:
    endpoints = []
    for address in addresses:
        host, _, port = address.rpartition(":")
        socket = {"address": host.strip("[]"), "port_value": int(port)}
        endpoints.append({"endpoint": {"address": {"socket_address": socket}}})
    cluster: dict[str, Any] = {
        "name": name,
        "type": "STRICT_DNS",
        "connect_timeout": "5s",
        "lb_policy": "LEAST_REQUEST",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    }
    if send_proxy:
        sockets = f"{_TYPE}.transport_sockets"
        cluster["transport_socket"] = {
            "name": "envoy.transport_sockets.upstream_proxy_protocol",
            "typed_config": {
                "@type": f"{sockets}.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
                "config": {"version": "V2"},
                "transport_socket": {
                    "name": "envoy.transport_sockets.raw_buffer",
                    "typed_config": {"@type": f"{sockets}.raw_buffer.v3.RawBuffer"},
                },
            },
        }
    return cluster
