"""A REQUEST and a STATUS are taken apart strictly."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.frames import Frame, FrameKind
from tlsgate.core.streams import SERIALS, read_turn, swift
from tlsgate.errors import BadBytes


class ReadTurnTests(SynchronousTestCase):
    """Tests for `read_turn`."""

    def read(self, body: bytes) -> tuple[int, object]:
        """Read *body* as a REQUEST's."""
        return read_turn(Frame(FrameKind.REQUEST, body), "asked")

    def test_both_keys(self) -> None:
        """The number and what is asked are there."""
        self.assertEqual(self.read(b'{"n":7,"asked":{"a":1}}'), (7, {"a": 1}))
        self.assertEqual(SERIALS.to_bytes(4, "big"), b"\xff" * 4)

    def test_refusals(self) -> None:
        """A key too many or too few, and a number that is none, are refused."""
        for body in (
            *(b"{}", b'{"n":7}', b'{"asked":{}}', b'{"n":7,"asked":{},"x":1}'),
            *(b'{"n":true,"asked":{}}', b'{"n":7.0,"asked":{}}', b'{"n":"7","asked":{}}'),
            b'{"n":7,"answered":{}}',
        ):
            self.assertRaises(BadBytes, self.read, body)


class SwiftTests(SynchronousTestCase):
    """Tests for `swift`."""

    def test_looks_once(self) -> None:
        """Each state and input are looked up once; what is no machine is left alone."""
        looked = []

        class Automaton:
            def outputForInput(self, state: str, name: str) -> str:
                looked.append((state, name))
                return state + name

        class Machine:
            __automat_automaton__ = Automaton()

        machine = swift(Machine)
        for _ in range(3):
            self.assertEqual(machine.__automat_automaton__.outputForInput("a", "b"), "ab")
        self.assertEqual(looked, [("a", "b")])
        self.assertIs(swift(self), self)
