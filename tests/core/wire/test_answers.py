"""Tests for the last words in `tlsgate.core.wire`; what the bytes are, not who reads them."""

from __future__ import annotations

from struct import unpack, unpack_from

from twisted.trial.unittest import SynchronousTestCase

from tests.core.hellos import read_vector
from tlsgate.core.wire import http, mongodb, mysql, postgres, ssh


class PostgresTests(SynchronousTestCase):
    """Tests for `postgres.error_response`."""

    def test_bytes(self) -> None:
        """The answer is one whole FATAL ErrorResponse."""
        self.assertEqual(
            postgres.error_response("28000", "no way"),
            b"E\0\0\0\x22SFATAL\0VFATAL\0C28000\0Mno way\0\0",
        )

    def test_nul_cannot_end_a_field(self) -> None:
        """A NUL in the sentence does not cut it into fields."""
        wire = postgres.error_response("28000", "a\0Cb")
        self.assertEqual(unpack_from(">L", wire, 1)[0], len(wire) - 1)
        self.assertIn(b"MaCb\0\0", wire)


class SshTests(SynchronousTestCase):
    """Tests for `ssh.disconnect`."""

    def test_packet(self) -> None:
        """The packet is well-formed for a sentence of any length."""
        for size in range(40):
            wire = ssh.disconnect("x" * size)
            banner, packet = wire[:17], wire[17:]
            self.assertEqual(banner, b"SSH-2.0-tlsgate\r\n")
            length, padding = unpack_from(">LB", packet)
            self.assertEqual(len(packet), 4 + length)
            self.assertEqual(len(packet) % 8, 0)
            self.assertGreaterEqual(len(packet), 16)
            self.assertIn(padding, range(4, 12))
            payload = packet[5 : len(packet) - padding]
            kind, code, text_size = unpack_from(">BLL", payload)
            self.assertEqual((kind, code, text_size), (1, 11, size))
            self.assertEqual(payload[9:], b"x" * size + bytes(4))

    def test_long_text_is_cut_between_letters(self) -> None:
        """Too long a sentence is cut, and stays UTF-8."""
        wire = ssh.disconnect("x" + "\N{BULLET}" * 1000)
        (size,) = unpack_from(">L", wire, 17 + 10)
        self.assertEqual(wire[17 + 14 :][:size].decode(), "x" + "\N{BULLET}" * 341)


class MySQLTests(SynchronousTestCase):
    """Tests for `mysql.err_packet`."""

    def test_bytes(self) -> None:
        """The packet has number 0, the error's code and no SQL state."""
        self.assertEqual(mysql.err_packet("no way"), b"\x09\0\0\0\xff\x51\x04no way")
        self.assertEqual(mysql.err_packet("", 1130), b"\x03\0\0\0\xff\x6a\x04")

    def test_long_text_is_cut_between_letters(self) -> None:
        """The client's buffer has 512 bytes."""
        wire = mysql.err_packet("\N{BULLET}" * 400)
        self.assertEqual(wire[7:].decode(), "\N{BULLET}" * 170)
        self.assertEqual(int.from_bytes(wire[:3], "little"), len(wire) - 4)


class MongoDBTests(SynchronousTestCase):
    """Tests for `mongodb.error_reply`."""

    DOCUMENT = (
        b"\x2e\0\0\0\x01ok\0" + bytes(8) + b"\x02errmsg\0\x07\0\0\0no way\0\x10code\0\x0d\0\0\0\0"
    )

    def test_message(self) -> None:
        """An OP_MSG is answered by one, with the request's number."""
        request = read_vector("openings/mongodb")
        wire = mongodb.error_reply(request, "no way")
        self.assertEqual(unpack("<i", wire[:4])[0], len(wire))
        self.assertEqual(wire[8:12], request[4:8])
        self.assertEqual(wire[12:], b"\xdd\x07\0\0" + bytes(5) + self.DOCUMENT)

    def test_query(self) -> None:
        """An OP_QUERY is answered by an OP_REPLY."""
        request = bytes.fromhex("3b0000002a00000000000000d4070000")
        wire = mongodb.error_reply(request, "no way")
        self.assertEqual(unpack("<iiii", wire[:16]), (len(wire), 0, 42, 1))
        self.assertEqual(wire[16:], bytes(16) + b"\1\0\0\0" + self.DOCUMENT)

    def test_cut_request(self) -> None:
        """Without a whole header the answer is for request 0."""
        wire = mongodb.error_reply(b"\x3b\0", "no way")
        self.assertEqual(unpack("<iiii", wire[:16]), (len(wire), 0, 0, 1))


class HttpTests(SynchronousTestCase):
    """Tests for `http.bad_request`."""

    def test_bytes(self) -> None:
        """The answer is whole, closes, and says its size in bytes."""
        wire = http.bad_request("use https \N{BULLET}")
        head, _, body = wire.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        self.assertEqual(lines[0], b"HTTP/1.1 400 Bad Request")
        self.assertIn(b"Connection: close", lines)
        self.assertIn(b"Content-Length: %d" % len(body), lines)
        self.assertEqual(body.decode(), "use https \N{BULLET}\n")
        self.assertNotIn(b"Location", wire)
