"""A node that somebody names by host and port: found, decided about, and asked for.

The same for everyone who comes by SSH, whatever carries it.
"""

from __future__ import annotations

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address

from tlsgate.core.access import Decision, Identity
from tlsgate.core.addresses import host_port, split
from tlsgate.core.nodes import address_of, listed, may_be_listed, node_of, offer_of
from tlsgate.core.offers import Asked, Offer
from tlsgate.core.rolevalues import Target
from tlsgate.errors import BadName, NoAgent, NotServed, TargetDenied
from tlsgate.interfaces import IReach, IRouteContext, ITunnels


@frozen(kw_only=True)
class Found:
    """A node that its client may reach.

    Attributes:
        reach: the way to it.
        target: what logs and audit call it.
        limits: what the decision says of idle time and end.
    """

    reach: IReach
    target: str
    limits: Decision


def find_node(
    context: IRouteContext,
    identity: Identity,
    host: str,
    port: int,
    *,
    certificate: bytes = b"",
    ssh_certificate: str = "",
) -> Found:
    """Find the node that *host* and *port* mean for the holder of a certificate.

    Args:
        certificate, ssh_certificate: what the client has shown, as of `Asked`.

    Raises:
        NotServed: there are no agents here.
        BadName: that is nobody's name.
        NoAgent: no agent with a tunnel offers it.
        TargetDenied: not for this client.
        NotOffered: the node is there, and no such port of it.
    """
    cluster, tunnels = context.cluster, context.tunnels
    if cluster is None or tunnels is None:
        raise NotServed(context.route.protocol, "this gateway has no agents")
    publics = [
        split(one)[0] for one in (*context.settings.public.web, *context.settings.public.ssh)
    ]
    offer = _offer(tunnels, host, port, publics, cluster.name)
    target = Target(kind="node", name=offer.name, labels=offer.labels)
    here = getattr(context.peer, "host", None)
    decision = cluster.decide_target(identity, target, here)
    user = identity.name if identity.claims is None else identity.claims.name
    if not decision.allowed:
        raise TargetDenied(user, f"node {offer.name}", decision.why)
    by_address = listed(host_port(host, port), (offer,))
    reach = tunnels.reach(
        Asked(
            kind="node",
            name=offer.name,
            address=address_of(offer, port) if by_address is None else host_port(host, port),
            user=user,
            certificate=certificate,
            ssh_certificate=ssh_certificate,
            client=_spelt(context),
            cluster=cluster.name,
            listener=context.listener,
            route=context.route.name,
            trace=context.trace,
        )
    )
    return Found(reach=reach, target=f"node/{offer.name}", limits=decision)


def _offer(tunnels: ITunnels, host: str, port: int, publics: list[str], cluster: str) -> Offer:
    """Find what is meant: a node by its name, or by an address that one alone lists.

    An address never stands for a name of the cluster (S41).
    """
    try:
        name = node_of(host, [one for one in publics if one], cluster)
    except BadName:
        offer = listed(host_port(host, port), tunnels.offers("node"))
        if offer is None:
            raise
        return offer
    offer = tunnels.offer("node", name)
    if offer is None:
        offers = tunnels.offers("node")
        offer = offer_of(name, offers)
        if offer is None and may_be_listed(host, name):
            offer = listed(host_port(host, port), offers)
    if offer is None:
        raise NoAgent("node", name)
    return offer


def _spelt(context: IRouteContext) -> str:
    peer = context.peer
    if isinstance(peer, IPv4Address | IPv6Address):
        return host_port(peer.host, peer.port)
    return ""
