"""Tests for `tlsgate.protocols.web.calm`; `test_abuse` has whole floods."""

from __future__ import annotations

from h2 import events
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.protocols.budget import FRAMES, SECONDS
from tlsgate.protocols.web.calm import Calm


def _made(kind: type, **fields: object) -> events.Event:
    event: events.Event = object.__new__(kind)
    for name, value in fields.items():
        setattr(event, name, value)
    return event


class CalmTests(SynchronousTestCase):
    """Tests for `Calm`."""

    def test_of_use(self) -> None:
        """Requests, bodies and windows are what clients are for; they cost nothing."""
        calm = Calm(Clock(), {1})
        for event in (
            _made(events.RequestReceived),
            _made(events.StreamEnded),
            _made(events.DataReceived, data=b"x"),
            _made(events.WindowUpdated, delta=65_535),
        ):
            self.assertTrue(calm.bears([event] * (FRAMES + 1), 0))

    def test_useless(self) -> None:
        """The rest has a budget, and so have the replies that it asks for."""
        for event in (
            _made(events.PingReceived),
            _made(events.StreamReset),
            _made(events.DataReceived, data=b""),
            _made(events.WindowUpdated, delta=1),
        ):
            clock = Clock()
            calm = Calm(clock, {1})
            self.assertTrue(calm.bears([event] * FRAMES, 0))
            self.assertFalse(calm.bears([event], 0))
            clock.advance(SECONDS + 1)
            self.assertTrue(calm.bears([event], 0))
        calm = Calm(Clock(), {1})
        self.assertTrue(calm.bears([], 13 * FRAMES))
        self.assertFalse(calm.bears([], 13))

    def test_over(self) -> None:
        """A stream is over once it is not among those without an answer."""
        streams = {1: object()}
        calm = Calm(Clock(), streams)
        event = _made(events.StreamReset, stream_id=1)
        self.assertFalse(calm.is_over(event))
        streams.clear()
        self.assertTrue(calm.is_over(event))
