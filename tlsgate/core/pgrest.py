"""Whether a PostgreSQL session rests: it is in no transaction, and nothing was asked of it.

1. What the client sends is read from header to header. Query, Sync and FunctionCall are each
   answered by one ReadyForQuery in the end.
2. Of what the server sends mostly the end is looked at: a ReadyForQuery that stands there, or
   before nothing but what a server says unasked. Only a client that asks for more before it
   has its answer (a pipeline) has all of it searched.
3. A session rests when each was answered, the last one with "idle", and no message is on its
   way in part. Where that is not certain, it does not: it ends later then.

Rows that look like a ReadyForQuery could only mislead about the session that they are of.
https://www.postgresql.org/docs/18/protocol-message-formats.html
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from tlsgate.core.wire.postgres import error_response

_HEAD: Final = 5
_HEADER: Final = Struct(">BL").unpack_from
#: Answered by a ReadyForQuery: Query, Sync, FunctionCall.
_ANSWERED: Final = frozenset(b"QSF")
#: What a server says unasked: NotificationResponse, ParameterStatus, NoticeResponse.
_UNASKED: Final = frozenset(b"ASN")
_READY: Final = b"Z\0\0\0\5"
_READY_BYTES: Final = len(_READY) + 1
_IDLE: Final = ord("I")
#: How far from the end of what came a ReadyForQuery is looked for.
_TAIL: Final = 1024

#: https://www.postgresql.org/docs/18/errcodes-appendix.html: admin_shutdown
_STATE: Final = "57P01"
_SENTENCE: Final = "terminating connection due to administrator command: the gateway stops"
_TERMINATE: Final = b"X\0\0\0\4"


class _Steps:
    """Goes from message to message."""

    __slots__ = ("_head", "_skip", "broken")

    def __init__(self) -> None:
        self._head = b""
        self._skip = 0
        self.broken = False  #: a length that no message has; nobody knows where they begin

    @property
    def between(self) -> bool:
        """Whether the next byte is the first of a message."""
        return not (self._head or self._skip or self.broken)

    def over(self, some: memoryview) -> bytes:
        """Give the types of the messages that begin in *some*, whose header is whole."""
        at, end = 0, len(some)
        kinds = bytearray()
        if self._head and not self.broken:
            lacks = _HEAD - len(self._head)
            head = self._head + bytes(some[:lacks])
            if len(head) < _HEAD:
                self._head = head
                return b""
            self._head = b""
            kind, size = _HEADER(head)
            kinds.append(kind)
            self.broken = size < 4
            self._skip = size + 1 - _HEAD
            at = lacks
        at, self._skip = at + self._skip, 0
        while end - at >= _HEAD and not self.broken:
            kind, size = _HEADER(some, at)
            kinds.append(kind)
            self.broken = size < 4
            at += size + 1
        if at < end:
            self._head = bytes(some[at : at + _HEAD])
        else:
            self._skip = at - end
        return bytes(kinds)


class PgRest:
    """See the module; a `core.relayed.Rest`. It begins after the client's StartupMessage."""

    __slots__ = ("_asked", "_ends", "_idle", "_owed", "_unasked")

    def __init__(self) -> None:
        self._asked = _Steps()
        self._owed = 1  #: ReadyForQuery that are still to come; one ends the start-up
        self._ends = b""  #: the last bytes of the server's, where they matter
        self._idle = False
        self._unasked: _Steps | None = None  #: after the last ReadyForQuery that was owed

    def to_target(self, some: memoryview) -> None:
        """See `Rest`."""
        for kind in self._asked.over(some):
            if kind in _ANSWERED:
                self._owed += 1
                self._unasked = None

    def to_client(self, some: memoryview) -> None:
        """See `Rest`."""
        after = self._unasked
        if after is not None:
            if not _UNASKED.issuperset(after.over(some)) or after.broken:
                self._owed, self._unasked, self._ends = 1, None, b""  # until it is ready again
            return
        if self._owed > 1:
            text = self._ends + bytes(some)
            self._owed -= text.count(_READY)
            if self._owed > 0:
                # One that was counted is not met again; one that has come in part is.
                begins = text.rfind(_READY) + len(_READY) if _READY in text else 0
                self._ends = text[max(begins, len(text) - len(_READY) + 1) :]
                return
            self._owed, self._ends, some = 1, b"", memoryview(text)
        self._look(some)

    def _look(self, some: memoryview) -> None:
        """See whether the one that is owed stands at the end."""
        if bytes(some[-_READY_BYTES:-1]) == _READY:  # as most answers do
            self._idle = some[-1] == _IDLE
            self._owed, self._unasked, self._ends = 0, _Steps(), b""
            return
        tail = self._ends + bytes(some[-_TAIL:])
        self._ends = tail[-_READY_BYTES:]
        at = tail.rfind(_READY)
        if at < 0 or at + _READY_BYTES > len(tail):
            return
        after = _Steps()
        behind = memoryview(tail)[at + _READY_BYTES :]
        if _UNASKED.issuperset(after.over(behind)) and not after.broken:
            self._idle = tail[at + len(_READY)] == _IDLE
            self._owed, self._unasked, self._ends = 0, after, b""

    def resting(self) -> bool:
        """See `Rest`."""
        after = self._unasked
        return after is not None and self._idle and after.between and self._asked.between

    def last_words(self) -> tuple[bytes, bytes]:
        """See `Rest`: as a server that is shut down says it, and as a client that ends."""
        return error_response(_STATE, _SENTENCE), _TERMINATE
