"""Reverse tunnels: agents that dial out to the gateway.

Not built yet. Its separate port opens where an installation had one, and tells an agent
what to do: in SSH one that speaks SSH at once, in HTTP one that asks under TLS.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tlsgate.core.wire import ssh
from tlsgate.errors import GateError, NotServed
from tlsgate.interfaces import ListenerSpec, Opening, Then
from tlsgate.protocols.addresses import first, listen_addr, present
from tlsgate.protocols.base import GateProtocol
from tlsgate.protocols.web import answers
from tlsgate.protocols.words import told


class Tunnel(GateProtocol):
    """The place of the reverse tunnel server."""

    name = "tunnel"
    alpn = (b"tlsgate-reversetunnel",)
    listener = ListenerSpec(
        key="tunnel_listen_addr",
        port=3024,
        versions=frozenset({"v1"}),
        public_key="tunnel_public_addr",
        alpn=(b"http/1.1",),
    )
    stands_alone = False
    advice = (
        "reverse tunnels are not part of this release; "
        "let the gateway reach the server directly, by a static route"
    )
    openings = (
        Opening(
            name="tunnel-ssh",
            protocol="tunnel",
            match=ssh.is_banner,
            then=Then.REFUSE,
            answer=ssh.disconnect(str(NotServed("tunnel", advice))),
        ),
    )

    def advertise(self, settings: Any, open_listeners: Mapping[str, str]) -> Mapping[str, Any]:
        """Where agents dial."""
        return {
            "ssh": present(
                tunnel_listen_addr=listen_addr(settings, open_listeners, "tunnel"),
                ssh_tunnel_public_addr=first(settings.public.tunnel),
            )
        }

    def refusal(self, error: GateError) -> bytes:
        """Say it under TLS, where agents first ask for /webapi/find."""
        return answers.whole(503, answers.JSON_TYPE, answers.error_body(told(error)))
