"""Tests for `tlsgate.core.wire.connect`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.outcome import More
from tlsgate.core.wire.connect import LIMIT, Connect, established, read_connect, refused
from tlsgate.errors import BadBytes

WHOLE = b"CONNECT db1.gate.example.com:22 HTTP/1.1\r\nHost: db1.gate.example.com:22\r\nX-Y:\r\n\r\n"


class ReadConnectTests(SynchronousTestCase):
    """Tests for `read_connect`."""

    def test_split_anywhere(self) -> None:
        """Nothing is said before the empty line is there; what follows it is not looked at."""
        for size in range(len(WHOLE)):
            self.assertEqual(read_connect(WHOLE[:size]), More(1), size)
        wanted = Connect("db1.gate.example.com", 22, len(WHOLE))
        self.assertEqual(read_connect(WHOLE), wanted)
        self.assertEqual(read_connect(WHOLE + b"SSH-2.0-x\r\n\r\n"), wanted)

    def test_shapes(self) -> None:
        """Names, addresses and ports, with and without fields."""
        for line, host, port in (
            (b"db1:1", "db1", 1),
            (b"127.0.0.1:65535", "127.0.0.1", 65535),
            (b"[2001:db8::1]:22", "2001:db8::1", 22),
            (b"DB_1.x:022", "DB_1.x", 22),
            (b"h" * 255 + b":22", "h" * 255, 22),
        ):
            wire = b"CONNECT " + line + b" HTTP/1.1\r\n\r\n"
            self.assertEqual(read_connect(wire), Connect(host, port, len(wire)))

    def test_refused(self) -> None:
        """What is no plain CONNECT is refused, as soon as that is known."""
        for wire, why in (
            (b"G", "not CONNECT"),
            (b"SSH-2.0-x\r\n", "not CONNECT"),
            (b"connect db1:22 HTTP/1.1\r\n\r\n", "not CONNECT"),
            (b"CONNECT db1:22 HTTP/1.0\r\n\r\n", "HOST:PORT"),
            (b"CONNECT db1:22 HTTP/1.1 \r\n\r\n", "HOST:PORT"),
            (b"CONNECT db1:22  HTTP/1.1\r\n\r\n", "HOST:PORT"),
            (b"CONNECT db1 HTTP/1.1\r\n\r\n", "HOST:PORT"),
            (b"CONNECT :22 HTTP/1.1\r\n\r\n", "HOST:PORT"),
            (b"CONNECT a:b:22 HTTP/1.1\r\n\r\n", "HOST:PORT"),
            (b"CONNECT [::1:22 HTTP/1.1\r\n\r\n", "HOST:PORT"),
            (b"CONNECT d\xc3\xa41:22 HTTP/1.1\r\n\r\n", "HOST:PORT"),
            (b"CONNECT db1:22\n HTTP/1.1\r\n\r\n", "HOST:PORT"),
            (b"CONNECT db1:0 HTTP/1.1\r\n\r\n", "no such"),
            (b"CONNECT db1:65536 HTTP/1.1\r\n\r\n", "no such"),
            (b"CONNECT db1:999999 HTTP/1.1\r\n\r\n", "HOST:PORT"),
            (b"CONNECT " + b"h" * 256 + b":22 HTTP/1.1\r\n\r\n", "no such"),
            (b"CONNECT db1:22 HTTP/1.1\r\nX Y: z\r\n\r\n", "field"),
            (b"CONNECT db1:22 HTTP/1.1\r\n folded\r\n\r\n", "field"),
            (b"CONNECT db1:22 HTTP/1.1\r\nX: a\nY: b\r\n\r\n", "field"),
            (b"CONNECT db1:22 HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "body"),
            (b"CONNECT db1:22 HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", "body"),
        ):
            error = self.assertRaises(BadBytes, read_connect, wire)
            self.assertIn(why, str(error), wire)

    def test_limit(self) -> None:
        """A request of exactly the limit is read; one byte more is refused, ended or not."""
        wire = b"CONNECT db1:22 HTTP/1.1\r\nX: "
        wire += b"x" * (LIMIT - len(wire) - 4)
        whole = wire + b"\r\n\r\n"
        self.assertEqual(read_connect(whole), Connect("db1", 22, LIMIT))
        self.assertEqual(read_connect(wire + b"\r\n\r"), More(1))
        self.assertRaises(BadBytes, read_connect, wire + b"x\r\n\r\n")
        self.assertRaises(BadBytes, read_connect, wire + b"x" * 10_000)


class EstablishedTests(SynchronousTestCase):
    """Tests for `established`."""

    def test_answer(self) -> None:
        """Nothing but a 200, and the interval of pings where there are any."""
        self.assertEqual(established(), b"HTTP/1.1 200 Connection established\r\n\r\n")
        self.assertEqual(
            established(30.0),
            b"HTTP/1.1 200 Connection established\r\ntlsgate-ping-seconds: 30\r\n\r\n",
        )


class RefusedTests(SynchronousTestCase):
    """Tests for `refused`."""

    def test_sentence(self) -> None:
        """The sentence is the body, and its length is told in bytes."""
        self.assertEqual(
            refused(404, "Not Found", "no nöde\ud800"),
            b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\n"
            b"Content-Length: 10\r\nConnection: close\r\n\r\nno n\xc3\xb6de?\n",
        )

    def test_program(self) -> None:
        """What the client calls itself is kept; a request without it is the same request."""
        whole = b"CONNECT db1:22 HTTP/1.1\r\nUser-Agent: tgsh/1.0.0\r\n\r\n"
        asked = read_connect(whole)
        assert isinstance(asked, Connect)
        self.assertEqual((asked.program, asked), ("tgsh/1.0.0", Connect("db1", 22, len(whole))))
