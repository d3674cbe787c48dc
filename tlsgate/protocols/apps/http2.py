"""HTTP/2 from the client: every stream is an exchange, as a connection of HTTP/1.1 has one.

1. `h2` (hyper) reads frames and keeps the windows; what it takes for an error ends the connection.
2. A request's body is acknowledged as the target takes it, so a slow target slows its stream.
3. Answers wait per stream for the client's windows, at most some 64 KiB of each; streams that
   may send take turns, one frame each.
4. Frames that cost us and carry nothing (resets, pings, settings, empty data) have a budget;
   who spends it gets GOAWAY (S32).

There is no upgrade here: extended CONNECT is not offered, so browsers open WebSockets on a
connection of HTTP/1.1 of their own.

One file, though a long one: windows, turns and budgets are those of one connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from tlsgate.core.access import Decision
from tlsgate.core.http.chunks import read_trailers
from tlsgate.core.http.fields import HEAD_LIMIT, Field, Fields
from tlsgate.core.http.requests import judge_h2
from tlsgate.errors import BadBytes
from tlsgate.protocols.apps import refusals
from tlsgate.protocols.apps.exchange import Exchange
from tlsgate.protocols.apps.http1 import REST_SECONDS
from tlsgate.protocols.apps.link import Link
from tlsgate.protocols.apps.session import Acting
from tlsgate.protocols.apps.visit import Session, Visit
from tlsgate.protocols.budget import Budget
from tlsgate.tls.fast import Slab

_STREAMS: Final = 100
_WINDOW: Final = 256 * 1024
#: Above this much that waits for a stream's window, its target is not read.
_HIGH_BYTES: Final = 64 * 1024
_FRAME: Final = 16384
#: A window that opens by less is a game.
_STEP: Final = 512
#: Of what we answer to frames without a use, the shortest.
_REPLY: Final = 13
#: Between two looks at the streams; a body that is not told to wait brings so much at least
#: between them, and an answer that waits so many times for its window is over (S33).
_LOOK_SECONDS: Final = 10.0
_BODY_BYTES: Final = 10 * 1024
_STALLS: Final = 3
#: The names that only messages of HTTP/1 have (RFC 9113 section 8.2.2).
_HTTP1: Final = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"upgrade"})


@implementer(IHalfCloseableProtocol, IPushProducer)
class Http2(Protocol):
    """See the module."""

    transport: Any

    def __init__(self, visit: Visit) -> None:
        self.visit = visit
        self.conn = H2Connection(
            H2Configuration(
                client_side=False, header_encoding=None, validate_outbound_headers=False
            )
        )
        # Not by `update`, which counts only once the client has acknowledged what it never got.
        self.conn.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: _STREAMS,
                SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
                SettingCodes.MAX_HEADER_LIST_SIZE: HEAD_LIMIT,
            },
        )
        self.conn.decoder.max_header_list_size = HEAD_LIMIT
        self._streams: dict[int, _Stream] = {}
        self._over = False
        self._full = False
        self._pumping = False
        self._late: IDelayedCall | None = None
        self._looking: IDelayedCall | None = None
        self._seen_at = 0.0  #: when the last look saw a stream
        self._budget = Budget(visit.context.clock)
        self._heard: dict[type, Callable[[Any], None]] = {
            events.RequestReceived: self._requested,
            events.DataReceived: self._data,
            events.StreamEnded: self._stream_ended,
            events.StreamReset: self._reset,
            events.WindowUpdated: self._opened,
            events.RemoteSettingsChanged: self._settings,
            events.TrailersReceived: self._trailers,
            events.ConnectionTerminated: self._terminated,
        }

    # -- Twisted calls these -----------------------------------------------------------------

    def connectionMade(self) -> None:
        """The connection is there."""
        visit = self.visit
        self.conn.initiate_connection()
        self.conn.increment_flow_control_window(4 * _WINDOW)
        self.transport.registerProducer(self, True)
        self._late = visit.context.clock.callLater(visit.opening_seconds, self._too_late)
        self._send()

    def dataReceived(self, data: bytes) -> None:
        """The client has sent *data*."""
        if self._over:
            return
        try:
            found = self.conn.receive_data(data)
            said = self.conn.data_to_send()
            self.transport.write(said)
            self._spend(len(said) // _REPLY)
            for event in found:
                if self.is_over:
                    return
                self._heard.get(type(event), self._useless)(event)
            self._look_at_head()
            self.pump()
        except H2Error:
            self.hang_up()

    def readConnectionLost(self) -> None:
        """In HTTP/2 nobody sends requests and then only listens."""
        self.hang_up()

    def writeConnectionLost(self) -> None:
        """We never end our direction alone."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self._finish()
        self.visit.lost()

    def pauseProducing(self) -> None:
        """The client takes too slowly: nothing more is made of what waits, or read."""
        self._full = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """The client has taken what there was."""
        self._full = False
        self.transport.resumeProducing()
        self.pump()

    def stopProducing(self) -> None:
        """The connection is gone; `connectionLost` follows."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes or goes."""
        return self._over

    def _may_send(self) -> bool:
        return not self._full and not self._over

    # -- frames ---------------------------------------------------------------------------------

    def _requested(self, event: Any) -> None:
        self._in_time()
        number = event.stream_id
        whole = event.stream_ended is not None
        stream = self._streams[number] = _Stream(self, number, whole)
        self._seen_at = self.visit.context.clock.seconds()
        if self._looking is None:
            self._looking = self.visit.context.clock.callLater(_LOOK_SECONDS, self._look)
        stream.is_head = (b":method", b"HEAD") in event.headers
        try:
            head = judge_h2(tuple(event.headers), ended=whole)
        except BadBytes as error:
            self._useless(event)
            stream.answer(refusals.refusal(error, ()))
            return
        if self.visit.is_misdirected(head):
            words = refusals.MISDIRECTED
            stream.answer(refusals.answer(421, words, "misdirected", head.fields))
            return
        stream.begin(Exchange(self.visit, head, stream))

    def _data(self, event: Any) -> None:
        stream = self._streams.get(event.stream_id)
        size = event.flow_controlled_length
        if not event.data:
            self._useless(event)
        if stream is None or not stream.takes:
            self.acknowledge(event.stream_id, size)
        else:
            stream.body(bytes(event.data), size)

    def _stream_ended(self, event: Any) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            stream.body_ended()

    def _reset(self, event: Any) -> None:
        self._useless(event)
        stream = self._streams.pop(event.stream_id, None)
        if stream is not None:
            stream.gone()

    def _opened(self, event: Any) -> None:
        """A window is larger; `pump` follows."""
        if not self._streams or event.delta < _STEP:
            self._useless(event)

    def _trailers(self, event: Any) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            stream.trailers = read_trailers(tuple(event.headers))

    def _settings(self, event: Any) -> None:
        self._useless(event)

    def _terminated(self, event: Any) -> None:
        self.hang_up()

    def _useless(self, event: Any) -> None:
        self._spend(1)

    def _spend(self, frames: int) -> None:
        if not self._budget.spend(frames):
            self._calm()

    def _calm(self) -> None:
        if not self._over:
            self.conn.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
            self.hang_up()

    def _look_at_head(self) -> None:
        """A head that comes in pieces is bounded, and has to be whole in time."""
        pieces = getattr(self.conn.incoming_buffer, "_headers_buffer", ())
        if not pieces or self._over:
            return
        if sum(len(getattr(one, "data", b"")) for one in pieces) > HEAD_LIMIT:
            self._calm()
        elif self._late is None:
            visit = self.visit
            self._late = visit.context.clock.callLater(visit.opening_seconds, self._too_late)

    def _look(self) -> None:
        """End streams whose client neither sends nor takes; and a connection that has none."""
        self._looking = None
        now = self.visit.context.clock.seconds()
        if self._streams:
            self._seen_at = now
        elif now - self._seen_at >= REST_SECONDS and not self._over:
            self.conn.close_connection()
            self.hang_up()
        for stream in [one for one in self._streams.values() if one.is_stuck()]:
            stream.gone()
            self.reset(stream.number)
        if not self._over:
            self._looking = self.visit.context.clock.callLater(_LOOK_SECONDS, self._look)

    # -- what streams do --------------------------------------------------------------------------

    def acknowledge(self, number: int, size: int) -> None:
        """Open the windows again by *size*."""
        if size and not self._over:
            try:
                self.conn.acknowledge_received_data(size, number)
            except H2Error:  # the stream has ended in between; the connection's window is open
                return
            self._send()

    def headers(self, number: int, fields: list[Field], *, end: bool) -> None:
        """Send the head of an answer."""
        if not self._over:
            self.conn.send_headers(number, fields, end_stream=end)
            if end:
                self._streams.pop(number, None)
            self._send()

    def reset(self, number: int) -> None:
        """End a stream without an end."""
        if self._streams.pop(number, None) is not None and not self._over:
            try:
                self.conn.reset_stream(number, ErrorCodes.INTERNAL_ERROR)
            except H2Error:
                return
            self._send()

    def pump(self) -> None:
        """Send what waits, as far as windows and the socket take it, in turns."""
        if self._pumping or self.is_over:
            return
        self._pumping = True
        try:
            moved = True
            while moved:
                moved = False
                for stream in list(self._streams.values()):
                    moved = (self._may_send() and self._give(stream)) or moved
        except H2Error:
            self.hang_up()
        finally:
            self._pumping = False
        self._send()

    def _give(self, stream: _Stream) -> bool:
        """Send one frame of a stream; whether there was one."""
        if not stream.out and not stream.out_ended:
            return False
        number = stream.number
        room = min(self.conn.local_flow_control_window(number), _FRAME) if stream.out else 0
        size = min(room, len(stream.out), self.conn.max_outbound_frame_size)
        if stream.out and size <= 0:
            return False
        data = bytes(stream.out[:size])
        del stream.out[:size]
        ends = stream.out_ended and not stream.out
        trailers = stream.out_trailers if ends else ()
        if data or not trailers:
            self.conn.send_data(number, data, end_stream=ends and not trailers)
        if trailers:
            self.conn.send_headers(number, trailers, end_stream=True)
        self._send()
        stream.given += 1
        if ends:
            del self._streams[number]
            if not stream.whole:
                # Nobody takes the rest of its body (RFC 9113 section 8.1).
                self.conn.reset_stream(number, ErrorCodes.NO_ERROR)
        else:
            stream.taken()
        return True

    def _send(self) -> None:
        data = self.conn.data_to_send()
        if data:
            self.transport.write(data)

    # -- ends -----------------------------------------------------------------------------

    def hang_up(self) -> None:
        """End the connection: its client is gone, or does not keep to the rules."""
        if not self._over:
            self._send()
            self._finish()
            self.transport.loseConnection()

    def _finish(self) -> None:
        self._over = True
        self._in_time()
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
        streams, self._streams = list(self._streams.values()), {}
        for stream in streams:
            stream.gone()

    def _in_time(self) -> None:
        late, self._late = self._late, None
        if late is not None and late.active():
            late.cancel()

    def _too_late(self) -> None:
        self._late = None
        self.hang_up()


