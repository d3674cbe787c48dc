"""Where a cluster's auth service is: its own port here, or which one a gateway joins."""

from __future__ import annotations

from tlsgate.config import ports, schema
from tlsgate.config.endpoints import bind_of, public_address, server_endpoint
from tlsgate.config.files import Files
from tlsgate.config.findings import Findings
from tlsgate.config.listeners import ListenerReader
from tlsgate.config.marks import Path
from tlsgate.config.settings import Join, Listener
from tlsgate.core.addresses import host_port

#: The listener, and the protocol that it is the port of.
AUTH = "auth"

_HERE = "this process has its own auth service, and joins none"
_ALONE = "without auth_servers (v3: auth_server) this gateway joins no cluster"


def address(written: str, port: int) -> str:
    """*written* as "host:port"; *port* where it names none."""
    host, own = public_address(written)
    return host_port(host, port if own is None else own)


def auth_listeners(
    auth: schema.AuthService,
    proxy: schema.ProxyService,
    reader: ListenerReader,
    findings: Findings,
) -> tuple[Listener, ...]:
    """The auth service's own port, where it has one."""
    path: Path = ("auth_service", "listen_addr")
    if not auth.enabled or not findings.trusts(*path):
        return ()
    headers: Path = ("auth_service", "proxy_protocol")
    if auth.listen_addr is None and proxy.enabled:
        if auth.proxy_protocol is not None:  # it is reached through the gateway beside it
            findings.warn(headers, "is of the port of listen_addr, and there is none")
        return ()
    written = auth.listen_addr or schema.AUTH_ADDRESS
    try:
        endpoint, proxied = server_endpoint(written, ports.AUTH)
        bind = bind_of(endpoint)
        if proxied:
            raise ValueError("haproxy: is not read here: write auth_service.proxy_protocol")
        if bind.kind == "unix" and not bind.name.startswith(("/", "\0")):
            raise ValueError(f"the path {bind.name!r} has to be absolute")
    except ValueError as e:
        findings.wrong(path, str(e))
        return ()
    if proxy.enabled:
        reader.refuse_beside(endpoint, written, path)
    made = Listener(
        name=AUTH,
        protocol=AUTH,
        endpoint=endpoint,
        written=written,
        proxy_protocol=reader.rule(auth.proxy_protocol, headers),
        limits=reader.limits,
        timeouts=reader.timeouts,
    )
    return (made,)


def joined(
    teleport: schema.Teleport,
    auth: schema.AuthService,
    proxy: schema.ProxyService,
    files: Files,
    findings: Findings,
) -> Join | None:
    """The cluster that a gateway without an auth service belongs to, or None."""
    servers = teleport.auth_servers or tuple(filter(None, [teleport.auth_server]))
    written = [
        name
        for name in (
            *("auth_servers", "auth_server", "proxy_server"),
            *("auth_token", "join_params", "ca_pin"),
        )
        if teleport.wrote(name)
    ]
    if auth.enabled or not servers or not proxy.enabled:
        why = _HERE if auth.enabled else _ALONE
        for name in written:
            findings.warn(("teleport", name), f"has no effect: {why}")
        return None
    return join_of(teleport, auth, tuple(address(one, ports.AUTH) for one in servers), findings)


def join_of(
    teleport: schema.Teleport,
    auth: schema.AuthService,
    servers: tuple[str, ...],
    findings: Findings,
) -> Join:
    """How to join the cluster of *servers*."""
    token = _token(teleport, findings)
    if token is not None and not teleport.ca_pin and not teleport.unsafe_no_ca_pin:
        # A member needs no pin any more; whoever has a token is about to become one.
        findings.warn(
            ("teleport", "auth_token" if teleport.auth_token is not None else "join_params"),
            "cannot be used yet: teleport.ca_pin is missing, so anybody could answer; `tgctl "
            "status` on the auth host shows the pin",
        )
    return Join(
        servers=servers,
        cluster=auth.cluster_name,
        token=token,
        pins=teleport.ca_pin,
        unsafe_no_pin=teleport.unsafe_no_ca_pin,
    )


def _token(teleport: schema.Teleport, findings: Findings) -> str | None:
    """The join token, or its file; it is only read at a first start."""
    params, token = teleport.join_params, teleport.auth_token
    path: Path = ("teleport", "auth_token")
    if params is not None:
        at: Path = ("teleport", "join_params")
        if params.method != "token":
            findings.wrong((*at, "method"), f"{params.method} is not served; token is")
        if params.token_name is not None:
            if token is not None:
                findings.wrong((*at, "token_name"), "auth_token is there too; write one of both")
            token, path = params.token_name, (*at, "token_name")
    if token is not None and not token.startswith("/"):
        findings.warn(
            path,
            "the token stands in this file, for all who can read it; write the path of a file "
            "of mode 0600, or take it out after the first start",
        )
    return token
