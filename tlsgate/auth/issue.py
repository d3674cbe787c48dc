"""What the authorities sign: certificates of users, hosts and gateways.

Who may have which certificate is decided before; this module refuses only what no
certificate of a cluster may say. Each one begins 60 s back (R16), ends before its
authority, and carries the cluster's extension: the identity is that, never the name alone.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from attrs import field, frozen
from cryptography.hazmat.primitives.serialization import (
    SSHCertificateBuilder,
    SSHCertificateType,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from tlsgate.auth.authorities import Authorities
from tlsgate.auth.leaf import Leaf, sign_leaf
from tlsgate.core.claims import Claims
from tlsgate.core.names import normal
from tlsgate.core.sshidentity import PINNED
from tlsgate.errors import BadAsk, BadBytes, BadName
from tlsgate.tls.publickeys import PublicKey, load_public_key, load_ssh_public_key

#: Of a user's certificate when nobody says otherwise.
USER_SECONDS: Final = 12 * 3600.0
#: No user's certificate is good for longer unless a role says so.
USER_CAP_SECONDS: Final = 30 * 3600.0
#: Of a host's; it is renewed at two thirds of it.
HOST_SECONDS: Final = 7 * 86400.0
#: Of a gateway's certificates for names; shorter, as it may ask for another at any time.
GATEWAY_SECONDS: Final = 24 * 3600.0
#: A shorter life would end before the first use.
FLOOR_SECONDS: Final = 60.0

#: Begun so much earlier than now (R16).
BACKDATE_SECONDS: Final = 60

#: Of a host's OpenSSH certificate; OpenSSH reads 256.
_PRINCIPALS: Final = 64

#: What an OpenSSH user certificate may permit. X11 forwarding and user-rc are not ours to give.
SSH_EXTENSIONS: Final = frozenset(
    ("permit-pty", "permit-port-forwarding", "permit-agent-forwarding")
)

_CLIENT: Final = (ExtendedKeyUsageOID.CLIENT_AUTH,)
_SERVER: Final = (ExtendedKeyUsageOID.SERVER_AUTH,)
_BOTH: Final = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)

#: System roles whose holders are dialled by TLS. An agent dials out only, and its
#: certificate is of no use to a client that looks at names alone: an agent "pg" of the
#: role db would be pg.db.<cluster>, which may well be a name of the gateway's.
_SERVERS: Final = frozenset(("auth", "gateway"))


@frozen(kw_only=True)
class Issued:
    """Certificates, and whom their holder is to trust.

    Attributes:
        tls_pem: the certificate; authorities sign leaves directly, so it is the chain too.
        ssh: the OpenSSH certificate as a line, where there is one.
        not_before: seconds since the epoch.
        not_after: the same; of both certificates.
        tls_cas: certificates of the host authority: what gateways show leads there.
        ssh_cas: keys of the OpenSSH host authority, as lines.
        cas: everything that is trusted, by type; the above are in it.
        names: the names that a host's or gateway's certificate is good for.
    """

    tls_pem: str
    ssh: str | None = None
    not_before: float
    not_after: float
    tls_cas: tuple[str, ...]
    ssh_cas: tuple[str, ...]
    cas: Mapping[str, Sequence[str]] = field(repr=False)
    names: tuple[str, ...] = ()


def ssh_extensions(*, port_forwarding: bool, forward_agent: bool) -> tuple[str, ...]:
    """What a user's OpenSSH certificate permits, by the options of the user's roles."""
    return (
        *(("permit-agent-forwarding",) if forward_agent else ()),
        *(("permit-port-forwarding",) if port_forwarding else ()),
        "permit-pty",
    )


def ssh_names(claims: Claims, public: Sequence[str]) -> tuple[str, ...]:
    """The principals of a host's OpenSSH certificate: all that clients may call it by.

    Those of a node are its names, and <name>.<public> for each *public* host of the gateways,
    under which clients reach it; what is a gateway's own is not among them.

    Raises:
        BadName: as `host_names`.
    """
    found = host_names(claims)
    if "node" in claims.system_roles:
        zones = [claims.cluster, *(host for host in public if not _is_address(host))]
        bare = bare_name(claims)
        found += (*bare, *(normal(f"{claims.name}.{zone}") for zone in zones))
    taken = {host.lower() for host in public}
    return tuple(name for name in dict.fromkeys(found) if name not in taken)[:_PRINCIPALS]


def bare_name(claims: Claims) -> tuple[str, ...]:
    """A host's name alone, where that can be one: a number is an address to somebody."""
    try:
        return (normal(claims.name),)
    except BadName:
        return ()


def host_names(claims: Claims) -> tuple[str, ...]:
    """The names that a host has by its role: <name>.<role>.<cluster>.

    Raises:
        BadName: the host's or the cluster's name cannot be a part of one.
    """
    return tuple(normal(f"{claims.name}.{role}.{claims.cluster}") for role in claims.system_roles)


