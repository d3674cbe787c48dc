"""Walking DER with nothing but the language: shared by what has to start at once.

`cli.certfile` makes values of it; `tgsh proxy ssh` imports this alone. What is read here
was verified by OpenSSL first, or is only shown. X.690 section 8 has the encoding.
"""

from __future__ import annotations

from collections.abc import Iterator

#: No certificate of a cluster comes near it.
LIMIT_BYTES = 64 << 10

INTEGER, OCTETS, OID, SEQUENCE, SET = 0x02, 0x04, 0x06, 0x30, 0x31
UTF8_STRING, UTC_TIME, GENERALIZED_TIME = 0x0C, 0x17, 0x18
VERSION, EXTENSIONS = 0xA0, 0xA3

#: A tag, the content, and both with the length between them.
Part = tuple[int, bytes, bytes]


def walk(data: bytes) -> Iterator[Part]:
    """The values that follow each other in *data*.

    Raises:
        ValueError: it is no DER.
        IndexError: it is cut short.
    """
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


def expect(part: Part, tag: int) -> bytes:
    """The content of *part*, which has to have *tag*.

    Raises:
        ValueError: it has another.
    """
    if part[0] != tag:
        raise ValueError(f"tag {part[0]} where {tag} stands in a certificate")
    return part[1]


def parts(data: bytes, tag: int) -> Iterator[bytes]:
    """The contents of the values in *data*, which all have *tag*."""
    return (expect(part, tag) for part in walk(data))


def fields(der: bytes) -> list[Part]:
    """The fields of the certificate *der* from its serial number on (RFC 5280 section 4.1).

    Raises:
        ValueError: it is no certificate; so do StopIteration and IndexError say.
    """
    (whole,) = parts(der, SEQUENCE)
    found = list(walk(expect(next(walk(whole)), SEQUENCE)))
    if found[0][0] == VERSION:
        del found[0]
    return found


def extensions(rest: list[Part]) -> Iterator[tuple[str, bytes]]:
    """Dotted OID and inner bytes of each extension among a certificate's last fields."""
    for tag, content, _ in rest:
        if tag != EXTENSIONS:
            continue
        (listed,) = parts(content, SEQUENCE)
        for one in parts(listed, SEQUENCE):
            name, *_critical, value = walk(one)
            yield oid(expect(name, OID)), expect(value, OCTETS)


def oid(content: bytes) -> str:
    """An object identifier as people write it."""
    arcs: list[int] = []
    value = 0
    for byte in content:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, [first, arcs[0] - 40 * first, *arcs[1:]]))
