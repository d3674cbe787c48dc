"""The values of roles: who asks, what roles say, what is asked for.

`core.roles` decides over them, `core.rolespec` reads them, `core.explaining` tells why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from attrs import field, frozen

from tlsgate.core.labels import Selector
from tlsgate.core.templates import Traits

#: A role that says nothing of it gives certificates of at most this life.
MAX_SESSION_SECONDS: Final = 30 * 3600.0
#: And none may ask for less than this.
LEAST_SESSION_SECONDS: Final = 60.0

VERBS: Final = ("list", "create", "read", "readnosecrets", "update", "delete", "use", "rotate")

TargetKind = Literal["node", "db", "app", "kube"]
Side = Literal["allow", "deny"]


@frozen
class Person:
    """Somebody whose certificate or session was verified before.

    Attributes:
        roles: names; a name that no role has any more gives nothing.
    """

    name: str
    roles: tuple[str, ...] = ()
    traits: Traits = field(factory=dict)


@frozen
class Rule:
    """Verbs over kinds of resources; `*` is any."""

    resources: tuple[str, ...]
    verbs: tuple[str, ...]


@frozen(kw_only=True)
class Conditions:
    """One side of a role, allow or deny.

    Words of `logins` and the like are literal or templates; in `db_users`, `db_names` and
    everywhere in a deny they may be patterns.
    """

    logins: tuple[str, ...] = ()
    node_labels: Selector = field(factory=dict)
    db_labels: Selector = field(factory=dict)
    db_users: tuple[str, ...] = ()
    db_names: tuple[str, ...] = ()
    app_labels: Selector = field(factory=dict)
    kubernetes_labels: Selector = field(factory=dict)
    kubernetes_users: tuple[str, ...] = ()
    kubernetes_groups: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()


@frozen(kw_only=True)
class Options:
    """What a session of the role may be, or of several after `effective`.

    Attributes:
        client_idle_seconds: None: the role ends no idle connection.
        port_forwarding: None: the role does not say; never after `effective`.
        forward_agent: the same.
        strict_locks: nobody comes in on what a gateway knew of locks too long ago.
        audit_queries: what is asked of the databases that the role allows is written down.
    """

    max_session_seconds: float = MAX_SESSION_SECONDS
    client_idle_seconds: float | None = None
    disconnect_expired_cert: bool = False
    pin_source_ip: bool = False
    port_forwarding: bool | None = None
    forward_agent: bool | None = None
    strict_locks: bool = False
    audit_queries: bool = False


@frozen(kw_only=True)
class Role:
    """A role as decisions use it; `core.rolespec.parse_role` reads one."""

    name: str
    allow: Conditions = Conditions()
    deny: Conditions = Conditions()
    options: Options = Options()


@frozen(kw_only=True)
class Target:
    """What a person wants to reach, and as whom; None: that is not asked (yet)."""

    kind: TargetKind
    name: str
    labels: Mapping[str, str] = field(factory=dict)
    login: str | None = None
    db_user: str | None = None
    db_name: str | None = None
    kube_user: str | None = None
    kube_groups: tuple[str, ...] = ()


def is_login(name: str) -> bool:
    """Whether *name* may be a login on a server; nothing that could be a path or an option."""
    return (
        0 < len(name) <= 64
        and name.isascii()
        and (name[0].isalnum() or name[0] == "_")
        and all(char.isalnum() or char in "_-.@+$\\" for char in name)
    )
