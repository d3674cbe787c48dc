"""What our own clients ask of a server: that it is a gateway, or auth, of the right cluster.

A name in a certificate is not enough: a node's or a leaf cluster's certificate may carry a
name that looks right. So agents and tgsh look at the cluster's extension too, before the
first byte that matters: kind host, the role, the cluster, and an issuer among the host
authorities that they know, or whose pin they were given.

1. `presented` gives what the server has shown; the handshake has proven its key.
2. `pinned` finds the authority of a first login in it, by the pin.
3. `check_gateway` or `check_host` decides, and `verify.check_server` holds it to the name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NoReturn

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL

from tlsgate.core.access import Identity
from tlsgate.core.claims import Claims
from tlsgate.errors import BadKeyPair, Untrusted
from tlsgate.tls.pins import normal_pin, pin_matches
from tlsgate.tls.verify import judge_leaf

#: As for clients (S15).
_CERTIFICATES: Final = 8

_WHAT: Final = "the server"


def presented(connection: SSL.Connection) -> tuple[x509.Certificate, ...]:
    """What the server of a finished handshake has shown, its own certificate first.

    Raises:
        Untrusted: nothing, or more than anybody needs.
    """
    chain = connection.get_peer_cert_chain(as_cryptography=True) or ()
    if not 1 <= len(chain) <= _CERTIFICATES:
        _refuse(f"it shows {len(chain)} certificates")
    return tuple(chain)


def pinned(chain: Sequence[x509.Certificate], pins: Iterable[str]) -> x509.Certificate:
    """The host authority in *chain* that one of *pins* names; it is no proof by itself.

    Raises:
        Untrusted: none of the certificates has that key.
        BadAsk: a pin is none.
    """
    wanted = tuple(map(normal_pin, pins))
    for one in chain[1:_CERTIFICATES]:
        try:
            if pin_matches(wanted, one):
                return one
        except (ValueError, UnsupportedAlgorithm):
            continue  # a key that cannot be read is not the one
    why = "it shows no authority with the pin; copy the pin again, or ask who runs the cluster"
    raise Untrusted(_WHAT, why)


def check_gateway(
    chain: Sequence[x509.Certificate],
    cluster: str | None,
    cas: Iterable[x509.Certificate],
    now: float,
) -> Claims:
    """Make sure that *chain* is a gateway's; see `check_host`."""
    return check_host(chain, "gateway", cluster, cas, now)


def check_host(
    chain: Sequence[x509.Certificate],
    role: str,
    cluster: str | None,
    cas: Iterable[x509.Certificate],
    now: float,
) -> Claims:
    """Make sure that *chain* belongs to a host of *cluster* with the system role *role*.

    Args:
        chain: as shown, leaf first; only the leaf is looked at.
        cluster: None: whichever the authority says, at a first login.
        cas: the host authorities that are trusted, see `load_cas` and `pinned`.
        now: seconds since the epoch.

    Returns:
        What the certificate says.

    Raises:
        Untrusted: it is anybody else's, is not valid now, or not good for a server.
    """
    if not chain:
        _refuse("it shows no certificate")
    leaf = chain[0]
    found = judge_leaf(leaf.public_bytes(Encoding.DER))
    if not isinstance(found, Identity):
        _refuse(f"its certificate is refused: {found}")
    claims = found.claims
    if claims is None:
        _refuse("its certificate is of no cluster")
    if claims.kind != "host":
        _refuse(f"its certificate is a user's ({claims.name})")
    if role not in claims.system_roles:
        _refuse(f"its certificate is that of a {'/'.join(claims.system_roles)}, not of a {role}")
    if cluster is not None and claims.cluster != cluster:
        _refuse(f"its certificate is of the cluster {claims.cluster}, not of {cluster}")
    if not valid(leaf, now):
        _refuse("its certificate has ended, or has not begun; look at the clocks first")
    if not _is_for_servers(leaf):
        _refuse("its certificate is not for servers")
    if not any(valid(ca, now) and issued(leaf, ca) for ca in cas):
        _refuse("its certificate is from no authority of this cluster that is known here")
    return claims


def load_cas(
    pems: Iterable[str | bytes], file: str = "the CA certificates"
) -> tuple[x509.Certificate, ...]:
    """Read authorities as the API and identity files give them, one or several in each text.

    Raises:
        BadKeyPair: one cannot be read.
    """
    found: list[x509.Certificate] = []
    for pem in pems:
        text = pem.encode() if isinstance(pem, str) else pem
        try:
            found += x509.load_pem_x509_certificates(text)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise BadKeyPair(file, "hold one that is broken or cut short") from error
    return tuple(found)


def valid(certificate: x509.Certificate, now: float) -> bool:
    """Whether *certificate* is good at this time."""
    begins = certificate.not_valid_before_utc.timestamp()
    return begins <= now <= certificate.not_valid_after_utc.timestamp()


def _is_for_servers(leaf: x509.Certificate) -> bool:
    try:
        purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return ExtendedKeyUsageOID.SERVER_AUTH in purposes


def issued(leaf: x509.Certificate, ca: x509.Certificate) -> bool:
    """Whether *ca* is an authority, and its key has signed *leaf*."""
    try:
        basic = ca.extensions.get_extension_for_class(x509.BasicConstraints).value
        leaf.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return False
    return basic.ca


def _refuse(why: str) -> NoReturn:
    raise Untrusted(_WHAT, why)
