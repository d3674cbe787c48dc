"""Handing over: what each side says, and that any failure leaves the old one serving."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.service.doubles import FakeChannel, FakeReactor, fake_bound
from tlsgate.errors import ReloadRefused, UpgradeFailed
from tlsgate.service import upgrade
from tlsgate.service.channel import error_fields
from tlsgate.service.upgrade import Predecessor, succeed


class FakeChild:
    """A process that is none."""

    def __init__(self) -> None:
        self.signals: list[str] = []

    def kill(self, name: str) -> None:
        """Keep it."""
        self.signals.append(name)


class SucceedTests(SynchronousTestCase):
    """Tests for `succeed`, the old process's side."""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.child = FakeChild()
        self.how: dict[str, Any] = {}
        self.wanted = True
        self.patch(upgrade, "spawn", self.spawn)
        self.patch(upgrade, "connect", self.connect)
        self.bound = fake_bound()
        command: Any = None
        self.done = Deferred.fromCoroutine(
            succeed(
                self.reactor, command, {"web": self.bound}, 5, False, {}, lambda: self.wanted, 10
            )
        )

    def spawn(self, reactor: Any, command: Any, **how: Any) -> tuple[FakeChild, int]:
        """Start nothing."""
        self.how = how
        return self.child, 3

    def connect(self, reactor: Any, end: int, hear: Any, lost: Any) -> FakeChannel:
        """A wire in our hands."""
        self.channel = FakeChannel(hear, lost)
        return self.channel

    def test_a_good_one(self) -> None:
        """It gets sockets and claim, says ready, goes on, has the names: done."""
        self.assertEqual((self.how["sockets"], self.how["claim"]), ({"web": self.bound}, 5))
        self.channel.say("ready", pid=7, version="2")
        self.assertEqual(self.channel.told, ["go on"])
        self.assertNoResult(self.done)
        self.channel.say("named")
        self.assertEqual(self.successResultOf(self.done), {"pid": 7, "version": "2"})
        self.assertEqual(self.child.signals, [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def fails(self, text: str) -> None:
        """It has failed with *text*, is killed, and nobody waits for it."""
        self.assertIn(text, str(self.failureResultOf(self.done, UpgradeFailed).value))
        self.assertEqual(self.child.signals, ["KILL"])
        self.assertFalse(self.channel.open)

    def test_its_own_words(self) -> None:
        """What it says of itself is the reason, whatever happens to it then."""
        self.channel.say("failed", error=error_fields(ReloadRefused(["bad key"])))
        self.how["ended"](2)
        self.fails("bad key")

    def test_it_ends(self) -> None:
        """Its end is a reason too, also after it had said ready."""
        self.channel.say("ready", pid=7, version="2")
        self.how["ended"](3)
        self.fails("code 3")

    def test_it_hangs_up(self) -> None:
        """A wire that ends is believed after a moment for last words."""
        self.channel.lost()
        self.assertNoResult(self.done)
        self.reactor.advance(1)
        self.fails("hung up")

    def test_stopped_meanwhile(self) -> None:
        """A daemon that was told to stop has no successor."""
        self.wanted = False
        self.channel.say("ready", pid=7, version="2")
        self.fails("stopping")

    def test_it_is_silent(self) -> None:
        """Nobody waits for ever."""
        self.reactor.advance(10)
        self.fails("10 s")


class CannotStartTests(SynchronousTestCase):
    """No process at all."""

    def test_no_process(self) -> None:
        """A process that cannot be started is a failed upgrade."""

        def spawn(*_: Any, **__: Any) -> Any:
            raise OSError("no memory")

        self.patch(upgrade, "spawn", spawn)
        command: Any = None
        done = Deferred.fromCoroutine(succeed(FakeReactor(), command, {}, 5, False, {}))
        self.assertIn("no memory", str(self.failureResultOf(done, UpgradeFailed).value))


class PredecessorTests(SynchronousTestCase):
    """Tests for `Predecessor`, the new process's side."""

    def setUp(self) -> None:
        self.patch(upgrade, "connect", self.connect)
        self.old = Predecessor(FakeReactor(), 3)

    def connect(self, reactor: Any, end: int, hear: Any, lost: Any) -> FakeChannel:
        """A wire in our hands."""
        self.channel = FakeChannel(hear, lost)
        return self.channel

    def test_goes_on_when_told(self) -> None:
        """It says ready, and takes the names when the old one says so."""
        released = Deferred.fromCoroutine(self.old.released())
        self.assertEqual(self.channel.told[0][0], "ready")
        self.assertEqual(self.channel.told[0][1]["pid"], os.getpid())
        self.channel.say("something else")
        self.assertNoResult(released)
        self.channel.say("go on")
        self.successResultOf(released)
        self.channel.lost()
        self.old.named()
        self.assertEqual(self.channel.told[1], "named")

    def test_goes_on_alone(self) -> None:
        """If the old one is gone there is nobody to wait for."""
        released = Deferred.fromCoroutine(self.old.released())
        self.channel.lost()
        self.successResultOf(released)
