"""What a balancer in front has to know: names, ALPN tokens, openings, addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

from attrs import frozen

from tlsgate.config.endpoints import bind_of, public_address
from tlsgate.config.settings import Settings
from tlsgate.core.addresses import host_port
from tlsgate.core.routing import Route
from tlsgate.core.tokens import TOKENS
from tlsgate.errors import BadAsk
from tlsgate.interfaces import IGateProtocol

#: Tokens of more than these characters cannot be written safely in all three languages.
_WORD = re.compile(r"[A-Za-z0-9._/@:+-]+")
#: A balancer waits so much longer than the gateway, so that the gateway's limits decide.
_LONGER_SECONDS = 60
#: For a gateway without an idle limit.
_DAY_SECONDS = 86400


@frozen(kw_only=True)
class Rules:
    """What a balancer has to know.

    Attributes:
        names: server names that are the gateway's; "*.x" stands for everything below x.
        tokens: ALPN tokens that are, whatever the name.
        openings: protocols that may come in the clear first: "postgres", "ssh".
        gateways: "host:port" each.
        bind: (host, port) where the balancer listens; host "" is every address.
        other: "host:port" for everything else; None: the gateway answers that too.
        send_proxy: the gateway demands PROXY headers.
        idle_seconds: how long the balancer leaves a silent connection alone.
        left_out: tokens that the balancers' languages cannot write.
    """

    names: tuple[str, ...]
    tokens: tuple[str, ...]
    openings: tuple[str, ...]
    gateways: tuple[str, ...]
    bind: tuple[str, int]
    other: str | None
    send_proxy: bool
    idle_seconds: int
    left_out: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The same in JSON types."""
        return {
            "names": list(self.names),
            "tokens": list(self.tokens),
            "openings": list(self.openings),
            "gateways": list(self.gateways),
            "bind": host_port(*self.bind),
            "other": self.other,
            "send_proxy": self.send_proxy,
            "idle_seconds": self.idle_seconds,
        }


def rules_of(
    settings: Settings,
    protocols: Iterable[IGateProtocol] = (),
    *,
    bind: str = ":443",
    to: Iterable[str] = (),
    other: str | None = None,
) -> Rules:
    """Take the rules from *settings*.

    Args:
        settings: of one gateway; all behind the balancer are alike.
        protocols: those that it serves; drop-ins have tokens and names of their own.
        bind: where the balancer listens.
        to: the gateways' addresses; none: the web listener's own.
        other: where connections go that are not the gateway's.

    Raises:
        BadAsk: an address is none, or the web listener's cannot be dialled.
    """
    web = next((one for one in settings.listeners if one.protocol is None), None)
    if web is None:
        raise BadAsk("the configuration opens no web port, so nothing can be sent there")
    alone = [protocol for protocol in protocols if protocol.stands_alone]
    tokens = tuple(dict.fromkeys(_tokens(settings, alone)))
    return Rules(
        names=tuple(dict.fromkeys(_names(settings, alone))),
        tokens=tuple(token for token in tokens if _WORD.fullmatch(token)),
        openings=tuple(sorted({route.protocol for route in settings.routes if _opens(route)})),
        gateways=tuple(_address("--to", one) for one in to) or (_own_address(web.endpoint),),
        bind=_bind(bind),
        other=None if other is None else _address("--other", other),
        send_proxy=web.proxy_protocol.on,
        idle_seconds=_longest_idle(settings, web.timeouts.idle_seconds),
        left_out=tuple(token for token in tokens if not _WORD.fullmatch(token)),
    )


def _names(settings: Settings, protocols: Iterable[IGateProtocol]) -> Iterable[str]:
    public = []
    for address in settings.public.web:
        host, _ = public_address(address)
        try:
            ip_address(host)
        except ValueError:
            public.append(host)
            # Below a public name are auth., kube., the applications and the databases.
            yield from (host, f"*.{host}")
    for route in settings.routes:
        if route.listener in (None, "web"):
            yield from route.server_names
    for protocol in protocols:
        yield from protocol.server_names(public)


def _tokens(settings: Settings, protocols: Iterable[IGateProtocol]) -> Iterable[str]:
    """Every token that says tlsgate by itself: not those of the web, which names decide."""
    common = {value for token in TOKENS if token.client_cert == "by name" for value in token.values}
    common |= {value for token in TOKENS if token.presents == "challenge" for value in token.values}
    ours = [value for token in TOKENS for value in token.values]
    for route in settings.routes:
        # With names of its own a route is found by them; a token alone would take too much.
        if route.listener in (None, "web") and not route.server_names:
            ours += route.alpn
    for protocol in protocols:
        ours += protocol.alpn
    return (token.decode("utf-8", "replace") for token in ours if token not in common)


def _opens(route: Route) -> bool:
    """Whether clients of *route* come with something else than TLS first."""
    if route.listener not in (None, "web"):
        return False
    return route.protocol == "postgres" or (route.protocol == "ssh" and route.plain)


def _longest_idle(settings: Settings, default: float | None) -> int:
    waits = [default, *(route.idle_seconds for route in settings.routes if route.idle_seconds)]
    if None in waits:
        return _DAY_SECONDS
    return int(max(wait for wait in waits if wait is not None)) + _LONGER_SECONDS


def _own_address(endpoint: str) -> str:
    found = bind_of(endpoint)
    if found.kind != "tcp" or found.port == 0:
        raise BadAsk(f"the web port is {endpoint}; say where it can be dialled: --to HOST:PORT")
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(found.host, found.host)
    return host_port(host, found.port)


def _address(option: str, written: str) -> str:
    try:
        host, port = public_address(written)
    except ValueError as e:
        raise BadAsk(f"{option} {written}: {e}") from e
    if port is None:
        raise BadAsk(f"{option} {written}: say a port as well, host:port")
    return host_port(host, port)


def _bind(written: str) -> tuple[str, int]:
    host, _, port = written.rpartition(":")
    if not host and port.isascii() and port.isdigit() and 0 < int(port) < 65536:
        return "", int(port)
    host, _, port = _address("--bind", written).rpartition(":")
    return host.strip("[]"), int(port)


def one_of(tokens: Iterable[str]) -> str:
    """A regular expression for a list with commas that has one of *tokens*."""
    return f"(^|,)({'|'.join(re.sub(r'[.+/]', _bracket, token) for token in tokens)})(,|$)"


def _bracket(found: re.Match[str]) -> str:
    """One character, taken as itself in every dialect; a slash needs nothing."""
    return found[0] if found[0] == "/" else f"[{found[0]}]"


def head(rules: Rules) -> list[str]:
    """What stands above each output."""
    rest = "the gateway, which answers it" if rules.other is None else rules.other
    lines = [
        "# Made by `tgctl export`: tlsgate's connections by name and ALPN, TLS untouched.",
        f"# Everything else goes to {rest}.",
    ]
    if not rules.send_proxy:
        lines += [
            "# The gateway takes the balancer for its client; with proxy_protocol on its web",
            "# port, and exported again, it sees who is behind.",
        ]
    return lines


def no_openings(rules: Rules) -> str:
    """A comment for balancers that only tell TLS apart."""
    return (
        f"# {' and '.join(rules.openings)} without TLS first cannot be told apart here, and goes "
        "to `other`."
    )
