"""Whose certificate somebody else has shown: verified again, without a handshake.

An agent gets a user's certificate from a gateway, which has seen the handshake that proved
its key. What it says is held against the authorities that the agent itself knows.

1. `user_of` verifies one certificate.
2. `Users` remembers what it has verified: the signature of the same bytes by the same
   authorities stays what it was. The time is looked at each time; locks, roles and labels
   are not its concern, and nothing of them is remembered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from tlsgate.core.access import Identity
from tlsgate.errors import BadCertificate
from tlsgate.tls.offered import is_for_clients, is_weak
from tlsgate.tls.peer import issued, load_cas, valid
from tlsgate.tls.verify import judge_chain

#: As for clients' certificates of a handshake.
_BYTES: Final = 16 * 1024

#: Users that are remembered; some kilobytes each.
_USERS: Final = 512


def user_of(der: bytes, cas: Iterable[x509.Certificate], now: float) -> Identity:
    """Give the user whose certificate *der* is.

    Args:
        der: the certificate alone; the cluster's authorities sign without others between.
        cas: the cluster's user authorities.
        now: seconds since the epoch.

    Raises:
        BadCertificate: it is none, of nobody here, not good now, or a host's.
    """
    return _verified(der, cas, now)[0]


class Users:
    """Whose certificates have been verified lately.

    Args:
        limit: of users; the one that came first goes first.
    """

    def __init__(self, limit: int = _USERS) -> None:
        self._limit = limit
        self._pems: tuple[str, ...] = ()
        self._cas: tuple[x509.Certificate, ...] = ()
        #: By the certificate's SHA-256: who it is, and from when to when.
        self._found: dict[bytes, tuple[Identity, float, float]] = {}

    def user(self, der: bytes, pems: Sequence[str], now: float) -> Identity:
        """Give the user whose certificate *der* is; see `user_of`.

        Args:
            der: the certificate.
            pems: the cluster's user authorities as they are now; others than the last time
                forget everybody.
            now: seconds since the epoch.

        Raises:
            BadCertificate: as of `user_of`.
            BadKeyPair: an authority cannot be read.
        """
        trusted = tuple(pems)
        if trusted != self._pems:
            self._found.clear()
            self._cas, self._pems = load_cas(trusted), trusted
        key = hashlib.sha256(der).digest()
        known = self._found.get(key)
        if known is not None and known[1] <= now <= known[2]:
            return known[0]
        found = _verified(der, self._cas, now)
        self._found.pop(key, None)
        while len(self._found) >= self._limit:
            del self._found[next(iter(self._found))]
        self._found[key] = found
        return found[0]


def _verified(
    der: bytes, cas: Iterable[x509.Certificate], now: float
) -> tuple[Identity, float, float]:
    """The user, and between which times both certificates are good."""
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
    begins = max(one.not_valid_before_utc.timestamp() for one in (leaf, ca))
    ends = min(one.not_valid_after_utc.timestamp() for one in (leaf, ca))
    return found, begins, ends