class Issuer:
    """Signs for one cluster.

    Args:
        authorities: started.
        cluster: its name; no certificate for another is signed.
        now: seconds since the epoch.
    """

    def __init__(self, authorities: Authorities, cluster: str, now: Callable[[], float]) -> None:
        self._authorities = authorities
        self._cluster = cluster
        self._now = now

    def user_certificates(
        self,
        claims: Claims,
        tls_public_key_pem: str | bytes,
        ssh_public_key: str | bytes | None = None,
        ttl_seconds: float | None = None,
        *,
        extensions: Sequence[str] = ("permit-pty",),
        cap_seconds: float = USER_CAP_SECONDS,
        not_after: float | None = None,
    ) -> Issued:
        """Sign a user's certificates, X.509 and OpenSSH, for one and the same key.

        Args:
            claims: of the kind "user". What a certificate that is renewed was limited to
                (`pinned_address`) has to be in it; nobody adds it here (S55).
            tls_public_key_pem: SubjectPublicKeyInfo.
            ssh_public_key: the same key as a line of OpenSSH; None: no OpenSSH certificate.
            ttl_seconds: asked for; at least a minute and at most *cap_seconds* are given.
            extensions: of `SSH_EXTENSIONS`, see `ssh_extensions`.
            cap_seconds: the strictest `max_session_ttl` of the user's roles.
            not_after: of the certificate that asks, which the new one never outlives.

        Raises:
            BadBytes: a key or a name that no certificate carries.
            BadAsk: nothing is left of the life that it could have.
        """
        self._check_cluster(claims, "user")
        key = load_public_key(tls_public_key_pem)
        begins, ends = self._life("user", ttl_seconds, USER_SECONDS, cap_seconds, not_after)
        leaf = Leaf(
            claims=claims,
            key=key,
            not_before=begins,
            not_after=ends,
            organizations=claims.roles,
            purposes=_CLIENT,
        )
        pem = sign_leaf(self._authorities.x509("user"), leaf)
        line = None
        if ssh_public_key is not None:
            if load_ssh_public_key(ssh_public_key) != key:
                raise BadBytes("public key", "the OpenSSH key is not the same as the TLS key")
            unknown = set(extensions) - SSH_EXTENSIONS
            if unknown:
                raise BadAsk(f"OpenSSH certificates do not permit {min(unknown)[:64]!r}")
            _check_principal(claims.name)
            line = self._sign_ssh(
                "ssh_user",
                SSHCertificateType.USER,
                key,
                claims.name,
                [claims.name],
                (begins, ends),
                {**dict.fromkeys(extensions, b""), **_pinned(claims)},
            )
        return self._issued(pem, line, begins, ends)

    def host_certificate(
        self,
        claims: Claims,
        public_key_pem: str | bytes,
        dns_names: Sequence[str] = (),
        ttl_seconds: float | None = None,
        *,
        ssh_public_key: str | bytes | None = None,
        ssh_names: Sequence[str] = (),
        cap_seconds: float = HOST_SECONDS,
    ) -> Issued:
        """Sign a host's certificate: <name>.<role>.<cluster> and *dns_names*.

        It is good for clients, and for servers where a role of the host is dialled.

        Args:
            claims: of the kind "host", with its system roles.
            dns_names: more names; who asks has made sure that the host may have them
                (`check_not_public`).
            ssh_public_key: of the host's sshd.
            ssh_names: its principals, see `ssh_names`; (): the same names.

        Raises:
            BadBytes: a key or a name that no certificate carries.
        """
        self._check_cluster(claims, "host")
        key = load_public_key(public_key_pem)
        names = tuple(dict.fromkeys((*host_names(claims), *map(normal, dns_names))))
        begins, ends = self._life("host", ttl_seconds, HOST_SECONDS, cap_seconds, None)
        leaf = Leaf(
            claims=claims,
            key=key,
            not_before=begins,
            not_after=ends,
            dns_names=names,
            purposes=_BOTH if _SERVERS & set(claims.system_roles) else _CLIENT,
        )
        pem = sign_leaf(self._authorities.x509("host"), leaf)
        line = None
        if ssh_public_key is not None:
            line = self._sign_ssh(
                "ssh_host",
                SSHCertificateType.HOST,
                load_ssh_public_key(ssh_public_key),
                names[0],
                tuple(ssh_names) or names,
                (begins, ends),
                {},
            )
        return self._issued(pem, line, begins, ends, names)

    def gateway_certificate(
        self,
        names: Sequence[str],
        public_key_pem: str | bytes,
        *,
        gateway: str = "gateway",
        system_roles: Sequence[str] = ("gateway",),
        public: Sequence[str] | None = None,
        ssh_public_key: str | bytes | None = None,
        ssh_names: Sequence[str] = (),
        ttl_seconds: float | None = None,
        cap_seconds: float = GATEWAY_SECONDS,
    ) -> Issued:
        """Sign what a gateway shows under *names*; good for servers only.

        Args:
            names: "auth.<public>", "kube.<public>", or "*.db.<public>" for services.
            gateway: the gateway's own name, for logs.
            system_roles: what the process is dialled as: a gateway, the auth service, or both.
            public: the cluster's public addresses; names that neither are one of them nor
                lie under one are refused. None: the caller has looked.
            ssh_public_key: what its jump host shows; None: no OpenSSH certificate.
            ssh_names: the principals of that; who asks has looked at them.

        Raises:
            BadBytes: a key, or a name that is none or not the cluster's.
        """
        if not names:
            raise BadName("certificate", "a gateway's is for one name at least")
        wanted = tuple(dict.fromkeys(map(_maybe_wild, names)))
        if public is not None:
            for name in wanted:
                if not _is_under(name, public):
                    raise BadName(f"name {name}", "not under a public address of the cluster")
        claims = Claims(
            cluster=self._cluster, kind="host", name=gateway, system_roles=tuple(system_roles)
        )
        begins, ends = self._life("host", ttl_seconds, GATEWAY_SECONDS, cap_seconds, None)
        leaf = Leaf(
            claims=claims,
            key=load_public_key(public_key_pem),
            not_before=begins,
            not_after=ends,
            dns_names=wanted,
            purposes=_SERVER,
        )
        authority = self._authorities.x509("host")
        chain = sign_leaf(authority, leaf) + authority.trust.decode()
        line = None
        if ssh_public_key is not None and ssh_names:
            line = self._sign_ssh(
                "ssh_host",
                SSHCertificateType.HOST,
                load_ssh_public_key(ssh_public_key),
                gateway,
                [one if _is_address(one) else normal(one) for one in ssh_names][:_PRINCIPALS],
                (begins, ends),
                {},
            )
        return self._issued(chain, line, begins, ends, wanted)

    def _check_cluster(self, claims: Claims, kind: str) -> None:
        if claims.cluster != self._cluster or claims.kind != kind:
            raise BadBytes("certificate claims", f"not of a {kind} of {self._cluster}")

    def _life(
        self,
        kind: str,
        ttl_seconds: float | None,
        usual: float,
        cap_seconds: float,
        not_after: float | None,
    ) -> tuple[int, int]:
        """When a certificate begins and ends, in whole seconds."""
        now = self._now()
        wanted = usual if ttl_seconds is None else ttl_seconds
        if not wanted > 0:  # NaN too
            raise BadAsk("a certificate lives for more than 0 s")
        life = max(FLOOR_SECONDS, min(wanted, cap_seconds))
        authority = self._authorities.x509(kind)
        ends = int(min(now + life, authority.not_after, not_after or float("inf")))
        if ends <= now:
            raise BadAsk("the certificate would have ended already: log in again")
        return int(now) - BACKDATE_SECONDS, ends

    def _sign_ssh(
        self,
        kind: str,
        what: SSHCertificateType,
        key: PublicKey,
        key_id: str,
        principals: Sequence[str],
        life: tuple[int, int],
        extensions: Mapping[str, bytes],
    ) -> str:
        builder = (
            SSHCertificateBuilder()
            .public_key(key)
            .serial(secrets.randbits(63))
            .type(what)
            .key_id(key_id.encode())
            .valid_principals([name.encode() for name in principals])
            .valid_after(life[0])
            .valid_before(life[1])
        )
        for name, content in extensions.items():
            builder = builder.add_extension(name.encode(), content)
        return builder.sign(self._authorities.ssh(kind).key).public_bytes().decode()

    def _issued(
        self, pem: str, line: str | None, begins: int, ends: int, names: tuple[str, ...] = ()
    ) -> Issued:
        cas = self._authorities.cas()
        return Issued(
            tls_pem=pem,
            ssh=line,
            not_before=begins,
            not_after=ends,
            tls_cas=tuple(cas["host"]),
            ssh_cas=tuple(cas["ssh_host"]),
            cas=cas,
            names=names,
        )


