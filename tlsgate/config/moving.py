"""What stands in the way of one port for everything, or of separate ones, as far as a file tells.

Warnings only: each such file can be used, and serves somebody.

1. v2 or v3 with mode `separate` opens only what it names, and clients look for more.
2. A public address of a port that the file does not open is told to clients all the same.
3. A client that dials an address in place of a name sends no server name, and a rule of a
   balancer, or a route whose TLS passes through untouched, cannot go by one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from ipaddress import ip_address

from tlsgate.config.endpoints import Bind, public_address
from tlsgate.config.findings import Findings
from tlsgate.config.listeners import STANDARD
from tlsgate.config.marks import Path
from tlsgate.config.schema import ProxyService
from tlsgate.core.routing import Route

_AT = "proxy_service"
_MODE = ("auth_service", "proxy_listener_mode")
#: What clients of separate ports always look for.
_NEEDED = ("ssh", "tunnel")


def warn(
    proxy: ProxyService,
    version: str,
    mode: str,
    asked: Collection[str],
    binds: Mapping[str, Bind],
    routes: Iterable[tuple[Route, Path]],
    findings: Findings,
) -> None:
    """Add the warnings.

    Args:
        asked: names of the listeners that the file opens.
        binds: what they occupy.
        routes: static ones, with their places.
    """
    if not proxy.enabled or not findings.trusts(_AT):
        return
    if mode == "separate" and version != "v1":
        _warn_separate(version, asked, findings)
    _warn_public(proxy, asked, binds, findings)
    if mode == "multiplex":
        _warn_names(proxy, findings)
        for route, path in routes:
            if route.passthrough and not route.server_names and route.listener in (None, "web"):
                findings.warn(
                    path,
                    "passes TLS through for any server name: a balancer that goes by names leads "
                    "nobody here; add sni",
                )


def _warn_separate(version: str, asked: Collection[str], findings: Findings) -> None:
    lacks = [one for one in STANDARD if one.name in _NEEDED and one.name not in asked]
    if not lacks:
        return
    names, keys = " and ".join(one.name for one in lacks), " and ".join(one.key for one in lacks)
    findings.warn(
        _MODE,
        f"separate, and {version} opens no port for {names} here: clients are told of the web "
        f"port; add {keys} to proxy_service, or write multiplex",
    )


def _warn_public(
    proxy: ProxyService, asked: Collection[str], binds: Mapping[str, Bind], findings: Findings
) -> None:
    web = {public_address(text)[1] for text in proxy.public_addr}
    web |= {binds["web"].port} if "web" in binds else set()
    separate = {one.port: name for name, one in binds.items() if name != "web" and one.port}
    for index, text in enumerate(proxy.public_addr):
        name = separate.get(public_address(text)[1] or 0)
        if name is not None:
            findings.warn(
                (_AT, "public_addr", index),
                f"points at the port of the {name} listener, which is not the web port and closes "
                "when everything goes to one",
            )
    for standard in STANDARD[1:]:
        if standard.name in asked or standard.public_needs_key:
            continue
        for index, text in enumerate(getattr(proxy, standard.public_key)):
            if (public_address(text)[1] or standard.port) not in web:
                findings.warn(
                    (_AT, standard.public_key, index),
                    f"is told to clients, and this file opens no {standard.name} listener; take it "
                    f"out, or add {standard.key}",
                )


def _warn_names(proxy: ProxyService, findings: Findings) -> None:
    """The first public address is the one that clients are told."""
    for index, text in enumerate(proxy.public_addr[:1]):
        try:
            literal = ip_address(public_address(text)[0])
        except ValueError:
            continue
        if not literal.is_loopback:
            findings.warn(
                (_AT, "public_addr", index),
                "is no name: who dials it sends no server name, so a balancer cannot go by one, "
                "and applications have none; put a name first",
            )
