"""A body in chunks (RFC 9112 section 7.1), to the letter, and the trailer fields behind it.

What recipients may be kind about is refused: bare LF or CR anywhere, folded trailer fields, white
space before a size. What goes on is written anew, so no spelling of a chunk reaches anybody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from tlsgate.core.http.fields import (
    FIELD_LIMIT,
    HEAD_LIMIT,
    HOP_BY_HOP,
    TOKEN,
    VALUE,
    Field,
    Fields,
    folded,
    is_ours,
    words,
)
from tlsgate.errors import BadBytes

#: Of a chunk's own line: long extensions are nobody's, and a way to make work.
_LINE: Final = 256
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER: Final = re.compile(rb"(%b):([\t\x20-\x7e\x80-\xff]*)" % TOKEN.pattern)

#: A trailer that a recipient takes for a field of the head must change nothing there: neither how
#: the message is read, nor who sends it, nor for whom and how long it is (RFC 9110 section 6.5.1).
_HEADS_OWN: Final = frozenset(
    {
        *(b"host", b"content-length", b"content-type", b"content-encoding", b"content-range"),
        *(b"authorization", b"cookie", b"set-cookie", b"www-authenticate", b"origin", b"referer"),
        *(b"expect", b"range", b"max-forwards", b"pragma", b"age", b"expires", b"date", b"vary"),
        *(b"cache-control", b"location", b"retry-after", b"warning", b"server", b"alt-svc"),
        *(b"strict-transport-security", b"content-security-policy", b"clear-site-data"),
        *(b"access-control-allow-origin", b"access-control-allow-credentials", b"refresh"),
    }
)


class Chunks:
    """One body; fed in any pieces, each of them once.

    Attributes:
        over: the body and its trailers are whole.
        rest: what has come behind them.
        trailers: names in lower case, in order.
    """

    def __init__(self) -> None:
        self.over = False
        self.rest = b""
        self.trailers: Fields = ()
        self._buffer = bytearray()
        self._left = 0  #: of the present chunk
        self._ends = False  #: its CR LF is still to come
        self._last = False

    def feed(self, data: bytes) -> list[bytes]:
        """Give the pieces of the body in *data*; none is empty.

        Raises:
            BadBytes: it is not written as chunks are.
        """
        found: list[bytes] = []
        buffer = self._buffer
        buffer += data
        while buffer and not self.over:
            if self._left:
                piece = bytes(buffer[: self._left])
                del buffer[: self._left]
                self._left -= len(piece)
                self._ends = not self._left
                found.append(piece)
            elif not (self._end() if self._ends else self._line()):
                break
        return found

    def _end(self) -> bool:
        buffer = self._buffer
        if not b"\r\n".startswith(buffer[:2]):
            raise BadBytes("chunk", "it is longer than it said")
        if len(buffer) < 2:
            return False
        del buffer[:2]
        self._ends = False
        return True

    def _line(self) -> bool:
        buffer = self._buffer
        if self._last:
            return self._trailers()
        end = buffer.find(b"\r\n", 0, _LINE)
        if end < 0:
            if len(buffer) >= _LINE:
                raise BadBytes("chunk", f"a line longer than {_LINE} bytes")
            return False
        told = _SIZE.fullmatch(buffer, 0, end)
        if told is None:
            raise BadBytes("chunk", "a size that is none")
        self._left = int(told[1], 16)
        self._last = not self._left
        del buffer[: end + 2]
        return True

    def _trailers(self) -> bool:
        """Take the fields behind the last chunk, once all have come."""
        buffer = self._buffer
        if not buffer.startswith(b"\r\n"[: len(buffer)]):
            end = buffer.find(b"\r\n\r\n", 0, HEAD_LIMIT)
            if end < 0:
                if len(buffer) >= HEAD_LIMIT:
                    raise BadBytes("trailers", f"longer than {HEAD_LIMIT} bytes")
                return False
            self.trailers = _read(bytes(buffer[:end]))
            del buffer[: end + 2]
        elif len(buffer) < 2:
            return False
        del buffer[:2]
        self.over, self.rest = True, bytes(buffer)
        buffer.clear()
        return True


def _read(lines: bytes) -> Fields:
    found: list[Field] = []
    for line in lines.split(b"\r\n"):
        told = _TRAILER.fullmatch(line)
        if told is None:
            raise BadBytes("trailers", "a line that is no field")
        found.append((told[1].lower(), told[2].strip(b" \t")))
    if len(found) > FIELD_LIMIT:
        raise BadBytes("trailers", f"more than {FIELD_LIMIT} fields")
    return tuple(found)


def read_trailers(fields: Fields) -> Fields:
    """Those of HTTP/2 that could stand behind chunks as well; a decoder has read them."""
    return tuple(
        one for one in fields[:FIELD_LIMIT] if TOKEN.fullmatch(one[0]) and VALUE.fullmatch(one[1])
    )


def may_trail(name: bytes) -> bool:
    """Whether a field *name* may pass behind a body, whoever has sent it."""
    plain = folded(name)
    return not (name in HOP_BY_HOP or is_ours(name) or plain in _HEADS_OWN)


def announced(fields: Fields) -> tuple[bytes, ...]:
    """Which trailer fields a head says will come, of those that may."""
    return tuple(
        name for name in words(fields, b"trailer") if TOKEN.fullmatch(name) and may_trail(name)
    )


def passing(trailers: Iterable[Field], named: tuple[bytes, ...] | None = None) -> Fields:
    """What of *trailers* may go on; of *named* only, where those are told."""
    return tuple(
        one for one in trailers if may_trail(one[0]) and (named is None or one[0] in named)
    )


def last_chunk(trailers: Iterable[Field] = ()) -> bytes:
    """Write the end of a body in chunks."""
    return b"0\r\n%b\r\n" % b"".join(b"%b: %b\r\n" % one for one in trailers)