class _Stream:
    """One request; see `exchange.Client`.

    Attributes:
        whole: the request has come with all of its body.
        given: frames of the answer that have left, since the last look.
    """

    def __init__(self, front: Http2, number: int, whole: bool) -> None:
        self.number = number
        self.whole = whole
        self.given = 0
        self.is_head = False
        self._seen = 0  #: of the body, since the last look
        self._stalls = 0
        self.out = bytearray()
        self.out_ended = False
        self.out_trailers: Fields = ()
        self.trailers: Fields = ()  #: of the request
        self._front = front
        self._exchange: Exchange | None = None
        self._inbound: list[tuple[bytes, int]] = []
        self._in_ended = False
        self._paused = False
        self._slowed = False

    @property
    def takes(self) -> bool:
        """Whether anybody wants the body."""
        return self._exchange is not None

    def begin(self, exchange: Exchange) -> None:
        """Ask."""
        self._exchange = exchange
        exchange.start()

    # -- from the client --

    def body(self, data: bytes, size: int) -> None:
        """A frame of the body; its window opens when the target takes it."""
        self._seen += len(data)
        if self._paused or self._inbound:
            self._inbound.append((data, size))
        elif self._exchange is not None:
            self._front.acknowledge(self.number, size)
            self._exchange.body(data)

    def body_ended(self) -> None:
        """The body is whole."""
        self._in_ended = self.whole = True
        self._pass()

    def _pass(self) -> None:
        while self._inbound and not self._paused and self._exchange is not None:
            data, size = self._inbound.pop(0)
            self._front.acknowledge(self.number, size)
            self._exchange.body(data)
        if self._in_ended and not self._inbound and self._exchange is not None:
            self._in_ended = False
            self._exchange.body_ended(self.trailers)

    def gone(self) -> None:
        """The client wants no answer any more."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.abort()

    def is_stuck(self) -> bool:
        """Whether the client has not done its part lately; asked now and then."""
        seen, self._seen = self._seen, 0
        given, self.given = self.given, 0
        waits = self._paused or self._inbound or self._exchange is None
        if not self.whole and not waits and seen < _BODY_BYTES:
            return True
        self._stalls = self._stalls + 1 if self.out and not given else 0
        return self._stalls >= _STALLS

    def taken(self) -> None:
        """Some of the answer has left."""
        if self._slowed and len(self.out) <= _HIGH_BYTES // 2 and self._exchange is not None:
            self._slowed = False
            self._exchange.resume()

    # -- from the exchange --

    def answer(self, answer: refusals.Answer) -> None:
        """Send an answer of ours, whole."""
        self.head(answer.status, list(answer.fields), len(answer.body))
        if not self.is_head:
            self.data(answer.body)
        self.end()

    def head(
        self, status: int, fields: list[Field], length: int | None, *, more: bool = False
    ) -> None:
        """See `exchange.Client`."""
        told = [(b":status", b"%d" % status)]
        told += [one for one in fields if one[0] not in _HTTP1]
        if length is not None:
            told.append((b"content-length", b"%d" % length))
        self._front.headers(self.number, told, end=False)

    #: Frames are made of copies.
    straight = False

    def pour(self, slab: Slab, count: int) -> int:
        """See `exchange.Client`."""
        self.data(bytes(slab.view[:count]))
        return count

    def data(self, data: bytes) -> None:
        """See `exchange.Client`."""
        self.out += data
        if len(self.out) > _HIGH_BYTES and not self._slowed and self._exchange is not None:
            self._slowed = True
            self._exchange.pause()
        self._front.pump()

    def interim(self, status: int, fields: list[Field]) -> None:
        """See `exchange.Client`."""
        told = [one for one in fields if one[0] not in _HTTP1]
        self._front.headers(self.number, [(b":status", b"%d" % status), *told], end=False)

    def end(self, trailers: Fields = ()) -> None:
        """See `exchange.Client`."""
        self.out_trailers = trailers
        self.out_ended = True
        self._exchange = None
        self._front.pump()

    def cut(self) -> None:
        """See `exchange.Client`."""
        self._exchange = None
        self._front.reset(self.number)

    def carry_on(self) -> None:
        """In HTTP/2 a client that waits has a window to send in; nothing has to be said."""

    def pause(self) -> None:
        """See `exchange.Client`."""
        self._paused = True

    def resume(self) -> None:
        """See `exchange.Client`."""
        self._paused = False
        self._pass()

    def switch(
        self, link: Link, head: bytes, limits: Decision, acting: Acting | None, session: Session
    ) -> None:
        """No request of HTTP/2 asks for that."""
        link.close()
        self.cut()
