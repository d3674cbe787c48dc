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
from collections.abc import Iterator, Mapping

from attrs import field, frozen

from tlsgate.errors import BadBytes

#: No certificate of a cluster comes near it.
LIMIT_BYTES = 64 << 10

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----")
_INTEGER, _OCTETS, _OID, _SEQUENCE, _SET = 0x02, 0x04, 0x06, 0x30, 0x31
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_VERSION, _EXTENSIONS = 0xA0, 0xA3
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
    (whole,) = _parts(der, _SEQUENCE)
    tbs = next(_walk(whole))
    parts = list(_walk(_expect(tbs, _SEQUENCE)))
    if parts[0][0] == _VERSION:
        del parts[0]
    _serial, _algorithm, _issuer, validity, subject, key, *rest = parts
    begin, end = _walk(_expect(validity, _SEQUENCE))
    return Certificate(
        der=der,
        common_name=_common_name(_expect(subject, _SEQUENCE)),
        not_before=_time(*begin[:2]),
        not_after=_time(*end[:2]),
        pin="sha256:" + hashlib.sha256(key[2]).hexdigest(),
        extensions={
            oid: value
            for tag, content, _ in rest
            if tag == _EXTENSIONS
            for oid, value in _extensions(content)
        },
    )


#: A tag, the content, and both with the length between them.
_Part = tuple[int, bytes, bytes]


def _walk(data: bytes) -> Iterator[_Part]:
    """The values that follow each other in *data*."""
    at = 0
    while at < len(data):
        start, tag, length = at, data[at], data[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            if not 1 <= size <= 3:
                raise ValueError("a length that DER does not have")
            length = int.from_bytes(data[at : at + size], "big")
            at += size
        if at + length > len(data):
            raise ValueError("it is cut short")
        yield tag, data[at : at + length], data[start : at + length]
        at += length


def _expect(part: _Part, tag: int) -> bytes:
    if part[0] != tag:
        raise ValueError(f"tag {part[0]} where {tag} stands in a certificate")
    return part[1]


def _parts(data: bytes, tag: int) -> Iterator[bytes]:
    return (_expect(part, tag) for part in _walk(data))


def _common_name(subject: bytes) -> str:
    for names in _parts(subject, _SET):
        for pair in _parts(names, _SEQUENCE):
            kind, value = _walk(pair)
            if _oid(_expect(kind, _OID)) == _COMMON_NAME:
                return value[1].decode("utf-8", "replace")
    return ""


def _extensions(content: bytes) -> Iterator[tuple[str, bytes]]:
    (listed,) = _parts(content, _SEQUENCE)
    for one in _parts(listed, _SEQUENCE):
        oid, *_critical, value = _walk(one)
        yield _oid(_expect(oid, _OID)), _expect(value, _OCTETS)


def _oid(content: bytes) -> str:
    arcs: list[int] = []
    value = 0
    for byte in content:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, [first, arcs[0] - 40 * first, *arcs[1:]]))


def _time(tag: int, content: bytes) -> int:
    """UTCTime or GeneralizedTime, as RFC 5280 section 4.1.2.5 writes them."""
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        century = "20" if int(text[:2]) < 50 else "19"
        text = century + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError(f"tag {tag} is no time")
    return calendar.timegm(time.strptime(text, "%Y%m%d%H%M%SZ"))
