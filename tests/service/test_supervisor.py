"""Workers that come up, fail, end, and take orders together or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tlsgate.errors import DaemonSaid, Fault, ProcessGone, ReloadRefused, WorkerFailed
from tlsgate.net.tally import Tally
from tlsgate.service import counts, supervisor
from tlsgate.service.channel import error_fields
from tlsgate.service.crew import ICrew, Orders
from tlsgate.service.supervisor import Supervisor


class FakeChild:
    """A worker process, and the channel to it."""

    def __init__(self, pid: int, fields: Mapping[str, Any], sockets: Any, ended: Any) -> None:
        self.pid = pid
        self.fields = fields
        self.sockets = sockets
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
    settings: Any = None
    return Orders(text=text, settings=settings, sockets=sockets)


class SupervisorCase(SynchronousTestCase):
    """A supervisor of two workers."""

    def setUp(self) -> None:
        self.children: list[FakeChild] = []
        self.patch(supervisor, "spawn", self.spawn)
        self.patch(supervisor, "connect", self.connect)
        self.clock = Clock()
        command: Any = None
        self.crew = Supervisor(self.clock, command, 2, "stderr")
        self.web: Any = FakeBound(7)
        self.orders = orders("one", web=self.web)

    def spawn(self, reactor: Any, command: Any, **how: Any) -> tuple[FakeChild, int]:
        """Start nothing."""
        number = len(self.children)
        child = FakeChild(100 + number, how["fields"], how["sockets"], how["ended"])
        self.children.append(child)
        return child, number

    def connect(self, reactor: Any, end: int, hear: Any, lost: Any) -> FakeChild:
        """The channel of the child with that end."""
        self.children[end].hear = hear
        return self.children[end]

    def begin(self) -> tuple[FakeChild, FakeChild]:
        """Two workers that serve."""
        begun = Deferred.fromCoroutine(self.crew.begin(self.orders))
        self.children[0].say("ready")
        self.children[1].say("ready")
        self.successResultOf(begun)
        return self.children[0], self.children[1]

    def pids(self) -> list[int]:
        """Workers that serve."""
        return [one["pid"] for one in self.crew.members() if one["ready"]]


class StartTests(SupervisorCase):
    """Starting and replacing."""

    def test_one_first(self) -> None:
        """The first worker proves the configuration; then the others start."""
        verifyObject(ICrew, self.crew)
        begun = Deferred.fromCoroutine(self.crew.begin(self.orders))
        self.assertEqual(len(self.children), 1)
        self.children[0].say("ready")
        self.assertEqual(len(self.children), 2)
        self.assertNoResult(begun)
        self.children[1].say("ready")
        self.successResultOf(begun)
        self.assertEqual([child.fields["worker"] for child in self.children], [0, 1])
        self.assertEqual({child.fields["text"] for child in self.children}, {"one"})

    def test_the_first_fails(self) -> None:
        """Its own words are why the daemon does not start, and nothing is retried."""
        begun = Deferred.fromCoroutine(self.crew.begin(self.orders))
        self.children[0].say("failed", error=error_fields(ReloadRefused(["bad key"])))
        self.children[0].end(2)
        self.assertIn("bad key", str(self.failureResultOf(begun, DaemonSaid).value))
        self.clock.advance(60)
        self.assertEqual(len(self.children), 1)

    def test_the_first_dies(self) -> None:
        """Without words, how it ended is told."""
        begun = Deferred.fromCoroutine(self.crew.begin(self.orders))
        self.children[0].end(-11)
        self.assertIn("signal 11", str(self.failureResultOf(begun, WorkerFailed).value))

    def test_silent_for_too_long(self) -> None:
        """A worker that never serves is killed."""
        Deferred.fromCoroutine(self.crew.begin(self.orders)).addErrback(lambda _: None)
        self.clock.advance(supervisor.READY_SECONDS)
        self.assertEqual(self.children[0].signals, ["KILL"])

    def test_replaced_at_once(self) -> None:
        """A worker that served and dies has a successor in the same turn."""
        first, _ = self.begin()
        first.end(-9)
        self.assertEqual(len(self.children), 3)
        self.assertEqual(self.children[2].fields["worker"], 0)
        self.assertEqual(self.pids(), [101])
        self.children[2].say("ready")
        self.assertEqual(sorted(self.pids()), [101, 102])

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
        self.children[-1].say("ready")
        self.children[-1].end(-9)
        self.assertEqual(self.children[-1].fields["worker"], 0)

    def test_leaving(self) -> None:
        """One that was told to end keeps its connections, and its place is filled at once."""
        first, _ = self.begin()
        first.say("leaving")
        self.assertEqual(len(self.children), 3)
        self.children[2].say("ready")
        self.assertEqual(sorted(self.pids()), [101, 102])
        self.assertEqual([one["pid"] for one in self.crew.members() if one["draining"]], [100])
        first.end(0)
        self.assertEqual(len(self.children), 3)
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
            self.assertEqual((word, fields), ("prepare", {"text": "two", "sockets": table}))
            self.assertEqual(child.descriptors, [8])
        one.answer(["remark"])
        self.assertNoResult(prepared)
        two.answer(["remark"])
        self.assertEqual(self.successResultOf(prepared), ["remark"])
        self.assertEqual(one.told + two.told, [])
        self.crew.commit()
        self.assertEqual(one.told + two.told, ["commit", "commit"])
        one.end(-9)
        self.assertEqual(self.children[2].fields["text"], "two")

    def test_one_refuses(self) -> None:
        """Then all forget it, and its reason is the answer."""
        one, two = self.begin()
        prepared = self.prepare(orders("two", web=self.web))
        one.answer([])
        two.fail(DaemonSaid("bad_settings", Fault.OPERATOR, "no such key"))
        self.assertIn("no such key", str(self.failureResultOf(prepared).value))
        self.assertEqual(one.told + two.told, ["abort", "abort"])
        one.end(-9)
        self.assertEqual(self.children[2].fields["text"], "one")

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
        self.assertEqual(self.children[2].fields["text"], "one")

    def test_while_one_is_replaced(self) -> None:
        """With a worker missing there is no "all": try again."""
        one, _ = self.begin()
        one.end(-9)
        self.failureResultOf(self.prepare(orders("two", web=self.web)), ReloadRefused)

    def test_who_starts_meanwhile(self) -> None:
        """A worker that began with orders that are old by the swap is started anew."""
        one, two = self.begin()
        prepared = self.prepare(orders("two", web=self.web))
        for child in (one, two):
            child.answer([])
        self.successResultOf(prepared)
        two.end(-9)
        self.crew.commit()
        self.assertEqual(self.children[2].signals, ["KILL"])
        self.children[2].end(-9)
        self.clock.advance(1)
        self.assertEqual(self.children[3].fields["text"], "two")


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
        self.crew.stop_accepting(True)
        drained = self.crew.drain(20)
        one.answer(1)
        two.answer(2)
        one.end(1)
        self.assertNoResult(drained)
        two.end(1)
        self.assertEqual(self.successResultOf(drained), 3)
        self.assertEqual(len(self.children), 2)

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
