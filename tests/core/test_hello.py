"""Tests for `tlsgate.core.hello`."""

from __future__ import annotations

import contextlib
from struct import pack

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.core import hellos
from tests.core.hellos import (
    CAPTURED,
    alpn,
    body,
    captured,
    cut_at,
    extension,
    hello,
    message,
    record,
    recut,
    sni,
    versions,
)
from tlsgate.core.hello import Hello, read_hello
from tlsgate.core.outcome import More
from tlsgate.errors import BadHello

#: A hello with what a gate looks at and something that it does not.
PLAIN = hello(
    sni(b"Echo.Example.com.")
    + extension(10, b"\0\2\0\x1d")
    + alpn(b"demo-echo", b"h2")
    + versions(0x304, 0x303),
    session=b"s" * 32,
)
ASKED = Hello("echo.example.com", (b"demo-echo", b"h2"), (0x304, 0x303), len(PLAIN))

#: Malformed hellos, whole, and a word of the reason for each.
MALFORMED: dict[str, tuple[bytes, str]] = {
    "alert": (record(b"\2\x28", kind=21), "record type 21"),
    "change cipher spec": (record(b"\1", kind=20), "record type 20"),
    "application data": (record(b"GET /", kind=23), "record type 23"),
    "sslv2": (b"\x80\x2e\x01\x00\x02" + bytes(40), "SSLv2"),
    "record version": (record(message(body()), version=0x0201), "record version 2"),
    "empty record": (record(b"") + PLAIN, "an empty record"),
    "server hello": (record(message(body(), kind=2)), "handshake message 2"),
    "two messages in a record": (record(message(body()) + message(body())), "bytes after"),
    "a byte after the message": (record(message(body()) + b"\0"), "bytes after"),
    "legacy version": (hello(version=0x0200), "out of range"),
    "session id": (hello(session=b"s" * 33), "out of range"),
    "no suites": (hello(suites=b""), "cipher suites"),
    "odd suites": (hello(suites=b"\x13\x01\xc0"), "cipher suites"),
    "no compression method": (hello(methods=b""), "compression"),
    "compression without null": (hello(methods=b"\1"), "compression"),
    "empty body": (record(message(b"")), "ends before"),
    "body of a version": (record(message(b"\3\3")), "ends before"),
    "one byte for extensions": (record(message(body(None) + b"\0")), "ends before"),
    "extensions too long": (record(message(body(None) + b"\0\5abcd")), "do not end with"),
    "extensions too short": (record(message(body(None) + b"\0\3abcd")), "do not end with"),
    "extension header cut": (hello(b"\0\x17\0"), "ends before"),
    "extension too long": (hello(b"\0\x17\0\1"), "beyond the message"),
    "extension twice": (hello(extension(23, b"") * 2), "comes twice"),
    "unknown extension twice": (hello(extension(9999, b"") * 2), "comes twice"),
    "server_name twice": (hello(sni(b"a.b") + sni(b"a.b")), "comes twice"),
    "two names": (hello(sni(b"a.example", b"b.example")), "one host name"),
    "no name": (hello(sni()), "one host name"),
    "empty name": (hello(sni(b"")), "one host name"),
    "empty server_name": (hello(extension(0, b"")), "one host name"),
    "name of another type": (hello(sni(b"a.example", kind=1)), "one host name"),
    "name list too long": (hello(extension(0, b"\0\5\0\0\1a")), "one host name"),
    "name too long": (hello(extension(0, b"\0\4\0\0\2a")), "one host name"),
    "name with NUL": (hello(sni(b"gw.example.com\0.evil")), "bad server name"),
    "address": (hello(sni(b"127.0.0.1")), "an IP address"),
    "empty ALPN": (hello(extension(16, b"")), "ALPN list"),
    "empty ALPN list": (hello(extension(16, b"\0\0")), "ALPN list"),
    "ALPN list too long": (hello(extension(16, b"\0\4\2h2")), "ALPN list"),
    "ALPN list too short": (hello(extension(16, b"\0\2\2h2")), "ALPN list"),
    "empty ALPN name": (hello(alpn(b"h2", b"")), "ALPN name"),
    "ALPN name too long": (hello(extension(16, b"\0\3\3h2")), "ALPN name"),
    "empty versions": (hello(extension(43, b"")), "supported_versions"),
    "versions of no length": (hello(extension(43, b"\0\3\4")), "supported_versions"),
    "odd versions": (hello(extension(43, b"\3\3\4\3")), "supported_versions"),
}


