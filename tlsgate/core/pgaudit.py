"""What a PostgreSQL client has its server do, read beside the relay.

It goes from header to header: of most messages only the five bytes are looked at, and of those
that carry a query no more than its beginning is kept. Rows and COPY data are never copied.

1. Simple protocol: a Query is one event.
2. Extended protocol: Parse gives a text its name, Bind makes a portal of it, and the first
   Execute of a portal is the event; parameters are counted, their values are not looked at.
3. The server skips messages after an error, and refuses names that are taken, so a client can
   make us take one text for another (S44). A text that gives way before it was told is told
   then: whatever the server has been given to prepare and may run stands in the trail.

What a client keeps in its names is bounded: of the oldest only the name is told. Lengths or
types that no server takes end the reading, since nobody knows any more where messages begin.
https://www.postgresql.org/docs/18/protocol-message-formats.html
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from struct import Struct
from typing import Final, Literal

from attrs import define, field, frozen

#: Of one query's text, in bytes.
TEXT: Final = 4096
#: Of the name of a statement or a portal; a longer one is not remembered.
NAME: Final = 256
#: Statements and portals that are remembered, and their texts together.
STATEMENTS: Final = 256
PORTALS: Final = 64
TEXTS: Final = 128 << 10

_HEAD: Final = 5
_HEADER: Final = Struct(">BL").unpack_from
_Q, _P, _B, _E, _C, _F, _D = b"QPBECFd"

#: How much of each message is kept; of the others, nothing.
_KEPT: Final = {
    _Q: TEXT + 1,
    _P: NAME + 1 + TEXT + 1,
    _B: TEXT,
    _E: NAME + 1,
    _C: NAME + 2,
    _F: 4,
}
#: Describe, Flush, Sync, Terminate; COPY's data, end and failure; a password.
_PASSED: Final = frozenset(b"DHSXdcfp")

Kind = Literal["simple", "extended", "function", "unreadable"]


@frozen
class Query:
    """One thing that the server is to do.

    Attributes:
        kind: by which part of the protocol; "unreadable": it is broken, and the last one.
        text: its beginning.
        cut: whether there was more.
        statement: the name of the prepared one; "" where it has none.
        parameters: how many values came with it; None: nobody counted.
    """

    kind: Kind
    text: str = field(repr=False)
    cut: bool = False
    statement: str = ""
    parameters: int | None = None


@define(eq=False)
class _Statement:
    """A text that has a name; the query that it was last is kept, since it will be that again."""

    text: str
    size: int  #: in bytes, as it came
    cut: bool
    query: Query | None = None
    bound: bool = False  #: a portal has it, which is told if nothing else is


#: A portal that nobody has bound, or too long ago.
_UNKNOWN: Final = Query("extended", "", cut=True)


class Audit:
    """See the module.

    Args:
        tell: called with each query; it must not raise.
    """

    __slots__ = (
        *("_body", "_cut", "_head", "_kind", "_lacks", "_over"),
        *("_portals", "_size", "_skip", "_statements", "_tell"),
    )

    def __init__(self, tell: Callable[[Query], None]) -> None:
        self._tell = tell
        self._over = False
        self._head = b""  #: of a message whose header has come in part
        self._skip = 0  #: bytes that nobody looks at
        self._lacks = 0  #: bytes that are kept, and have not come
        self._kind = 0
        self._cut = False
        self._body = bytearray()
        self._size = 0  #: of all texts
        self._statements: OrderedDict[bytes, _Statement] = OrderedDict()
        #: None: its query has been told, and the next rows of the same are no other one.
        self._portals: OrderedDict[bytes, Query | None] = OrderedDict()

    def to_target(self, some: memoryview | bytes) -> None:
        """Read on."""
        at, end = 0, len(some)
        while at < end and not self._over:
            if self._lacks or self._skip or self._head or end - at < _HEAD:
                at = self._go_on(some, at)
                continue
            kind, size = _HEADER(some, at)
            if kind == _D and size >= 4:
                # A row of COPY each: nothing is done but to find the next one.
                while kind == _D and size >= 4:
                    at += 1 + size
                    if end - at < _HEAD:
                        break
                    kind, size = _HEADER(some, at)
                self._skip = max(at - end, 0)
                continue
            at += _HEAD
            size -= 4
            keep = _KEPT.get(kind)
            if keep is not None and 0 <= size <= end - at:
                # The usual message is short, and here whole: it needs no buffer.
                self._take(kind, bytes(some[at : at + min(size, keep)]), size > keep)
                at += size
            else:
                self._begin(kind, size)

    def _go_on(self, some: memoryview | bytes, at: int) -> int:
        """Read on in a message that has begun, or whose header has; gives the next place."""
        if self._lacks:
            part = some[at : at + self._lacks]
            self._body += part
            self._lacks -= len(part)
            if not self._lacks:
                self._take(self._kind, bytes(self._body), self._cut)
            return at + len(part)
        if self._skip:
            step = min(self._skip, len(some) - at)
            self._skip -= step
            return at + step
        part = some[at : at + _HEAD - len(self._head)]
        self._head += part
        if len(self._head) == _HEAD:
            kind, size = _HEADER(self._head)
            self._head = b""
            self._begin(kind, size - 4)
        return at + len(part)

    def _begin(self, kind: int, size: int) -> None:
        keep = _KEPT.get(kind)
        if size < 0 or (keep is None and kind not in _PASSED):
            self._over = True
            self._statements.clear()
            self._portals.clear()
            self._tell(Query("unreadable", ""))
            return
        self._lacks = min(size, keep or 0)
        self._skip = size - self._lacks
        if keep is None:
            return
        self._kind, self._cut, self._body = kind, self._skip > 0, bytearray()
        if not self._lacks:
            self._take(kind, b"", self._cut)

    def _take(self, kind: int, body: bytes, cut: bool) -> None:
        """One message is there, as far as it is kept."""
        if kind == _Q:
            text, cut = _text(body, cut)
            self._tell(Query("simple", _told(text), cut))
        elif kind == _P:
            self._parse(body, cut)
        elif kind == _B:
            self._bind(body)
        elif kind == _E:
            self._execute(body)
        elif kind == _C:
            self._close(body)
        else:
            oid = int.from_bytes(body, "big")
            self._tell(Query("function", f"function call of OID {oid}"))

    def _parse(self, body: bytes, cut: bool) -> None:
        name, end, rest = body.partition(b"\0")
        self._forget(name)
        if end and len(name) <= NAME:
            text, cut = _text(rest, cut)
            self._statements[name] = _Statement(_told(text), len(text), cut)
            self._size += len(text)
            while len(self._statements) > STATEMENTS or self._size > TEXTS:
                self._forget(next(iter(self._statements)))

    def _forget(self, name: bytes) -> None:
        gone = self._statements.pop(name, None)
        if gone is not None:
            self._size -= gone.size
            if not gone.bound:
                self._tell(Query("extended", gone.text, gone.cut, _told(name)))

    def _leave(self, portal: bytes) -> None:
        query = self._portals.pop(portal, None)
        if query is not None:
            self._tell(query)

    def _bind(self, body: bytes) -> None:
        portal, _, rest = body.partition(b"\0")
        name, end, rest = rest.partition(b"\0")
        if not end or len(portal) > NAME:
            return
        at = 2 + 2 * int.from_bytes(rest[:2], "big")
        raw = rest[at : at + 2]
        count = int.from_bytes(raw, "big") if len(raw) == 2 else None
        self._leave(portal)
        self._portals[portal] = self._meant(name, count)
        if len(self._portals) > PORTALS:
            self._leave(next(iter(self._portals)))

    def _meant(self, name: bytes, count: int | None) -> Query:
        known = self._statements.get(name)
        if known is None:
            return Query("extended", "", True, _told(name[:NAME]), count)
        known.bound = True
        query = known.query
        if query is None or query.parameters != count:
            query = known.query = Query("extended", known.text, known.cut, _told(name), count)
        return query

    def _execute(self, body: bytes) -> None:
        portal = body.partition(b"\0")[0]
        query = self._portals.get(portal, _UNKNOWN)
        if query is not None:
            if query is not _UNKNOWN:
                self._portals[portal] = None
            self._tell(query)

    def _close(self, body: bytes) -> None:
        name = body[1:].partition(b"\0")[0]
        if body[:1] == b"S":
            self._forget(name)
        else:
            self._leave(name)


def _text(body: bytes, cut: bool) -> tuple[bytes, bool]:
    """The query at the beginning of *body*, and whether there was more of it."""
    text, end, _ = body.partition(b"\0")
    return text[:TEXT], len(text) > TEXT or (cut and not end)


def _told(text: bytes) -> str:
    return text.decode("utf-8", "replace")
