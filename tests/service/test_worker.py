"""A worker does what it is told, and drains when nobody tells it anything any more."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.service.doubles import FakeBound, FakeChannel, FakeCrew, FakeReactor, fake_bound
from tlsgate.errors import BadSettings, Place, Problem, ReloadRefused
from tlsgate.service import memory, worker
from tlsgate.service.crew import Orders
from tlsgate.service.spawn import Heritage
from tlsgate.service.worker import Worker


class FakeTimeouts:
    """How long a drain may take."""

    drain_seconds = 20.0


class FakeSettings:
    """As much of settings as a worker looks at."""

    timeouts = FakeTimeouts


class FakeSource:
    """Parses any text but one."""

    def parse(self, text: str) -> Any:
        """Give some settings."""
        if text == "bad":
            raise BadSettings([Problem(Place("f", 1, 1), "", "no")])
        return FakeSettings


class WorkerTests(SynchronousTestCase):
    """Tests for `Worker`."""

    def setUp(self) -> None:
        self.patch(worker, "connect", self.connect)
        self.patch(memory, "settle", lambda: None)
        self.patch(worker, "adopt", self.adopt)
        self.adopted: list[Any] = []
        self.reactor, self.crew = FakeReactor(), FakeCrew()
        self.codes: list[int] = []
        self.web = fake_bound()
        settings: Any = FakeSettings
        source: Any = FakeSource()
        heritage = Heritage(role="worker", channel=3, sockets={}, claim=None, fields={"worker": 1})
        self.worker = Worker(
            self.reactor,
            source=source,
            orders=Orders(text="one", settings=settings, sockets={"web": self.web}),
            crew=self.crew,
            heritage=heritage,
            leave=self.codes.append,
        )

    def connect(self, reactor: Any, end: int, hear: Any, lost: Any) -> FakeChannel:
        """A wire in our hands."""
        self.channel = FakeChannel(hear, lost)
        return self.channel

    def adopt(self, endpoint: str, descriptor: int, inode: Any) -> Any:
        """A socket that came over the wire."""
        self.adopted.append(FakeBound(descriptor))
        return self.adopted[-1]

    def start(self) -> None:
        """A worker that serves."""
        self.worker.startService()
        self.assertEqual(self.channel.told[0][0], "ready")
        self.assertEqual(self.crew.told, [("begin", "one")])
        self.crew.told.clear()

    def test_cannot_start(self) -> None:
        """It says why, and ends with 2."""
        self.crew.error = ReloadRefused(["no"])
        self.worker.startService()
        self.assertEqual(self.channel.told[0][0], "failed")
        self.assertEqual((self.codes, self.reactor.stops), ([2], 1))

    def test_answers(self) -> None:
        """What the supervisor asks is what its crew knows."""
        self.start()
        self.assertEqual(self.successResultOf(self.channel.say("connections")), [{"peer": "x"}])
        tally = self.successResultOf(self.channel.say("tally"))
        self.assertEqual(tally["accepted"], {"web": 3})
        asked = self.channel.say("explain", listener="web", sni=None, alpn=["h2"], cert_pem=None)
        self.assertEqual(self.successResultOf(asked), {"listener": "web", "alpn": ["h2"]})
        self.channel.say("reopen")
        self.channel.say("cut")
        self.assertEqual(self.crew.told, ["reopen", "cut"])

    def prepare(self, text: str, table: list[Any], *descriptors: int) -> Deferred[Any]:
        """The first phase of a reload."""
        fields = {"text": text, "sockets": table}
        return Deferred.fromCoroutine(self.channel.hear("prepare", fields, list(descriptors)))

    def test_new_orders(self) -> None:
        """Sockets come over the wire or are known by name; what is left out is closed."""
        self.start()
        table = [["web2", "tcp:1", None, "web"], ["ssh", "tcp:2", None, None]]
        self.successResultOf(self.prepare("two", table, 9))
        self.assertEqual([one.number for one in self.adopted], [9])
        self.channel.say("commit")
        self.successResultOf(self.prepare("three", [["ssh", "tcp:2", None, "ssh"]]))
        self.assertEqual(self.web.closed, [])
        self.channel.say("commit")
        self.assertEqual((self.web.closed, self.adopted[0].closed), ([True], []))
        self.assertEqual(
            self.crew.told, [("prepare", "two"), "commit", ("prepare", "three"), "commit"]
        )

    def test_orders_taken_back(self) -> None:
        """After an abort everything is as before, and new sockets are closed."""
        self.start()
        self.successResultOf(self.prepare("two", [["ssh", "tcp:2", None, None]], 9))
        self.channel.say("abort")
        self.channel.say("commit")
        self.assertEqual((self.web.closed, self.adopted[0].closed), ([], [True]))
        self.assertEqual(self.crew.told, [("prepare", "two"), "abort"])

    def test_bad_orders(self) -> None:
        """A text that cannot be read is refused with its problems; the socket is closed."""
        self.start()
        refused = self.prepare("bad", [["ssh", "tcp:2", None, None]], 9)
        self.failureResultOf(refused, BadSettings)
        self.assertEqual(self.adopted[0].closed, [True])

    def test_drain(self) -> None:
        """It stops, closes its sockets, waits, answers how many were cut, and ends."""
        self.start()
        self.channel.say("stop", finish=True)
        self.assertEqual(self.web.closed, [True])
        asked = self.channel.say("drain", seconds=5)
        self.assertEqual(self.crew.told, [("stop", True), ("drain", 5)])
        self.assertNoResult(asked)
        self.crew.drained.callback(2)
        self.assertEqual(self.successResultOf(asked), 2)
        self.assertEqual(self.codes, [1])
        self.assertEqual(self.reactor.stops, 0)
        self.reactor.advance(0)
        self.assertEqual(self.reactor.stops, 1)

    def test_the_supervisor_is_gone(self) -> None:
        """Then it serves what is open, closes the ports, and ends."""
        self.start()
        self.channel.lost()
        self.assertEqual((self.crew.told, self.web.closed), ([("stop", True)], [True]))
        self.assertEqual(self.reactor.stops, 1)
        stopped = self.worker.stopService()
        self.assertNoResult(stopped)
        self.assertEqual(self.crew.told[1:], [("drain", 20.0)])
        self.crew.drained.callback(0)
        self.successResultOf(stopped)
        self.assertEqual(self.codes, [])

    def test_told_to_go_alone(self) -> None:
        """SIGTERM to this one: the supervisor hears it first; a second one cuts."""
        self.start()
        self.worker.terminate()
        self.assertEqual(self.channel.told[1], "leaving")
        self.assertEqual(self.crew.told, [("stop", False)])
        self.worker.terminate()
        self.assertEqual(self.crew.told[1:], ["cut"])

    def test_two_who_wait(self) -> None:
        """A drain that is asked for twice is one drain, and both hear its end."""
        self.start()
        one = self.channel.say("drain", seconds=5)
        two = self.worker.stopService()
        self.crew.drained.callback(0)
        self.assertEqual(self.successResultOf(one), 0)
        self.successResultOf(two)
        self.assertEqual(self.crew.told.count(("drain", 5)), 1)
