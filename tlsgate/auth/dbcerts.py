"""What the database authority signs: who connects to a database server, and the server itself.

A client's certificate says a user of the database by its common name, as `cert` in pg_hba.conf
reads it (https://www.postgresql.org/docs/current/auth-cert.html); it is short, and says nothing
of the cluster, so no door of ours takes it. A server's is for names and addresses, and good
for servers only.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from attrs import evolve, frozen
from cryptography.x509.oid import ExtendedKeyUsageOID

from tlsgate.auth.authorities import Authorities
from tlsgate.auth.issue import BACKDATE_SECONDS, FLOOR_SECONDS
from tlsgate.auth.leaf import Leaf, sign_leaf
from tlsgate.core.names import normal
from tlsgate.errors import BadAsk, BadName
from tlsgate.tls.publickeys import load_public_key

#: Of a client's certificate, at most.
CLIENT_SECONDS: Final = 3600.0
#: Of a server's, where nobody says otherwise.
SERVER_SECONDS: Final = 90 * 86400.0
#: PostgreSQL's names are of 63 bytes at most; a longer one would be cut to another.
_USER_BYTES: Final = 63


@frozen(kw_only=True)
class Signed:
    """A certificate of the database authority.

    Attributes:
        not_before, not_after: seconds since the epoch.
        cas: whom to trust at the other end, PEM.
    """

    pem: str
    not_before: int
    not_after: int
    cas: tuple[str, ...]


def for_client(
    authorities: Authorities, db_user: str, public_key: str, now: float, not_after: float
) -> Signed:
    """Sign for who connects as *db_user*.

    Args:
        not_after: of the certificate of the person behind; this one never outlives it.

    Raises:
        BadBytes: a key or a name that no certificate carries.
        BadName: a user that a server would read as another one.
        BadAsk: nothing is left of its life.
    """
    if len(db_user.encode()) > _USER_BYTES:
        raise BadName("database user", f"has more than {_USER_BYTES} bytes")
    ends = min(now + CLIENT_SECONDS, not_after)
    purpose = ExtendedKeyUsageOID.CLIENT_AUTH
    return _sign(
        authorities,
        now,
        ends,
        Leaf(
            claims=None,
            common_name=db_user,
            key=load_public_key(public_key),
            not_before=0,
            not_after=0,
            purposes=(purpose,),
        ),
    )


def for_server(
    authorities: Authorities,
    hosts: Sequence[str],
    public_key: str,
    now: float,
    ttl_seconds: float | None = None,
) -> Signed:
    """Sign for a server that is dialled by one of *hosts*, names or addresses.

    Raises:
        BadBytes: a key that is not taken.
        BadName: a host that is neither.
    """
    names, addresses = _sorted(hosts)
    first = next(iter((*names, *map(str, addresses))))
    life = max(FLOOR_SECONDS, SERVER_SECONDS if ttl_seconds is None else ttl_seconds)
    return _sign(
        authorities,
        now,
        now + life,
        Leaf(
            claims=None,
            common_name=first if len(first) <= 64 else "database",
            key=load_public_key(public_key),
            not_before=0,
            not_after=0,
            dns_names=names,
            addresses=addresses,
            purposes=(ExtendedKeyUsageOID.SERVER_AUTH,),
        ),
    )


def _sign(authorities: Authorities, now: float, ends: float, leaf: Leaf) -> Signed:
    authority = authorities.x509("db")
    begins, until = int(now) - BACKDATE_SECONDS, int(min(ends, authority.not_after))
    if until <= now:
        raise BadAsk("the certificate would have ended already: log in again")
    pem = sign_leaf(authority, evolve(leaf, not_before=begins, not_after=until))
    cas = tuple(one.decode() for one in authorities.trusted("db"))
    return Signed(pem=pem, not_before=begins, not_after=until, cas=cas)


def _sorted(
    hosts: Sequence[str],
) -> tuple[tuple[str, ...], tuple[IPv4Address | IPv6Address, ...]]:
    names: dict[str, None] = {}
    addresses: dict[IPv4Address | IPv6Address, None] = {}
    for host in hosts:
        try:
            addresses[ip_address(host.strip("[]"))] = None
        except ValueError:
            names[normal(host)] = None
    if not names and not addresses:
        raise BadName("host", "a server's certificate is for one name or address at least")
    return tuple(names), tuple(addresses)
