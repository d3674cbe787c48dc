"""Whose an OpenSSH certificate of a user is: its words, and what is known of the user now.

The certificate names the user and nothing else: roles and traits are those that the user has
at the moment. Its signature is checked elsewhere (`tls.sshtrust`): here is no cryptography.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Final

from tlsgate.core.access import Identity
from tlsgate.core.claims import Claims
from tlsgate.core.roles import Person
from tlsgate.core.wire.sshcert import Kind, SshCertificate, judge
from tlsgate.errors import BadCertificate, Untrusted

#: An extension: the only address of a client that the certificate is good from (S55).
#: No critical option: sshd behind an agent sees the agent's address, never the client's.
PINNED: Final = "pinned-address@tlsgate"


def identity_of(
    certificate: SshCertificate,
    trusted: Collection[bytes],
    *,
    cluster: str,
    people: Mapping[str, Person] | None,
    now: float,
) -> Identity:
    """Who holds *certificate*, by its words.

    Args:
        trusted: blobs of the keys of the cluster's authority for them.
        people: users by name; None: nobody has told of them.
        now: seconds since the epoch.

    Raises:
        BadCertificate: it is not one of a user of the cluster, or not good now.
    """
    names = certificate.principals
    try:
        judge(certificate, trusted, Kind.USER, now, names[0] if names else "")
    except Untrusted as error:
        raise BadCertificate(error.why) from error
    if len(names) != 1:
        raise BadCertificate("it names several principals, and the cluster's name one")
    if people is None:
        raise BadCertificate("the auth service does not say which roles users have")
    if (person := people.get(names[0])) is None:
        raise BadCertificate(f"there is no user {names[0][:64]!a} any more")
    claims = Claims(
        cluster=cluster,
        kind="user",
        name=person.name,
        roles=person.roles,
        traits=person.traits,
        pinned_address=_pinned(certificate),
    )
    return Identity(
        common_names=names,
        serial=certificate.serial,
        not_after=float(certificate.valid_before),
        claims=claims,
        anchor=hashlib.sha256(certificate.authority).digest(),
    )


def _pinned(certificate: SshCertificate) -> str | None:
    content = certificate.extensions.get(PINNED)
    if content is None:
        return None
    length = int.from_bytes(content[:4], "big")
    if len(content) != 4 + length or not content[4:].isascii():
        raise BadCertificate("the address that it is pinned to cannot be read")
    return content[4:].decode("ascii")