class CapturedTests(SynchronousTestCase):
    """Real clients' hellos."""

    def test_read(self) -> None:
        """What each client asked for is read from its hello."""
        for name, (server_name, offers, numbers) in CAPTURED.items():
            with self.subTest(name):
                wire = captured(name)
                self.assertEqual(read_hello(wire), Hello(server_name, offers, numbers, len(wire)))

    def test_every_split(self) -> None:
        """However the network cuts it, a hello is not yet there until its last byte is."""
        for name in CAPTURED:
            wire = captured(name)
            for end in range(len(wire)):
                # Before the ninth byte the message's own size is not known.
                lacks = len(wire) - end if end > 4 else 9 - end
                self.assertEqual(read_hello(wire[:end]), More(lacks))

    def test_memoryview(self) -> None:
        """A view of a bigger buffer does as well as bytes."""
        wire = captured("curl")
        view = memoryview(bytearray(wire) + bytes(70_000))
        self.assertEqual(read_hello(view), read_hello(wire))


class ReadHelloTests(SynchronousTestCase):
    """Tests for `read_hello` on made hellos."""

    def test_asked(self) -> None:
        """The name is normalised, offers and versions keep the client's order."""
        self.assertEqual(read_hello(PLAIN), ASKED)

    def test_without_extensions(self) -> None:
        """A hello may end before the extensions; then its own version counts."""
        for extensions in (None, b""):
            wire = hello(extensions, version=0x0301)
            self.assertEqual(read_hello(wire), Hello(None, (), (0x301,), len(wire)))

    def test_bytes_behind_are_not_its_own(self) -> None:
        """What comes after the hello's last record changes nothing."""
        for behind in (b"\x17", record(b"\1", kind=20), PLAIN):
            self.assertEqual(read_hello(PLAIN + behind), ASKED)

    def test_malformed(self) -> None:
        """Each malformed hello is refused with its reason."""
        for name, (wire, reason) in MALFORMED.items():
            with self.subTest(name):
                self.assertIn(reason, str(self.assertRaises(BadHello, read_hello, wire)))

    def test_malformed_in_fine_records(self) -> None:
        """A malformed message is refused however its records are cut."""
        for name, (wire, _) in MALFORMED.items():
            if wire[0] == 22 and wire[1] == 3 and len(wire) == 5 + int.from_bytes(wire[3:5]):
                with self.subTest(name):
                    self.assertRaises(BadHello, read_hello, recut(wire, 3))

    def test_malformed_at_every_split(self) -> None:
        """No prefix of a malformed hello is taken for a hello, and no other error leaves."""
        for wire, _ in MALFORMED.values():
            for end in range(len(wire)):
                with self.subTest(wire=wire[:end].hex()), contextlib.suppress(BadHello):
                    self.assertIsInstance(read_hello(wire[:end]), More)

    def test_refused_at_the_first_wrong_byte(self) -> None:
        """Each byte of a header is judged as soon as it is there."""
        for head in (
            b"G",
            b"\x15",
            b"\x80",
            b"\x16\x02",
            b"\x16\x03\x01\0\0",
            b"\x16\x03\x01\0\5\2",
        ):
            self.assertRaises(BadHello, read_hello, head)

    def test_lengths_off_by_one(self) -> None:
        """Each length field one too big or too small is refused, or asks for more."""
        for name in CAPTURED:
            wire = captured(name)
            for at in _length_fields(wire):
                for step in (-1, 1):
                    changed = bytearray(wire)
                    changed[at] = (changed[at] + step) % 256
                    with self.subTest(name=name, at=at, step=step):
                        try:
                            got = read_hello(bytes(changed))
                        except BadHello:
                            continue
                        self.assertIsInstance(got, More)


def _length_fields(wire: bytes) -> list[int]:
    """The places of the last byte of each length in a hello up to its extensions' own."""
    places = [4, 8, 43]
    at = 44 + wire[43]
    places.append(at + 1)
    at += 2 + int.from_bytes(wire[at : at + 2])
    places.append(at)
    at += 1 + wire[at]
    places.append(at + 1)
    at += 2
    while at < len(wire):
        size = int.from_bytes(wire[at + 2 : at + 4])
        places.append(at + 3)
        if wire[at : at + 2] == b"\0\0":
            places += [at + 5, at + 8]
        elif wire[at : at + 2] == b"\0\x10":
            places += [at + 5, at + 6]
        elif wire[at : at + 2] == b"\0\x2b":
            places.append(at + 4)
        at += 4 + size
    return places


