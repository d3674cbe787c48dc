"""Whose certificate somebody else has shown: verified again, without a handshake.

An agent gets a user's certificate from a gateway, which has seen the handshake that proved
its key. What it says is held against the authorities that the agent itself knows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from tlsgate.core.access import Identity
from tlsgate.errors import BadCertificate
from tlsgate.tls.offered import is_for_clients, is_weak
from tlsgate.tls.peer import issued, valid
from tlsgate.tls.verify import judge_chain

#: As for clients' certificates of a handshake.
_BYTES: Final = 16 * 1024


def user_of(der: bytes, cas: Iterable[x509.Certificate], now: float) -> Identity:
    """Give the user whose certificate *der* is.

    Args:
        der: the certificate alone; the cluster's authorities sign without others between.
        cas: the cluster's user authorities.
        now: seconds since the epoch.

    Raises:
        BadCertificate: it is none, of nobody here, not good now, or a host's.
    """
    if not 0 < len(der) <= _BYTES:
        raise BadCertificate("it is longer than any certificate" if der else "there is none")
    try:
        leaf = x509.load_der_x509_certificate(der)
        if not valid(leaf, now):
            raise BadCertificate("it has ended, or has not begun")
        ca = next((one for one in cas if valid(one, now) and issued(leaf, one)), None)
        if ca is None:
            raise BadCertificate("no authority of this cluster has issued it")
        if is_weak(leaf) or not is_for_clients(leaf):
            raise BadCertificate("it is not for clients")
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadCertificate("it is malformed") from error
    found = judge_chain([leaf, ca])
    if not isinstance(found, Identity):
        raise BadCertificate(found)
    if found.claims is None or found.claims.kind != "user":
        raise BadCertificate("it is not a user's")
    return found
