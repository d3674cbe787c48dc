"""A tunnel's frames come out as they went in, at every split, or are refused."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.frames import (
    CONTROL_LIMIT,
    DATA_LIMIT,
    HEADER,
    REQUEST_LIMIT,
    Frame,
    FrameKind,
    Frames,
    frame,
    header,
    message,
    numbered,
    only,
    read_header,
    read_message,
    read_serial,
    usual_limit,
)
from tlsgate.errors import BadBytes, GateError

#: One frame of each kind, as both sides would send them.
ALL = (
    Frame(FrameKind.HELLO, b'{"v":1}'),
    Frame(FrameKind.CONTROL, b'{"say":"drain"}'),
    Frame(FrameKind.REQUEST, b'{"n":1,"asked":{}}'),
    Frame(FrameKind.STATUS, b'{"n":1,"answered":{}}'),
    Frame(FrameKind.DATA, b"\x05\x00\x00\x01x"),
    Frame(FrameKind.END, b"\0\0\0\1"),
    Frame(FrameKind.RESET, b"\0\0\0\2"),
    Frame(FrameKind.ENDED, b"\xff\xff\xff\xff"),
    Frame(FrameKind.PING, b"12345678"),
    Frame(FrameKind.PONG, b"87654321"),
)
WIRE = b"".join(frame(one.kind, one.body) for one in ALL)

#: The longest body of each kind.
LONGEST = {
    FrameKind.HELLO: CONTROL_LIMIT,
    FrameKind.CONTROL: CONTROL_LIMIT,
    FrameKind.REQUEST: REQUEST_LIMIT,
    FrameKind.STATUS: REQUEST_LIMIT,
    FrameKind.DATA: DATA_LIMIT,
    FrameKind.END: 4,
    FrameKind.RESET: 4,
    FrameKind.ENDED: 4,
    FrameKind.PING: 8,
    FrameKind.PONG: 8,
}


class FramesTests(SynchronousTestCase):
    """Tests for `Frames`."""

    def test_every_split(self) -> None:
        """Wherever the bytes are cut in two, the same frames come out, each when it is whole."""
        for cut in range(len(WIRE) + 1):
            frames = Frames()
            found = frames.feed(WIRE[:cut])
            self.assertEqual(tuple(found), ALL[: len(found)])
            self.assertEqual(frames.held, cut - sum(HEADER + len(f.body) for f in found))
            self.assertEqual((*found, *frames.feed(WIRE[cut:])), ALL)

    def test_byte_by_byte(self) -> None:
        """A frame is given with its last byte, and not before."""
        frames = Frames()
        found = [one for at in range(len(WIRE)) for one in frames.feed(WIRE[at : at + 1])]
        self.assertEqual(tuple(found), ALL)

    def test_each_length_off_by_one(self) -> None:
        """A length one beyond what its kind may have is refused with the header alone."""
        for kind, most in LONGEST.items():
            self.assertEqual(usual_limit(kind), most)
            self.assertEqual(read_header(kind << 24 | most), (kind, most))
            self.assertRaises(BadBytes, Frames().feed, header(kind, most + 1))
            self.assertRaises(BadBytes, Frames().feed, header(kind, 0))
            if most <= 8:
                self.assertRaises(BadBytes, Frames().feed, header(kind, most - 1))

    def test_length_one_short_or_long_in_the_middle(self) -> None:
        """A length that lies by one makes the next header refused, or never gives the frame."""
        for lie in (-1, 1):
            body = b"\xee" * 10
            wire = header(FrameKind.DATA, 10 + lie) + body + numbered(FrameKind.END, 1)
            frames = Frames()
            with self.assertRaises(BadBytes):
                for at in range(len(wire)):
                    for found in frames.feed(wire[at : at + 1]):
                        self.assertEqual(found.kind, FrameKind.DATA)
                frames.feed(b"\xee" * 4)

    def test_unknown_kinds(self) -> None:
        """A type that is not in the table is refused, 0 and 255 as well."""
        for kind in {*range(256)} - set(FrameKind):
            self.assertRaises(BadBytes, read_header, kind << 24 | 4)

    def test_only_some(self) -> None:
        """Where only some kinds have their place, each other one is refused."""
        limit_of = only(FrameKind.PING, FrameKind.PONG)
        for one in ALL:
            frames = Frames(limit_of)
            if one.kind in (FrameKind.PING, FrameKind.PONG):
                self.assertEqual(frames.feed(frame(one.kind, one.body)), [one])
            else:
                self.assertIn(
                    f"{one.kind.name} is not allowed here",
                    str(self.assertRaises(BadBytes, frames.feed, frame(one.kind, one.body))),
                )

    def test_bodies_are_not_shown(self) -> None:
        """A frame's repr tells its kind and none of its bytes."""
        self.assertNotIn("secret", repr(Frame(FrameKind.DATA, b"secret")))

    @given(st.lists(st.sampled_from(ALL), max_size=12), st.lists(st.integers(1, 40), max_size=40))
    def test_any_frames_any_pieces(self, some: list[Frame], sizes: list[int]) -> None:
        """Any row of frames survives any way of cutting it up."""
        wire = b"".join(frame(one.kind, one.body) for one in some)
        frames, found, at = Frames(), list[Frame](), 0
        for size in [*sizes, len(wire)]:
            found += frames.feed(wire[at : at + size])
            at += size
        self.assertEqual(found, some)
        self.assertEqual(frames.held, 0)

    @given(st.binary(max_size=200))
    def test_any_bytes(self, foreign: bytes) -> None:
        """Foreign bytes give frames, nothing yet, or our error, and nothing else."""
        frames = Frames()
        try:
            found = frames.feed(foreign)
        except GateError:
            return
        whole = b"".join(frame(one.kind, one.body) for one in found)
        self.assertEqual(whole, foreign[: len(foreign) - frames.held])


