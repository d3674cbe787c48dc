"""A database of an agent's: which one is meant, who its client may be in there, and asking for it.

The same for every protocol of databases:

1. `find_database`: the certificate names it (`core.certroutes`), else the server name does:
   `<database>.db.<public>`.
2. `inside`: the user and the database in there are the certificate's, where it names them.
3. `told_of`: what auditors hear of it.
4. `ask_database`: roles decide, and then there is a way to the agent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address

from tlsgate.core.access import Decision, Identity
from tlsgate.core.addresses import host_port, split
from tlsgate.core.certroutes import DB, DB_NAME, DB_USER
from tlsgate.core.offers import Asked, Offer
from tlsgate.core.relayed import Relayed, Rest
from tlsgate.core.rolevalues import Target
from tlsgate.errors import NoAgent, NoDatabase, NotServed, StartupRefused, TargetDenied
from tlsgate.interfaces import IReach, IRouteContext

#: Between a database's name and ours.
ZONE = "db"


@frozen(kw_only=True)
class Found:
    """A database that its client may reach.

    Attributes:
        reach: the way to it.
        asked: what its agent is asked for.
        target: what logs and audit call it.
        limits: what the decision says of idle time and end.
    """

    reach: IReach
    asked: Asked
    target: str
    limits: Decision


def find_database(context: IRouteContext, identity: Identity, protocol: str) -> Offer:
    """Give the database that a client means.

    Args:
        protocol: what it has to speak, as agents' files call it.

    Raises:
        NotServed: there are no agents here, or it speaks something else.
        NoDatabase: neither the certificate nor the server name says which.
        StartupRefused: they say different ones.
        NoAgent: no agent with a tunnel offers it.
    """
    if context.cluster is None or context.tunnels is None:
        raise NotServed(protocol, "this gateway has no agents")
    named = routes_of(identity).get(DB)
    dialled = _dialled(context)
    if named is not None and dialled not in (None, named):
        raise StartupRefused("database service", str(dialled), named)
    name = named or dialled
    if name is None:
        raise NoDatabase(protocol)
    offer = context.tunnels.offer("db", name)
    if offer is None:
        raise NoAgent("db", name)
    spoken = offer.facts.get("protocol", "")
    if spoken != protocol:
        raise NotServed(protocol, f"the database {name} speaks {spoken or 'something else'}")
    return offer


def inside(identity: Identity, user: str, database: str | None) -> tuple[str, str]:
    """Give the user and the database for whom a client may come.

    Args:
        user, database: as the client says; a database of None is as the certificate says, or
            the one of the user's name.

    Raises:
        StartupRefused: the certificate is for others.
    """
    routes = routes_of(identity)
    if routes.get(DB_USER, user) != user:
        raise StartupRefused("user", user, routes[DB_USER])
    allowed = routes.get(DB_NAME)
    if database is None:
        return user, allowed or user
    if allowed not in (None, database):
        raise StartupRefused("database", database, str(allowed))
    return user, database


def ask_database(
    context: IRouteContext,
    identity: Identity,
    offer: Offer,
    user: str,
    database: str,
    details: Mapping[str, str],
) -> Found:
    """Decide about a client, and give the way.

    Args:
        user, database: in there.
        details: what the agent is told beside these two.

    Raises:
        TargetDenied: not for this client.
    """
    cluster, tunnels = context.cluster, context.tunnels
    assert cluster is not None and tunnels is not None
    wanted = Target(kind="db", name=offer.name, labels=offer.labels, db_user=user, db_name=database)
    decision = cluster.decide_target(identity, wanted, getattr(context.peer, "host", None))
    who = identity.name if identity.claims is None else identity.claims.name
    if not decision.allowed:
        raise TargetDenied(who, f"database {offer.name}", decision.why)
    asked = Asked(
        kind="db",
        name=offer.name,
        user=who,
        certificate=context.certificate(),
        client=_spelt(context),
        cluster=cluster.name,
        listener=context.listener,
        route=context.route.name,
        trace=context.trace,
        details={DB_USER: user, DB_NAME: database, **details},
    )
    target = f"db/{offer.name}"
    return Found(reach=tunnels.reach(asked), asked=asked, target=target, limits=decision)


def told_of(
    offer: Offer, user: str, database: str, rest: Callable[[], Rest] | None = None
) -> Relayed:
    """What auditors hear of a session beside the rest, in the names that they know.

    Args:
        rest: makes what knows when the session rests.
    """
    return Relayed(
        {
            "db_service": offer.name,
            "db_protocol": offer.facts.get("protocol", ""),
            "db_user": user,
            "db_name": database,
        },
        rest=None if rest is None else rest(),
    )


def routes_of(identity: Identity) -> Mapping[str, str]:
    """What the certificate is limited to."""
    return {} if identity.claims is None else identity.claims.routes


def _dialled(context: IRouteContext) -> str | None:
    """The database that the server name means; None: it means none."""
    public = context.settings.public
    name = context.server_name or ""
    for one in (*public.web, *public.postgres):
        zone = f".{ZONE}.{split(one)[0]}"
        if name.endswith(zone) and len(name) > len(zone):
            return name[: -len(zone)]
    return None


def _spelt(context: IRouteContext) -> str:
    peer = context.peer
    if isinstance(peer, IPv4Address | IPv6Address):
        return host_port(peer.host, peer.port)
    return ""
