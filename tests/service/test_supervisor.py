"""Workers that come up, fail, end, and take orders together or not at all.

One file: every case is a history of the same few doubles.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tlsgate.errors import DaemonSaid, Fault, ProcessGone, ReloadRefused, WorkerFailed
from tlsgate.net.tally import Tally
from tlsgate.service import counts, hands, supervisor
from tlsgate.service.crew import ICrew, Orders
from tlsgate.service.logs import Log
from tlsgate.service.supervisor import Supervisor


class FakeChild:
    """A worker process, and the channel to it."""

    def __init__(self, pid: int, fields: Mapping[str, Any], ended: Any) -> None:
        self.pid = pid
        self.fields = fields
        self.alive = True
        self.signals: list[str] = []
        self.told: list[str] = []
        self.asked: list[tuple[str, dict[str, Any], Deferred[Any]]] = []
        self.descriptors: list[int] = []
        self.hear: Any = None
        self._ended = ended

    def kill(self, name: str) -> None:
        """A signal; death by it comes later."""
        self.signals.append(name)

    def tell(self, word: str, descriptors: Any = (), **fields: Any) -> None:
        """A word from the supervisor."""
        self.told.append(word)

    def ask(self, word: str, descriptors: Any = (), **fields: Any) -> Deferred[Any]:
        """A question from the supervisor."""
        answer: Deferred[Any] = Deferred()
        self.descriptors += descriptors
        self.asked.append((word, fields, answer))
        return answer

    # -- what a test has it do -----------------------------------------------------

    def say(self, word: str, **fields: Any) -> None:
        """A word to the supervisor."""
        Deferred.fromCoroutine(self.hear(word, fields, []))

    def answer(self, value: Any) -> None:
        """Answer the oldest question."""
        self.asked.pop(0)[2].callback(value)

    def fail(self, error: Exception) -> None:
        """Answer the oldest question with an error."""
        self.asked.pop(0)[2].errback(Failure(error))

    def serve(self) -> dict[str, Any]:
        """Take the orders and serve; gives the orders."""
        word, orders, _ = self.asked[0]
        assert word == "serve"
        self.answer(None)
        return orders

    def end(self, code: int) -> None:
        """The process ends."""
        self.alive = False
        for _, _, answer in self.asked:
            answer.errback(Failure(ProcessGone()))
        self.asked.clear()
        self._ended(code)


class FakeBound:
    """A listening socket of which only the identity and a number matter."""

    endpoint = "tcp:0"
    inode = None

    def __init__(self, number: int) -> None:
        self.number = number

    @property
    def socket(self) -> Any:
        """Itself."""
        return self

    def fileno(self) -> int:
        """Its number."""
        return self.number


def orders(text: str, **sockets: Any) -> Orders:
    """Orders of which only text and sockets matter."""
    settings: Any = SimpleNamespace(closing=())
    return Orders(text=text, settings=settings, sockets=sockets)


class SupervisorCase(SynchronousTestCase):
    """A supervisor of two workers; processes 0 and 1 are the first ones, 2 is the spare."""

    def setUp(self) -> None:
        self.children: list[FakeChild] = []
        self.patch(hands, "spawn", self.spawn)
        self.patch(hands, "connect", self.connect)
        self.clock = Clock()
        command: Any = None
        sink: Any = FakeSink()
        self.crew = Supervisor(self.clock, command, 2, Log(sink, "json", "warn"), Path("/data"))
        self.web: Any = FakeBound(7)
        self.orders = orders("one", web=self.web)

    def spawn(self, reactor: Any, command: Any, **how: Any) -> tuple[FakeChild, int]:
        """Start nothing."""
        number = len(self.children)
        child = FakeChild(100 + number, how["fields"], how["ended"])
        self.children.append(child)
        return child, number

    def connect(self, reactor: Any, end: int, hear: Any, lost: Any) -> FakeChild:
        """The channel of the child with that end."""
        self.children[end].hear = hear
        return self.children[end]

    def begin(self, spare: bool = True) -> tuple[FakeChild, FakeChild]:
        """Two workers that serve, and a spare process that has loaded everything, or not yet."""
        begun = Deferred.fromCoroutine(self.crew.begin(self.orders))
        one, two = self.children
        one.say("here")
        two.say("here")
        one.serve()
        two.serve()
        self.successResultOf(begun)
        self.assertEqual(len(self.children), 3)
        if spare:
            self.children[2].say("here")
        one.descriptors.clear()
        two.descriptors.clear()
        return one, two

    def pids(self) -> list[int]:
        """Workers that serve."""
        return sorted(one["pid"] for one in self.crew.members() if one["ready"])


class FakeSink:
    """A sink by name."""

    output = "/var/log/tlsgate.log"


class StartTests(SupervisorCase):
    """Starting and replacing."""

    def test_one_first(self) -> None:
        """All load at once, the first worker proves the orders, then the others get them."""
        verifyObject(ICrew, self.crew)
        begun = Deferred.fromCoroutine(self.crew.begin(self.orders))
        one, two = self.children
        self.assertEqual(
            one.fields,
            {
                "log": "/var/log/tlsgate.log",
                "background": False,
                "format": "json",
                "severity": "warn",
                "data_dir": "/data",
            },
        )
        one.say("here")
        two.say("here")
        self.assertEqual(two.asked, [])
        orders = {
            "text": "one",
            "worker": 0,
            "sockets": [["web", "tcp:0", None]],
            "closing": [],
        }
        self.assertEqual((one.serve(), one.descriptors), (orders, [7]))
        self.assertNoResult(begun)
        self.assertEqual((two.serve(), two.descriptors), ({**orders, "worker": 1}, [7]))
        self.successResultOf(begun)
        self.assertEqual(self.pids(), [100, 101])

    def test_the_first_fails(self) -> None:
        """Its own words are why the daemon does not start, and nothing is retried."""
        begun = Deferred.fromCoroutine(self.crew.begin(self.orders))
        self.children[0].say("here")
        self.children[0].fail(DaemonSaid("bad_key", Fault.OPERATOR, "bad key"))
        self.assertIn("bad key", str(self.failureResultOf(begun, DaemonSaid).value))
        self.children[0].end(2)
        self.clock.advance(60)
        self.assertEqual(len(self.children), 2)

    def test_the_first_dies(self) -> None:
        """Without words, how it ended is told, before it was loaded or after."""
        for here in (False, True):
            self.setUp()
            begun = Deferred.fromCoroutine(self.crew.begin(self.orders))
            if here:
                self.children[0].say("here")
            self.children[0].end(-11)
            self.assertIn("signal 11", str(self.failureResultOf(begun, WorkerFailed).value))

    def test_silent_for_too_long(self) -> None:
        """A worker that never serves is killed."""
        Deferred.fromCoroutine(self.crew.begin(self.orders)).addErrback(lambda _: None)
        self.clock.advance(supervisor.READY_SECONDS)
        self.assertEqual(self.children[0].signals, ["KILL"])

    def test_replaced_at_once(self) -> None:
        """The spare process takes the place in the same turn, and there is another spare."""
        first, _ = self.begin()
        first.end(-9)
        self.assertEqual(self.children[2].serve()["worker"], 0)
        self.assertEqual(self.pids(), [101, 102])
        self.assertEqual(len(self.children), 3)
        self.clock.advance(1)
        self.assertEqual(len(self.children), 4)

    def test_two_at_once(self) -> None:
        """Beyond the spare one, places are filled as fast as processes start."""
        first, second = self.begin(spare=False)
        first.end(-9)
        second.end(-9)
        for child in self.children[2:]:
            child.say("here")
            child.serve()
        self.assertEqual(self.pids(), [102, 103])

    def test_a_spare_that_dies(self) -> None:
        """Another one starts, in its time."""
        self.begin()
        self.children[2].end(-9)
        self.clock.advance(9)
        self.assertEqual(len(self.children), 3)
        self.clock.advance(1)
        self.assertEqual(len(self.children), 4)

    def test_growing_waits(self) -> None:
        """A worker that cannot even start is tried ever more slowly, and for ever."""
        first, _ = self.begin()
        first.end(-9)
        waits = []
        for _ in range(12):
            self.children[-1].end(1)
            (call,) = self.clock.getDelayedCalls()
            waits.append(round(call.getTime() - self.clock.seconds(), 1))
            self.clock.advance(waits[-1])
        self.assertEqual(waits[:4], [0.2, 0.4, 0.8, 1.6])
        self.assertEqual(waits[-1], 10.0)
        self.children[-1].say("here")
        self.children[-1].serve()
        self.assertEqual(len(self.pids()), 2)

    def test_leaving(self) -> None:
        """One that was told to end keeps its connections, and its place is filled at once."""
        first, _ = self.begin()
        first.say("leaving")
        self.children[2].serve()
        self.assertEqual(self.pids(), [101, 102])
        self.assertEqual([one["pid"] for one in self.crew.members() if one["draining"]], [100])
        first.end(0)
        self.assertEqual(len(self.crew.members()), 2)


class ReloadTests(SupervisorCase):
    """Two phases."""

    def prepare(self, new: Orders) -> Deferred[Any]:
        """Begin the first phase."""
        return Deferred.fromCoroutine(self.crew.prepare(new))

    def test_all_then_swap(self) -> None:
        """Nobody swaps before all are ready; new sockets go along, old ones by name."""
        one, two = self.begin()
        ssh: Any = FakeBound(8)
        prepared = self.prepare(orders("two", web2=self.web, ssh=ssh))
        table = [["web2", "tcp:0", None, "web"], ["ssh", "tcp:0", None, None]]
        for child in (one, two):
            word, fields, _ = child.asked[0]
            self.assertEqual(
                (word, fields), ("prepare", {"text": "two", "sockets": table, "closing": []})
            )
            self.assertEqual(child.descriptors, [8])
        one.answer(["remark"])
        self.assertNoResult(prepared)
        two.answer(["remark"])
        self.assertEqual(self.successResultOf(prepared), ["remark"])
        self.assertEqual(one.told + two.told, [])
        committed = Deferred.fromCoroutine(self.crew.commit())
        self.assertEqual([child.asked[0][0] for child in (one, two)], ["commit", "commit"])
        one.answer(None)
        self.assertNoResult(committed)
        two.answer(None)
        self.successResultOf(committed)
        one.end(-9)
        self.assertEqual(self.children[2].serve()["text"], "two")

    def test_one_refuses(self) -> None:
        """Then all forget it, and its reason is the answer."""
        one, two = self.begin()
        prepared = self.prepare(orders("two", web=self.web))
        one.answer([])
        two.fail(DaemonSaid("bad_settings", Fault.OPERATOR, "no such key"))
        self.assertIn("no such key", str(self.failureResultOf(prepared).value))
        self.assertEqual(one.told + two.told, ["abort", "abort"])
        one.end(-9)
        self.assertEqual(self.children[2].serve()["text"], "one")

    def test_one_is_silent(self) -> None:
        """A worker that says nothing holds nobody up for ever."""
        one, _ = self.begin()
        prepared = self.prepare(orders("two", web=self.web))
        one.answer([])
        self.clock.advance(supervisor.READY_SECONDS)
        self.failureResultOf(prepared, ReloadRefused)
        self.assertEqual(one.told, ["abort"])

    def test_one_dies(self) -> None:
        """A death in the middle refuses the reload; the successor has the old orders."""
        one, two = self.begin()
        prepared = self.prepare(orders("two", web=self.web))
        two.answer([])
        one.end(-9)
        self.failureResultOf(prepared, ProcessGone)
        self.assertEqual(two.told, ["abort"])
        self.assertEqual(self.children[2].serve()["text"], "one")

    def test_while_one_is_replaced(self) -> None:
        """A reload waits for the replacement, for a while."""
        one, two = self.begin()
        one.end(-9)
        prepared = self.prepare(orders("two", web=self.web))
        self.clock.advance(1)
        self.assertEqual(two.asked, [])
        self.children[2].serve()
        self.clock.advance(1)
        for child in (two, self.children[2]):
            child.answer([])
        self.successResultOf(prepared)

    def test_while_none_can_be_replaced(self) -> None:
        """With a worker missing for long there is no "all": try again."""
        one, _ = self.begin()
        one.end(-9)
        prepared = self.prepare(orders("two", web=self.web))
        for _ in range(101):
            self.clock.advance(0.1)
        self.failureResultOf(prepared, ReloadRefused)

    def test_who_starts_meanwhile(self) -> None:
        """A worker that has begun with orders that are old by the swap is started anew."""
        one, two = self.begin()
        prepared = self.prepare(orders("two", web=self.web))
        for child in (one, two):
            child.answer([])
        self.successResultOf(prepared)
        two.end(-9)
        committed = Deferred.fromCoroutine(self.crew.commit())
        one.answer(None)
        self.successResultOf(committed)
        self.assertEqual(self.children[2].signals, ["KILL"])
        self.children[2].end(-9)
        self.clock.advance(1)
        self.children[3].say("here")
        self.assertEqual(self.children[3].serve()["text"], "two")

    def test_one_that_does_not_swap(self) -> None:
        """A worker that is deaf is killed; its successor has the new orders."""
        one, two = self.begin()
        prepared = self.prepare(orders("two", web=self.web))
        for child in (one, two):
            child.answer([])
        self.successResultOf(prepared)
        committed = Deferred.fromCoroutine(self.crew.commit())
        one.answer(None)
        self.clock.advance(5)
        self.successResultOf(committed)
        self.assertEqual((one.signals, two.signals), ([], ["KILL"]))
        two.end(-9)
        self.assertEqual(self.children[2].serve()["text"], "two")

    def test_who_has_not_begun(self) -> None:
        """A process without orders yet gets those in force when it can take them."""
        one, two = self.begin(spare=False)
        prepared = self.prepare(orders("two", web=self.web))
        for child in (one, two):
            child.answer([])
        self.successResultOf(prepared)
        two.end(-9)
        committed = Deferred.fromCoroutine(self.crew.commit())
        one.answer(None)
        self.successResultOf(committed)
        self.children[2].say("here")
        self.assertEqual(self.children[2].serve()["text"], "two")
        self.assertEqual(self.children[2].signals, [])


class AskTests(SupervisorCase):
    """Lists and counts over all."""

    def test_connections(self) -> None:
        """Each has its worker; one that does not answer is left out."""
        one, _ = self.begin()
        asked = Deferred.fromCoroutine(self.crew.connections())
        one.answer([{"peer": "x"}])
        self.clock.advance(10)
        self.assertEqual(self.successResultOf(asked), [{"worker": 0, "peer": "x"}])

    def test_counts_of_the_dead_stay(self) -> None:
        """What a worker had counted is not lost with it."""
        tally = Tally()
        tally.accepted["web"] = 3
        one, two = self.begin()
        asked = Deferred.fromCoroutine(self.crew.tally())
        for child in (one, two):
            child.answer(counts.fields(tally))
        self.assertEqual(self.successResultOf(asked)["accepted"], {"web": 6})
        one.end(-9)
        asked = Deferred.fromCoroutine(self.crew.tally())
        two.answer(counts.fields(tally))
        self.assertEqual(self.successResultOf(asked)["accepted"], {"web": 6})

    def test_the_cluster(self) -> None:
        """The worker that knows least speaks for the daemon; one that tells of ports keeps them."""
        one, two = self.begin()
        said = {"name": "c", "away": False, "age_seconds": 1.0, "limit_seconds": 9, "strict": True}
        said["mode_age_seconds"] = 5.0
        for first, second, wanted in (
            (None, None, None),
            (said, None, said),
            (said, {**said, "age_seconds": 7.0}, {**said, "age_seconds": 7.0}),
            (
                said,
                {
                    **said,
                    "age_seconds": None,
                    "away": True,
                    "strict": False,
                    "mode_age_seconds": None,
                },
                {**said, "age_seconds": None, "away": True},
            ),
            (
                said,
                {**said, "mode_age_seconds": 3.0},
                {**said, "mode_age_seconds": 3.0},
            ),
            (
                {**said, "mode": "multiplex"},
                {**said, "mode": "separate"},
                {**said, "mode": "separate"},
            ),
        ):
            asked = Deferred.fromCoroutine(self.crew.cluster())
            one.answer(first)
            two.answer(second)
            self.assertEqual(self.successResultOf(asked), wanted)

    def test_explain(self) -> None:
        """Any worker knows."""
        one, _ = self.begin()
        asked = Deferred.fromCoroutine(self.crew.explain("web", None, ["h2"], None))
        one.answer({"outcome": "allowed"})
        self.assertEqual(self.successResultOf(asked), {"outcome": "allowed"})


class EndTests(SupervisorCase):
    """Draining."""

    def test_drains_all(self) -> None:
        """It is over when every process has ended; what was cut is added up."""
        one, two = self.begin()
        stopped = Deferred.fromCoroutine(self.crew.stop_accepting(True))
        self.assertEqual(one.asked[0][:2], ("stop", {"finish": True}))
        one.answer(None)
        two.answer(None)
        self.successResultOf(stopped)
        drained = self.crew.drain(20)
        one.answer(1)
        two.answer(2)
        one.end(1)
        self.assertNoResult(drained)
        two.end(1)
        self.assertEqual(self.successResultOf(drained), 3)
        self.assertEqual(self.children[2].signals, ["KILL"])
        self.children[2].end(-9)
        self.clock.advance(60)
        self.assertEqual(len(self.children), 3)

    def test_one_that_does_not_end(self) -> None:
        """After the limit and some grace it is killed, and counts as cut."""
        one, two = self.begin()
        drained = self.crew.drain(20)
        one.answer(0)
        one.end(0)
        self.clock.advance(25)
        self.assertEqual(two.signals, ["KILL"])
        two.end(-9)
        self.assertEqual(self.successResultOf(drained), 1)

    def test_cut(self) -> None:
        """A second signal reaches all, and kills whoever is deaf."""
        one, two = self.begin()
        drained = self.crew.drain(20)
        self.crew.cut()
        self.assertEqual(one.told + two.told, ["cut", "cut"])
        one.answer(1)
        one.end(1)
        self.clock.advance(1)
        self.assertEqual((one.signals, two.signals), ([], ["KILL"]))
        two.end(-9)
        self.assertEqual(self.successResultOf(drained), 2)

    def test_one_that_starts(self) -> None:
        """A worker that is not up yet is not waited for."""
        one, _ = self.begin()
        one.end(-9)
        drained = self.crew.drain(20)
        self.assertEqual(self.children[2].signals, ["KILL"])
        self.children[1].answer(0)
        self.children[1].end(0)
        self.children[2].end(-9)
        self.assertEqual(self.successResultOf(drained), 0)
