"""Tests for `tlsgate.service.door`: the auth service of the same process."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.auth.cluster import NAME, Cluster
from tests.support.authorities import p256, spki
from tlsgate.auth.calls import Ask
from tlsgate.auth.principal import nobody
from tlsgate.errors import Unreachable
from tlsgate.interfaces import IAuthDoor
from tlsgate.service import door as module
from tlsgate.service.door import Coming, LocalDoor


class LocalDoorTests(SynchronousTestCase):
    """Tests for `LocalDoor`."""

    def setUp(self) -> None:
        self.cluster = Cluster(self)
        self.door = LocalDoor(NAME, "gw1")
        self.heard: list[Any] = []

    def ask(self, *args: Any, **more: Any) -> tuple[int, Any]:
        found: tuple[int, Any] = self.cluster.run(self.door.ask(*args, **more))
        return found

    def test_interface(self) -> None:
        """It is a door like any other."""
        verifyObject(IAuthDoor, self.door)

    def test_as_the_gateway(self) -> None:
        """It asks as a gateway of the cluster, with its own name in the trail."""
        self.door.open(self.cluster.api)
        body = {"names": [f"auth.{NAME}"], "tls_public_key": spki(p256())}
        status, issued = self.ask("POST", "/v1/gateway/certificates", body)
        self.assertEqual(status, 200, issued)
        ((event, fields),) = self.cluster.audit.events
        self.assertEqual((event, fields["user"]), ("cert.create", "gateway:gw1"))

    def test_as_anyone(self) -> None:
        """As anyone it may ask what anybody may, and nothing else."""
        self.door.open(self.cluster.api)
        self.assertEqual(self.ask("GET", "/v1/cas", as_anyone=True)[0], 200)
        for as_anyone, want in ((False, 200), (True, 403)):
            status, _ = self.ask("GET", "/v1/me", as_anyone=as_anyone)
            self.assertEqual(status == 403, want == 403, status)

    def test_queries(self) -> None:
        """A query is part of the path, as over HTTP."""
        self.door.open(self.cluster.api)
        status, said = self.ask("GET", "/v1/cas?nothing=1", as_anyone=True)
        self.assertEqual((status, said["error"]["reason"]), (400, "bad_resource"))

    def test_closed(self) -> None:
        """While there is no auth service, whoever asks is told to try again."""
        for _ in range(2):
            asked = Deferred.fromCoroutine(self.door.ask("GET", "/v1/cas"))
            self.assertIn("try again", str(self.failureResultOf(asked, Unreachable).value))
            self.door.open(self.cluster.api)
            self.door.close()
        self.assertIsNone(self.door.api)

    def test_watches(self) -> None:
        """A watch may be asked for before there is an auth service; it begins with it."""
        before, given_up = self.door.watch(self.heard.append), self.door.watch(self.heard.append)
        given_up.stop()
        self.cluster.turn()
        self.assertEqual(self.heard, [])
        self.door.open(self.cluster.api)
        self.cluster.turn()
        self.assertEqual([line["kind"] for line in self.heard], ["snapshot"])
        after = self.door.watch(self.heard.append)
        self.cluster.turn()
        self.assertEqual([line["kind"] for line in self.heard], ["snapshot", "snapshot"])
        self.cluster.ask(self.cluster.local, "POST", "/v1/locks", {"target": {"user": "eve"}})
        self.assertEqual([line["kind"] for line in self.heard[2:]], ["event", "event"])
        for watch in (before, after, after):
            watch.stop()
        self.cluster.ask(self.cluster.local, "POST", "/v1/locks", {"target": {"user": "bob"}})
        self.assertEqual(len(self.heard), 4)

    def test_another_auth_service(self) -> None:
        """A watch goes on when the auth service has been closed and opened again."""
        self.door.watch(self.heard.append)
        self.door.open(self.cluster.api)
        self.cluster.turn()
        others = len(self.cluster.store.watches)
        self.door.close()
        self.assertEqual(len(self.cluster.store.watches), others - 1)
        self.cluster.ask(self.cluster.local, "POST", "/v1/locks", {"target": {"user": "eve"}})
        self.door.open(self.cluster.api)
        self.cluster.turn()
        self.assertEqual([line["kind"] for line in self.heard], ["snapshot", "snapshot"])
        self.assertEqual(len(self.heard[1]["locks"]), 1)


class FakeSuccessor:
    """A door to another process."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.watches: list[Any] = []
        self.stopped = 0

    async def ask(self, *asked: Any, **more: Any) -> tuple[int, Any]:
        self.asked.append((*asked, more))
        return 200, {"of": "the successor"}

    def watch(self, heard: Any) -> FakeSuccessor:
        self.watches.append(heard)
        return self

    def stop(self) -> None:
        self.stopped += 1


