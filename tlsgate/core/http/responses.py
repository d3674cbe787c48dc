"""A target's answer: how its body ends, and whether a change of protocol is a real one."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from attrs import field, frozen

from tlsgate.core.http.fields import (
    FIELD_LIMIT,
    Fields,
    among,
    is_chunked,
    length_of,
    values,
    words,
)
from tlsgate.core.http.requests import RequestHead
from tlsgate.errors import BadBytes

#: RFC 6455 section 1.3.
_WEBSOCKET: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#: Without a body, whatever the fields say (RFC 9112 section 6.3).
_EMPTY: Final = frozenset({204, 205, 304})
#: The fields that say where an answer ends.
_TELLING: Final = frozenset({b"transfer-encoding", b"content-length", b"connection"})


@frozen(kw_only=True)
class ResponseHead:
    """What a target answers.

    Attributes:
        status: 100 to 599.
        fields: names in lower case, in order.
        length: of the body that comes; None: it is chunked, or ends with the connection.
        chunked: it comes in chunks.
        told: the length that the answer names, to be named to the client too; None: none.
        keeps: the target's connection may serve another request afterwards.
    """

    status: int
    fields: Fields = field(repr=False)
    length: int | None = 0
    chunked: bool = False
    told: int | None = None
    keeps: bool = True

    @property
    def is_final(self) -> bool:
        """Whether no other head follows."""
        return self.status >= 200 or self.status == 101


def judge(status: int, fields: Fields, version: bytes, method: bytes) -> ResponseHead:
    """Make an answer of what an HTTP/1 parser gave.

    Raises:
        BadBytes: it leaves open where it ends.
    """
    if not 100 <= status <= 599:
        raise BadBytes("answer", "a status that is none")
    if len(fields) > FIELD_LIMIT:
        raise BadBytes("answer", f"more than {FIELD_LIMIT} fields")
    telling = among(fields, _TELLING)
    chunked = is_chunked(telling, version, "answer")
    told = length_of(telling, "answer")
    hops = words(telling, b"connection")
    keeps = version == b"1.1" and b"close" not in hops
    if status < 200:
        if chunked or told:
            raise BadBytes("answer", "a body where none can be")
        return ResponseHead(status=status, fields=fields, keeps=keeps)
    if method == b"HEAD" or status in _EMPTY:
        return ResponseHead(
            status=status,
            fields=fields,
            told=told if status != 204 else None,
            # Some send a body all the same, which would be taken for the next answer (S26).
            keeps=keeps and method != b"HEAD",
        )
    until_close = told is None and not chunked
    return ResponseHead(
        status=status,
        fields=fields,
        length=told,
        chunked=chunked,
        told=told,
        keeps=keeps and not until_close,
    )


def is_accepted(asked: RequestHead, answer: ResponseHead) -> bool:
    """Whether a 101 means the protocol that the client has asked for, and the client (S27)."""
    if answer.status != 101 or not asked.upgrade:
        return False
    hops = words(answer.fields, b"connection")
    if words(answer.fields, b"upgrade") != [asked.upgrade] or b"upgrade" not in hops:
        return False
    key = values(asked.fields, b"sec-websocket-key")[0]
    digest = hashlib.sha1(key + _WEBSOCKET, usedforsecurity=False).digest()
    if values(answer.fields, b"sec-websocket-accept") != [base64.b64encode(digest)]:
        return False
    offered = words(asked.fields, b"sec-websocket-protocol")
    return all(one in offered for one in words(answer.fields, b"sec-websocket-protocol"))
