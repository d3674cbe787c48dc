"""Tests for `tlsgate.protocols.apps.http2`."""

from __future__ import annotations

from typing import Any

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.protocols.apps.rig import NAME, OK, AppsCase

FIELDS = [(":method", "GET"), (":scheme", "https"), (":authority", NAME), (":path", "/p")]


class Http2Tests(AppsCase):
    """Streams that are exchanges."""

    alpn = b"h2"

    def setUp(self) -> None:
        super().setUp()
        self.conn = H2Connection(H2Configuration(client_side=True))
        self.conn.initiate_connection()
        self.here = self.client()
        self.heard: list[Any] = []
        self.talk()

    def talk(self) -> list[Any]:
        """Bytes both ways; gives what the client heard."""
        heard: list[Any] = []
        for _ in range(20):
            self.here.send(self.conn.data_to_send())
            data = self.here.take()
            if not data:
                break
            heard += self.conn.receive_data(data)
        self.heard += heard
        return heard

    def ask(self, number: int, *more: tuple[str, str], end: bool = True, **pseudo: str) -> None:
        """Begin a stream."""
        fields = [(name, pseudo.get(name[1:], value)) for name, value in FIELDS]
        self.conn.send_headers(number, [*fields, *more], end_stream=end)
        self.talk()

    def of(self, kind: Any, number: int) -> list[Any]:
        """The events of a stream."""
        return [one for one in self.heard if isinstance(one, kind) and one.stream_id == number]

    def status(self, number: int) -> bytes:
        """Of an answer."""
        (head,) = self.of(events.ResponseReceived, number)
        return bytes(dict(head.headers)[b":status"])

    def test_two_at_once(self) -> None:
        """Each stream has its own answer, whichever comes first (S26)."""
        self.ask(1)
        self.ask(3)
        first, second = self.reach(0), self.reach(1)
        second.says(OK.replace(b"hi", b"22"))
        first.says(OK.replace(b"hi", b"11"))
        self.talk()
        for number, want in ((1, b"11"), (3, b"22")):
            data = b"".join(one.data for one in self.of(events.DataReceived, number))
            self.assertEqual((self.status(number), data), (b"200", want))
            self.assertTrue(self.of(events.StreamEnded, number))

    def test_body(self) -> None:
        """A body without a length goes on in chunks, and slows when the target does."""
        self.ask(1, end=False)
        target = self.reach()
        target.room = 0
        sent = 0
        while (room := min(self.conn.local_flow_control_window(1), 16384)) and sent < 1_000_000:
            self.conn.send_data(1, bytes(room))
            sent += room
            self.talk()
        self.assertLess(sent, 600_000)
        target.takes(None)
        self.talk()
        self.assertGreater(self.conn.local_flow_control_window(1), 0)
        self.conn.end_stream(1)
        self.talk()
        self.assertTrue(target.got.endswith(b"0\r\n\r\n"))
        self.assertEqual(target.got.count(0), sent)

    def test_window(self) -> None:
        """An answer waits for the client's window, and its target with it."""
        self.ask(1)
        target = self.reach()
        target.says(b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n" + bytes(400_000))
        self.talk()
        got = sum(len(one.data) for one in self.of(events.DataReceived, 1))
        self.assertEqual(got, 65535)
        while not self.of(events.StreamEnded, 1):
            self.conn.increment_flow_control_window(200_000)
            self.conn.increment_flow_control_window(200_000, 1)
            self.talk()
            target.wake()
            self.talk()
        got = sum(len(one.data) for one in self.of(events.DataReceived, 1))
        self.assertEqual(got, 400_000)

    def test_misdirected(self) -> None:
        """Each request is held against the connection's name (S05)."""
        self.ask(1, authority="other.gw.test")
        self.assertEqual((self.status(1), self.tunnels.reaches), (b"421", []))

    def test_refused(self) -> None:
        """What would be two things in HTTP/1.1 is refused."""
        self.ask(1, path="/a b")
        self.assertEqual((self.status(1), self.tunnels.reaches), (b"400", []))

    def test_cut(self) -> None:
        """An answer that breaks off resets its stream; others go on."""
        self.ask(1)
        self.ask(3)
        first, second = self.reach(0), self.reach(1)
        first.says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi")
        first.breaks()
        second.says(OK)
        self.talk()
        self.assertTrue(self.of(events.StreamReset, 1))
        self.assertTrue(self.of(events.StreamEnded, 3))

    def test_client_resets(self) -> None:
        """A stream that nobody wants takes its target along."""
        self.ask(1)
        target = self.reach()
        self.conn.reset_stream(1)
        self.talk()
        self.assertTrue(target.fake.closed)

    def test_flood(self) -> None:
        """Frames without a use have a budget (S32)."""
        for number in range(1000):
            if self.here.closed:
                break
            self.conn.ping(b"%08d" % number)
            self.here.send(self.conn.data_to_send())
        self.assertTrue(self.here._transport.disconnecting)

    def test_floods(self) -> None:
        """S32: acknowledgements of nothing, tiny windows, what is for a stream that is over."""
        for frame in (
            SettingsFrame(0, flags=["ACK"]),
            PingFrame(0, b"x" * 8, flags=["ACK"]),
            WindowUpdateFrame(0, 1),
            WindowUpdateFrame(1, 1),
            DataFrame(1, b""),
            DataFrame(1, b"x"),
            Frame(0),
        ):
            if type(frame) is Frame:
                piece = b"\x00\x00\x00\xee\x00\x00\x00\x00\x00"  # of a type that nobody knows
            else:
                piece = frame.serialize()
            self.conn = H2Connection(H2Configuration(client_side=True))
            self.conn.initiate_connection()
            self.here = self.client()
            self.talk()
            self.ask(1, end=False)
            if isinstance(frame, DataFrame) and frame.data:
                self.conn.reset_stream(1)
                self.talk()
            for _ in range(1000):
                if self.here._transport.disconnecting:
                    break
                self.here.send(piece)
            self.assertTrue(self.here._transport.disconnecting, frame)

    def test_head_in_pieces(self) -> None:
        """S32: a head of many frames is bounded, and has to be whole in time."""
        self.ask(1)
        head = self.conn.encoder.encode([(name, value) for name, value in FIELDS])
        self.here.send(HeadersFrame(3, head).serialize())
        self.here.send(ContinuationFrame(3, b"").serialize())
        self.assertFalse(self.here._transport.disconnecting)
        self.contexts[0].clock.advance(60)
        self.assertTrue(self.here._transport.disconnecting)
        other = self.client()
        other.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize())
        other.send(HeadersFrame(1, head).serialize())
        for _ in range(3):
            other.send(ContinuationFrame(1, bytes(16000)).serialize())
        self.assertTrue(other._transport.disconnecting)

    def test_slow_body(self) -> None:
        """S33: a body that drips ends its stream; one that its target does not take waits."""
        self.ask(1, end=False)
        self.ask(3, end=False)
        self.reach(0)
        slow = self.reach(1)
        slow.room = 0
        for number in (1, 3, 3, 3, 3, 3):
            self.conn.send_data(number, bytes(16000))
            self.talk()
        self.contexts[0].clock.advance(11)
        self.conn.send_data(1, b"x")
        self.talk()
        self.contexts[0].clock.advance(11)
        self.talk()
        self.assertTrue(self.of(events.StreamReset, 1))
        self.assertFalse(self.of(events.StreamReset, 3))

    def test_slow_window(self) -> None:
        """S33: an answer that nobody opens a window for ends, and lets its target go."""
        self.ask(1)
        target = self.reach()
        target.says(b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n" + bytes(300_000))
        self.talk()
        for _ in range(5):
            self.contexts[0].clock.advance(10)
        self.talk()
        self.assertTrue(self.of(events.StreamReset, 1))
        self.assertTrue(target.fake.closed)

    def test_long_wait(self) -> None:
        """A target that thinks for long keeps its stream."""
        self.ask(1)
        target = self.reach()
        for _ in range(10):
            self.contexts[0].clock.advance(10)
        target.says(OK)
        self.talk()
        self.assertEqual(self.status(1), b"200")

    def test_answer_before_the_body(self) -> None:
        """The rest of a body that nobody wants is called off."""
        self.ask(1, end=False)
        self.reach().says(OK)
        self.talk()
        self.assertEqual(self.status(1), b"200")
        self.assertTrue(self.of(events.StreamEnded, 1))
        (reset,) = self.of(events.StreamReset, 1)
        self.assertEqual(reset.error_code, 0)

    def test_head_has_no_body(self) -> None:
        """Whatever is answered to HEAD."""
        self.ask(1, method="HEAD", authority="other.gw.test")
        self.ask(3, method="HEAD", path="/a b")
        for number, status in ((1, b"421"), (3, b"400")):
            self.assertEqual(self.status(number), status)
            self.assertFalse([one for one in self.of(events.DataReceived, number) if one.data])

    def test_trailers(self) -> None:
        """What the head has named passes behind a body, in our name nothing does (S21)."""
        self.ask(1, ("trailer", "x-sum"), ("te", "trailers"), end=False)
        target = self.reach()
        sent = [("x-tlsgate-user", "evil"), ("x-sum", "1"), ("x-else", "2")]
        self.conn.send_headers(1, sent, end_stream=True)
        self.talk()
        self.assertTrue(target.got.endswith(b"0\r\nx-sum: 1\r\n\r\n"), target.got)
        self.assertNotIn(b"evil", target.got)
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        target.says(b"HTTP/1.1 103 x\r\nLink: </a>\r\n\r\n" + head + b"0\r\nX-Took: 3\r\n\r\n")
        self.talk()
        (hints,) = self.of(events.InformationalResponseReceived, 1)
        self.assertEqual(hints.headers, [(b":status", b"103"), (b"link", b"</a>")])
        (behind,) = self.of(events.TrailersReceived, 1)
        self.assertEqual(behind.headers, [(b"x-took", b"3")])
        self.assertTrue(self.of(events.StreamEnded, 1))

    def test_trailers_behind_a_body(self) -> None:
        """They come after everything that waits for a window."""
        self.ask(1, ("te", "trailers"))
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.reach().says(head + b"2\r\nhi\r\n0\r\nX-Took: 3\r\n\r\n")
        self.talk()
        data = b"".join(one.data for one in self.of(events.DataReceived, 1))
        (behind,) = self.of(events.TrailersReceived, 1)
        self.assertEqual((data, behind.headers), (b"hi", [(b"x-took", b"3")]))

    def test_no_reader(self) -> None:
        """S32: nothing more is read of a client that takes no answers."""
        self.here.protocol.pauseProducing()
        self.assertEqual(self.here._transport.producerState, "paused")
        self.here.protocol.resumeProducing()
        self.assertEqual(self.here._transport.producerState, "producing")

    def test_no_http2(self) -> None:
        """Whoever speaks something else is gone."""
        other = self.client()
        other.send(b"GET / HTTP/1.1\r\n\r\n")
        self.assertTrue(other._transport.disconnecting)

    def test_rest(self) -> None:
        """A connection without a stream for 75 s is told so, and ends; pings do not keep it."""
        self.ask(1)
        target = self.reach()
        for _ in range(20):
            self.contexts[0].clock.advance(10)
        target.says(OK)
        for _ in range(8):
            self.assertFalse(self.here._transport.disconnecting)
            self.contexts[0].clock.advance(10)
            self.conn.ping(b"12345678")
            self.talk()
        (over,) = [one for one in self.heard if isinstance(one, events.ConnectionTerminated)]
        self.assertEqual((over.error_code, self.here._transport.disconnecting), (0, True))

    def test_too_late(self) -> None:
        """A connection that asks for nothing ends."""
        self.contexts[0].clock.advance(60)
        self.assertTrue(self.here._transport.disconnecting)
