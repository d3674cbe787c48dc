"""HTTP/1.1 to a target, one request at a time on a connection that is kept (S26).

1. `ask` writes a request's head; `body` and `body_ended` the rest.
2. Heads and chunks are held to the letter by `core.http`; other bodies are nobody's to read.
3. After an answer whose end is known the link is idle, and may be asked again.

What breaks the rules, or comes where nothing may, ends the link: nobody could say any more
which answer belongs to whom.
"""

from __future__ import annotations

import enum
from typing import Any, Final, Protocol

from tlsgate.core.http.chunks import Chunks, last_chunk
from tlsgate.core.http.fields import Fields, head_size, read_response
from tlsgate.core.http.requests import RequestHead
from tlsgate.core.http.responses import ResponseHead, judge
from tlsgate.errors import BadBytes, GateError, TargetBroken, TunnelBroken
from tlsgate.net.ends import End
from tlsgate.protocols.apps.line import Line
from tlsgate.tls.fast import Slab

#: Interim answers before the real one.
_INTERIM: Final = 16


class Answered(Protocol):
    """Who waits for an answer."""

    def answered(self, head: ResponseHead, *, more: bool) -> None:
        """A head has come; several times where it is not final.

        Args:
            more: with it came bytes of its counted body, which `received` gets next.
        """

    def received(self, data: bytes) -> None:
        """A piece of the body has come."""

    @property
    def straight(self) -> bool:
        """Whether a body whose length is known may come as `poured`."""

    def poured(self, slab: Slab, count: int) -> int:
        """A piece of the body stands in the slab; gives how many bytes may come next."""

    def finished(self, trailers: Fields = ()) -> None:
        """The answer is whole; the link is its owner's again, if it is `idle`.

        Args:
            trailers: the fields behind a body in chunks, as they came.
        """

    def failed(self, error: GateError) -> None:
        """The link is over, and with it the answer."""

    def drained(self) -> None:
        """The target has taken what was written."""


class _At(enum.Enum):
    IDLE = 0
    HEAD = 1
    COUNTED = 2
    CHUNKED = 3
    UNTIL_CLOSE = 4
    SWITCHED = 5


