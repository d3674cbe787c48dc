"""Tests for `tlsgate.protocols.apps.http1`."""

from __future__ import annotations

from tests.protocols.apps.rig import GET, OK, PUT, AppsCase
from tlsgate.protocols.apps.http1 import Http1


class HeadTests(AppsCase):
    """What the front takes."""

    def test_made(self) -> None:
        """Without a token it is HTTP/1.1 that is spoken."""
        self.alpn = None
        self.assertIsInstance(self.client().protocol, Http1)

    def test_misdirected(self) -> None:
        """Another name is refused before anybody is asked who it is (S05)."""
        client = self.client(None)
        client.send(GET.replace(b"wiki", b"other"))
        self.assertEqual((client.received[9:12], client.closed), (b"421", False))
        self.assertTrue(client._transport.disconnecting)

    def test_refused(self) -> None:
        """A message that is none gets 400 and an end; what follows is not read."""
        client = self.client()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + GET)
        self.assertEqual((client.received[9:12], self.tunnels.reaches), (b"400", []))
        self.assertTrue(client._transport.disconnecting)

    def test_too_late(self) -> None:
        """A head that drips in does not hold the connection."""
        client = self.client()
        client.send(GET[:-1])
        self.contexts[0].clock.advance(60)
        self.assertEqual(client.received[9:12], b"408")

    def test_rest(self) -> None:
        """A connection that asks for nothing more ends after 75 s; a request begins them anew."""
        client = self.client()
        clock = self.contexts[0].clock
        client.send(GET)
        target = self.reach()
        clock.advance(200)
        target.says(OK)
        for _ in range(3):
            clock.advance(50)
            self.assertFalse(client._transport.disconnecting)
            client.send(GET)
            self.reach().says(OK)
        clock.advance(74)
        self.assertFalse(client._transport.disconnecting)
        clock.advance(2)
        self.assertTrue(client._transport.disconnecting)

    def test_slow_body(self) -> None:
        """Nor does a body (S33)."""
        client = self.client()
        client.send(PUT)
        self.reach()
        self.contexts[0].clock.advance(11)
        self.assertTrue(client.aborted)

    def test_slow_body_expected(self) -> None:
        """S33: who says that it waits for 100 and sends all the same has no more time."""
        raw = PUT.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
        for early, later in ((b"", b"a"), (b"a", b"")):
            client = self.client()
            client.send(raw)
            target = self.reach()
            target.take()
            client.send(early)
            self.contexts[0].clock.advance(11)
            self.assertIs(client.aborted, bool(early))
            if not early:
                target.says(b"HTTP/1.1 100 Continue\r\n\r\n")
                client.send(later)
                self.contexts[0].clock.advance(11)
                self.assertTrue(client.aborted)

    def test_refused_in_an_answer(self) -> None:
        """S25: a body that goes wrong while its answer leaves puts no other answer into that."""
        client = self.client()
        head = b"PUT /p HTTP/1.1\r\nHost: wiki.gw.test\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.send(head + b"1\r\na\r\n")
        self.reach().says(OK.replace(b": 2", b": 99"))
        client.send(b"zz\r\n")
        self.assertEqual((client.received.count(b"HTTP/1.1 "), client.aborted), (1, True))

    def test_any_cut(self) -> None:
        """A request is the same however the network cuts it."""
        client = self.client()
        client.send(GET, pieces=1)
        target = self.reach()
        self.assertTrue(target.take().startswith(b"GET /p HTTP/1.1\r\nhost: wiki.gw.test\r\n"))

    def test_half_close(self) -> None:
        """Who asks no more gets what was asked for."""
        client = self.client()
        client.send(GET)
        client.half_close()
        self.reach().says(OK)
        self.assertTrue(client.received.endswith(b"hi"))
        self.assertTrue(client._transport.disconnecting)
