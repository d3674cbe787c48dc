"""Tests for `tlsgate.protocols.apps.http2`."""

from __future__ import annotations

from typing import Any

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection

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

    def test_no_http2(self) -> None:
        """Whoever speaks something else is gone."""
        other = self.client()
        other.send(b"GET / HTTP/1.1\r\n\r\n")
        self.assertTrue(other._transport.disconnecting)

    def test_too_late(self) -> None:
        """A connection that asks for nothing ends."""
        self.contexts[0].clock.advance(60)
        self.assertTrue(self.here._transport.disconnecting)