class S03Tests(SynchronousTestCase):
    """S03: a hello in many pieces leads where the same hello in one piece leads."""

    def test_s03_fragmented_hello(self) -> None:
        """S03: records of any size give the same name, offers and versions."""
        for name in CAPTURED:
            wire = captured(name)
            whole = read_hello(wire)
            assert isinstance(whole, Hello)
            for size in (1, 2, 3, 4, 5, 64, 200, len(wire)):
                with self.subTest(name=name, size=size):
                    cut = recut(wire, size)
                    self.assertEqual(
                        read_hello(cut),
                        Hello(whole.server_name, whole.alpn, whole.versions, len(cut)),
                    )

    def test_s03_every_cut_of_records_and_segments(self) -> None:
        """S03: two records cut at each byte, at each split of the network: same hello."""
        for place in range(1, len(PLAIN) - 5):
            cut = cut_at(PLAIN, [place])
            want = Hello(ASKED.server_name, ASKED.alpn, ASKED.versions, len(cut))
            self.assertEqual(read_hello(cut), want)
            for end in range(len(cut)):
                got = read_hello(cut[:end])
                assert isinstance(got, More), (place, end)
                self.assertLessEqual(end + got.lacks, len(cut))
                self.assertGreaterEqual(got.lacks, 1)

    def test_s03_any_cut(self) -> None:
        """S03: hypothesis finds no cut that changes the answer."""

        @given(st.sampled_from(sorted(CAPTURED)), st.lists(st.integers(0, 2000), max_size=40))
        def check(name: str, places: list[int]) -> None:
            wire = captured(name)
            whole = read_hello(wire)
            assert isinstance(whole, Hello)
            cut = cut_at(wire, places)
            self.assertEqual(
                read_hello(cut), Hello(whole.server_name, whole.alpn, whole.versions, len(cut))
            )

        check()

    def test_s03_other_record_between(self) -> None:
        """S03: an alert, a change-cipher-spec or an empty record between is refused."""
        first, second = PLAIN[5:60], PLAIN[60:]
        for between in (record(b"\1\0", kind=21), record(b"\1", kind=20), record(b""), b"\x17"):
            wire = record(first) + between + record(second)
            self.assertRaises(BadHello, read_hello, wire)

    def test_s03_truncated_is_never_a_hello(self) -> None:
        """S03: a hello that stops early stays unanswered; it has no default."""
        for size in (1, 7, 64, len(PLAIN)):
            cut = recut(PLAIN, size)
            self.assertEqual({type(read_hello(cut[:end])) for end in range(len(cut))}, {More})

    def test_few_wakes(self) -> None:
        """A reader that waits for what is lacking is woken seldom, even by 1-byte records."""
        for name in CAPTURED:
            cut = recut(captured(name), 1)
            have = wakes = 0
            while isinstance(outcome := read_hello(cut[:have]), More):
                have += outcome.lacks
                wakes += 1
            self.assertEqual(have, len(cut))
            self.assertLess(wakes, 50)


class S02Tests(SynchronousTestCase):
    """S02: the parser gives the offers as they are; the choice is the routing table's."""

    def test_s02_offers_keep_their_order(self) -> None:
        """S02: offers come out whole, in order, repeats included, whatever their bytes."""

        @given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=32))
        def check(offers: list[bytes]) -> None:
            got = read_hello(hello(alpn(*offers)))
            assert isinstance(got, Hello)
            self.assertEqual(got.alpn, tuple(offers))

        check()


class S04Tests(SynchronousTestCase):
    """S04: the name in a hello is the name that tables are asked for."""

    def test_s04_name_in_hello(self) -> None:
        """S04: spellings of one name are one name; odd ones and two names are refused."""
        for spelling in (b"gw.example.com", b"GW.EXAMPLE.com", b"Gw.Example.Com."):
            got = read_hello(hello(sni(spelling)))
            assert isinstance(got, Hello)
            self.assertEqual(got.server_name, "gw.example.com")
        for odd in (b"gw.example.com\0", b"gw..example.com", b"b\xfccher.example", b"*.example"):
            self.assertRaises(BadHello, read_hello, hello(sni(odd)))
        self.assertRaises(BadHello, read_hello, hello(sni(b"gw.example.com", b"gw.example.com")))


