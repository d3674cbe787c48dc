"""The landing page and the error pages: one HTML text each, whole in itself.

No script, no font, no picture comes from anywhere: the style stands in the page, and the
Content-Security-Policy names its digest. Everything that an operator wrote is escaped; what
a client sent is never in here.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from html import escape

from attrs import frozen

from tlsgate import __version__
from tlsgate.config.settings import Settings
from tlsgate.core.routing import CertRule, Route
from tlsgate.interfaces import IGateProtocol
from tlsgate.protocols.addresses import first

_STYLE = """\
:root{color-scheme:light dark;--ground:#f6f7f4;--card:#fff;--ink:#1c2421;--soft:#5b6762;\
--line:#dfe4df;--accent:#0b6e4f;--wash:#e6f2ec;--code:#f1f4f0}
@media(prefers-color-scheme:dark){:root{--ground:#101513;--card:#171e1b;--ink:#e8eeea;\
--soft:#97a59e;--line:#29332e;--accent:#5fd3a5;--wash:#17332a;--code:#121816}}
"""

CONTENT_SECURITY_POLICY = (
    b"default-src 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest())
    + b"'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@frozen
class Way:
    """One line of the page: what is served, how one asks for it, and to whom."""

    what: str
    how: str
    who: str


def ways(routes: Iterable[Route]) -> tuple[Way, ...]:
    """What static routes serve, without saying where they lead or whom they name."""
    seen = dict.fromkeys(_way(route) for route in routes)
    return tuple(seen)


def _way(route: Route) -> Way:
    tokens = ", ".join(token.decode("ascii", "backslashreplace") for token in route.alpn)
    if route.passthrough:
        return Way("TLS, passed through", tokens or "by server name", "the server behind decides")
    how = f"ALPN {tokens}" if tokens else "by server name"
    return Way(_TITLES.get(route.protocol, route.protocol), how, _who(route))


def _who(route: Route) -> str:
    if route.client_cert is CertRule.REQUIRED:
        return "named certificates" if route.allow else "client certificates"
    if route.client_cert is CertRule.OPTIONAL:
        return "anyone; certificates are checked"
    return "anyone"


_TITLES = {
    "raw": "TCP",
    "ssh": "SSH",
    "postgres": "PostgreSQL",
    "mysql": "MySQL",
    "mongodb": "MongoDB",
    "kubernetes": "Kubernetes",
    "tunnel": "Reverse tunnels",
    "web": "Web",
}


def landing(
    settings: Settings, protocols: Mapping[str, IGateProtocol], listeners: Mapping[str, str]
) -> bytes:
    """The page at "/"."""
    address = first(settings.public.web) or listeners.get("web", "")
    rows = "".join(_rows(ways(settings.routes)))
    body = (
        f"<h1>{escape(settings.cluster_name)}</h1><p>{escape(address)}</p>"
        f"<table>{rows}</table><p><a href=/webapi/ping>/webapi/ping</a></p>"
        f"<footer>tlsgate {__version__}</footer>"
    )
    return _document(settings.cluster_name, body)


def _rows(lines: Iterable[Way]) -> Iterator[str]:
    for way in lines:
        yield f"<tr><td>{escape(way.what)}<td>{escape(way.how)}<td>{escape(way.who)}"


def error(code: int, sentence: str) -> bytes:
    """The page for an error: its number and a constant sentence."""
    return _document(str(code), f"<h1>{code}</h1><p>{escape(sentence)}</p>")


def _document(title: str, body: str) -> bytes:
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style><main>{body}</main></html>\n"
    ).encode()
