"""The auth service as a member of the crew: before the workers, with sockets of its own."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from tests.service.test_supervisor import FakeBound, FakeChild, SupervisorCase, orders
from tlsgate.errors import DaemonSaid, Fault, ReloadRefused
from tlsgate.service.authsockets import API, TLS
from tlsgate.service.supervisor import AUTH

#: What each kind of member gets of the sockets.
_AUTH = [[API, "tcp:0", None], [TLS, "tcp:0", None]]
_WORKER = [["web", "tcp:0", None]]


class AuthMemberTests(SupervisorCase):
    """A supervisor of an auth service and two workers; process 3 is the spare."""

    def setUp(self) -> None:
        super().setUp()
        self.sockets: dict[str, Any] = {
            "web": self.web,
            API: FakeBound(8),
            TLS: FakeBound(9),
        }
        self.orders = orders("one", **self.sockets)

    def start(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.crew.begin(self.orders))

    def serving(self) -> tuple[FakeChild, FakeChild, FakeChild]:
        """All three serve, and a spare process is there."""
        begun = self.start()
        for child in self.children[:3]:
            child.say("here")
            child.serve()
        self.successResultOf(begun)
        self.children[3].say("here")
        auth, one, two = self.children[:3]
        for child in (auth, one, two):
            child.descriptors.clear()
        return auth, one, two

    def members(self) -> list[tuple[Any, int]]:
        return sorted(
            ((one["worker"], one["pid"]) for one in self.crew.members() if one["ready"]),
            key=str,
        )

    def test_first(self) -> None:
        """It serves before the first worker has its orders: workers ask it at once."""
        begun = self.start()
        auth, one, two = self.children
        for child in self.children:
            child.say("here")
        self.assertEqual((one.asked, two.asked), ([], []))
        said = auth.serve()
        self.assertEqual((said["worker"], said["sockets"]), (AUTH, _AUTH))
        self.assertEqual(auth.descriptors, [8, 9])
        self.assertEqual(two.asked, [])
        said = one.serve()
        self.assertEqual((said["worker"], said["sockets"]), (0, _WORKER))
        self.assertEqual(one.descriptors, [7])
        self.assertNoResult(begun)
        two.serve()
        self.successResultOf(begun)
        self.assertEqual(self.members(), [("auth", 100), (0, 101), (1, 102)])

    def test_it_fails(self) -> None:
        """Without it the daemon does not start, and says its words; no worker gets orders."""
        begun = self.start()
        for child in self.children:
            child.say("here")
        self.children[0].fail(DaemonSaid("bad_seal", Fault.OPERATOR, "auth.key is missing"))
        error = self.failureResultOf(begun, DaemonSaid).value
        self.assertIn("auth.key is missing", str(error))
        self.assertEqual([child.asked for child in self.children[1:]], [[], []])

    def test_replaced(self) -> None:
        """When it ends the spare process takes its place, with its sockets; workers go on."""
        auth, one, two = self.serving()
        auth.end(-9)
        said = self.children[3].serve()
        self.assertEqual((said["worker"], said["sockets"]), (AUTH, _AUTH))
        self.assertEqual(self.members(), [("auth", 103), (0, 101), (1, 102)])
        self.assertEqual((one.signals, two.signals), ([], []))

    def test_tried_for_ever(self) -> None:
        """One that cannot start is tried again, ever more slowly, and for ever."""
        auth, _, _ = self.serving()
        auth.end(-9)
        waits = []
        for _ in range(8):
            self.children[-1].end(1)
            (call,) = self.clock.getDelayedCalls()
            waits.append(round(call.getTime() - self.clock.seconds(), 1))
            self.clock.advance(waits[-1])
        self.assertEqual((waits[0], waits[-1]), (0.2, 10.0))
        self.children[-1].say("here")
        self.assertEqual(self.children[-1].serve()["worker"], AUTH)
        self.assertEqual(len(self.members()), 3)

    def test_reload(self) -> None:
        """It prepares and swaps with the workers; new sockets go to whose business they are."""
        auth, one, two = self.serving()
        new = orders("two", **{**self.sockets, "web": self.web, "kube": FakeBound(11)})
        prepared = Deferred.fromCoroutine(self.crew.prepare(new))
        asked = [child.asked[0][1]["sockets"] for child in (auth, one)]
        self.assertEqual(asked[0], [[API, "tcp:0", None, API], [TLS, "tcp:0", None, TLS]])
        self.assertEqual(asked[1], [["web", "tcp:0", None, "web"], ["kube", "tcp:0", None, None]])
        self.assertEqual((auth.descriptors, one.descriptors), ([], [11]))
        for child in (auth, one, two):
            child.answer([])
        self.successResultOf(prepared)
        committed = Deferred.fromCoroutine(self.crew.commit())
        for child in (auth, one, two):
            self.assertEqual(child.asked[0][0], "commit")
            child.answer(None)
        self.successResultOf(committed)

    def test_it_refuses_a_reload(self) -> None:
        """What it cannot take nobody takes."""
        auth, one, two = self.serving()
        prepared = Deferred.fromCoroutine(self.crew.prepare(orders("two", **self.sockets)))
        one.answer([])
        two.answer([])
        auth.fail(ReloadRefused(["the store is not there yet"]))
        self.failureResultOf(prepared, ReloadRefused)
        self.assertEqual([child.told for child in (auth, one, two)], [["abort"]] * 3)

    def test_a_reload_waits_for_it(self) -> None:
        """While it is being replaced a reload waits, as for a worker."""
        auth, one, _ = self.serving()
        auth.end(-9)
        prepared = Deferred.fromCoroutine(self.crew.prepare(orders("two", **self.sockets)))
        self.assertEqual(one.asked, [])
        self.children[3].serve()
        self.clock.advance(0.1)
        self.assertEqual(one.asked[0][0], "prepare")
        self.assertNoResult(prepared)

    def test_explain(self) -> None:
        """Routes are the workers' business: it is never asked to explain one."""
        auth, one, two = self.serving()
        asked = Deferred.fromCoroutine(self.crew.explain("web", None, [], None))
        self.assertEqual([len(child.asked) for child in (auth, one, two)], [0, 1, 0])
        one.answer({"outcome": "x"})
        self.assertEqual(self.successResultOf(asked), {"outcome": "x"})

    def test_foresee(self) -> None:
        """It alone knows what a file makes of the mode; one that is away is not waited for."""
        auth, one, _ = self.serving()
        settings: Any = None
        asked = Deferred.fromCoroutine(self.crew.foresee("two", settings))
        self.assertEqual((auth.asked[0][:2], one.asked), (("foresee", {"text": "two"}), []))
        auth.answer({"next_mode": "separate"})
        self.assertEqual(self.successResultOf(asked), {"next_mode": "separate"})
        late = Deferred.fromCoroutine(self.crew.foresee("two", settings))
        self.clock.advance(60)
        self.assertIsNone(self.successResultOf(late))
        auth.asked.clear()
        gone = Deferred.fromCoroutine(self.crew.foresee("two", settings))
        auth.end(-9)
        self.assertIsNone(self.successResultOf(gone))
        again = Deferred.fromCoroutine(self.crew.foresee("two", settings))
        self.assertIsNone(self.successResultOf(again))

    def test_end(self) -> None:
        """It is told to stop and drained with the others, and its end is waited for."""
        everybody = self.serving()
        stopped = Deferred.fromCoroutine(self.crew.stop_accepting(True))
        for child in everybody:
            self.assertEqual(child.asked[0][0], "stop")
            child.answer(None)
        self.successResultOf(stopped)
        drained = self.crew.drain(5)
        for child in everybody:
            child.answer(0)
        for child in everybody[1:]:
            child.end(0)
        self.assertNoResult(drained)
        everybody[0].end(0)
        self.assertEqual(self.successResultOf(drained), 0)
