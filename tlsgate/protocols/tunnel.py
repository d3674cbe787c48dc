"""Reverse tunnels: agents that dial out to the gateway, and are reached by it.

1. An agent comes with a host's certificate of the cluster, by the token on any port, or by TLS
   with or without it on the tunnel's own one. Where web and tunnel have one address, or the
   tunnel has none, there is one listener, and the token tells them apart.
2. `tunnel.server` has the connection from its first frame on.
3. Whoever comes to the tunnel's port by mistake is told so: in SSH one that speaks SSH at
   once, in HTTP one that asks under TLS. Whoever is refused before the first frame reads the
   reason in a frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.interfaces import IProtocolFactory

from tlsgate.core.wire import ssh
from tlsgate.errors import GateError, ListenerClosed, NotServed
from tlsgate.interfaces import IRouteContext, ListenerSpec, Opening, RelayTo, Then
from tlsgate.protocols.addresses import first, listen_addr, present
from tlsgate.protocols.base import GateProtocol, relay
from tlsgate.protocols.web import answers
from tlsgate.protocols.words import told
from tlsgate.tunnel.words import refusal


class Tunnel(GateProtocol):
    """The reverse tunnel server."""

    name = "tunnel"
    alpn = (b"tlsgate-reversetunnel",)
    holders = ("host",)
    shows_cluster = True
    listener = ListenerSpec(
        key="tunnel_listen_addr",
        port=3024,
        versions=frozenset({"v1"}),
        public_key="tunnel_public_addr",
        alpn=alpn,
        answered=(b"http/1.1",),
    )
    advice = (
        "reverse tunnels are for the agents of this gateway's cluster, by TLS and with their "
        "certificates; ask the web port for everything else"
    )
    openings = (
        Opening(
            name="tunnel-ssh",
            protocol="tunnel",
            match=ssh.is_banner,
            then=Then.REFUSE,
            answer=ssh.disconnect(str(NotServed("tunnel", advice))),
            own_port=True,
        ),
    )

    def advertise(self, settings: Any, open_listeners: Mapping[str, str]) -> Mapping[str, Any]:
        """Where agents dial; without a port of their own that is the web port, by their token."""
        where = listen_addr(settings, open_listeners, "tunnel")
        public = first(settings.public.tunnel)
        own = any(one.name == self.name for one in settings.listeners)
        if settings.mode == "separate" and not own:
            where = open_listeners.get("web")
            public = public or first(settings.public.web)
        return {"ssh": present(tunnel_listen_addr=where, ssh_tunnel_public_addr=public)}

    def refusal(self, error: GateError) -> bytes:
        """Say it in a frame, or in HTTP to whoever is no agent at all."""
        if isinstance(error, ListenerClosed) and error.in_http:
            return answers.whole(426, answers.JSON_TYPE, answers.error_body(told(error)))
        if isinstance(error, NotServed):
            return answers.whole(503, answers.JSON_TYPE, answers.error_body(told(error)))
        return refusal(error, words=told(error))

    def build(self, context: IRouteContext) -> IProtocolFactory | RelayTo:
        """Give the connection to the gateway's tunnels.

        Raises:
            Denied: the certificate is of no agent of this cluster, or it is locked.
            NotServed: there are no tunnels here.
        """
        if context.route.target is not None:
            return relay(self, context)
        if context.tunnels is None:
            raise NotServed(self.name, self.advice)
        return context.tunnels.door(context)
