"""HTTP/1.1 from the client: one request at a time, however many have come (S26).

1. A head is awaited, whole and to the letter, within `opening_seconds` of its first byte. The
   letter is `core.http`'s; h11, which forgives more, took two thirds of a request's time.
2. Its body goes to the exchange as it comes: counted, and then past this parser as soon as the
   target's connection is there, or in chunks.
3. What comes behind it waits until the answer has left, some of it in memory and the rest in the
   client's socket.

Whatever is refused as a message ends the connection: nobody knows where the next one begins.

One file, though a long one: one machine, whose every callback may end it.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from tlsgate.core.access import Decision
from tlsgate.core.http import forward
from tlsgate.core.http.chunks import Chunks, last_chunk
from tlsgate.core.http.fields import Field, Fields, head_size, read_request
from tlsgate.core.http.requests import RequestHead, judge
from tlsgate.errors import BadBytes
from tlsgate.protocols.apps import refusals
from tlsgate.protocols.apps.exchange import Exchange
from tlsgate.protocols.apps.link import Link
from tlsgate.protocols.apps.session import Acting
from tlsgate.protocols.apps.switched import Switched
from tlsgate.protocols.apps.visit import Session, Visit
from tlsgate.tls.fast import Slab

#: What may wait for the request before it.
_AHEAD: Final = 64 * 1024
#: A body that is not told to wait brings so much at least in so long (S33).
_BODY_SECONDS: Final = 10.0
_BODY_BYTES: Final = 10 * 1024
#: A connection that asks for nothing more; browsers keep theirs for longer, and make another.
REST_SECONDS: Final = 75.0


@implementer(IHalfCloseableProtocol, IPushProducer)
class Http1(Protocol):
    """See the module."""

    transport: Any

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._buffer = bytearray()
        self._exchange: Exchange | None = None
        self._head: RequestHead | None = None
        self._left = 0  #: of a counted body
        self._diverted = False  #: all of that passes by the buffer
        self._parser: Chunks | None = None  #: of one in chunks
        self._body_over = True
        self._chunked_answer = False
        self._early = b""  #: a head that leaves with the body's beginning
        self._close_after = False
        self._read_ended = False
        self._over = False
        self._reading = True
        self._paused = False  #: the exchange takes no body now
        self._full = False  #: the client takes no answer now
        self._looping = False
        self._late: IDelayedCall | None = None
        self._slow: IDelayedCall | None = None
        self._resting: IDelayedCall | None = None
        self._rests_since = 0.0
        self._body_seen = 0
        self._expecting = False  #: the client waits for 100 with its body

    # -- Twisted calls these ---------------------------------------------------------------

    def connectionMade(self) -> None:
        """The connection is there."""
        self.transport.registerProducer(self, True)
        self._expect()

    def dataReceived(self, data: bytes) -> None:
        """The client has sent *data*."""
        if self._over:
            return
        self._buffer += data
        self._go_on()

    def readConnectionLost(self) -> None:
        """The client asks no more; it still gets what it has asked for."""
        self._read_ended = True
        if self._exchange is None or not self._body_over:
            self._close()
        else:
            self._close_after = True

    def writeConnectionLost(self) -> None:
        """We never end our direction alone."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self._finish()
        self._exchange = None
        self._visit.lost()

    def pauseProducing(self) -> None:
        """The client takes too slowly."""
        self._full = True
        if self._exchange is not None:
            self._exchange.pause()

    def resumeProducing(self) -> None:
        """The client has taken what there was."""
        self._full = False
        if self._exchange is not None:
            self._exchange.resume()
        elif self._buffer:
            self._go_on()

    def stopProducing(self) -> None:
        """The connection is gone; `connectionLost` follows."""

    # -- requests --------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Take what there is, as far as it can be taken now."""
        if self._looping:
            return
        self._looping = True
        try:
            while not self._over and self._buffer and self._step():
                pass
        except BadBytes as error:
            self._refuse(refusals.refusal(error, ()))
        finally:
            self._looping = False
        self._bound()

    def _step(self) -> bool:
        """Take one thing; False: wait."""
        if not self._body_over:
            return not self._paused and self._body()
        if self._exchange is not None or self._close_after or self._full:
            return False
        size = head_size(self._buffer)
        if not size:
            self._expect()
            return False
        raw = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._in_time()
        self._begin(raw)
        return True

    def _begin(self, raw: bytes) -> None:
        method, target, version, fields = read_request(raw)
        head = judge(method, target, fields, version)
        if self._visit.is_misdirected(head):
            words = refusals.answer(421, refusals.MISDIRECTED, "misdirected", head.fields)
            self._refuse(words)
            return
        self._head = head
        self._close_after = not head.keeps
        self._body_over = not head.has_body
        self._left = head.length or 0
        self._parser = Chunks() if head.length is None else None
        self._paused = False
        self._expecting = head.expects
        exchange = self._exchange = Exchange(self._visit, head, self)
        exchange.start()
        if not self._body_over:
            self._look_at_body()

    def _body(self) -> bool:
        """Pass a piece of the body on."""
        exchange, buffer = self._exchange, self._buffer
        if exchange is None:
            return False
        if self._parser is not None:
            data = bytes(buffer)
            buffer.clear()
            return self._chunks(exchange, self._parser, data)
        if len(buffer) <= self._left:
            data, self._buffer = bytes(buffer), bytearray()
        else:
            data = bytes(buffer[: self._left])
            del buffer[: self._left]
        self._left -= len(data)
        self._body_seen += len(data)
        if not self._left:
            self._body_over = True
        exchange.body(data)
        if not self._left:
            self._body_ended(exchange)
        elif not self._buffer and not self._over:
            self._diverted = True
            self.transport.divert(self._left, self._poured)
        return True

    def _poured(self, slab: Slab, count: int) -> int:
        """Pass a piece of the body on that stands in the slab."""
        exchange = self._exchange
        self._left -= count
        self._body_seen += count
        over = self._body_over = not self._left
        if over:
            self._diverted = False
        if exchange is None or self._over:
            return count
        more = exchange.poured_in(slab, count)
        if over:
            self._body_ended(exchange)
        return more

    def _chunks(self, exchange: Exchange, parser: Chunks, data: bytes) -> bool:
        for piece in parser.feed(data):
            self._body_seen += len(piece)
            exchange.body(piece)
        if parser.over:
            self._parser, self._body_over = None, True
            self._buffer += parser.rest
            self._body_ended(exchange, parser.trailers)
        return parser.over

    def _body_ended(self, exchange: Exchange, trailers: Fields = ()) -> None:
        self._body_over = True
        self._stop_looking()
        exchange.body_ended(trailers)

    # -- the exchange says -------------------------------------------------------------------

    def head(
        self, status: int, fields: list[Field], length: int | None, *, more: bool = False
    ) -> None:
        """See `exchange.Client`."""
        head = self._head
        assert head is not None
        bare = head.method == b"HEAD" or status in (204, 205, 304)
        chunked = length is None and not bare and head.version == b"1.1"
        if not self._body_over or head.upgrade or (length is None and not chunked and not bare):
            self._close_after = True
        self._chunked_answer = chunked
        close = self._close_after
        words = forward.response_bytes(status, fields, length, chunked=chunked, close=close)
        if more:
            self._early = words
        else:
            self.transport.write(words)

    def data(self, data: bytes) -> None:
        """See `exchange.Client`."""
        early = self._early
        if self._chunked_answer:
            self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        elif early:
            # At once, in one record, and with no wish for the socket that is taken back at once.
            self._early = b""
            data = early + data
            slab = self._visit.context.slab
            slab.view[: len(data)] = data
            self.transport.pour(slab, len(data))
        else:
            self.transport.write(data)

    @property
    def straight(self) -> bool:
        """See `exchange.Client`."""
        return not self._chunked_answer

    def pour(self, slab: Slab, count: int) -> int:
        """See `exchange.Client`."""
        return int(self.transport.pour(slab, count))

    def interim(self, status: int, fields: list[Field]) -> None:
        """See `exchange.Client`."""
        if self._head is not None and self._head.version == b"1.1":
            self.transport.write(
                forward.response_bytes(status, fields, None, chunked=False, close=False)
            )

    def end(self, trailers: Fields = ()) -> None:
        """See `exchange.Client`."""
        if self._chunked_answer:
            self.transport.write(last_chunk(trailers))
            self._chunked_answer = False
        self._exchange = None
        self._stop_looking()
        if self._close_after or not self._body_over or self._read_ended:
            self._close()
            return
        self._rests_since = self._visit.context.clock.seconds()
        if self._resting is None:
            self._rest(REST_SECONDS)
        if self._buffer:
            self._go_on()
        self._bound()

    def cut(self) -> None:
        """See `exchange.Client`."""
        self._finish()
        self._exchange = None
        self.transport.abortConnection()

    def carry_on(self) -> None:
        """See `exchange.Client`."""
        self._expecting = False
        self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def pause(self) -> None:
        """See `exchange.Client`."""
        self._paused = True
        self._bound()

    def resume(self) -> None:
        """See `exchange.Client`."""
        self._paused = False
        self._go_on()

    def switch(
        self, link: Link, head: bytes, limits: Decision, acting: Acting | None, session: Session
    ) -> None:
        """See `exchange.Client`."""
        visit, transport = self._visit, self.transport
        unread = bytes(self._buffer)
        self._finish()
        self._exchange = None
        target, said = link.switched()
        client = transport.release()
        context = visit.context
        pair = context.couple(client, target, limits)
        kept = Switched(pair, partial(_lost, visit, session))
        context.keep(kept)
        kept.start(to_target=unread, to_client=transport.unsent + head + said, acting=acting)

    # -- waits and ends ----------------------------------------------------------------------

    def _refuse(self, answer: refusals.Answer) -> None:
        """Say what is wrong with the message itself, and close."""
        if self._exchange is not None and self._exchange.answered_status:
            self.cut()  # in the middle of an answer, another one would pass for a part of it
            return
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.abort()
        self.transport.write(
            forward.response_bytes(
                answer.status, answer.fields, len(answer.body), chunked=False, close=True
            )
            + answer.body
        )
        self._close()

    def _close(self) -> None:
        self._finish()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.abort()
        self.transport.loseConnection()

    def _finish(self) -> None:
        self._over = True
        self._in_time()
        self._stop_looking()
        resting, self._resting = self._resting, None
        if resting is not None:
            resting.cancel()
        self._buffer.clear()

    def _bound(self) -> None:
        """Read on, unless what waits here is enough."""
        wants = not self._over and len(self._buffer) < _AHEAD
        if self._diverted and self._paused:
            wants = False  # nothing of it may wait here
        if wants != self._reading and not self._over:
            self._reading = wants
            if wants:
                self.transport.resumeProducing()
            else:
                self.transport.pauseProducing()

    def _expect(self) -> None:
        """A head has to be whole in time."""
        if self._late is None:
            visit = self._visit
            self._late = visit.context.clock.callLater(visit.opening_seconds, self._too_late)

    def _in_time(self) -> None:
        late, self._late = self._late, None
        if late is not None and late.active():
            late.cancel()

    def _too_late(self) -> None:
        self._late = None
        if self._buffer:
            words = "The gateway has waited long enough for this request."
            self._refuse(refusals.answer(408, words, "too_late", ()))
        else:
            self._close()

    def _rest(self, seconds: float) -> None:
        self._resting = self._visit.context.clock.callLater(seconds, self._rested)

    def _rested(self) -> None:
        """One timer serves all requests of a connection; it is set anew when it was too soon."""
        self._resting = None
        left = self._rests_since + REST_SECONDS - self._visit.context.clock.seconds()
        if self._exchange is not None or self._buffer:
            left = REST_SECONDS
        if left > 0:
            self._rest(left)
        else:
            self._close()

    def _look_at_body(self) -> None:
        self._body_seen = 0
        self._slow = self._visit.context.clock.callLater(_BODY_SECONDS, self._look)

    def _look(self) -> None:
        self._slow = None
        if self._body_over or self._over:
            return
        if self._body_seen:
            self._expecting = False  # it has begun without being told to
        if self._body_seen < _BODY_BYTES and not self._paused and not self._expecting:
            self.cut()
        else:
            self._look_at_body()

    def _stop_looking(self) -> None:
        slow, self._slow = self._slow, None
        if slow is not None and slow.active():
            slow.cancel()


def _lost(visit: Visit, session: Session, to_target: int, to_client: int) -> None:
    visit.lost(to_target, to_client, session)
