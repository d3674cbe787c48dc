"""`tlsgate-tcp`: whatever an agent's TCP application speaks, untouched.

Which one is meant is in the certificate (`core.certroutes`), or is the server name, as browsers
have it. Roles decide; from there on the bytes are the application's. Nobody knows what it speaks,
so a refusal is an end without words, and a line in the log.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IAddress, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol

from tlsgate.core import appnames
from tlsgate.core.access import Identity
from tlsgate.core.addresses import host_port, split
from tlsgate.core.certroutes import APP
from tlsgate.core.offers import Asked, Offer
from tlsgate.core.relayed import Relayed
from tlsgate.core.rolevalues import Target
from tlsgate.errors import GateError, NoAgent, NotServed, TargetDenied
from tlsgate.interfaces import IRouteContext, RelayTo
from tlsgate.protocols.base import GateProtocol, relay


class Tcp(GateProtocol):
    """TCP applications by name, for users of the cluster."""

    name = "tcp"
    alpn = (b"tlsgate-tcp",)
    holders = ("user",)
    shows_cluster = True
    advice = "applications are for users of a cluster, and this gateway is in none"

    def build(self, context: IRouteContext) -> IProtocolFactory | RelayTo:
        """Reach the application that is meant.

        Raises:
            GateError: it is refused.
        """
        if context.route.target is not None:
            return relay(self, context)
        identity, cluster, tunnels = context.identity, context.cluster, context.tunnels
        if identity is None or cluster is None or tunnels is None:
            raise NotServed(self.name, self.advice)
        offer = _meant(context, identity)
        user = identity.name if identity.claims is None else identity.claims.name
        peer = context.peer
        here = getattr(peer, "host", None)
        target = Target(kind="app", name=offer.name, labels=offer.labels)
        decision = cluster.decide_target(identity, target, here)
        if not decision.allowed:
            raise TargetDenied(user, f"application {offer.name}", decision.why)
        reach = tunnels.reach(
            Asked(
                kind="app",
                name=offer.name,
                user=user,
                certificate=context.certificate(),
                client="" if here is None else host_port(here, getattr(peer, "port", 0)),
                cluster=cluster.name,
                listener=context.listener,
                route=context.route.name,
                trace=context.trace,
            )
        )

        context.about(Relayed({"app": offer.name, "user": user}))

        def begin() -> None:
            context.relay(reach, _nothing, target=f"app/{offer.name}", limits=decision)

        return _OneOff(begin)


def _meant(context: IRouteContext, identity: Identity) -> Offer:
    """The application that the certificate or the server name means.

    Raises:
        NotServed: they mean none, different ones, or one of HTTP, whose requests are read.
        NoAgent: no agent with a tunnel offers it.
    """
    tunnels = context.tunnels
    assert tunnels is not None
    named = None if identity.claims is None else identity.claims.routes.get(APP)
    publics = [str(split(one)[0]) for one in context.settings.public.web]
    dialled = appnames.find(tunnels.offers("app"), context.server_name or "", publics)
    if named is None and dialled is None:
        raise NotServed("tcp", "run `tgsh apps login NAME`: this certificate is for none")
    if named is not None and dialled is not None and dialled.name != named:
        raise NotServed("tcp", f"the certificate is for the application {named} only")
    offer = dialled if named is None else tunnels.offer("app", named)
    if offer is None:
        raise NoAgent("app", str(named))
    if offer.facts.get("protocol") != "tcp":
        raise NotServed("tcp", f"{offer.name} speaks HTTP: open it in a browser")
    return offer


def _nothing(error: GateError | None) -> bytes:
    return b""


class _OneOff(Factory):
    """Makes the one protocol of a connection."""

    noisy = False

    def __init__(self, begin: Callable[[], None]) -> None:
        self._begin = begin

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """Twisted's name."""
        return _Once(self._begin)


class _Once(Protocol):
    """Hands over before anything is read."""

    def __init__(self, begin: Callable[[], None]) -> None:
        self._begin = begin

    def connectionMade(self) -> None:
        """Twisted calls this."""
        self._begin()
