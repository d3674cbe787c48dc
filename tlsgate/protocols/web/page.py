"""The landing page and the error pages: one HTML text each, whole in itself.

No script, no font, no picture comes from anywhere: the style stands in the page, and the
Content-Security-Policy names its digest. Everything that an operator wrote is escaped; what
a client sent is never in here. Of routes the page says what and for whom, and never where
they lead or whom they name.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from html import escape

from attrs import frozen

from tlsgate import __version__
from tlsgate.config.settings import Settings
from tlsgate.core.addresses import split
from tlsgate.core.routing import CertRule, Route
from tlsgate.interfaces import IGateProtocol
from tlsgate.protocols.addresses import first
from tlsgate.protocols.web.picture import ICON, MARK, draw
from tlsgate.protocols.web.style import STYLE

CONTENT_SECURITY_POLICY = (
    b"default-src 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(STYLE.encode()).digest())
    + b"'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

#: What protocols are called by people; a drop-in is called by its name.
_TITLES = {
    "raw": "TCP",
    "ssh": "SSH",
    "postgres": "PostgreSQL",
    "mysql": "MySQL",
    "mongodb": "MongoDB",
    "redis": "Redis",
    "kubernetes": "Kubernetes",
    "tunnel": "Reverse tunnel",
    "web": "Web and API",
    "auth": "Auth API",
    "join": "Login and joining",
    "webcert": "Web certificate",
}


@frozen
class Way:
    """One line of the page: what is served, how one asks for it, and for whom it is."""

    what: str
    tokens: tuple[str, ...]  #: ALPN; (): by the server name
    named: bool  #: True: it wants a server name
    who: str
    kind: str = ""  #: the class of `who` in the style sheet: "", "plain", "open", "behind"


def ways(routes: Iterable[Route]) -> tuple[Way, ...]:
    """What static routes serve, each kind once, in the order of the configuration."""
    return tuple(dict.fromkeys(_way(route) for route in routes))


def standing(settings: Settings, protocols: Iterable[IGateProtocol]) -> Iterator[Way]:
    """What protocols serve by their own tokens, the console before the others."""
    yield Way(_TITLES["web"], ("h2", "http/1.1"), False, "anyone", "plain")
    for protocol in protocols:
        checks = protocol.client_cert is not CertRule.NONE
        if protocol.name == "web" or not protocol.stands_alone or protocol.advice:
            continue
        if protocol.shows_cluster and not settings.in_cluster:
            continue
        trusts = protocol.holders if settings.in_cluster else settings.client_ca_files
        if checks and not (trusts or settings.client_ca_files):
            continue  # nobody's certificate could be checked: it is closed
        tokens = tuple(token.decode("ascii", "backslashreplace") for token in protocol.alpn)
        if tokens:
            known = "the cluster's certificates" if protocol.holders else "any certificate"
            who = (known, "") if checks else ("anyone", "plain")
            yield Way(_TITLES.get(protocol.name, protocol.name), tokens, False, *who)


def _way(route: Route) -> Way:
    tokens = tuple(token.decode("ascii", "backslashreplace") for token in route.alpn)
    named = bool(route.server_names)
    if route.passthrough:
        return Way("TLS passed through", tokens, named, "the server behind decides", "behind")
    what = _TITLES.get(route.protocol, route.protocol)
    if route.client_cert is CertRule.REQUIRED:
        named_ones = "named certificates" if route.allow else "any certificate"
        return Way(what, tokens, named, "roles" if route.require_role else named_ones)
    return Way(what, tokens, named, "anyone", "open")


def landing(
    settings: Settings,
    protocols: Mapping[str, IGateProtocol],
    listeners: Mapping[str, str],
    *,
    show_routes: bool = True,
    login: bool = False,
) -> bytes:
    """The page at "/".

    Args:
        settings: whose gate it is.
        protocols: those that can serve; routes to others are left out.
        listeners: the open ones, name to "host:port".
        show_routes: False leaves out what static routes serve.
        login: whether there are people who may log in.
    """
    address = first(settings.public.web) or listeners.get("web")
    served = [route for route in settings.routes if route.protocol in protocols and show_routes]
    lines = (*standing(settings, protocols.values()), *ways(served))
    body = [
        f"<header>{MARK}<b>tlsgate</b><span>{__version__}</span>{_LOGIN * login}</header><main>",
        f"<h1>{escape(settings.cluster_name)}</h1>{_LEAD}",
        *_address(address),
        draw(list(dict.fromkeys(line.what for line in lines))),
        "<h2>What it serves</h2><p>Who may pass is decided before a byte reaches a server.</p>",
        _TABLE_HEAD,
        *map(_row, lines),
        "</tbody></table></div>",
        *_ports(settings, protocols, listeners),
        *_commands(address, ways(served)),
        f"</main><footer><p>tlsgate {__version__}{_LINKS}</p></footer>",
    ]
    return _document(f"{settings.cluster_name} \u00b7 tlsgate", "".join(body))


_LEAD = (
    '<p class="lead">A gate with one TLS port for every protocol behind it. What a client asks '
    "for in the handshake decides where it goes; its certificate decides whether.</p>"
)
_TABLE_HEAD = (
    '<div class="card"><table><thead><tr><th scope="col">Protocol<th scope="col">Ask by'
    '<th scope="col">Open to</thead><tbody>'
)
_LOGIN = '<a class="login" href="/web">Log in</a>'
_LINKS = (
    ' &middot; <a href="/webapi/ping">ping</a> &middot; <a href="/webapi/find">find</a>'
    " say the same to programs"
)


def _address(address: str | None) -> Iterator[str]:
    if address is not None:
        host, port = split(address)
        label, at = ("Port", str(port)) if host in _EVERYWHERE else ("Address", address)
        yield f'<p class="address"><span>{label}</span><code>{escape(at)}</code></p>'


def _row(way: Way) -> str:
    tokens = " ".join(f"<code>{escape(token)}</code>" for token in way.tokens)
    parts = [f"ALPN {tokens}"] if tokens else []
    if way.named:
        parts.insert(0, "server name")
    how = ", ".join(parts) or "TLS without ALPN"
    return (
        f'<tr><th scope="row">{escape(way.what)}<td>{how}'
        f'<td><span class="who {way.kind}">{escape(way.who)}</span>'
    )


def _ports(
    settings: Settings, protocols: Mapping[str, IGateProtocol], listeners: Mapping[str, str]
) -> Iterator[str]:
    """The separate ports, if there are any."""
    others = [listener for listener in settings.listeners if listener.name != "web"]
    if not others:
        return
    if settings.mode == "multiplex":
        why = "Clients are told to use the one port; these are open for those that still do not."
    else:
        why = "Clients are told to use these, each for its own protocol."
    yield f'<h2>Separate ports</h2><p>{why}</p><div class="card"><dl>'
    routed = {route.listener for route in settings.routes}
    for listener in others:
        title = _TITLES.get(listener.protocol or "", listener.protocol or listener.name)
        at = _where(listeners.get(listener.name))
        protocol = protocols.get(listener.protocol or "")
        alone = protocol is not None and protocol.stands_alone and not protocol.advice
        serves = alone or listener.name in routed
        note = "" if serves else ", tells clients what to use instead"
        yield f"<dt>{escape(title)}<dd>{at}{note}"
    yield "</dl></div>"


def _where(address: str | None) -> str:
    """An address as a visitor can use it: one that means "all of mine" is just its port."""
    if address is None:
        return "a socket of its own"
    host, port = split(address)
    if host in _EVERYWHERE:
        return f"port <code>{port}</code>"
    return f"<code>{escape(address)}</code>"


_EVERYWHERE = ("0.0.0.0", "::")


def _commands(address: str | None, lines: Iterable[Way]) -> Iterator[str]:
    """Commands that a visitor can run as they stand, with files of theirs in capitals."""
    if address is None:
        return
    host, port = split(address)
    if host in _EVERYWHERE:
        host = "localhost"
    host = f"[{host}]" if ":" in host else host
    at = escape(f"{host}:{port or 443}")
    yield "<h2>Try it</h2><p>CA.pem is the authority that signed this page's certificate.</p>"
    yield '<div class="card"><pre><i># what this gate tells clients</i>\n'
    yield f"curl --cacert CA.pem https://{at}/webapi/ping"
    token = next((line.tokens[0] for line in lines if line.tokens and line.kind == ""), None)
    if token is not None:
        yield "\n\n<i># a protocol, with a certificate</i>\n"
        yield f"openssl s_client -quiet -connect {at} -alpn {escape(token)} \\\n"
        yield "  -CAfile CA.pem -cert CERT.pem -key KEY.pem"
    yield "</pre></div>"


def error(code: int, sentence: str) -> bytes:
    """The page for an error: its number and a constant sentence."""
    body = (
        f'<header>{MARK}<b>tlsgate</b></header><main class="alone"><div>'
        f'<h1>{code}</h1><p class="lead">{escape(sentence)}</p></div></main>'
    )
    return _document(str(code), body)


def _document(title: str, body: str) -> bytes:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<link rel="icon" href="{ICON}"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head><body>{body}</body></html>\n"
    ).encode()