class MakingTests(SynchronousTestCase):
    """Tests for `frame`, `numbered` and `header`."""

    def test_bytes(self) -> None:
        """What leaves is written down here, byte by byte."""
        self.assertEqual(frame(FrameKind.DATA, b"ab"), b"\x05\x00\x00\x02ab")
        self.assertEqual(numbered(FrameKind.RESET, 258), b"\x07\x00\x00\x04\x00\x00\x01\x02")
        self.assertEqual(header(FrameKind.DATA, 0x012345), b"\x05\x01\x23\x45")
        self.assertEqual(message(FrameKind.STATUS, {"n": 1}), b'\x04\x00\x00\x07{"n":1}')
        self.assertEqual(read_serial(b"\0\0\1\2"), 258)

    def test_nothing_leaves_that_would_be_refused(self) -> None:
        """A body that the other side would not take is an error here already."""
        self.assertRaises(BadBytes, frame, FrameKind.DATA, b"")
        self.assertRaises(BadBytes, frame, FrameKind.END, b"123")
        self.assertRaises(BadBytes, frame, FrameKind.REQUEST, bytes(REQUEST_LIMIT + 1))
        self.assertRaises(BadBytes, frame, FrameKind.DATA, bytes(1 << 24))


class MessageTests(SynchronousTestCase):
    """Tests for `message` and `read_message`."""

    def read(self, body: bytes) -> dict[str, Any]:
        """Read *body* as a CONTROL's."""
        return read_message(Frame(FrameKind.CONTROL, body))

    def test_round_trip(self) -> None:
        """An object comes back as it was, whatever its letters."""
        told = {"say": "inventory", "names": ["é", "\u2028", "日本"], "n": 3, "x": None, "b": True}
        [whole] = Frames().feed(message(FrameKind.CONTROL, told))
        self.assertEqual(read_message(whole), told)

    def test_refusals(self) -> None:
        """What is no JSON object, says a key twice, or is nested deeply, is refused."""
        deep = b'{"a":' * 16 + b"[]" + b"}" * 16
        for body in (
            *(b"", b"[]", b"1", b"null", b"{", b"{}x", b"\xff{}", b'{"a":NaN}', b'{"a":Infinity}'),
            *(b'{"a":1,"a":2}', b'{"x":[{"a":1,"a":1}]}', deep, b"[" * 60_000),
            b'{"n":' + b"9" * 5_000 + b"}",
        ):
            self.assertRaises(BadBytes, self.read, body)
        self.assertEqual(self.read(b'{"a":' * 15 + b"[]" + b"}" * 15)["a"]["a"].keys(), {"a"})

    def test_words(self) -> None:
        """The sentence names the frame, and shows none of its content."""
        error = self.assertRaises(BadBytes, self.read, b'{"password":"x","password":"y"}')
        self.assertEqual(str(error), "bad CONTROL: its keys cannot be read as JSON")

    @given(st.binary(max_size=100))
    def test_any_body(self, body: bytes) -> None:
        """A foreign body gives an object or our error."""
        try:
            told = self.read(body)
        except GateError:
            return
        self.assertEqual(told, json.loads(body))
