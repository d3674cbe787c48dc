"""What a certificate says, read without a library that takes 60 ms to be imported.

`tgsh status` has to be done in a quarter of a second. It reads certificates that were
verified when they were written; the peers' own are verified by OpenSSL first. So this is a
reader, not a judge. RFC 5280 section 4.1 has the shape, X.690 section 8 the encoding.
"""

from __future__ import annotations

import base64
import calendar
import hashlib
import re
import time
from collections.abc import Mapping

from attrs import field, frozen

from tlsgate.cli.der import (
    GENERALIZED_TIME,
    LIMIT_BYTES,
    OID,
    SEQUENCE,
    SET,
    UTC_TIME,
    expect,
    extensions,
    fields,
    oid,
    parts,
    walk,
)
from tlsgate.errors import BadBytes

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----")
_COMMON_NAME = "2.5.4.3"


@frozen
class Certificate:
    """The parts of a certificate that a terminal shows or compares."""

    der: bytes = field(repr=False)
    common_name: str
    not_before: int  #: seconds since the epoch
    not_after: int
    pin: str  #: "sha256:" and the hex digest of its SubjectPublicKeyInfo
    extensions: Mapping[str, bytes] = field(repr=False)  #: by dotted OID, the inner bytes


def pem_blocks(text: str) -> list[bytes]:
    """The DER of every certificate in *text*, in its order.

    Raises:
        BadBytes: one is not base64.
    """
    try:
        return [base64.b64decode("".join(block.split())) for block in _PEM.findall(text)]
    except ValueError as e:
        raise BadBytes("certificate", "its PEM is not base64") from e


def to_pem(der: bytes) -> str:
    """*der* as PEM."""
    lines = base64.encodebytes(der).decode().replace("\n", "")
    body = "\n".join(lines[at : at + 64] for at in range(0, len(lines), 64))
    return f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"


def read_certificate(der: bytes) -> Certificate:
    """Read the certificate *der*.

    Raises:
        BadBytes: it is none.
    """
    if len(der) > LIMIT_BYTES:
        raise BadBytes("certificate", f"more than {LIMIT_BYTES} bytes")
    try:
        return _read(der)
    except (StopIteration, ValueError, IndexError) as e:
        raise BadBytes("certificate", str(e) or "it is cut short") from e


def _read(der: bytes) -> Certificate:
    _serial, _algorithm, _issuer, validity, subject, key, *rest = fields(der)
    begin, end = walk(expect(validity, SEQUENCE))
    return Certificate(
        der=der,
        common_name=_common_name(expect(subject, SEQUENCE)),
        not_before=_time(*begin[:2]),
        not_after=_time(*end[:2]),
        pin="sha256:" + hashlib.sha256(key[2]).hexdigest(),
        extensions=dict(extensions(rest)),
    )


def _common_name(subject: bytes) -> str:
    for names in parts(subject, SET):
        for pair in parts(names, SEQUENCE):
            kind, value = walk(pair)
            if oid(expect(kind, OID)) == _COMMON_NAME:
                return value[1].decode("utf-8", "replace")
    return ""


def _time(tag: int, content: bytes) -> int:
    """UTCTime or GeneralizedTime, as RFC 5280 section 4.1.2.5 writes them."""
    text = content.decode("ascii")
    if tag == UTC_TIME:
        century = "20" if int(text[:2]) < 50 else "19"
        text = century + text
    elif tag != GENERALIZED_TIME:
        raise ValueError(f"tag {tag} is no time")
    return calendar.timegm(time.strptime(text, "%Y%m%d%H%M%SZ"))
