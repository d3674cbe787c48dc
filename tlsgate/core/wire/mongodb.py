"""MongoDB: a driver's first message, and an error as its answer.

A driver drops an answer whose `responseTo` is not the number of its own request, so the
answer is made from the request's header.
https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/ and
https://bsonspec.org/spec.html
"""

from __future__ import annotations

from struct import Struct, pack

#: The code that servers use for "not allowed": Unauthorized.
UNAUTHORIZED = 13

_HEADER = Struct("<iiii")  # size, number, number it answers, kind
_OP_REPLY = 1
_OP_QUERY = 2004  # what drivers open with until they know the server
_OP_MSG = 2013
#: The second half of an opening header: it answers nothing, and is of one of two kinds.
_TAILS = (pack("<ii", 0, _OP_MSG), pack("<ii", 0, _OP_QUERY))
_SMALLEST = 26
_LARGEST = 48_000_000  # maxMessageSizeBytes


def is_message(head: bytes, /) -> bool | None:
    """Tell a first request by its header: a size that can be, and a kind that opens."""
    if len(head) >= 4 and not _SMALLEST <= int.from_bytes(head[:4], "little") <= _LARGEST:
        return False
    if len(head) < _HEADER.size:
        fits = any(tail.startswith(head[8:]) for tail in _TAILS)
        return None if fits else False
    return head[8:16] in _TAILS


def error_reply(request: bytes, message: str, code: int = UNAUTHORIZED) -> bytes:
    """Answer *request* with an error that the driver shows.

    Args:
        request: the first 16 bytes of what the client sent, or more. With less than
            that the answer is for request 0, which few drivers accept.
        message: a sentence.
        code: of https://www.mongodb.com/docs/manual/reference/error-codes/
    """
    number, kind = 0, _OP_QUERY
    if len(request) >= _HEADER.size:
        _, number, _, kind = _HEADER.unpack_from(request)
    document = _document(message, code)
    if kind == _OP_MSG:
        body = pack("<IB", 0, 0) + document  # no flags; one section, of a single document
        answer = _OP_MSG
    else:
        body = pack("<iqii", 0, 0, 0, 1) + document  # flags, cursor, first, how many
        answer = _OP_REPLY
    return _HEADER.pack(_HEADER.size + len(body), 0, number, answer) + body


def _document(message: str, code: int) -> bytes:
    """BSON of {ok: 0.0, errmsg: message, code: code}."""
    text = message.replace("\0", "").encode() + b"\0"
    elements = (
        b"\x01ok\0"
        + pack("<d", 0.0)
        + b"\x02errmsg\0"
        + pack("<i", len(text))
        + text
        + b"\x10code\0"
        + pack("<i", code)
    )
    return pack("<i", 4 + len(elements) + 1) + elements + b"\0"
