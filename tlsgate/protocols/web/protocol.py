"""The web protocol: whatever name no route claims, over HTTP/1.1 and HTTP/2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IProtocolFactory

from tlsgate.core.routing import CertRule
from tlsgate.core.wire import http
from tlsgate.errors import (
    Denied,
    Draining,
    Fault,
    GateError,
    NoCertificate,
    NotServed,
    TargetSilent,
    TooLate,
    TooMany,
)
from tlsgate.interfaces import IRouteContext, ListenerSpec, Opening, Then
from tlsgate.protocols.addresses import first, listen_addr, present
from tlsgate.protocols.base import GateProtocol, refuse_unknown
from tlsgate.protocols.web import answers
from tlsgate.protocols.web.site import GateSite
from tlsgate.protocols.web.visit import Visit


@frozen(kw_only=True)
class WebSettings:
    """What stands below `proxy_service.protocols.web`."""

    show_routes: bool


#: A mapping of plug-in settings is not typed: YAML's own words for yes and no come as text.
_WORDS: dict[object, bool] = {
    True: True,
    False: False,
    **dict.fromkeys(("yes", "on", "true"), True),
    **dict.fromkeys(("no", "off", "false"), False),
}


class Web(GateProtocol):
    """Landing page and web API, for anybody: a browser shows no client certificate."""

    name = "web"
    #: Our first one wins. Browsers open WebSockets on connections that offer http/1.1 alone.
    alpn = (b"h2", b"http/1.1")
    client_cert = CertRule.NONE
    listener = ListenerSpec(
        key="web_listen_addr",
        port=3080,
        versions=frozenset({"v1", "v2", "v3"}),
        public_key="public_addr",
    )
    openings = (
        Opening(
            name="http-request",
            protocol="web",
            match=http.is_request,
            then=Then.REFUSE,
            answer=http.bad_request("This port takes TLS only: ask again with https://"),
        ),
    )

    def __init__(self) -> None:
        self._site: GateSite | None = None

    def settings(self, raw: Mapping[str, Any]) -> object:
        """Take `show_routes`: whether the landing page says what static routes serve."""
        refuse_unknown(self.name, raw, ("show_routes",))
        written = raw.get("show_routes", True)
        if written not in _WORDS:
            raise ValueError("show_routes has to be yes or no")
        return WebSettings(show_routes=_WORDS[written])

    def advertise(self, settings: Any, open_listeners: Mapping[str, str]) -> Mapping[str, Any]:
        """Where the web port is, as it listens and as the public reaches it."""
        return {
            "ssh": present(
                web_listen_addr=listen_addr(settings, open_listeners, "web"),
                public_addr=first(settings.public.web),
            )
        }

    def refusal(self, error: GateError) -> bytes:
        """Say it as an HTTP answer, in constant words."""
        code = _CODES.get(type(error)) or _BY_FAULT[error.fault]
        body = answers.error_body(answers.SENTENCES[code])
        return answers.whole(code, answers.JSON_TYPE, body)

    def build(self, context: IRouteContext) -> IProtocolFactory:
        """Give the factory for one connection to the site of its configuration."""
        site = self._site
        if site is None or site.settings is not context.settings:
            # Connections from before a reload keep the site that they began with.
            here = context.local if context.listener == "web" else None
            own = context.own_settings
            show = own.show_routes if isinstance(own, WebSettings) else True
            site = GateSite(
                context.settings,
                context.protocols,
                here,
                context.clock,
                show_routes=show,
                cluster=context.cluster,
            )
            self._site = site
        return Visit(site, context)


_CODES: dict[type[GateError], int] = {
    Denied: 403,
    NoCertificate: 403,
    TooLate: 408,
    Draining: 503,
    NotServed: 503,
    TooMany: 503,
    TargetSilent: 504,
}
_BY_FAULT = {Fault.CLIENT: 400, Fault.TARGET: 502, Fault.OPERATOR: 500, Fault.GATE: 500}
