"""What a client of PostgreSQL says to a local proxy before its session: bytes in, values out.

1. An SSLRequest or a GSSENCRequest is answered `N`: on this machine nothing is encrypted. Each
   may come once, and nothing may be glued to it (a client waits for the answer).
2. A CancelRequest, or a start-up message, goes to the gateway as it is, and what follows too.

Source: https://www.postgresql.org/docs/17/protocol-message-formats.html
"""

from __future__ import annotations

from attrs import frozen

from tlsgate.errors import BadBytes

_SSL, _GSS, _CANCEL = 80877103, 80877104, 80877102
#: The versions 3.x; 2 is long gone.
_MAJOR = 3
#: Of a start-up message (the server's own limit), and of a CancelRequest with a key of 3.2.
_STARTUP_BYTES, _CANCEL_BYTES = 10_000, 12 + 256
_TLS_RECORD = 0x16


@frozen
class No:
    """Answer `N`, and read on."""


@frozen
class Begin:
    """The gateway is to be reached, and told *first*.

    Attributes:
        cancel: nothing but an end follows.
    """

    first: bytes
    cancel: bool


class Prelude:
    """The messages before a session; of use until it gives `Begin`."""

    def __init__(self) -> None:
        self._read = b""
        self._refused: set[int] = set()

    def feed(self, data: bytes) -> No | Begin | None:
        """Take *data*; None: not yet.

        Raises:
            BadBytes: no client of PostgreSQL begins like that.
        """
        self._read += data
        if self._read[:1] == bytes((_TLS_RECORD,)):
            raise BadBytes("start-up message", "TLS is ours: connect with sslmode=disable")
        if len(self._read) < 8:
            return None
        length = int.from_bytes(self._read[:4], "big")
        code = int.from_bytes(self._read[4:8], "big")
        if code in (_SSL, _GSS):
            return self._no(length, code)
        cancel = code == _CANCEL
        if not cancel and code >> 16 != _MAJOR:
            raise BadBytes("start-up message", "it is of no protocol 3")
        if not 8 < length <= (_CANCEL_BYTES if cancel else _STARTUP_BYTES):
            raise BadBytes("start-up message", f"a length of {length} bytes")
        if len(self._read) < length:
            return None
        if cancel and len(self._read) > length:
            raise BadBytes("CancelRequest", "bytes after it")
        return Begin(self._read, cancel)

    def _no(self, length: int, code: int) -> No:
        if length != 8 or len(self._read) > 8:
            raise BadBytes("SSLRequest", "bytes that should have waited for the answer")
        if code in self._refused:
            raise BadBytes("SSLRequest", "it came twice")
        self._refused.add(code)
        self._read = b""
        return No()


def refusal(sentence: str) -> bytes:
    """An ErrorResponse that ends a session before it begins, for psql to show."""
    fields = {b"S": b"FATAL", b"V": b"FATAL", b"C": b"08006"}  # connection_failure
    fields[b"M"] = sentence.replace("\0", " ").encode()[:2000]
    body = b"".join(sign + text + b"\0" for sign, text in fields.items()) + b"\0"
    return b"E" + (len(body) + 4).to_bytes(4, "big") + body
