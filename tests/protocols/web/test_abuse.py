"""S58 for the web protocol: whatever a peer sends, no exception leaves it."""

from __future__ import annotations

from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.web.clients import H2Client, visit
from tlsgate.testing import FakeContext

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

#: Pieces from which requests are put together, right ones and wrong ones.
WORDS = (
    b"GET ",
    b"POST ",
    b"PRI * HTTP/2.0",
    b"/",
    b"/webapi/ping",
    b"*",
    b"https://gw.test/",
    b" HTTP/1.1\r\n",
    b" HTTP/1.0\r\n",
    b" HTTP/9.9\r\n",
    b"Host: gw.test\r\n",
    b"Host: \xff\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: -1\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: x\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: close\r\n",
    b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
    b"Content-Type: multipart/form-data\r\n",
    b"Cookie: a=b; =; ;\r\n",
    b" folded\r\n",
    b": no name\r\n",
    b"\r\n",
    b"\n",
    b"\0",
    b"5\r\nabcde\r\n0\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"hello",
)


class Http1Tests(SynchronousTestCase):
    """Any bytes over HTTP/1.1."""

    def outcome(self, wire: bytes, pieces: int, token: bytes | None) -> None:
        """Send *wire*, wait, hang up; nothing may be raised, logged as an error, or left."""
        context = FakeContext(token=token)
        talk = visit(context=context)
        talk.send(wire, pieces=pieces)
        context.clock.pump([6.0] * 2)
        talk.hang_up()
        context.clock.pump([100.0] * 2)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(context.clock.getDelayedCalls(), [])

    @settings(max_examples=80, deadline=None)
    @given(st.lists(st.sampled_from(WORDS), max_size=14), st.integers(1, 40))
    def test_s58_words(self, words: list[bytes], pieces: int) -> None:
        """Requests of wrong and right pieces."""
        self.outcome(b"".join(words), pieces, b"http/1.1")

    @settings(max_examples=40, deadline=None)
    @given(st.binary(max_size=300), st.integers(1, 40))
    def test_s58_bytes(self, wire: bytes, pieces: int) -> None:
        """Bytes without any sense, over both versions."""
        self.outcome(wire, pieces, b"http/1.1")
        self.outcome(wire, pieces, b"h2")
        self.outcome(PREFACE + wire, pieces, b"h2")


streams = st.sampled_from((1, 1, 3, 5, 2, 2**31 - 1))
#: Header blocks: a good request, one without a path, one with two Hosts, nonsense.
blocks = st.sampled_from(
    (
        b"\x82\x87\x84\x41\x07gw.test",
        b"\x82\x87\x41\x07gw.test",
        b"\x83\x87\x84\x41\x07gw.test",
        b"\x82\x87\x84\x41\x07gw.test\x40\x04host\x07vault.x",
        b"\x42\x07CONNECT\x41\x07gw.test",
        b"\x82\x87\x84\x41\x07gw.test\x40\x0econtent-length\x013",
        b"\xff\xff\xff\xff\xff",
        b"",
    )
)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    """One frame that a peer may send, in or out of place."""
    kind = draw(st.integers(0, 9))
    stream = draw(streams)
    flags = draw(st.sampled_from((("END_HEADERS", "END_STREAM"), ("END_HEADERS",), ())))
    frame: Frame
    match kind:
        case 0 | 1 | 2:
            frame = HeadersFrame(stream, draw(blocks), flags=flags)
        case 3:
            frame = ContinuationFrame(stream, draw(blocks), flags=flags[:1])
        case 4:
            frame = DataFrame(stream, draw(st.binary(max_size=50)), flags=flags[1:])
        case 5:
            frame = RstStreamFrame(stream, draw(st.integers(0, 20)))
        case 6:
            frame = WindowUpdateFrame(draw(st.sampled_from((0, 1, 3))), draw(st.integers(1, 9)))
        case 7:
            frame = SettingsFrame(0, {draw(st.integers(1, 8)): draw(st.integers(0, 2**31 - 1))})
        case 8:
            frame = PriorityFrame(stream, depends_on=draw(streams), stream_weight=7)
        case _:
            frame = draw(st.sampled_from((PingFrame(0, b"12345678"), GoAwayFrame(0))))
    return frame


