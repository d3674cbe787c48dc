"""PROXY protocol headers, v1 and v2: read them, write them.

Where a listener has the mode on, the header is mandatory and only trusted peers may
send one; both are the caller's part. Here the header is read as strictly as its text
allows, since its source address decides over limits, rules and logs (S17, S18).

https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt (sections 2.1 and 2.2)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from struct import Struct

from attrs import frozen

from tlsgate.core.outcome import More
from tlsgate.errors import BadProxyHeader

Address = tuple[str, int]  #: an IP address in its usual spelling, and a port

#: Bytes of a v2 header with all its TLVs; a v1 header has at most 107.
PROXY_LIMIT = 4096
_V1_LIMIT = 107

#: TLV types of section 2.2.
TLV_ALPN = 0x01
TLV_AUTHORITY = 0x02
TLV_CRC32C = 0x03
TLV_NOOP = 0x04
TLV_UNIQUE_ID = 0x05
TLV_SSL = 0x20

_V1 = b"PROXY "
_V2 = b"\r\n\r\n\0\r\nQUIT\n"
_V2_START = Struct(">12sBBH")
_V2_INET = Struct(">4s4sHH")
_V2_INET6 = Struct(">16s16sHH")
_V2_UNIX_SIZE = 216
_TLV = Struct(">BH")

_V1_ADDRESSES = re.compile(
    rb"PROXY TCP([46]) ([0-9A-Fa-f:.]{2,45}) ([0-9A-Fa-f:.]{2,45})"
    rb" (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})\r\n"
)
_V1_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?\r\n")
_V1_SHORTEST = len(b"PROXY UNKNOWN\r\n")


@frozen(kw_only=True)
class ProxyHeader:
    """What a PROXY header says; without addresses the connection's own ends count."""

    local: bool  #: the sender speaks for itself (a health check), not for a client
    source: Address | None  #: the client
    destination: Address | None  #: the address that the client dialled
    length: int  #: bytes of the header; what follows is the client's
    tlvs: tuple[tuple[int, bytes], ...] = ()


def read_proxy(head: bytes, limit: int = PROXY_LIMIT) -> ProxyHeader | More:
    """Read the PROXY header that *head* must start with.

    Args:
        head: the bytes seen so far; not consumed, and may go on after the header.
        limit: how many bytes the header may have.

    Returns:
        The header, or `More` with what is missing at the least.

    Raises:
        BadProxyHeader: there is none, or it is malformed, too long, or names an
            address that no client can have.
    """
    if head.startswith(_V1):
        return _read_v1(head, min(limit, _V1_LIMIT))
    if head.startswith(_V2):
        return _read_v2(head, limit)
    if _V1.startswith(head) or _V2.startswith(head):
        return More(_V1_SHORTEST - len(head))
    raise _bad("missing")


def write_v1(source: Address | None, destination: Address | None) -> bytes:
    """Write a v1 header; UNKNOWN where an address is missing or no IP address."""
    ends = _same_family(source, destination)
    if ends is None:
        return b"PROXY UNKNOWN\r\n"
    client, gate, ports = ends
    texts = (str(_unpacked(client)), str(_unpacked(gate)), *map(str, ports))
    return f"PROXY TCP{4 if len(client) == 4 else 6} {' '.join(texts)}\r\n".encode()


def write_v2(
    source: Address | None,
    destination: Address | None,
    tlvs: Iterable[tuple[int, bytes]] = (),
) -> bytes:
    """Write a v2 header; LOCAL where an address is missing or no IP address."""
    ends = _same_family(source, destination)
    tail = b"".join(_TLV.pack(kind, len(value)) + value for kind, value in tlvs)
    if ends is None:
        return _V2_START.pack(_V2, 0x20, 0x00, len(tail)) + tail
    client, gate, ports = ends
    family, layout = (0x11, _V2_INET) if len(client) == 4 else (0x21, _V2_INET6)
    tail = layout.pack(client, gate, *ports) + tail
    return _V2_START.pack(_V2, 0x21, family, len(tail)) + tail


# -- v1 ---------------------------------------------------------------------------


def _read_v1(head: bytes, limit: int) -> ProxyHeader | More:
    end = head.find(b"\n", 0, limit) + 1
    if not end:
        lacks = max(_V1_SHORTEST - len(head), 1 if head.endswith(b"\r") else 2)
        if len(head) + lacks > limit:
            raise _bad(f"a v1 line longer than {limit} bytes")
        return More(lacks)
    line = head[:end]
    if _V1_UNKNOWN.fullmatch(line):
        return ProxyHeader(local=False, source=None, destination=None, length=end)
    if (match := _V1_ADDRESSES.fullmatch(line)) is None:
        raise _bad("a malformed v1 line")
    family, source, destination, source_port, destination_port = match.groups()
    return ProxyHeader(
        local=False,
        source=_checked(_parsed(family, source), int(source_port)),
        destination=_checked(_parsed(family, destination), int(destination_port)),
        length=end,
    )


@lru_cache(maxsize=1024)
def _parsed(family: bytes, text: bytes) -> bytes:
    """The packed form of an address; clients and our own come again and again."""
    kind = IPv4Address if family == b"4" else IPv6Address
    try:
        return kind(text.decode("ascii")).packed
    except ValueError:
        raise _bad(f"{text!r} is no IPv{family.decode()} address") from None


