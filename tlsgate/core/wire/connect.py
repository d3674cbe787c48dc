"""The one request with which a client names its target: HTTP/1.1 CONNECT.

RFC 9110 section 9.3.6 (CONNECT) and RFC 9112 sections 3.2.3 (authority-form) and 2.2: lines
end in CR LF, and nothing is mended.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import field, frozen

from tlsgate.core.outcome import More
from tlsgate.errors import BadBytes

#: Of the whole request, its empty line counted.
LIMIT: Final = 8192

_METHOD: Final = b"CONNECT "
_END: Final = b"\r\n\r\n"
_REQUEST: Final = re.compile(rb"CONNECT (\[[0-9A-Fa-f:.]+\]|[!-9;-Z\\^-~]+):([0-9]{1,5}) HTTP/1\.1")
#: RFC 9110 section 5.6.2 (token) and 5.5 (field values).
_FIELD: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_HOST_LIMIT: Final = 255


@frozen
class Connect:
    """What was asked for.

    Attributes:
        host: as it was written; an IPv6 address without its brackets.
        port: 1 to 65535.
        length: of the request; what comes behind is the target's.
        program: what the client calls itself.
    """

    host: str
    port: int
    length: int
    program: str = field(default="", eq=False)


def read_connect(head: bytes) -> Connect | More:
    """Read the request at the beginning of *head*.

    Raises:
        BadBytes: it is none, it is longer than `LIMIT`, or it announces a body.
    """
    if head[: len(_METHOD)] != _METHOD[: len(head)]:
        raise _bad("the first word is not CONNECT")
    end = head.find(_END, 0, LIMIT)
    if end < 0:
        if len(head) >= LIMIT:
            raise _bad(f"longer than {LIMIT} bytes")
        return More(1)
    line, *fields = head[:end].split(b"\r\n")
    found = _REQUEST.fullmatch(line)
    if found is None:
        raise _bad("no CONNECT HOST:PORT HTTP/1.1")
    host, port = found[1].decode("ascii").strip("[]"), int(found[2])
    if len(host) > _HOST_LIMIT or not 0 < port < 65536:
        raise _bad("no such host and port")
    program = ""
    for one in fields:
        name = _FIELD.fullmatch(one)
        if name is None:
            raise _bad("a header field is none")
        if name[1].lower() == b"user-agent":
            program = one.partition(b":")[2].strip().decode("ascii", "replace")
        if name[1].lower() in (b"content-length", b"transfer-encoding"):
            raise _bad("a body is not taken")
    return Connect(host, port, end + len(_END), program)


def established(ping_seconds: float | None = None) -> bytes:
    """Write the answer behind which the target's bytes follow, without length or encoding.

    Args:
        ping_seconds: between two of our pings, at most; the client may take three silent
            intervals for the end. None: there are none.
    """
    told = "" if ping_seconds is None else f"tlsgate-ping-seconds: {ping_seconds:g}\r\n"
    return f"HTTP/1.1 200 Connection established\r\n{told}\r\n".encode("ascii")


def refused(status: int, phrase: str, sentence: str) -> bytes:
    """Write an answer that says *sentence* to whoever reads it, after which all is closed.

    Args:
        status, phrase: of RFC 9110 section 15.
        sentence: of any length and letters.
    """
    body = sentence.encode(errors="replace") + b"\n"
    head = (
        f"HTTP/1.1 {status} {phrase}\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Connection: close\r\n"
        "\r\n"
    )
    return head.encode("ascii") + body


def _bad(why: str) -> BadBytes:
    return BadBytes("CONNECT request", why)