class HandOverTests(SynchronousTestCase):
    """What becomes of the door when another process takes the auth service over."""

    def setUp(self) -> None:
        self.cluster = Cluster(self)
        self.after = FakeSuccessor()
        self.door = LocalDoor(NAME, "gw1", None, lambda: self.after)  # type: ignore[arg-type,return-value]
        self.heard: list[Any] = []

    def test_asked(self) -> None:
        """Whoever asks then is answered there, and as whom is said there too."""
        self.door.open(self.cluster.api)
        self.door.hand_over()
        self.door.close()  # what follows closes everything
        said: dict[str, Any] = {"address": "192.0.2.1", "as_anyone": True}
        found = self.cluster.run(self.door.ask("POST", "/v1/x", {"a": 1}, **said))
        self.assertEqual(found, (200, {"of": "the successor"}))
        self.assertEqual(self.after.asked, [("POST", "/v1/x", {"a": 1}, said)])

    def test_watched(self) -> None:
        """Locks that are made there are heard here, by who watched and by who begins to."""
        self.door.open(self.cluster.api)
        watch = self.door.watch(self.heard.append)
        self.cluster.turn()
        others = len(self.cluster.store.watches)
        self.door.hand_over()
        self.door.close()
        self.assertEqual(len(self.cluster.store.watches), others - 1)
        late = self.door.watch(self.heard.append)
        self.assertEqual(len(self.after.watches), 2)
        self.after.watches[0]({"kind": "event"})
        self.assertEqual(self.heard[-1], {"kind": "event"})
        self.assertEqual(self.after.stopped, 0)
        for one in (watch, late):
            one.stop()
        self.assertEqual(self.after.stopped, 2)

    def test_twice(self) -> None:
        """There is one successor, however often it is said."""
        self.door.watch(self.heard.append)
        self.door.hand_over()
        self.door.hand_over()
        self.assertEqual(len(self.after.watches), 1)


class ComingTests(SynchronousTestCase):
    """Tests for `Coming`: a gateway that serves before its auth service."""

    def setUp(self) -> None:
        self.cluster = Cluster(self)
        self.clock = Clock()
        self.door = LocalDoor(NAME, "gw1", self.clock)
        self.heard: list[Any] = []

    def call(self) -> Deferred[Any]:
        ask = Ask(method="GET", path="/v1/cas", query={}, body=None)
        return Deferred.fromCoroutine(self.door.api.call(nobody(None), ask))  # type: ignore[union-attr]

    def test_waited_for(self) -> None:
        """What is asked is answered once it is there, and later questions are at once."""
        early = self.door.api
        calls = [self.call() for _ in range(2)]
        asked = Deferred.fromCoroutine(self.door.ask("GET", "/v1/cas"))
        watch = self.door.watch(self.heard.append)
        self.clock.advance(1)
        for one in (*calls, asked):
            self.assertNoResult(one)
        self.door.open(self.cluster.api)
        self.cluster.turn()
        self.assertEqual([self.successResultOf(one).status for one in calls], [200, 200])
        self.assertEqual(self.successResultOf(asked)[0], 200)
        self.assertEqual(self.successResultOf(self.call()).status, 200)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        watch.stop()
        assert isinstance(early, Coming)
        early.watch(self.cluster.local, None, self.heard.append).stop()

    def test_not_for_ever(self) -> None:
        """Where it does not come in time whoever waits is told, as where too many wait."""
        self.patch(module, "MOST_WAITING", 1)
        waits, one_more = self.call(), self.call()
        self.assertEqual(self.successResultOf(one_more).status, 503)
        self.clock.advance(module.COMING_SECONDS)
        self.assertEqual(self.successResultOf(waits).status, 503)

    def test_it_cannot_start(self) -> None:
        """Who waits is told when it will not be there."""
        waits, ended = self.call(), [0]
        self.door.api.on_end(lambda: ended.append(1))  # type: ignore[union-attr]
        self.door.close()
        self.assertEqual(self.successResultOf(waits).status, 503)
        self.assertEqual((ended, self.door.api), ([0, 1], None))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_its_end(self) -> None:
        """Who has come early hears of the end as well, unless he has gone."""
        early = self.door.api
        ended: list[str] = []
        assert early is not None
        early.on_end(lambda: ended.append("early"))
        early.on_end(lambda: ended.append("gone before"))()
        gone = early.on_end(lambda: ended.append("gone after"))
        self.door.open(self.cluster.api)
        early.on_end(lambda: ended.append("late"))
        gone()
        self.cluster.api.end()
        self.assertEqual(ended, ["early", "late"])
