"""A worker does what it is told, and drains when nobody tells it anything any more."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.service.doubles import FakeBound, FakeChannel, FakeCrew, FakeReactor
from tlsgate.errors import BadSettings, Place, Problem, ReloadRefused
from tlsgate.service import memory, worker
from tlsgate.service.logs import Log
from tlsgate.service.spawn import Heritage
from tlsgate.service.worker import Worker


class FakeSink:
    """A sink by name."""

    output = "stderr"


class FakeTimeouts:
    """How long a drain may take."""

    drain_seconds = 20.0


class FakeLook:
    """How lines look."""

    output = "stderr"
    format = "json"
    severity = "error"


@frozen
class FakeSettings:
    """As much of settings as a worker looks at."""

    timeouts: Any = FakeTimeouts
    log: Any = FakeLook
    closing: tuple[Any, ...] = ()


class FakeSource:
    """Parses any text but one."""

    def parse(self, text: str) -> Any:
        """Give some settings."""
        if text == "bad":
            raise BadSettings([Problem(Place("f", 1, 1), "", "no")])
        return FakeSettings()


class WorkerTests(SynchronousTestCase):
    """Tests for `Worker`."""

    def setUp(self) -> None:
        self.patch(worker, "connect", self.connect)
        self.patch(memory, "settle", lambda: None)
        self.patch(worker, "adopt", self.adopt)
        self.adopted: list[Any] = []
        self.reactor, self.crew = FakeReactor(), FakeCrew()
        self.codes: list[int] = []
        self.hired: list[int] = []
        self.reopened = 0
        source: Any = FakeSource()
        sink: Any = FakeSink()
        self.log = Log(sink, "text", "info")
        heritage = Heritage(role="worker", channel=3, sockets={}, claim=None, fields={})
        self.worker = Worker(
            self.reactor,
            source=source,
            hire=self.hire,
            log=self.log,
            reopen=self.reopen,
            heritage=heritage,
            leave=self.codes.append,
        )

    def hire(self, settings: Any, index: int) -> FakeCrew:
        """A crew for that worker."""
        self.hired.append(index)
        return self.crew

    def reopen(self) -> None:
        """Logs are opened anew."""
        self.reopened += 1

    def connect(self, reactor: Any, end: int, hear: Any, lost: Any) -> FakeChannel:
        """A wire in our hands."""
        self.channel = FakeChannel(hear, lost)
        return self.channel

    def adopt(self, endpoint: str, descriptor: int, inode: Any) -> Any:
        """A socket that came over the wire."""
        self.adopted.append(FakeBound(descriptor))
        return self.adopted[-1]

    def orders(self, text: str, *descriptors: int) -> Deferred[Any]:
        """The first orders."""
        fields = {"text": text, "worker": 1, "sockets": [["web", "tcp:0", None]]}
        return Deferred.fromCoroutine(self.channel.hear("serve", fields, list(descriptors)))

    def start(self) -> None:
        """A worker that serves."""
        self.worker.startService()
        self.assertEqual(self.channel.told[0][0], "here")
        self.successResultOf(self.orders("one", 7))
        self.assertEqual((self.crew.told, self.hired), ([("begin", "one")], [1]))
        self.crew.told.clear()
        self.web = self.adopted.pop()

    def test_cannot_serve(self) -> None:
        """The answer says why, and the process ends with 2, after it."""
        for text, error in (("bad", BadSettings), ("one", ReloadRefused)):
            self.setUp()
            self.worker.startService()
            self.crew.error = ReloadRefused(["no"])
            self.failureResultOf(self.orders(text, 7), error)
            self.assertEqual((self.codes, self.reactor.stops), ([2], 0))
            self.reactor.advance(0)
            self.assertEqual(self.reactor.stops, 1)

    def test_spare(self) -> None:
        """Without orders it knows nothing, and goes with its supervisor or when told."""
        self.worker.startService()
        self.assertIsNone(self.successResultOf(self.channel.say("tally")))
        self.channel.say("reopen")
        self.assertEqual(self.reopened, 1)
        self.channel.lost()
        self.assertEqual(self.reactor.stops, 1)
        self.successResultOf(self.worker.stopService())

    def test_the_log_follows(self) -> None:
        """Lines look as the orders say."""
        self.start()
        self.assertEqual((self.log.json, self.log.least), (True, 3))

    def test_answers(self) -> None:
        """What the supervisor asks is what its crew knows."""
        self.start()
        self.assertEqual(self.successResultOf(self.channel.say("connections")), [{"peer": "x"}])
        tally = self.successResultOf(self.channel.say("tally"))
        self.assertEqual(tally["accepted"], {"web": 3})
        self.crew.in_cluster = {"name": "c"}
        self.assertEqual(self.successResultOf(self.channel.say("cluster")), {"name": "c"})
        asked = self.channel.say("explain", listener="web", sni=None, alpn=["h2"], cert_pem=None)
        self.assertEqual(self.successResultOf(asked), {"listener": "web", "alpn": ["h2"]})
        self.crew.foreseen = {"next_mode": "multiplex"}
        asked = self.channel.say("foresee", text="two")
        self.assertEqual(self.successResultOf(asked), self.crew.foreseen)
        self.failureResultOf(self.channel.say("foresee", text="bad"), BadSettings)
        self.channel.say("cut")
        self.assertEqual(self.crew.told, ["cut"])

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
