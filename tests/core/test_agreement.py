"""Our peek at a hello agrees with OpenSSL, which reads the same bytes later.

Where the two differ, a route would be chosen for one name or token and the handshake made
for another: S02, S03 and S04 rest on this.
"""

from __future__ import annotations

from itertools import pairwise
from struct import pack, unpack_from

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.core.agreement import Seen, disagreement, look
from tests.core.hellos import (
    CAPTURED,
    alpn,
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
from tests.core.test_hello import MALFORMED, PLAIN
from tlsgate.core.hello import Hello, read_hello

_CAPTURED = st.sampled_from(sorted(CAPTURED)).map(captured)
_PLACES = st.lists(st.integers(0, 2000), max_size=30)


def split(wire: bytes) -> tuple[bytes, list[tuple[int, bytes]]]:
    """The body of a hello in one record up to its extensions, and these."""
    at = 44 + wire[43]
    at += 2 + int.from_bytes(wire[at : at + 2], "big")
    at += 1 + wire[at]
    fixed, at = wire[9:at], at + 2
    extensions = []
    while at < len(wire):
        kind, size = unpack_from(">HH", wire, at)
        extensions.append((kind, wire[at + 4 : at + 4 + size]))
        at += 4 + size
    return fixed, extensions


def join(fixed: bytes, extensions: list[tuple[int, bytes]]) -> bytes:
    """Undo `split`."""
    tail = b"".join(extension(kind, body) for kind, body in extensions)
    return record(message(fixed + pack(">H", len(tail)) + tail))


@st.composite
def changed(draw: st.DrawFn) -> bytes:
    """A real hello with some of its extensions changed, in a hello of right lengths."""
    fixed, extensions = split(draw(_CAPTURED))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(extensions)))
        match draw(st.sampled_from(["drop", "copy", "noise", "own", "edit", "swap"])):
            case "drop":
                del extensions[place : place + 1]
            case "copy":
                extensions[place:place] = extensions[:1]
            case "noise":
                kind = draw(st.sampled_from([0, 16, 43, 51, 10, 13, 35, 41, 45, 0xFE0D, 0x7777]))
                extensions.insert(place, (kind, draw(st.binary(max_size=40))))
            case "own":
                wire = draw(_OWN)
                extensions.insert(place, (int.from_bytes(wire[:2], "big"), wire[4:]))
            case "edit" if extensions:
                kind, body = extensions[place % len(extensions)]
                at = draw(st.integers(0, len(body)))
                body = body[:at] + draw(st.binary(max_size=4)) + body[at + draw(_FEW) :]
                extensions[place % len(extensions)] = kind, body
            case _:
                extensions.reverse()
    return join(fixed, extensions)


_FEW = st.integers(0, 3)
_NAMES = st.sampled_from(
    [b"a.example", b"A.Example.", b"a..b", b"\0", b"a\0b", b"", b"127.0.0.1", b"x" * 256]
)
_OWN = st.one_of(
    st.lists(_NAMES, max_size=2).map(lambda names: sni(*names)),
    st.lists(st.binary(max_size=5), max_size=5).map(lambda names: alpn(*names)),
    st.lists(st.sampled_from([0x304, 0x303, 0x301, 0x7A7A]), max_size=4).map(
        lambda numbers: versions(*numbers)
    ),
)