class S14Tests(SynchronousTestCase):
    """S14: what a hello may cost is bounded before OpenSSL sees it."""

    def test_s14_giant_hello(self) -> None:
        """S14: 16 KiB are taken, one byte more is refused as soon as it is announced."""
        padding = 16_384 - len(hello(extension(21, b"")))
        biggest = hello(extension(21, bytes(padding)))
        self.assertEqual(read_hello(biggest), Hello(None, (), (0x303,), 16_384))
        giant = hello(extension(21, bytes(padding + 1)))
        for end in (5, 9, 100, len(giant)):
            self.assertRaises(BadHello, read_hello, giant[:end])
        # In one record the header says it; over several, the message's own length does.
        self.assertRaises(BadHello, read_hello, record(b"\1\xff\xff\xff\3\3")[:9])
        self.assertRaises(BadHello, read_hello, recut(giant, 4000)[:9])
        self.assertRaises(BadHello, read_hello, recut(biggest, 4000))
        self.assertIsInstance(read_hello(recut(biggest, 8000), limit=20_000), Hello)

    def test_s14_limit_is_a_parameter(self) -> None:
        """S14: no more than *limit* bytes are asked for or taken, records included."""
        self.assertEqual(read_hello(PLAIN, len(PLAIN)), ASKED)
        self.assertRaises(BadHello, read_hello, PLAIN, len(PLAIN) - 1)
        cut = recut(PLAIN, 10)
        self.assertIsInstance(read_hello(cut, len(cut)), Hello)
        for end in range(len(cut) + 1):
            try:
                outcome = read_hello(cut[:end], len(cut) - 1)
            except BadHello:
                continue
            assert isinstance(outcome, More)
            self.assertLess(end + outcome.lacks, len(cut))

    def test_s14_many_extensions(self) -> None:
        """S14: 64 extensions are taken, 65 are refused."""
        some = b"".join(extension(1000 + n, b"") for n in range(64))
        self.assertIsInstance(read_hello(hello(some)), Hello)
        self.assertRaises(BadHello, read_hello, hello(some + extension(2000, b"")))

    def test_s14_many_alpn_names(self) -> None:
        """S14: 32 ALPN names are taken, 33 are refused."""
        names = [b"x%d" % n for n in range(33)]
        self.assertIsInstance(read_hello(hello(alpn(*names[:32]))), Hello)
        self.assertRaises(BadHello, read_hello, hello(alpn(*names)))


class AnyBytesTests(SynchronousTestCase):
    """Foreign bytes raise our error or nothing."""

    def test_any_bytes(self) -> None:
        """Random bytes behind a plausible start give a value or BadHello."""

        @given(st.binary(max_size=400), st.integers(0, 60))
        def check(noise: bytes, keep: int) -> None:
            for head in (noise, PLAIN[:keep] + noise, record(message(noise)), hello(noise)):
                try:
                    outcome = read_hello(head)
                except BadHello as e:
                    self.assertEqual(e.what, "ClientHello")
                    continue
                if isinstance(outcome, Hello):
                    self.assertLessEqual(outcome.length, len(head))
                else:
                    self.assertGreaterEqual(outcome.lacks, 1)

        check()

    def test_changed_bytes(self) -> None:
        """A captured hello with some bytes changed gives a value or BadHello."""

        @given(
            st.sampled_from(sorted(CAPTURED)),
            st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=6),
        )
        def check(name: str, changes: list[tuple[int, int]]) -> None:
            wire = bytearray(captured(name))
            for place, value in changes:
                wire[place % len(wire)] = value
            try:
                outcome = read_hello(bytes(wire))
            except BadHello:
                return
            self.assertIsInstance(outcome, (Hello, More))

        check()


class BuildersTests(SynchronousTestCase):
    """The test's own hellos are what they claim to be."""

    def test_sizes(self) -> None:
        """Records, messages and lists say their true sizes."""
        self.assertEqual(hellos.record(b"ab"), b"\x16\x03\x01\x00\x02ab")
        self.assertEqual(hellos.message(b"ab"), b"\x01\x00\x00\x02ab")
        self.assertEqual(alpn(b"h2"), pack(">HHHB", 16, 5, 3, 2) + b"h2")
        self.assertEqual(sni(b"a"), pack(">HHHBH", 0, 6, 4, 0, 1) + b"a")
