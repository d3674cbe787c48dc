"""Who asks the API, as the door that was used has found out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal

from attrs import field, frozen

if TYPE_CHECKING:
    from tlsgate.core.roles import Person

Kind = Literal["local", "user", "host", "nobody"]

#: The system role of a gateway; the others are auth, node, db, app, kube.
GATEWAY: Final = "gateway"


@frozen(kw_only=True)
class Principal:
    """One who asks.

    Only a door makes one: from the peer credentials of the admin socket ("local"), from a
    verified certificate of this cluster ("user", "host"), or from neither ("nobody").

    Attributes:
        name: the user's or the host's; of "local" the user id.
        roles: what the certificate says; the API counts those that the user still has.
        address: of the client, without a port, as audit events and lockouts know it.
        pinned_address: the only address that the certificate may be used from.
        not_after: the certificate's end, seconds since the epoch; None without one.
        certificate: SHA-256 of its DER in hex; "" without one.
    """

    kind: Kind
    name: str = ""
    roles: tuple[str, ...] = ()
    system_roles: tuple[str, ...] = ()
    traits: Mapping[str, tuple[str, ...]] = field(factory=dict)
    routes: Mapping[str, str] = field(factory=dict)
    address: str | None = None
    pinned_address: str | None = None
    generation: int = 0
    not_after: float | None = None
    certificate: str = ""

    @property
    def person(self) -> Person:
        """What the rules of roles are held against."""
        from tlsgate.core.roles import Person

        return Person(name=self.name, roles=self.roles, traits=self.traits)

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
