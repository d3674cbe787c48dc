"""Tests for `tlsgate.core.http.requests`."""

from __future__ import annotations

import json
import posixpath
from pathlib import Path
from urllib.parse import unquote_to_bytes

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.http.fields import Fields, head_size, read_request
from tlsgate.core.http.requests import RequestHead, judge, judge_h2
from tlsgate.errors import BadBytes

VECTORS = Path(__file__).parents[2] / "vectors" / "http" / "requests.json"


def read(raw: bytes) -> RequestHead | None:
    """A head by the rules, as the gateway reads it; None: no end."""
    size = head_size(raw)
    if not size:
        return None
    method, target, version, fields = read_request(raw[:size])
    return judge(method, target, fields, version)


class CorpusTests(SynchronousTestCase):
    """Every message of the corpus."""

    def test_each(self) -> None:
        """What two readers could read as two things is refused; what is plain is taken (S25)."""
        cases = json.loads(VECTORS.read_text())["cases"]
        self.assertGreaterEqual(len(cases), 200)
        wrong = []
        for case in cases:
            raw = case["raw"].encode("latin-1")
            try:
                refused = read(raw) is None
            except BadBytes:
                refused = True
            # The chunks themselves are the parser's to refuse.
            if refused != case["refused"] and not case["name"].startswith("chunk-"):
                wrong.append(case["name"])
        self.assertEqual(wrong, [])