class Http2Tests(SynchronousTestCase):
    """Frames in any order over HTTP/2."""

    @settings(max_examples=120, deadline=None)
    @given(st.lists(frames(), max_size=12), st.integers(1, 200))
    def test_s58_frames(self, sent: list[Frame], pieces: int) -> None:
        """Every sequence of frames is answered or ends the connection."""
        wire = PREFACE + SettingsFrame(0).serialize() + b"".join(map(_serialized, sent))
        Http1Tests.outcome(self, wire, pieces, b"h2")  # type: ignore[arg-type]

    def test_s32_rapid_reset(self) -> None:
        """Streams that are opened only to be reset end the connection in the end."""
        talk = visit(token=b"h2")
        client = H2Client(talk)
        for _ in range(3000):
            if talk.closed:
                break
            stream = client.connection.get_next_available_stream_id()
            client.connection.send_headers(
                stream,
                [
                    (b":method", b"POST"),
                    (b":scheme", b"https"),
                    (b":authority", b"gw.test"),
                    (b":path", b"/"),
                ],
            )
            client.connection.reset_stream(stream)
            talk.send(client.connection.data_to_send())
        talk.context.clock.pump([100.0] * 2)  # type: ignore[attr-defined]
        self.assertTrue(talk.closed)

    def test_s32_floods(self) -> None:
        """Whatever has no use ends the connection in time; few of it are borne."""
        asked = HeadersFrame(1, b"\x83\x87\x84\x41\x07gw.test", flags=("END_HEADERS",))
        for piece in (
            PingFrame(0, b"12345678"),
            PingFrame(0, b"12345678", flags=("ACK",)),
            SettingsFrame(0, {4: 65535}),
            SettingsFrame(0, flags=("ACK",)),
            WindowUpdateFrame(0, 1),
            DataFrame(1, b""),
            PriorityFrame(1, depends_on=0, stream_weight=7),
        ):
            talk = visit(token=b"h2")
            talk.send(PREFACE + SettingsFrame(0).serialize() + asked.serialize())
            sent = 0
            while not talk.closed and sent < 1000:
                talk.send(piece.serialize())
                sent += 1
            self.assertTrue(talk.closed, piece)
            self.assertGreater(sent, 300, piece)
            self.assertEqual(self.flushLoggedErrors(), [])
            talk.hang_up()
            talk.context.clock.pump([100.0] * 2)  # type: ignore[attr-defined]

    def test_s58_lost_in_between(self) -> None:
        """Who takes a request back in the same bytes loses the connection; nobody else notices."""
        whole = ("END_HEADERS", "END_STREAM")
        asked = HeadersFrame(1, b"\x82\x87\x84\x41\x07gw.test", flags=whole)
        posted = HeadersFrame(3, b"\x83\x87\x84\x41\x07gw.test", flags=whole[:1])
        body, end = DataFrame(3, b"x"), DataFrame(3, b"", flags=whole[1:])
        for behind in ((), (posted, body, end), (posted, body, RstStreamFrame(3, 8))):
            talk = visit(token=b"h2")
            talk.send(PREFACE + SettingsFrame(0).serialize())
            talk.context.clock.pump([0.01] * 20)  # type: ignore[attr-defined]
            talk.send(b"".join(map(_serialized, (asked, *behind, RstStreamFrame(1, 8)))))
            self.assertTrue(talk.closed)
            self.assertEqual(self.flushLoggedErrors(), [])
            talk.hang_up()
            talk.context.clock.pump([100.0] * 2)  # type: ignore[attr-defined]
            self.assertEqual(talk.context.clock.getDelayedCalls(), [])

    def test_s58_not_lost_at_once(self) -> None:
        """The connection is there to the end of the turn: a transport tells of its loss at once."""
        lost: list[bool] = []
        talk = visit(token=b"h2")
        talk.send(PREFACE + SettingsFrame(0).serialize())
        talk.context.clock.pump([0.01] * 20)  # type: ignore[attr-defined]
        channel: Any = talk.protocol
        self.patch(channel.transport, "abortConnection", lambda: lost.append(True))
        asked = HeadersFrame(1, b"\x82\x87\x84\x41\x07gw.test", flags=("END_HEADERS", "END_STREAM"))
        channel.dataReceived(_serialized(asked) + _serialized(RstStreamFrame(1, 8)))
        channel.dataReceived(_serialized(PingFrame(0, b"12345678")))
        self.assertEqual(lost, [])
        self.assertNotIn(b"12345678", talk.take())
        talk.context.clock.advance(0)  # type: ignore[attr-defined]
        self.assertIn(True, lost)

    def test_s58_answer_to_a_closed_connection(self) -> None:
        """A request and GOAWAY in the same bytes end the connection, and raise nothing."""
        for block in (b"\x82\x87\x84\x41\x07gw.test", b"\x42\x07CONNECT\x41\x07gw.test"):
            asked = HeadersFrame(1, block, flags=("END_HEADERS", "END_STREAM"))
            for later in (GoAwayFrame(0), RstStreamFrame(1, 8), WindowUpdateFrame(1, 2**31 - 1)):
                wire = PREFACE + b"".join(map(_serialized, (SettingsFrame(0), asked, later)))
                Http1Tests.outcome(self, wire, 1000, b"h2")  # type: ignore[arg-type]

    def test_peer_goes_away(self) -> None:
        """GOAWAY in the middle closes in order, though the transport has a producer."""
        talk = visit(token=b"h2")
        client = H2Connection(H2Configuration(client_side=True))
        client.initiate_connection()
        client.close_connection()
        talk.send(client.data_to_send())
        self.assertTrue(talk.closed)


def _serialized(frame: Frame) -> bytes:
    wire: bytes = frame.serialize()
    return wire