def check_not_public(names: Sequence[str], public: Sequence[str]) -> None:
    """Refuse names for a joining host that equal or lie under a public address.

    Raises:
        BadName: one does, or is no name.
    """
    for name in names:
        if _is_under(normal(name), public):
            raise BadName(f"name {name[:64]}", "under a public address: it is the gateway's")


def _pinned(claims: Claims) -> dict[str, bytes]:
    """The extension of a certificate that is good from one address alone (S55)."""
    address = claims.pinned_address
    return {} if address is None else {PINNED: address.encode("ascii")}


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def _is_under(name: str, public: Sequence[str]) -> bool:
    hosts = (normal(one) for one in public if not _is_address(one))
    return any(name == one or name.endswith(f".{one}") for one in hosts)


def _maybe_wild(name: str) -> str:
    """A name, or "*." before one of three labels or more."""
    if not name.startswith("*."):
        return normal(name)
    rest = normal(name[2:])
    if rest.count(".") < 2:
        raise BadName(f"name {name[:64]}", "a wildcard stands before three labels or more")
    return f"*.{rest}"


def _check_principal(name: str) -> None:
    """Refuse what the list of principals of some sshd could read as more than one name."""
    if any(letter.isspace() or letter in ',"*?!#=' for letter in name):
        raise BadBytes("user name", "has a character that OpenSSH gives another meaning")