class Link:
    """See the module.

    Args:
        name: of the application, for errors.
        born: when it was opened.

    Attributes:
        served: requests that it has answered.
        idle_since: set by its owner.
        heard: bytes have come for the present request.
    """

    __slots__ = (
        *("_answer", "_at", "_buffer", "_interim", "_left", "_method", "_name", "_parser"),
        *(
            "_sent_whole",
            "_wants",
            "born",
            "heard",
            "idle_since",
            "is_over",
            "line",
            "on_gone",
            "served",
        ),
    )

    def __init__(self, line: Line, name: str, born: float) -> None:
        self.line = line
        self._name = name
        self.born = born
        self._at = _At.IDLE
        self._answer: ResponseHead | None = None
        self._wants: Answered | None = None
        self._buffer = bytearray()
        self._parser: Chunks | None = None
        self._left = 0
        self._interim = 0
        self._method = b""
        self._sent_whole = True
        self.heard = False
        self.is_over = False
        self.served = 0
        self.idle_since = 0.0
        self.on_gone: Any = None  #: called with the link when it ends while it is idle
        line.start(self)

    @property
    def idle(self) -> bool:
        """Whether it may be asked."""
        return self._at is _At.IDLE and not self.is_over and self._sent_whole

    # -- what its owner does ------------------------------------------------------------

    def ask(self, head: RequestHead, wire: bytes, wants: Answered) -> None:
        """Send the head *wire* of a request; *wants* hears the answer."""
        self._wants, self._at, self._method = wants, _At.HEAD, head.method
        self._sent_whole = not head.has_body
        self.heard = False
        self._interim = 0
        self.line.write(wire)

    def body(self, data: bytes, *, chunked: bool) -> bool:
        """Send a piece of the body; False: wait for `drained`."""
        if not data:
            return not self.line.is_stuck
        return self.line.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)

    def pour(self, slab: Slab, count: int) -> int:
        """Send a piece of a counted body; see `Line.pour`."""
        return self.line.pour(slab, count)

    def body_ended(self, *, chunked: bool, trailers: Fields = ()) -> None:
        """The request is whole."""
        if chunked:
            self.line.write(last_chunk(trailers))
        self._sent_whole = True

    def switched(self) -> tuple[End, bytes]:
        """Give the end up after a 101, and what has come behind it."""
        assert self._at is _At.SWITCHED
        self.is_over, self._wants = True, None
        return self.line.release(), bytes(self._buffer)

    def close(self) -> None:
        """End it; nobody hears of that."""
        self.is_over, self._wants = True, None
        self.line.close()

    # -- the line calls these -------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """See `line.Hears`."""
        if self._at is _At.COUNTED:
            left = self._left
            if len(data) < left:
                self._left = left - len(data)
                self._give(data)
                return
            self._left = 0
            if len(data) > left:
                self._break("more than it said")
                return
            self._give(data)
            if not self.is_over:
                self._finish()
            return
        try:
            self._parse(data)
        except BadBytes as error:
            self._break(str(error))

    def poured(self, slab: Slab, count: int) -> int:
        """See `line.Hears`."""
        left = self._left = self._left - count
        wants = self._wants
        if left < 0 or wants is None:
            self._break("more than it said")
            return 1
        more = wants.poured(slab, count)
        if not left and not self.is_over:
            self._finish()
        return more

    def drained(self) -> None:
        """See `line.Hears`."""
        if self._wants is not None:
            self._wants.drained()

    def gone(self, why: str) -> None:
        """See `line.Hears`."""
        self.is_over = True
        wants, self._wants = self._wants, None
        if wants is None:
            if self.on_gone is not None:
                self.on_gone(self)
        elif self._at is _At.UNTIL_CLOSE and why == "ended":
            wants.finished()
        else:
            wants.failed(TunnelBroken(f"application {self._name} hung up before its answer's end"))

    # -- inside ----------------------------------------------------------------------------

    def _parse(self, data: bytes) -> None:
        at = self._at
        if at is _At.UNTIL_CLOSE:
            self._give(data)
        elif at is _At.CHUNKED:
            self._chunks(data)
        elif at is _At.HEAD:
            self.heard = True
            self._buffer += data
            while self._at is _At.HEAD and (size := head_size(self._buffer)):
                head = bytes(self._buffer[:size])
                del self._buffer[:size]
                self._head(head)
        else:
            raise BadBytes("answer", "one that nobody has asked for")

    def _head(self, raw: bytes) -> None:
        status, version, fields = read_response(raw)
        answer = judge(status, fields, version, self._method)
        wants = self._wants
        assert wants is not None
        if not answer.is_final:
            self._interim += 1
            if self._interim > _INTERIM:
                raise BadBytes("answer", "too many before the real one")
            wants.answered(answer, more=False)
            return
        self._answer = answer
        if answer.status == 101:
            self._at = _At.SWITCHED
            wants.answered(answer, more=False)
            return
        if answer.chunked and self._method != b"HEAD" and answer.length is None:
            self._at, self._parser = _At.CHUNKED, Chunks()
        elif answer.length is None:
            self._at = _At.UNTIL_CLOSE
        else:
            self._at, self._left = _At.COUNTED, answer.length
        more = self._at is _At.COUNTED and 0 < len(self._buffer) <= self._left
        wants.answered(answer, more=more)
        if self.is_over:
            return
        rest, self._buffer = bytes(self._buffer), bytearray()
        if self._at is _At.COUNTED and self._left == 0:
            if rest:
                raise BadBytes("answer", "one that nobody has asked for")
            self._finish()
        elif rest:
            self.received(rest)
        self._go_straight()

    def _go_straight(self) -> None:
        wants = self._wants
        if self._at is _At.COUNTED and wants is not None and wants.straight:
            self.line.straight = self._left

    def _chunks(self, data: bytes) -> None:
        parser = self._parser
        assert parser is not None
        for piece in parser.feed(data):
            self._give(piece)
            if self.is_over:
                return
        if parser.over:
            if parser.rest:
                raise BadBytes("answer", "one that nobody has asked for")
            self._finish(parser.trailers)

    def _give(self, data: bytes) -> None:
        if self._wants is not None and data:
            self._wants.received(data)

    def _finish(self, trailers: Fields = ()) -> None:
        wants, self._wants, self._parser = self._wants, None, None
        answer = self._answer
        self._at = _At.IDLE
        self.served += 1
        if answer is None or not answer.keeps or not self._sent_whole or self.line.is_stuck:
            self.close()
        if wants is not None:
            wants.finished(trailers)

    def _break(self, why: str) -> None:
        wants = self._wants
        self.close()
        if wants is not None:
            wants.failed(TargetBroken(f"application {self._name}", why))
        elif self.on_gone is not None:
            self.on_gone(self)