class AgreementTests(SynchronousTestCase):
    """Our reading against OpenSSL's."""

    def test_library_is_looked_at(self) -> None:
        """The comparison sees what it has to: name, offers, version, failure, not yet."""
        self.assertEqual(
            look(captured("curl")),
            Seen(
                parsed=True,
                server_name=b"gw.example.com",
                alpn=(b"h2", b"http/1.1"),
                version=0x304,
            ),
        )
        self.assertEqual(look(captured("curl")[:-1]), Seen())
        self.assertEqual(look(b"GET / HTTP/1.1\r\n"), Seen(failed=True))

    def test_real_hellos(self) -> None:
        """Each real client's hello is taken, and read alike."""
        for name, (server_name, offers, _) in CAPTURED.items():
            wire = captured(name)
            with self.subTest(name):
                self.assertIsNone(disagreement(wire))
                seen = look(wire)
                self.assertTrue(seen.parsed)
                self.assertFalse(seen.failed)
                self.assertEqual((seen.server_name or b"").lower().decode(), server_name or "")
                self.assertEqual(seen.alpn or (), offers)

    def test_every_size_of_records(self) -> None:
        """Hellos in records of any size are taken by both."""
        for name in CAPTURED:
            for size in (1, 2, 5, 64, 200):
                wire = recut(captured(name), size)
                with self.subTest(name=name, size=size):
                    self.assertIsNone(disagreement(wire))
                    self.assertTrue(look(wire).parsed)
                    self.assertIsInstance(read_hello(wire), Hello)

    def test_malformed(self) -> None:
        """What we refuse needs no agreement; cut short it is still no hello for either."""
        for name, (wire, _) in MALFORMED.items():
            for end in range(len(wire) + 1):
                self.assertIsNone(disagreement(wire[:end]), name)

    def test_any_cut(self) -> None:
        """Hellos cut anywhere into records and segments are taken by both, and read alike."""

        @given(_CAPTURED, _PLACES, _PLACES)
        def check(wire: bytes, records: list[int], segments: list[int]) -> None:
            cut = cut_at(wire, records)
            edges = sorted({0, len(cut), *(place % len(cut) for place in segments)})
            pieces = [cut[a:b] for a, b in pairwise(edges)]
            self.assertEqual(look(*pieces), look(wire))
            self.assertIsNone(disagreement(cut))

        check()

    def test_changed_extensions(self) -> None:
        """No change to a hello's extensions makes the two read different things."""

        @given(changed(), _PLACES)
        def check(wire: bytes, places: list[int]) -> None:
            self.assertIsNone(disagreement(wire))
            self.assertIsNone(disagreement(cut_at(wire, places)))

        check()

    def test_changed_bytes(self) -> None:
        """No changed, added or missing byte makes the two read different things."""
        edits = st.lists(
            st.tuples(st.integers(0, 2000), _FEW, st.binary(max_size=3)), min_size=1, max_size=4
        )

        @given(_CAPTURED, edits)
        def check(wire: bytes, changes: list[tuple[int, int, bytes]]) -> None:
            for place, gone, new in changes:
                at = place % len(wire)
                wire = wire[:at] + new + wire[at + gone :]
            self.assertIsNone(disagreement(wire))

        check()

    def test_other_records_between(self) -> None:
        """No record of another kind between a hello's own makes the two differ."""
        between = st.builds(
            record,
            st.binary(max_size=6),
            st.sampled_from([20, 21, 22, 23, 24]),
            st.sampled_from([0x301, 0x303, 0x300, 0x200]),
        )

        @given(_CAPTURED, st.lists(between, min_size=1, max_size=3), st.integers(1, 200))
        def check(wire: bytes, records: list[bytes], size: int) -> None:
            first, rest = wire[5 : 5 + size], wire[5 + size :]
            self.assertIsNone(disagreement(record(first) + b"".join(records) + record(rest)))

        check()

    def test_made_hellos(self) -> None:
        """Hellos of our own making with odd lists are read alike."""

        @given(st.lists(_OWN, max_size=4), st.integers(1, 60))
        def check(extensions: list[bytes], size: int) -> None:
            wire = hello(b"".join(extensions), suites=b"\x13\x01\xc0\x2b\xc0\x2f")
            self.assertIsNone(disagreement(wire))
            self.assertIsNone(disagreement(recut(wire, size)))

        check()

    def test_behind_the_hello(self) -> None:
        """What follows the hello's last record changes nothing for either."""

        @given(st.binary(max_size=60))
        def check(noise: bytes) -> None:
            self.assertIsNone(disagreement(PLAIN + noise))
            self.assertIsNone(disagreement(captured("curl") + noise))

        check()
