"""A configuration of HAProxy 2.4 or later."""

from __future__ import annotations

from tlsgate.cli.export.rules import Rules, head, one_of
from tlsgate.core.addresses import host_port

#: First bytes, as HAProxy tests them. https://www.postgresql.org/docs/current/protocol-message-formats.html
_HAPROXY_OPENINGS = {
    "postgres": "req.payload(0,8) -m bin 0000000804d2162f",
    "ssh": "req.payload(0,4) -m str SSH-",
}


def haproxy(rules: Rules) -> str:
    """Write *rules*: a file that `haproxy -f` takes as it is."""
    host, port = rules.bind
    exact = [name for name in rules.names if not name.startswith("*.")]
    below = [name[1:] for name in rules.names if name.startswith("*.")]
    lines = [
        "defaults tlsgate",
        "    mode tcp",
        "    timeout connect 5s",
        "    # Longer than the gateway's own limit, which is the one that counts.",
        f"    timeout client {rules.idle_seconds}s",
        f"    timeout server {rules.idle_seconds}s",
        "",
        "frontend tlsgate_front",
        f"    bind {host_port(host, port) if host else f':::{port} v4v6'}",
        "    tcp-request inspect-delay 5s",
        "    tcp-request content accept if { req.ssl_hello_type 1 }",
    ]
    for opening in rules.openings:
        test = _HAPROXY_OPENINGS[opening]
        lines += [
            f"    acl tlsgate_opening {test}",
            f"    tcp-request content accept if {{ {test} }}",
        ]
    lines += [f"    acl tlsgate_name req.ssl_sni -i {' '.join(exact)}"] * bool(exact)
    lines += [f"    acl tlsgate_name req.ssl_sni -m end -i {' '.join(below)}"] * bool(below)
    lines += [f"    acl tlsgate_token req.ssl_alpn -m reg '{one_of(rules.tokens)}'"]
    conditions = ["tlsgate_name"] * bool(rules.names) + ["tlsgate_token"]
    conditions += ["tlsgate_opening"] * bool(rules.openings)
    lines += [
        f"    use_backend tlsgate if {' or '.join(conditions)}",
        f"    default_backend {'tlsgate' if rules.other is None else 'other'}",
        "",
        "backend tlsgate",
        "    balance leastconn",
    ]
    proxy = " send-proxy-v2" if rules.send_proxy else ""
    lines += [
        f"    server gateway{number} {address}{proxy}"
        for number, address in enumerate(rules.gateways, 1)
    ]
    if rules.other is not None:
        lines += ["", "backend other", f"    server other {rules.other}"]
    return "\n".join([*head(rules), *lines])
