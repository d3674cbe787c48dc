"""The frames of a tunnel: one byte of type, three of length, a body.

Everything that gateway and agent say to each other has this form. Both sides parse it
incrementally; a length is checked before a byte of the body is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from enum import IntEnum
from struct import Struct
from typing import Any, Final

from attrs import field, frozen

from tlsgate.errors import BadBytes


class FrameKind(IntEnum):
    """What a frame says; numbers of our own, never reused for something else."""

    HELLO = 1  #: who this is; the first one each way on every connection
    CONTROL = 2  #: of a control connection only
    REQUEST = 3  #: take this client to that target
    STATUS = 4  #: yes, or no with a reason
    DATA = 5  #: bytes of the client, or of its target
    END = 6  #: no more data in this direction
    RESET = 7  #: this client is over, whatever is under way
    ENDED = 8  #: the agent's last word about a client
    PING = 9
    PONG = 10


#: Of a frame's header.
HEADER: Final = 4

#: Of a HELLO's and a CONTROL's body: an inventory with its labels.
CONTROL_LIMIT: Final = 1 << 20
#: Of a REQUEST's and a STATUS's: the certificates of one user.
REQUEST_LIMIT: Final = 64 * 1024
#: Of DATA: what a relay reads at once, and slack for another implementation's idea of it.
DATA_LIMIT: Final = 320 * 1024

#: What END, RESET and ENDED carry: the number of the request on its connection.
_SERIAL: Final = Struct(">I")
_HEADER: Final = Struct(">I")

#: Of bodies that have one length only.
_EXACT: Final[Mapping[FrameKind, int]] = {
    FrameKind.END: 4,
    FrameKind.RESET: 4,
    FrameKind.ENDED: 4,
    FrameKind.PING: 8,
    FrameKind.PONG: 8,
}

_LIMITS: Final[Mapping[FrameKind, int]] = {
    **_EXACT,
    FrameKind.HELLO: CONTROL_LIMIT,
    FrameKind.CONTROL: CONTROL_LIMIT,
    FrameKind.REQUEST: REQUEST_LIMIT,
    FrameKind.STATUS: REQUEST_LIMIT,
    FrameKind.DATA: DATA_LIMIT,
}

_KINDS: Final[Mapping[int, FrameKind]] = {int(kind): kind for kind in FrameKind}

#: Of JSON bodies: how deep they may be nested.
_DEPTH: Final = 16


@frozen
class Frame:
    """One whole frame; its body may hold a certificate or a client's bytes."""

    kind: FrameKind
    body: bytes = field(default=b"", repr=False)


def usual_limit(kind: FrameKind) -> int:
    """The most bytes that the body of a frame of *kind* may have anywhere."""
    return _LIMITS[kind]


def only(*kinds: FrameKind) -> Callable[[FrameKind], int]:
    """A limit for `Frames` that refuses every frame but those of *kinds*."""
    limits = {kind: _LIMITS[kind] for kind in kinds}
    return lambda kind: limits.get(kind, -1)


def read_header(
    head: int, limit_of: Callable[[FrameKind], int] = usual_limit
) -> tuple[FrameKind, int]:
    """Take a header apart.

    Args:
        head: its four bytes as one number, big endian.
        limit_of: the most bytes that a body may have; below 0: such a frame is refused.

    Returns:
        The frame's kind and how many bytes its body has.

    Raises:
        BadBytes: nothing of the kind is allowed, or not of this length.
    """
    kind = _KINDS.get(head >> 24)
    size = head & 0xFFFFFF
    if kind is None:
        raise BadBytes("frame", f"type {head >> 24} is unknown")
    limit = limit_of(kind)
    if limit < 0:
        raise BadBytes("frame", f"{kind.name} is not allowed here")
    if size > limit:
        raise BadBytes("frame", f"{kind.name} of {size} bytes; {limit} are the most")
    if size != _EXACT.get(kind, size):
        raise BadBytes("frame", f"{kind.name} of {size} bytes; it has {_EXACT[kind]}")
    if not size:
        # Without an end of its own, a row of them would keep a reader busy for nothing.
        raise BadBytes("frame", f"{kind.name} without a body")
    return kind, size


class Frames:
    """Bytes in, whole frames out.

    Args:
        limit_of: see `read_header`; what is allowed may change between two frames.
    """

    __slots__ = ("_buffer", "limit_of")

    def __init__(self, limit_of: Callable[[FrameKind], int] = usual_limit) -> None:
        self._buffer = bytearray()
        self.limit_of = limit_of

    @property
    def held(self) -> int:
        """How many bytes have come of a frame that is not whole yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        """Give every frame that *data* completes.

        Raises:
            BadBytes: a header is refused; nothing more can be parsed after it.
        """
        buffer = self._buffer
        buffer += data
        found: list[Frame] = []
        at = 0
        while len(buffer) - at >= HEADER:
            (head,) = _HEADER.unpack_from(buffer, at)
            kind, size = read_header(head, self.limit_of)
            end = at + HEADER + size
            if len(buffer) < end:
                break
            found.append(Frame(kind, bytes(buffer[at + HEADER : end])))
            at = end
        del buffer[:at]
        return found


def header(kind: FrameKind, size: int) -> bytes:
    """The four bytes before a body of *size* bytes."""
    return _HEADER.pack(kind << 24 | size)


def frame(kind: FrameKind, body: bytes) -> bytes:
    """A whole frame.

    Raises:
        BadBytes: the body is longer, or shorter, than the other side would take.
    """
    read_header(kind << 24 | min(len(body), 0xFFFFFF))
    return header(kind, len(body)) + body


def numbered(kind: FrameKind, serial: int) -> bytes:
    """END, RESET or ENDED of the request *serial*."""
    return header(kind, 4) + _SERIAL.pack(serial)


def read_serial(body: bytes) -> int:
    """The request that an END, RESET or ENDED is about."""
    return int.from_bytes(body, "big")


def message(kind: FrameKind, mapping: Mapping[str, Any]) -> bytes:
    """A frame with *mapping* as its JSON body.

    Raises:
        BadBytes: it would be too long.
    """
    return frame(kind, _encode(mapping).encode("utf-8"))


def read_message(whole: Frame) -> dict[str, Any]:
    """The JSON object of a HELLO, CONTROL, REQUEST or STATUS.

    Raises:
        BadBytes: the body is none, or is nested too deeply; a key that comes twice, a number
            that JSON does not have.
    """
    what = whole.kind.name
    try:
        told = _decode(whole.body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        why = "its keys" if isinstance(error, _Twice) else "it"
        raise BadBytes(what, f"{why} cannot be read as JSON") from error
    if not isinstance(told, dict):
        raise BadBytes(what, "it is no JSON object")
    if _too_deep(told):
        raise BadBytes(what, f"it is nested more than {_DEPTH} deep")
    return told


class _Twice(ValueError):
    """A key comes twice: which one counts depends on the reader."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    told = dict(pairs)
    if len(told) != len(pairs):
        raise _Twice
    return told


def _no_constant(word: str) -> Any:
    raise ValueError(word)


#: Made once: `json.dumps` and `json.loads` make one for each call that wants what these do.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_decode = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant).decode


def _too_deep(told: Any) -> bool:
    layer, depth = [told], 0
    while layer:
        depth += 1
        if depth > _DEPTH:
            return True
        inside: list[Any] = []
        for one in layer:
            if isinstance(one, dict):
                inside += one.values()
            elif isinstance(one, list):
                inside += one
        layer = inside
    return False
