"""HTTP applications behind agents, each under a name of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.interfaces import IProtocolFactory

from tlsgate.core import appnames
from tlsgate.core.http.forward import response_bytes
from tlsgate.core.routing import CertRule
from tlsgate.errors import GateError, NotServed
from tlsgate.interfaces import IRouteContext, ITunnels, RelayTo
from tlsgate.protocols.apps import refusals
from tlsgate.protocols.apps.front import Front
from tlsgate.protocols.apps.shared import Shared
from tlsgate.protocols.apps.visit import Visit
from tlsgate.protocols.base import GateProtocol, relay


class Apps(GateProtocol):
    """See the module; whoever comes is asked for a certificate, and may have none."""

    name = "apps"
    client_cert = CertRule.OPTIONAL
    holders = ("user",)
    name_alpn = (b"h2", b"http/1.1")
    advice = "applications are for users of a cluster, and this gateway is in none"

    def __init__(self) -> None:
        #: One for each cluster and console, which both stay as long as the process.
        self._shared: Shared | None = None

    def stop(self) -> None:
        """End what is kept; for who makes another one."""
        shared, self._shared = self._shared, None
        if shared is not None:
            shared.stop()

    def server_names(self, public: Sequence[str]) -> Sequence[str]:
        """Every name right below one of ours that nobody else has."""
        return tuple(f"*.{name}" for name in public)

    def stands_for(self, server_name: str, public: Sequence[str], tunnels: ITunnels) -> str | None:
        """An application's own `public_addr` counts as one of our names, while it is offered."""
        if not public:
            return None
        found = appnames.find(tunnels.offers("app"), server_name, public)
        if found is None or not found.facts.get(appnames.PUBLIC_ADDR):
            return None
        return f"*.{public[0]}"

    def advertise(self, settings: Any, open_listeners: Mapping[str, str]) -> Mapping[str, Any]:
        """Nothing: applications have names of their own."""
        return {}

    def refusal(self, error: GateError) -> bytes:
        """Say it as an answer of HTTP/1.1."""
        answer = refusals.refusal(error, ())
        head = response_bytes(
            answer.status, answer.fields, len(answer.body), chunked=False, close=True
        )
        return head + answer.body

    def build(self, context: IRouteContext) -> IProtocolFactory | RelayTo:
        """Serve one connection."""
        if context.route.target is not None:
            return relay(self, context)
        cluster = context.cluster
        if cluster is None or context.tunnels is None:
            raise NotServed(self.name, self.advice)
        public = context.settings.public.web or ("localhost:443",)
        console = tuple(one.removesuffix(":443") for one in public)
        shared = self._shared
        if shared is None or shared.cluster is not cluster or shared.console != console:
            if shared is not None:
                shared.stop()
            shared = self._shared = Shared(cluster, context.clock, console)
        return Front(Visit(shared, context))