class PathTests(SynchronousTestCase):
    """Three hundred spellings of paths, and four kinds of servers that read them (S35)."""

    def test_encodings(self) -> None:
        """No server reads a path of the gateway's own where the gateway has read another one."""
        found = spellings()
        self.assertGreaterEqual(len(found), 300)
        passed = []
        for path in found:
            try:
                head = read(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
            except BadBytes:
                continue
            assert head is not None
            # It goes on as it came: what was judged is what is sent.
            self.assertEqual(head.target, path)
            if not head.path.startswith(b"/x-tlsgate-"):
                passed.append(path)
        wrong = [path for path in passed for kind in KINDS if kind(path) == b"/x-tlsgate-auth"]
        self.assertEqual(wrong, [])
        # Most of other people's paths, odd ones too, are theirs.
        self.assertIn(b"/a/%2e%2e/b;c=1/%2F/d", passed)
        self.assertGreater(len(passed), 30)


def spellings() -> list[bytes]:
    """Ways to write a path of ours, and neighbours of it."""
    name = b"x-tlsgate-auth"
    found = [b"/a/%2e%2e/b;c=1/%2F/d", b"/" + name[:-5], b"/y" + name, b"/a/" + name, b"/" + name]
    slashes: tuple[bytes, ...]
    slashes = (b"/", b"//", b"%2f", b"/%2F", b"/./", b"/%2e/", b"/a/../", b"/a/%2E%2e/", b"\\")
    slashes += (b"/;a/", b"/%5c", b"/a/..;b/", b"/%252f", b"/.;/", b"/%2e%2e/", b"/a//..//..//")
    for before in slashes:
        for one in (name, name.upper(), b"%78" + name[1:], b"%58" + name[1:], b"%2578" + name[1:]):
            found += [before + one if before[:1] in b"/" else b"/" + before + one]
            found += [b"/" + before + one + after for after in (b"", b";a", b"/", b"%3bx")]
    for place, letter in enumerate(name):
        for escape in (b"%%%02x" % letter, b"%%%02X" % letter, b"%%25%02x" % letter):
            found.append(b"/" + name[:place] + escape + name[place + 1 :])
            found.append(b"/b" + name[:place] + escape + name[place + 1 :])
    return list(dict.fromkeys(found))


def once(path: bytes) -> bytes:
    """*path* with its escapes taken off once."""
    return unquote_to_bytes(path)


def literal(path: bytes) -> bytes:
    """As a server reads that takes a path to the letter."""
    return path


def unescaping(path: bytes) -> bytes:
    """As one reads that takes the escapes off, resolves dots and joins slashes (nginx)."""
    return posixpath.normpath(b"/" + once(path).lstrip(b"/"))


def kind_to_parameters(path: bytes) -> bytes:
    """As one reads that drops path parameters before and after that (Tomcat, Jetty)."""
    plain = b"/".join(part.partition(b";")[0] for part in path.split(b"/"))
    return unescaping(b"/".join(part.partition(b";")[0] for part in once(plain).split(b"/")))


def kind_to_case(path: bytes) -> bytes:
    """As one reads that knows neither case nor kind of slash, and unescapes twice (IIS)."""
    return kind_to_parameters(once(path).replace(b"\\", b"/").lower())


KINDS = (literal, unescaping, kind_to_parameters, kind_to_case)


def h2(**more: str) -> Fields:
    """The fields of a stream; a name's `__` is a colon, `_` a hyphen; "" leaves it out."""
    given = {
        "__method": "GET",
        "__scheme": "https",
        "__authority": "a.gw.test",
        "__path": "/p",
        **more,
    }
    return tuple(
        (key.replace("__", ":").replace("_", "-").encode(), value.encode())
        for key, value in given.items()
        if value
    )


class HeadTests(SynchronousTestCase):
    """What is made of a good one."""

    def test_whole(self) -> None:
        """Every attribute of a request of HTTP/1.1."""
        head = read(
            b"POST http://A.gw.test:8?q HTTP/1.1\r\nHost: a.gw.test:8\r\nContent-Length: 3\r\n\r\n"
        )
        assert head is not None
        fields = ((b"host", b"a.gw.test:8"), (b"content-length", b"3"))
        want = RequestHead(
            method=b"POST",
            target=b"/?q",
            name="a.gw.test",
            authority=b"a.gw.test:8",
            fields=fields,
            length=3,
        )
        self.assertEqual(head, want)
        self.assertEqual((head.path, head.has_body), (b"/", True))

    def test_keeps(self) -> None:
        """HTTP/1.0 and `close` end the connection."""
        for line, more, keeps in (
            (b"1.1", b"", True),
            (b"1.0", b"", False),
            (b"1.1", b"Connection: x, Close\r\n", False),
        ):
            head = read(b"GET / HTTP/%b\r\nHost: a\r\n%b\r\n" % (line, more))
            assert head is not None
            self.assertIs(head.keeps, keeps)

    def test_own_path(self) -> None:
        """The gateway's own paths are taken in their one spelling."""
        head = read(b"GET /x-tlsgate-auth?code=1 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert head is not None
        self.assertEqual(head.path, b"/x-tlsgate-auth")

    def test_own_path_escaped_often(self) -> None:
        """However often it is escaped, another spelling of ours reaches nobody (S35)."""
        for turns in range(1, 40):
            with self.assertRaises(BadBytes):
                read(b"GET /%%%b78-tlsgate-auth HTTP/1.1\r\nHost: a\r\n\r\n" % (b"25" * turns))

    def test_upgrade(self) -> None:
        """A WebSocket's key is looked at."""
        start = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: "
        key = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\n"
        head = read(start + b"WebSocket\r\n" + key + b"\r\n")
        assert head is not None
        self.assertEqual(head.upgrade, b"websocket")

    def test_upgrade_to_http(self) -> None:
        """Nothing is taken up behind which HTTP could go on without us (S21, S27)."""
        start = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: "
        for told in (b"h2c", b"h2", b"HTTP/2.0", b"TLS/1.0", b"SPDY/3.1", b"tcp"):
            head = read(start + told + b"\r\n\r\n")
            assert head is not None
            self.assertEqual(head.upgrade, b"")

    def test_own_path_by_dots(self) -> None:
        """A path that servers walk to ours is one of ours in another spelling (S35)."""
        for path in (
            b"/a/../x-tlsgate-auth",
            b"/a/b/%2e%2e/..;v=1/%58-Tlsgate-auth",
            b"/;/x-tlsgate-",
        ):
            with self.assertRaises(BadBytes, msg=repr(path)):
                read(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
        for path in (b"/x-tlsgate-auth/../a", b"/a/x-tlsgate-auth", b"/../..", b"/a//b/./;c"):
            self.assertIsNotNone(read(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path))

    def test_port(self) -> None:
        """A port that cannot be is refused: applications make addresses of it."""
        for port in (b"0", b"65536", b"99999"):
            with self.assertRaises(BadBytes):
                read(b"GET / HTTP/1.1\r\nHost: a:%b\r\n\r\n" % port)

    def test_expects(self) -> None:
        """Who waits for 100 is known."""
        head = read(
            b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n"
        )
        assert head is not None
        self.assertTrue(head.expects)


class H2Tests(SynchronousTestCase):
    """Streams of HTTP/2."""

    def test_whole(self) -> None:
        """The same value as of HTTP/1.1, with the cookie in one piece."""
        fields = (*h2(a="b"), (b"cookie", b"x=1"), (b"cookie", b"y=2"))
        want = RequestHead(
            method=b"GET",
            target=b"/p",
            name="a.gw.test",
            authority=b"a.gw.test",
            fields=((b"a", b"b"), (b"cookie", b"x=1; y=2")),
            length=None,
            version=b"2",
        )
        self.assertEqual(judge_h2(fields, ended=False), want)
        self.assertEqual(judge_h2(h2(), ended=True).length, 0)
        self.assertEqual(judge_h2(h2(content_length="4"), ended=False).length, 4)
        judge_h2(h2(host="a.gw.test", te="trailers"), ended=True)

    def test_refused(self) -> None:
        """What HTTP/2 does not have, or what would mean another thing in HTTP/1.1."""
        several: tuple[Fields, ...] = (
            h2(__method="CONNECT"),
            h2(__scheme="http"),
            h2(__path="*"),
            h2(__path=""),
            h2(__authority=""),
            h2(__authority="a b"),
            h2(__authority=".."),
            h2(__protocol="websocket"),
            h2(host="other.gw.test"),
            h2(connection="close"),
            h2(transfer_encoding="chunked"),
            h2(upgrade="websocket"),
            h2(te="gzip"),
            h2(content_length="x"),
            (*h2(), (b"X", b"upper")),
            (*h2(), (b"x y", b"space")),
            (*h2(), (b"x", b"a\r\nb: c")),
            (*h2(), (b"x", b" a")),
            (*h2(), (b":path", b"/two")),
            ((b"x", b"y"), *h2()),
            (*h2(), *h2()),
            (*h2(), *(((b"x", b"y"),) * 130)),
        )
        for fields in several:
            with self.assertRaises(BadBytes, msg=repr(fields[:6])):
                judge_h2(fields, ended=True)
        with self.assertRaises(BadBytes):
            judge_h2(h2(content_length="4"), ended=True)