# -- v2 ---------------------------------------------------------------------------


def _read_v2(head: bytes, limit: int) -> ProxyHeader | More:
    if len(head) > 12 and head[12] not in (0x20, 0x21):
        raise _bad(f"version and command {head[12]:#04x}")
    if len(head) < _V2_START.size:
        return More(_V2_START.size - len(head))
    _, command, family, size = _V2_START.unpack_from(head)
    end = _V2_START.size + size
    if end > limit:
        raise _bad(f"longer than {limit} bytes")
    if end > len(head):
        return More(end - len(head))
    if command == 0x20:
        # The family may be anything and must be ignored; so are the addresses in it.
        return ProxyHeader(local=True, source=None, destination=None, length=end)
    at = _V2_START.size
    source = destination = None
    if family in (0x11, 0x21):
        layout = _V2_INET if family == 0x11 else _V2_INET6
        if size < layout.size:
            raise _bad("too short for its addresses")
        client, gate, source_port, destination_port = layout.unpack_from(head, at)
        at += layout.size
        source = _checked(client, source_port)
        destination = _checked(gate, destination_port)
    elif family == 0x31:
        if size < _V2_UNIX_SIZE:
            raise _bad("too short for its addresses")
        at += _V2_UNIX_SIZE
    elif family != 0x00:
        raise _bad(f"address family and transport {family:#04x} on a stream")
    tlvs = tuple(_read_tlvs(head, at, end))
    _check_sum(head, at, end, tlvs)
    return ProxyHeader(local=False, source=source, destination=destination, length=end, tlvs=tlvs)


def _read_tlvs(head: bytes, at: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Read the TLVs in head[at:end]; they must fill it to the byte."""
    while at < end:
        if at + _TLV.size > end:
            raise _bad("a TLV is cut short")
        kind, size = _TLV.unpack_from(head, at)
        at += _TLV.size + size
        if at > end:
            raise _bad(f"TLV {kind:#04x} goes beyond the header")
        yield kind, head[at - size : at]


def _check_sum(head: bytes, at: int, end: int, tlvs: tuple[tuple[int, bytes], ...]) -> None:
    """Check the CRC-32C over the header with the sum's own four bytes as zero."""
    for kind, value in tlvs:
        at += _TLV.size + len(value)
        if kind != TLV_CRC32C:
            continue
        if len(value) != 4:
            raise _bad("a checksum that has not four bytes")
        if _crc32c(head[: at - 4] + bytes(4) + head[at:end]) != int.from_bytes(value, "big"):
            raise _bad("the checksum is wrong")


def _crc32c(text: bytes) -> int:
    """CRC-32C, Castagnoli (RFC 3720 appendix B.4)."""
    table = _crc_table()
    rest = 0xFFFFFFFF
    for byte in text:
        rest = table[(rest ^ byte) & 0xFF] ^ rest >> 8
    return rest ^ 0xFFFFFFFF


@lru_cache(maxsize=1)
def _crc_table() -> tuple[int, ...]:
    table = []
    for rest in range(256):
        for _ in range(8):
            rest = rest >> 1 ^ (0x82F63B78 if rest & 1 else 0)
        table.append(rest)
    return tuple(table)


# -- addresses --------------------------------------------------------------------

#: IPv4 addresses of clients behind a stateless translator (RFC 6052, RFC 8215); the
#: first one lies in a block that is reserved else.
_TRANSLATED = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))


def _checked(packed: bytes, port: int) -> Address:
    """Give one end of a connection.

    Raises:
        BadProxyHeader: no TCP connection has such an end (S17).
    """
    if not 0 < port < 65536:
        raise _bad(f"port {port}")
    return _host(packed), port


@lru_cache(maxsize=1024)
def _host(packed: bytes) -> str:
    """An address that a host can have, in its usual spelling; IPv4-mapped ones as IPv4."""
    address = _unpacked(packed)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_unspecified or address.is_multicast:
        raise _bad(f"{address} is nobody's own address")
    if isinstance(address, IPv4Address):
        odd = address.is_reserved or packed[-4] == 0
    else:
        odd = address.is_reserved and not address.is_loopback and not _is_translated(address)
    if odd:
        raise _bad(f"{address} is a reserved address")
    return str(address)


def _is_translated(address: IPv6Address) -> bool:
    return any(address in network for network in _TRANSLATED)


def _same_family(
    source: Address | None, destination: Address | None
) -> tuple[bytes, bytes, tuple[int, int]] | None:
    """Both ends as packed addresses of one family, and their ports."""
    if source is None or destination is None:
        return None
    client, gate = _packed(source[0]), _packed(destination[0])
    if client is None or gate is None:
        return None
    if len(client) != len(gate):
        client, gate = _mapped(client), _mapped(gate)
    return client, gate, (source[1], destination[1])


def _mapped(packed: bytes) -> bytes:
    return packed if len(packed) == 16 else bytes(10) + b"\xff\xff" + packed


@lru_cache(maxsize=1024)
def _packed(host: str) -> bytes | None:
    """The bytes of an IP address, IPv4-mapped ones as IPv4; a zone ("%eth0") is dropped."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.packed
    return address.packed


def _unpacked(packed: bytes) -> IPv4Address | IPv6Address:
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)


def _bad(why: str) -> BadProxyHeader:
    return BadProxyHeader("PROXY header", why)
