"""TLS records to the ClientHello in them: server name, ALPN offers, versions.

1. `read_hello` looks at the head of a connection, which stays with the caller.
2. The usual hello lies in one record and is read in place; one that is cut over
   several records is put together first (S03), exactly as OpenSSL would.
3. Whatever is odd is refused, never guessed: OpenSSL reads the same bytes later, and
   where it would see another name or token than we did, a check could be lowered.

No TLS object exists before this has said yes. RFC 8446 sections 4.1.2, 4.2 and 5.1;
RFC 6066 section 3 (server_name); RFC 7301 section 3.1 (ALPN).
"""

from __future__ import annotations

import struct
from functools import lru_cache
from struct import Struct

from attrs import frozen

from tlsgate.core.names import normal
from tlsgate.core.outcome import More
from tlsgate.errors import BadHello, BadName

#: Bytes of all records that a hello may span; real ones have 0.3 to 2 kB.
HELLO_LIMIT = 16 * 1024
EXTENSIONS_LIMIT = 64
ALPN_LIMIT = 32

_HANDSHAKE = 22
_CLIENT_HELLO = 1
_SERVER_NAME = 0
_ALPN = 16
_SUPPORTED_VERSIONS = 43

_HEADER_SIZE = 5
_MESSAGE_HEADER = 4
#: Record type, version, length; message type and length in one.
_START = Struct(">BHHL").unpack_from
_RECORD = Struct(">BHH").unpack_from
_PAIR = Struct(">HH").unpack_from
_SHORT = Struct(">H").unpack_from


@frozen
class Hello:
    """What a ClientHello asks for."""

    server_name: str | None  #: normalised; None when there is none
    alpn: tuple[bytes, ...]  #: in the client's order
    versions: tuple[int, ...]  #: supported_versions, or the one legacy version; 0x0304 is TLS 1.3
    length: int  #: bytes of all records that it spans


def read_hello(head: bytes | memoryview, limit: int = HELLO_LIMIT) -> Hello | More:
    """Read the ClientHello that *head* starts with.

    Args:
        head: the bytes seen so far; not consumed, and may go on after the hello.
        limit: how many bytes the hello's records may have together.

    Returns:
        The hello, or `More` with what is missing at the least: the rest of this record
        (or its header), and of the message in one more record. Who waits for that many
        is woken a few dozen times by the most finely cut hello, not once a record.

    Raises:
        BadHello: no number of further bytes makes this a ClientHello that we take.
    """
    if not isinstance(head, bytes):
        head = bytes(head[:limit])
    if len(head) >= _HEADER_SIZE + _MESSAGE_HEADER:
        kind, version, size, message = _START(head)
        end = _HEADER_SIZE + size
        # One record with one whole message of type 1, which is what nearly all clients send.
        if (
            kind == _HANDSHAKE
            and version >> 8 == 3
            and message == (_CLIENT_HELLO << 24) + size - _MESSAGE_HEADER
            and end <= limit
            and end <= len(head)
        ):
            return _read_body(head, _HEADER_SIZE + _MESSAGE_HEADER, end, end)
    return _join(head, limit)


def _join(head: bytes, limit: int) -> Hello | More:
    """Put a hello together that is not whole yet, or that spans several records."""
    message = bytearray()
    wanted = _MESSAGE_HEADER  # until the message has said its own size
    at = 0
    while len(message) < wanted:
        body = at + _HEADER_SIZE
        rest = wanted - len(message)
        if body > len(head):
            _check_header(head[at:])
            if body + rest > limit:
                raise _too_big(limit)
            return More(body - len(head) + rest)
        kind, version, size = _RECORD(head, at)
        if kind != _HANDSHAKE or version >> 8 != 3 or not size:
            _check_header(head[at:body])
        at = body + size
        if at > limit:
            raise _too_big(limit)
        message += head[body:at]
        if message and message[0] != _CLIENT_HELLO:
            raise _bad(f"handshake message {message[0]} where a ClientHello is due")
        if len(message) >= _MESSAGE_HEADER:
            wanted = _MESSAGE_HEADER + int.from_bytes(message[1:_MESSAGE_HEADER], "big")
        if at > len(head):
            in_record, in_message = at - len(head), wanted - len(message)
            if in_message < in_record and len(message) >= _MESSAGE_HEADER:
                break
            if in_message <= in_record:
                return More(in_record)
            if at + _HEADER_SIZE + in_message - in_record > limit:
                raise _too_big(limit)
            return More(in_message + _HEADER_SIZE)
    if at > len(head) or len(message) > wanted:
        raise _bad("bytes after the message in its last record")
    return _read_body(bytes(message), _MESSAGE_HEADER, wanted, at)


