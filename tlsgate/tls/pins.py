"""The pin of a host authority: how a first login knows the cluster without a certificate file.

A pin is "sha256:" and the SHA-256 of the authority's SubjectPublicKeyInfo in DER, in hex.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tlsgate.errors import BadAsk

_PIN: Final = re.compile(r"sha256:[0-9a-f]{64}")


def pin_of(authority: x509.Certificate) -> str:
    """Give the pin of *authority*."""
    spki = authority.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return "sha256:" + hashlib.sha256(spki).hexdigest()


def normal_pin(text: str) -> str:
    """Give *text* as `pin_of` writes it.

    Raises:
        BadAsk: it is no pin.
    """
    pin = text.strip().lower()
    if _PIN.fullmatch(pin) is None:
        raise BadAsk("a CA pin is written sha256:<64 hex digits>; copy it whole")
    return pin


def pin_matches(pins: Iterable[str], authority: x509.Certificate) -> bool:
    """Whether one of *pins* is that of *authority*.

    Raises:
        BadAsk: one of them is no pin.
    """
    return pin_of(authority) in [normal_pin(pin) for pin in pins]


def fingerprint(certificate: x509.Certificate) -> str:
    """The SHA-256 of the whole certificate in hex, to compare by eye."""
    return certificate.fingerprint(hashes.SHA256()).hex()
