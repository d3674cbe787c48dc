"""A stream block of nginx 1.13.10 or later, with ngx_stream_ssl_preread_module."""

from __future__ import annotations

from tlsgate.cli.export.rules import Rules, head, no_openings, one_of
from tlsgate.core.addresses import host_port


def nginx(rules: Rules) -> str:
    """Write *rules*: a block for the top level of nginx.conf."""
    host, port = rules.bind
    rest = "tlsgate" if rules.other is None else "other"
    binds = [host_port(host, port)] if host else [str(port), f"[::]:{port}"]
    lines = [
        "# Beside http {}, at the top level of nginx.conf. Where the module is a file of its",
        "# own: load_module modules/ngx_stream_module.so;",
        "stream {",
        "    map $ssl_preread_server_name $tlsgate_by_name {",
        "        hostnames;",
        *(f"        {name} tlsgate;" for name in rules.names),
        f"        default {rest};",
        "    }",
        "    map $ssl_preread_alpn_protocols $tlsgate_upstream {",
        f'        "~{one_of(rules.tokens)}" tlsgate;',
        "        default $tlsgate_by_name;",
        "    }",
        "    upstream tlsgate {",
        "        least_conn;",
        *(f"        server {address};" for address in rules.gateways),
        "    }",
    ]
    if rules.other is not None:
        lines += ["    upstream other {", f"        server {rules.other};", "    }"]
    lines += ["    server {", *(f"        listen {bind};" for bind in binds)]
    lines += [
        "        ssl_preread on;",
        "        preread_timeout 5s;",
        "        proxy_connect_timeout 5s;",
        "        # Longer than the gateway's own limit, which is the one that counts.",
        f"        proxy_timeout {rules.idle_seconds}s;",
        *["        proxy_protocol on;"] * rules.send_proxy,
        "        proxy_pass $tlsgate_upstream;",
        "    }",
        "}",
    ]
    if rules.openings and rules.other is not None:
        lines.insert(0, no_openings(rules))
    if rules.send_proxy and rules.other is not None:
        lines.insert(0, "# PROXY headers go to every upstream of this server, so to `other` too.")
    return "\n".join([*head(rules), *lines])