def _check_header(header: bytes) -> None:
    """Judge each byte of a record's header as soon as it is there.

    The version's second byte may be any (RFC 8446 section 5.1: MUST be ignored).
    """
    if header[:1] not in (b"", b"\x16"):
        if header[0] & 0x80:
            raise _bad("an SSLv2 hello, or no TLS at all")
        raise _bad(f"record type {header[0]} where a handshake record is due")
    if header[1:2] not in (b"", b"\x03"):
        raise _bad(f"record version {header[1]}.x")
    if header[3:5] == b"\x00\x00":
        raise _bad("an empty record")


def _read_body(text: bytes, at: int, stop: int, length: int) -> Hello:
    """Read the message body in text[at:stop].

    Positions only grow, so one comparison with *stop* at the end of each part finds
    every length that points beyond it; nothing is sliced before.
    """
    try:
        version = _SHORT(text, at)[0]
        at += 34  # the version and 32 random bytes
        session_size = text[at]
        at += 1 + session_size
        suites_size = _SHORT(text, at)[0]
        at += 2 + suites_size
        methods_size = text[at]
        at += 1 + methods_size
        if version >> 8 != 3 or session_size > 32 or at > stop:
            raise _bad("version, session id or sizes are out of range")
        if suites_size < 2 or suites_size & 1 or 0 not in text[at - methods_size : at]:
            raise _bad("cipher suites or compression methods are malformed")
        if at == stop:
            return Hello(None, (), (version,), length)
        if at + 2 + _SHORT(text, at)[0] != stop:
            raise _bad("the extensions do not end with the message")
        at += 2
        names: tuple[bytes, ...] = ()
        server_name: str | None = None
        versions: tuple[int, ...] = (version,)
        seen = []
        while at < stop:
            kind, size = _PAIR(text, at)
            at += 4 + size
            if at > stop:
                raise _bad(f"extension {kind} goes beyond the message")
            seen.append(kind)
            if kind == _SERVER_NAME:
                server_name = _read_server_name(text[at - size : at])
            elif kind == _ALPN:
                names = _read_alpn(text[at - size : at])
            elif kind == _SUPPORTED_VERSIONS:
                versions = _read_versions(text[at - size : at])
    except (IndexError, struct.error):
        raise _bad("it ends before its last field") from None
    if len(seen) > EXTENSIONS_LIMIT:
        raise _bad(f"more than {EXTENSIONS_LIMIT} extensions")
    if len(set(seen)) != len(seen):
        raise _bad("an extension comes twice")
    return Hello(server_name, names, versions, length)


# Clients of one kind send the same extensions each time, hence the small caches; the
# raised errors are not cached.


@lru_cache(maxsize=1024)
def _read_server_name(body: bytes) -> str:
    """Read server_name: a list of exactly one host_name (RFC 6066 section 3)."""
    # list length, type 0, name length; OpenSSL refuses a second name too.
    size = len(body) - 5
    if size < 1 or body[:5] != _NAME_LIST(size + 3, 0, size):
        raise _bad("server_name holds something else than one host name")
    try:
        return normal(body[5:])
    except BadName as e:
        raise BadHello("ClientHello", f"bad server {e.what}: {e.why}") from None


_NAME_LIST = Struct(">HBH").pack


@lru_cache(maxsize=256)
def _read_alpn(body: bytes) -> tuple[bytes, ...]:
    """Read the names of protocols: none of them empty, at least one."""
    if len(body) < 4 or _SHORT(body)[0] != len(body) - 2:
        raise _bad("the ALPN list does not fill its extension")
    names = []
    at = 2
    while at < len(body):
        size = body[at]
        name = body[at + 1 : at + 1 + size]
        if not size or len(name) != size:
            raise _bad("an ALPN name is empty or goes beyond its list")
        names.append(name)
        if len(names) > ALPN_LIMIT:
            raise _bad(f"more than {ALPN_LIMIT} ALPN names")
        at += 1 + size
    return tuple(names)


@lru_cache(maxsize=256)
def _read_versions(body: bytes) -> tuple[int, ...]:
    """Read supported_versions of a client (RFC 8446 section 4.2.1)."""
    if len(body) < 3 or body[0] != len(body) - 1 or body[0] & 1:
        raise _bad("supported_versions is malformed")
    return tuple(_SHORT(body, at)[0] for at in range(1, len(body), 2))


def _too_big(limit: int) -> BadHello:
    return _bad(f"longer than {limit} bytes")


def _bad(why: str) -> BadHello:
    return BadHello("ClientHello", why)
