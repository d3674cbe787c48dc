"""Who asks the API, as the door that was used has found out."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final, Literal

from attrs import evolve, frozen

from tlsgate.core.access import Identity
from tlsgate.core.claims import Claims
from tlsgate.core.roles import Person
from tlsgate.errors import BadAsk, Untrusted

Kind = Literal["local", "user", "host", "nobody"]

#: The system role of a gateway, and of the auth service; the others are node, db, app, kube.
GATEWAY: Final = "gateway"
AUTH: Final = "auth"

#: By which a gateway says for whom it asks, see `on_behalf`.
AS_HEADER: Final = "tlsgate-as"
#: The longest address: IPv6 with an IPv4 tail.
_ADDRESS_CHARACTERS: Final = 45


@frozen(kw_only=True)
class Principal:
    """One who asks.

    Only a door makes one: from the peer credentials of the admin socket ("local"), from a
    verified certificate of this cluster ("user", "host"), or from neither ("nobody").

    Attributes:
        name: the user's or the host's; of "local" the user id.
        claims: what the certificate says; of users and hosts only.
        address: of the client, without a port, as audit events and lockouts know it.
        serial, fingerprint: of the certificate; what locks may name it by.
        not_after: its end, seconds since the epoch.
    """

    kind: Kind
    name: str = ""
    claims: Claims | None = None
    address: str | None = None
    serial: int | None = None
    fingerprint: str | None = None
    not_after: float | None = None

    @property
    def roles(self) -> tuple[str, ...]:
        """What the certificate says; the API counts those that the user still has."""
        return () if self.claims is None else tuple(self.claims.roles)

    @property
    def system_roles(self) -> tuple[str, ...]:
        """What a host is."""
        return () if self.claims is None else tuple(self.claims.system_roles)

    @property
    def person(self) -> Person:
        """The user as the certificate has it."""
        traits = {} if self.claims is None else self.claims.traits
        return Person(name=self.name, roles=self.roles, traits=traits)

    def __str__(self) -> str:
        """How audit events name it: "alice", "local:0", "gateway:gw1", "nobody"."""
        if self.kind == "user":
            return self.name
        if self.kind == "host":
            return f"{next(iter(self.system_roles), 'host')}:{self.name}"
        return f"local:{self.name}" if self.kind == "local" else "nobody"


def nobody(address: str | None = None) -> Principal:
    """Somebody who has shown nothing yet."""
    return Principal(kind="nobody", address=address)


def local(uid: int) -> Principal:
    """The user *uid* of this machine, at the admin socket; may do everything."""
    return Principal(kind="local", name=str(uid))


def of_certificate(identity: Identity, address: str | None) -> Principal:
    """The holder of a certificate that one of the cluster's own authorities has issued.

    Raises:
        Untrusted: the certificate says nothing of a cluster.
    """
    claims = identity.claims
    if claims is None:
        raise Untrusted("the certificate", "it is not of this cluster")
    return Principal(
        kind=claims.kind,
        name=claims.name,
        claims=claims,
        address=address,
        serial=identity.serial,
        fingerprint=identity.fingerprint or None,
        not_after=identity.not_after,
    )


def on_behalf(principal: Principal, said: str | None) -> Principal:
    """Who asks, where a gateway may ask for one of its clients.

    "gateway ADDRESS" asks as the gateway, for a client at that address; "anyone ADDRESS" asks
    as that client, who has shown nothing yet. Of anybody but a gateway it counts for nothing.

    Args:
        principal: who holds the connection.
        said: the header; None: there is none.

    Raises:
        BadAsk: a gateway says what cannot be read.
    """
    if said is None or principal.kind != "host" or GATEWAY not in principal.system_roles:
        return principal
    word, _, address = said.partition(" ")
    if word not in ("gateway", "anyone") or len(address) > _ADDRESS_CHARACTERS:
        raise BadAsk(f"{AS_HEADER} is gateway or anyone, and an address")
    try:
        client = str(ip_address(address)) if address else None
    except ValueError as e:
        raise BadAsk(f"{AS_HEADER} names no address") from e
    if word == "anyone":
        return nobody(client)
    return principal if client is None else evolve(principal, address=client)


def of_machine(us: Principal, uid: int, said: str | None) -> Principal:
    """Who asks by a socket that is root's and the daemon's alone.

    Our own processes ask by it too, and say so as `on_behalf` has it: "gateway ADDRESS",
    "anyone ADDRESS". Anybody else is the user *uid*, who may do everything: nobody gains by
    saying so.

    Args:
        us: what our own processes are.

    Raises:
        BadAsk: it cannot be read.
    """
    if (said or "").partition(" ")[0] in ("gateway", "anyone"):
        return on_behalf(us, said)
    return local(uid)


def itself(cluster: str, name: str) -> Principal:
    """The process of the auth service, which may be dialled as such, and as a gateway."""
    claims = Claims(cluster=cluster, kind="host", name=name, system_roles=(GATEWAY, AUTH))
    return Principal(kind="host", name=name, claims=claims)


def gateway(cluster: str, name: str) -> Principal:
    """A gateway in this very process or a worker of it, that needs no certificate."""
    claims = Claims(cluster=cluster, kind="host", name=name, system_roles=(GATEWAY,))
    return Principal(kind="host", name=name, claims=claims)
