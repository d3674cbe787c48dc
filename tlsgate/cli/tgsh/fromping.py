"""The profile that a gateway's answer to /webapi/ping makes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tlsgate.cli.tgsh.home import Profile


def told_places(profile: Profile) -> tuple[object, ...]:
    """What of *profile* another mode, or other ports, would make something else."""
    return (
        profile.tls_routing_enabled,
        profile.ssh_proxy_addr,
        profile.kube_proxy_addr,
        profile.postgres_proxy_addr,
        profile.mysql_proxy_addr,
        profile.mongo_proxy_addr,
    )


def profile_from(
    ping: Mapping[str, Any], address: str, host: str, user: str, cluster: str
) -> Profile:
    """The profile of *user* at the gateway that has answered *ping*.

    Args:
        ping: its answer.
        address: the web address at which it did.
        host: the same without the port.
        user: who is logged in.
        cluster: where.
    """

    def text(*path: str) -> str:
        value: Any = ping
        for step in path:
            value = value.get(step) if isinstance(value, Mapping) else None
        return value[:1024] if isinstance(value, str) else ""

    def place(*path: str) -> str:
        """What is advertised, with our host where it listens on any."""
        written = text("proxy", *path)
        name, _, port = written.rpartition(":")
        anywhere = name in ("", "0.0.0.0", "[::]")
        return f"{host}:{port}" if port and anywhere else written

    proxy = ping.get("proxy")
    routing = not isinstance(proxy, Mapping) or proxy.get("tls_routing_enabled") is not False
    return Profile(
        web_proxy_addr=address,
        user=user,
        cluster=cluster,
        ssh_proxy_addr=place("ssh", "ssh_public_addr") or place("ssh", "listen_addr"),
        kube_proxy_addr=place("kube", "public_addr") or place("kube", "listen_addr"),
        postgres_proxy_addr=place("db", "postgres_public_addr")
        or place("db", "postgres_listen_addr"),
        mysql_proxy_addr=place("db", "mysql_public_addr") or place("db", "mysql_listen_addr"),
        mongo_proxy_addr=place("db", "mongo_public_addr") or place("db", "mongo_listen_addr"),
        tls_routing_enabled=routing,
        auth_connector=text("auth", "type") or "local",
        private_key_policy=text("auth", "private_key_policy") or "none",
    )
