"""Certificates as the API answers with them: what roles allow, for whom, in JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tlsgate.auth.calls import Call
from tlsgate.auth.issue import (
    Issued,
    bare_name,
    check_not_public,
    host_names,
    ssh_extensions,
    ssh_names,
)
from tlsgate.auth.opaque import pack, unpack
from tlsgate.auth.principal import AUTH
from tlsgate.auth.tokens import TYPES
from tlsgate.core.claims import Claims
from tlsgate.core.keeping import ABSENT, Put
from tlsgate.core.roles import Person, Role, effective
from tlsgate.errors import BadAsk, BadBytes, BadName, Conflict, Exists
from tlsgate.tls.publickeys import load_public_key, load_ssh_public_key

#: Where the names of joined hosts stand; an item ends with the certificate.
HOSTS = "hosts/"


def hosts_of(addresses: Sequence[str]) -> tuple[str, ...]:
    """The names in "host:port" addresses."""
    return tuple(host.strip("[]") for one in addresses if (host := one.rpartition(":")[0] or one))


def key_der(pem: str) -> bytes:
    """The DER of a public key in PEM.

    Raises:
        BadBytes: it is none that is taken.
    """
    return load_public_key(pem).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def revision_json(issued: Issued, revision: int) -> dict[str, Any]:
    """What every certificate's answer has."""
    return {
        "certificate": issued.tls_pem,
        "ssh_certificate": issued.ssh,
        "not_before": issued.not_before,
        "not_after": issued.not_after,
        "cas": {kind: list(texts) for kind, texts in issued.cas.items()},
        "revision": revision,
    }


def check_keys(tls_public_key: str, ssh_public_key: str | None) -> None:
    """Let keys pass that can be certified, before a one-time code is used up for them.

    Raises:
        BadBytes: one cannot be read, or they are not one and the same.
    """
    key = load_public_key(tls_public_key)
    if ssh_public_key is not None and load_ssh_public_key(ssh_public_key) != key:
        raise BadBytes("public key", "the OpenSSH key is not the same as the TLS key")


async def for_user(
    call: Call,
    person: Person,
    roles: Sequence[Role],
    *,
    tls_public_key: str,
    ssh_public_key: str | None,
    ttl_seconds: float | None,
    pin_to: str | None,
    base: Claims | None = None,
    not_after: float | None = None,
) -> dict[str, Any]:
    """Issue a user's certificates, as the user's roles allow, and record it.

    Args:
        roles: of the person, as they are kept now.
        pin_to: the address that pinned certificates are good from; None: unknown.
        base: what the certificate that asks says; its limits are passed on (S55).
        not_after: its end.

    Raises:
        BadAsk: the roles pin certificates to an address, and there is none.
        BadBytes: a key that is not taken.
    """
    options = effective(roles)
    pinned = None if base is None else base.pinned_address
    if pinned is None and options.pin_source_ip:
        if pin_to is None:
            raise BadAsk(f"roles of {person.name} pin certificates to an address: log in instead")
        pinned = pin_to
    claims = Claims(
        cluster=call.parts.cluster,
        kind="user",
        name=person.name,
        roles=tuple(role.name for role in roles),
        traits=person.traits,
        routes={} if base is None else base.routes,
        pinned_address=pinned,
        generation=base.generation + 1 if base is not None and base.generation else 0,
    )
    issued = call.parts.issuer.user_certificates(
        claims,
        tls_public_key,
        # An OpenSSH certificate opens every node: there is no narrow one.
        None if claims.routes.keys() - {"cluster"} else ssh_public_key,
        ttl_seconds,
        extensions=ssh_extensions(
            port_forwarding=bool(options.port_forwarding), forward_agent=bool(options.forward_agent)
        ),
        cap_seconds=options.max_session_seconds,
        not_after=not_after,
    )
    call.emit(
        "cert.create",
        {"identity.user": person.name, "identity.roles": list(claims.roles)},
        cert_type="user",
        expires=issued.not_after,
    )
    return {
        "user": person.name,
        "cluster": claims.cluster,
        "roles": list(claims.roles),
        "traits": {key: list(values) for key, values in person.traits.items()},
        **revision_json(issued, await call.parts.store.revision()),
    }


