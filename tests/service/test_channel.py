"""The wire between our processes: words, answers, errors, descriptors, and its end."""

from __future__ import annotations

import json
import os
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.errors import (
    BadSettings,
    DaemonSaid,
    GateError,
    Place,
    Problem,
    ProcessGone,
    ReloadRefused,
)
from tlsgate.service.channel import Channel, error_fields, error_of


class Wire(StringTransport):
    """A transport that keeps descriptors too."""

    def __init__(self) -> None:
        super().__init__()
        self.descriptors: list[int] = []

    def sendFileDescriptor(self, descriptor: int) -> None:
        """Keep it."""
        self.descriptors.append(descriptor)


class Side:
    """One end, what it heard, and what it answers."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, Any], list[int]]] = []
        self.answer: Any = None
        self.lost = 0
        self.wire = Wire()
        self.channel = Channel(self.hear, self.lose)
        self.channel.makeConnection(self.wire)

    async def hear(self, word: str, fields: dict[str, Any], descriptors: list[int]) -> Any:
        """Remember, and answer."""
        self.heard.append((word, fields, descriptors))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def lose(self) -> None:
        """The end."""
        self.lost += 1


class ChannelTests(SynchronousTestCase):
    """Tests for `Channel`."""

    def setUp(self) -> None:
        self.one, self.two = Side(), Side()

    def carry(self, size: int = 1 << 20) -> None:
        """Bring what is written to the other side, in pieces of *size*."""
        while self.one.wire.value() or self.two.wire.value():
            for here, there in ((self.one, self.two), (self.two, self.one)):
                data, numbers = here.wire.value(), here.wire.descriptors
                here.wire.clear()
                here.wire.descriptors = []
                for number in numbers:
                    there.channel.fileDescriptorReceived(number)
                for start in range(0, len(data), size):
                    there.channel.dataReceived(data[start : start + size])

    def test_tell(self) -> None:
        """A word arrives with its fields, however it is cut, and is not answered."""
        for size in (1, 7, 1 << 20):
            self.one.channel.tell("stop", finish=True)
            self.one.channel.tell("cut")
            self.carry(size)
        self.assertEqual(self.two.heard, [("stop", {"finish": True}, []), ("cut", {}, [])] * 3)
        self.assertEqual(self.one.heard, [])

    def test_ask(self) -> None:
        """Answers come back to who asked, in any order."""
        self.two.answer = {"n": 1}
        first = self.one.channel.ask("tally")
        second = self.one.channel.ask("tally")
        self.carry()
        self.assertEqual(self.successResultOf(first), {"n": 1})
        self.assertEqual(self.successResultOf(second), {"n": 1})

    def test_both_ways(self) -> None:
        """Either side may ask; the numbers do not mix."""
        self.one.answer, self.two.answer = "one", "two"
        there, here = self.one.channel.ask("a"), self.two.channel.ask("b")
        self.carry()
        self.assertEqual((self.successResultOf(there), self.successResultOf(here)), ("two", "one"))

    def test_descriptors(self) -> None:
        """Each word gets the descriptors that were sent with it."""
        numbers = [os.dup(0) for _ in range(3)]
        for number in numbers:
            self.addCleanup(os.close, number)
        self.one.channel.tell("a", numbers[:2])
        self.one.channel.tell("b")
        self.one.channel.tell("c", numbers[2:])
        self.carry()
        self.assertEqual([found for _, _, found in self.two.heard], [numbers[:2], [], numbers[2:]])

    def test_problems_come_back(self) -> None:
        """`BadSettings` arrives with every place."""
        problems = [Problem(Place("f", 1, 2), "a.b", "no"), Problem(Place("f", 3, 4), "", "no")]
        self.two.answer = BadSettings(problems)
        asked = self.one.channel.ask("prepare")
        self.carry()
        error = self.failureResultOf(asked, BadSettings).value
        self.assertEqual(tuple(error.problems), tuple(problems))

    def test_other_errors_say_the_same(self) -> None:
        """Any other error of ours keeps its word, fault and sentence."""
        self.two.answer = ReloadRefused(["no"])
        asked = self.one.channel.ask("prepare")
        self.carry()
        error = self.failureResultOf(asked, DaemonSaid).value
        self.assertEqual((error.word, str(error)), ("reload_refused", str(self.two.answer)))
        self.assertEqual(error_of(error_fields(error)).__class__, DaemonSaid)

    def test_a_bug_is_an_answer_too(self) -> None:
        """An unexpected exception is logged there, and who asked does not wait for ever."""
        self.two.answer = RuntimeError("bug")
        asked = self.one.channel.ask("prepare")
        self.one.channel.tell("prepare")
        self.carry()
        self.failureResultOf(asked, GateError)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    def test_the_end(self) -> None:
        """When the other process is gone, whoever waits hears of it, and later ones at once."""
        asked = self.one.channel.ask("tally")
        self.one.channel.connectionLost(Failure(ConnectionDone()))
        self.failureResultOf(asked, ProcessGone)
        self.failureResultOf(self.one.channel.ask("tally"), ProcessGone)
        self.one.channel.tell("nobody hears")
        self.assertEqual(self.one.lost, 1)
        self.assertEqual(self.one.wire.value().count(b"\n"), 1)

    def test_a_late_answer(self) -> None:
        """An answer to nobody's question is dropped."""
        self.one.channel.dataReceived(json.dumps({"answer": 7, "value": 1}).encode() + b"\n")
        self.assertEqual(self.one.heard, [])
