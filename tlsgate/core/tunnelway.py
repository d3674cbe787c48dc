"""Where an agent dials, and in which way: decided from one /webapi/find document alone.

The document says the mode and the addresses at once, so the two cannot be of different
moments. Where they contradict each other the agent dials nowhere, and says why.

Source: Teleport's order of tunnel addresses (lib/reversetunnelclient/resolver.go,
api/client/webclient: `ProxySettings.TunnelAddr`).
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Final, NoReturn

from attrs import frozen

from tlsgate.core.addresses import host_port
from tlsgate.core.names import normal
from tlsgate.errors import BadName, BadTunnelWay

#: Teleport's port for tunnels, which a public address without a port means.
_TUNNEL_PORT: Final = 3024
_ADDRESS: Final = 512


@frozen
class Way:
    """Where to dial.

    Attributes:
        alpn: the gateway has to confirm the tunnel's ALPN token there: other protocols share
            the port. False: it is the tunnel's own port.
    """

    host: str
    port: int
    alpn: bool

    def __str__(self) -> str:
        return host_port(self.host, self.port)


def tunnel_way(find: Mapping[str, Any], server: str) -> Way:
    """Decide where an agent dials.

    Args:
        find: the document, as JSON values.
        server: "host:port" that has answered with it; it stands for what is not said.

    Raises:
        BadTunnelWay: the document contradicts itself, or is none.
    """
    proxy = find.get("proxy")
    if not isinstance(proxy, Mapping):
        _bad("it says nothing of a gateway")
    routed = proxy.get("tls_routing_enabled")
    if not isinstance(routed, bool):
        _bad("tls_routing_enabled is neither true nor false")
    own_host, own_port = _split(server, "the server's address")
    ssh = proxy.get("ssh", {})
    if not isinstance(ssh, Mapping):
        _bad("ssh is no object")

    def said(key: str) -> tuple[str, int | None] | None:
        """An address of the document; one of all interfaces is the server's own."""
        written = ssh.get(key)
        if written is None or written == "":
            return None
        host, port = _split(written, key)
        return (own_host if _is_unspecified(host) else host), port

    public, web = said("public_addr"), said("web_listen_addr")
    tunnel, listens = said("ssh_tunnel_public_addr"), said("tunnel_listen_addr")
    if routed:
        if public is None and web is None:
            _bad("all protocols share one port, and no public address says where")
        host, port = public or web or ("", None)
        return Way(host, port or own_port or 443, alpn=True)
    if tunnel is None and listens is None:
        # A guess at 3024 would end at a closed port, or at somebody else's.
        _bad(
            "agents have a port of their own (tls_routing_enabled is false), and there is no "
            "address for it; set tunnel_public_addr or tunnel_listen_addr at the gateway"
        )
    port = (tunnel or (None, None))[1] or (listens or (None, None))[1] or _TUNNEL_PORT
    ssh_public = said("ssh_public_addr")
    host = next(one[0] for one in (tunnel, ssh_public, public, listens) if one is not None)
    # Equal web and tunnel addresses are one port, where the token tells what is meant; that
    # port may have a public name of its own for agents.
    shared = (listens is not None and listens == web) or (host, port) in (public, web)
    return Way(host, port, alpn=shared)


def _split(written: object, what: str) -> tuple[str, int | None]:
    """Host and port of an address, whose brackets are taken off."""
    if not isinstance(written, str) or not 0 < len(written) <= _ADDRESS:
        _bad(f"{what} is no address")
    host, colon, port = written.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")) or port.endswith("]"):
        host, port = written, ""
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not _is_host(bare) or (port and not (port.isascii() and port.isdigit())):
        _bad(f"{what} {written[:64]!a} is no host:port")
    if port and not 0 < int(port[:6]) <= 65535:
        _bad(f"{what} {written[:64]!a} has no port that could be dialled")
    return bare, int(port) if port else None


def _is_host(host: str) -> bool:
    if not host:
        return True  # ":3024", every interface
    try:
        ip_address(host)
    except ValueError:
        try:
            normal(host)
        except BadName:
            return False
    return True


def _is_unspecified(host: str) -> bool:
    try:
        return not host or ip_address(host).is_unspecified
    except ValueError:
        return False


def _bad(why: str) -> NoReturn:
    raise BadTunnelWay(why)