def check_name(call: Call, claims: Claims) -> None:
    """Let a name pass that a host may have.

    Where the cluster is called like its public address, `<name>.<role>.<cluster>` lies under
    that: such names are nobody else's, and an agent's certificate is good for clients only.

    Raises:
        BadName: it is none, or under a public address.
    """
    public = [
        host
        for host in hosts_of(call.parts.public_addresses())
        if not f".{claims.cluster}".endswith(f".{host}")
    ]
    check_not_public(host_names(claims), public)
    if "node" in claims.system_roles:
        _check_node(claims, public)


def _check_node(claims: Claims, public: Sequence[str]) -> None:
    """Let a node's name pass that is no other host's in its OpenSSH certificate.

    <name> and <name>.<cluster> are principals of it. They must not be those of another node,
    which are <its name>.node.<cluster>, <its name>.<cluster> and <its name>.<public>.
    """
    name = claims.name.lower()
    try:
        check_not_public(bare_name(claims), [claims.cluster, *public])
    except BadName:
        why = "below the cluster's name or a public address: a node is called by one label there"
        raise BadName(f"name {name[:64]}", why) from None
    if "." in name and name.rpartition(".")[2] in (AUTH, *TYPES):
        raise BadName(f"name {name[:64]}", "ends with what only names of the cluster end with")


def host_key(role: str, name: str) -> str:
    """Where a joined host's name stands; its names in certificates are of one case too."""
    return f"{HOSTS}{role}/{name.lower()}"


def check_zone(zone: str, names: Sequence[str]) -> None:
    """Let *names* pass that are not under *zone*, where other hosts have theirs.

    Raises:
        BadName: one is.
    """
    check_not_public([name.removeprefix("*.") for name in names], [zone])


async def for_host(
    call: Call,
    claims: Claims,
    *,
    tls_public_key: str,
    ssh_public_key: str | None,
    replaces: bool,
    labels: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Issue a host's certificate under a name that is its own, and record it.

    Args:
        replaces: True: who asks has shown a certificate of this very host.
        labels: of the token by which it joins; None: those that it has stay.

    Raises:
        Exists: another host has the name, until its certificate ends.
        BadBytes: a key or a name that is not taken.
    """
    parts = call.parts
    check_name(call, claims)
    digest = hashlib.sha256(key_der(tls_public_key)).hexdigest()
    issued = parts.issuer.host_certificate(
        claims,
        tls_public_key,
        ssh_public_key=ssh_public_key,
        ssh_names=ssh_names(claims, hosts_of(parts.public_addresses())),
    )
    given = dict(labels or {})
    for role in claims.system_roles:
        key = host_key(role, claims.name)
        item = await parts.store.get(key)
        kept = {} if item is None else unpack(key, item.value)
        if item is not None and not replaces and kept.get("key") != digest:
            raise Exists(role, claims.name)
        if labels is None:
            given |= kept.get("labels") or {}
        value = pack({"name": claims.name, "key": digest, "since": parts.now(), "labels": given})
        expects = ABSENT if item is None else item.revision
        try:
            await parts.store.commit([Put(key, value, expects, issued.not_after)])
        except Conflict:
            raise Exists(role, claims.name) from None
    call.emit(
        "cert.create",
        {"identity.user": claims.name, "identity.roles": list(claims.system_roles)},
        cert_type="host",
        expires=issued.not_after,
    )
    return {
        "name": claims.name,
        "cluster": claims.cluster,
        "system_roles": list(claims.system_roles),
        "names": list(issued.names),
        "labels": given,
        **revision_json(issued, await parts.store.revision()),
    }
