"""Locks: who an operator has shut out, and for how long.

A lock has one target; who matches it gets nothing new, and loses what is open. Pure: the
time is a parameter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import frozen

from tlsgate.core.access import Identity
from tlsgate.core.claims import Claims
from tlsgate.errors import BadResource

#: What a lock can be on. An agent is a host certificate's name; a certificate is its
#: serial number in lower-case hexadecimal digits.
TARGETS: Final = ("user", "role", "agent", "certificate", "login")


@frozen(kw_only=True)
class Lock:
    """One lock.

    Attributes:
        name: of the resource.
        what: one of `TARGETS`.
        which: the name of the user, role or agent, or the serial number.
        expires: seconds since the epoch; None: until it is removed.
        message: for those whom it shuts out.
    """

    name: str
    what: str
    which: str
    expires: float | None = None
    message: str = ""

    def in_force(self, now: float) -> bool:
        """Whether it has not expired."""
        return self.expires is None or now < self.expires

    def on(self, claims: Claims, serial: int) -> bool:
        """Whether the holder of a certificate is who it shuts out."""
        if self.what == "certificate":
            return self.which == f"{serial:x}"
        if claims.kind == "host":
            return self.what == "agent" and self.which == claims.name
        if self.what == "user":
            return self.which == claims.name
        if self.what == "role":
            return self.which in claims.roles
        return False


def lock_of(resource: Mapping[str, Any]) -> Lock:
    """Read a resource of kind lock, as the API gives it.

    Raises:
        BadResource: it has no single target.
    """
    spec = resource.get("spec", {})
    target = spec.get("target", {})
    named = [(what, which) for what, which in target.items() if which]
    if len(named) != 1 or named[0][0] not in TARGETS or not isinstance(named[0][1], str):
        raise BadResource([("spec.target", f"has to name one of {', '.join(TARGETS)}")])
    what, which = named[0]
    if what == "certificate":
        which = which.lower().replace(":", "").lstrip("0")
    return Lock(
        name=str(resource.get("metadata", {}).get("name", "")),
        what=what,
        which=which,
        expires=spec.get("expires"),
        message=str(spec.get("message") or ""),
    )


def lock_on(locks: Iterable[Lock], identity: Identity, now: float) -> Lock | None:
    """The first lock in force on the holder of a certificate; None: nobody shuts it out."""
    claims = identity.claims
    if claims is None:
        return None
    for lock in locks:
        if lock.in_force(now) and lock.on(claims, identity.serial):
            return lock
    return None
