"""PostgreSQL: the requests that come before TLS, and the error that ends a connection.

A first packet has no type byte: its length, itself included, then a version or a magic
number in its place. https://www.postgresql.org/docs/18/protocol-message-formats.html
"""

from __future__ import annotations

from struct import pack

from tlsgate.core.sniff import Matcher, prefix

#: Bytes of an SSLRequest or a GSSENCRequest.
REQUEST_SIZE = 8
#: "Go on with TLS" and "not that"; each is the whole answer to a request.
ACCEPT = b"S"
DECLINE = b"N"

_LARGEST_STARTUP = 10_000  # MAX_STARTUP_PACKET_LENGTH of the server
_LARGEST_CANCEL = 12 + 256  # the key of protocol 3.2 has up to 256 bytes

#: The client asks for TLS.
is_ssl_request: Matcher = prefix(b"\0\0\0\x08\x04\xd2\x16\x2f")
#: The client asks for GSSAPI encryption; declined, it asks for TLS or goes on in the clear.
is_gssenc_request: Matcher = prefix(b"\0\0\0\x08\x04\xd2\x16\x30")


def is_cancel_request(head: bytes, /) -> bool | None:
    """Tell a CancelRequest, whose key has 4 bytes, or up to 256 in protocol 3.2."""
    return _is_first_packet(head, b"\x04\xd2\x16\x2e", 16, _LARGEST_CANCEL)


def is_startup(head: bytes, /) -> bool | None:
    """Tell a StartupMessage of protocol 3, whatever the minor version: no TLS at all."""
    return _is_first_packet(head, b"\0\x03", 9, _LARGEST_STARTUP)


def _is_first_packet(head: bytes, code: bytes, smallest: int, largest: int) -> bool | None:
    if len(head) < 4:
        return None if head == bytes(min(len(head), 2)) + head[2:] else False
    if not smallest <= int.from_bytes(head[:4], "big") <= largest:
        return False
    found = head[4 : 4 + len(code)]
    if len(found) < len(code):
        return None if code.startswith(found) else False
    return found == code


def error_response(sqlstate: str, message: str) -> bytes:
    """Write a FATAL ErrorResponse; psql prints *message* behind "FATAL:".

    Args:
        sqlstate: five letters and digits, such as "28000" (invalid authorization).
        message: a sentence without its full stop, as the server writes them.
    """
    fields = {"S": "FATAL", "V": "FATAL", "C": sqlstate, "M": message}
    body = b"".join(
        kind.encode() + text.replace("\0", "").encode() + b"\0" for kind, text in fields.items()
    )
    return b"E" + pack(">L", 4 + len(body) + 1) + body + b"\0"
