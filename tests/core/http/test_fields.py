"""Tests for `tlsgate.core.http.fields`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.http import fields
from tlsgate.errors import BadBytes


class HeadTests(SynchronousTestCase):
    """Where a head ends, and how it has to be written."""

    def test_size(self) -> None:
        """A head ends with its empty line, and not before."""
        whole = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        for end in range(len(whole)):
            self.assertEqual(fields.head_size(whole[:end]), 0)
        self.assertEqual(fields.head_size(whole + b"more"), len(whole))

    def test_too_long(self) -> None:
        """A head has a limit, whether its end has come or not."""
        for end in (b"", b"\r\n\r\n"):
            with self.assertRaises(BadBytes):
                fields.head_size(b"x" * fields.HEAD_LIMIT + end)

    def test_odd_ends(self) -> None:
        """A line that ends in another way is refused as soon as it is seen."""
        for piece in (b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\rX", b"GET\x00", b"\n"):
            with self.assertRaises(BadBytes):
                fields.head_size(piece)

    def test_long_name(self) -> None:
        """A field's name has a limit of its own."""
        for length, good in ((fields.NAME_LIMIT, True), (fields.NAME_LIMIT + 1, False)):
            head = b"HTTP/1.1 200 OK\r\n%b: b\r\n\r\n" % (b"a" * length)
            if good:
                fields.read_response(head)
            else:
                with self.assertRaises(BadBytes):
                    fields.read_response(head)

    def test_response_shape(self) -> None:
        """Answers are held to the letter, too."""
        found = fields.read_response(b"HTTP/1.1 200 OK\r\nA:  b \r\n\r\n")
        self.assertEqual(found, (200, b"1.1", ((b"a", b"b"),)))
        self.assertEqual(fields.read_response(b"HTTP/1.0 404\r\n\r\n"), (404, b"1.0", ()))
        for odd in (b"HTTP/1.1 200 OK\n\r\n", b"HTTP/2 200 OK\r\n\r\n", b"HTTP/1.1 20 OK\r\n\r\n"):
            with self.assertRaises(BadBytes):
                fields.read_response(odd)


class OursTests(SynchronousTestCase):
    """Which fields a client may not send on."""

    def test_aliases(self) -> None:
        """However a name is folded, it stays ours (S19, S21)."""
        names = ("x-forwarded-for", "x-tlsgate-user", "x-real-ip", "forwarded", "impersonate-user")
        for name in names:
            self.assertTrue(fields.is_ours(name.upper().encode()))
            for mark in "-_.!#$%&'*+^`|~":
                spelt = name.replace("-", mark)
                self.assertTrue(fields.is_ours(spelt.encode()), spelt)

    def test_weighty_by_folding(self) -> None:
        """What only folding makes a field that counts is dropped; the field itself stays."""
        for name in (b"content_length", b"Transfer.Encoding", b"COOKIE_", b"authorization"):
            self.assertIs(fields.is_ours(name), name in (b"content_length", b"Transfer.Encoding"))
        self.assertFalse(fields.is_ours(b"x_custom"))


class HopTests(SynchronousTestCase):
    """What is of one hop."""

    def test_named_by_connection(self) -> None:
        """`Connection` takes what it names along (S20)."""
        given = (
            (b"connection", b"close, X-One"),
            (b"x-one", b"1"),
            (b"x-two", b"2"),
            (b"keep-alive", b"3"),
        )
        self.assertEqual(fields.without_hops(given), ((b"x-two", b"2"),))
        self.assertEqual(fields.without_hops(((b"te", b"trailers"), (b"a", b"b"))), ((b"a", b"b"),))
