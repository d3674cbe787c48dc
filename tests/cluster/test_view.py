"""Tests for `tlsgate.cluster.view`."""

from __future__ import annotations

import hashlib
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.cluster.states import ALIVE, NAME, FakeDoor, event, lock, networking, role, snapshot
from tests.support.sshwire import blob_of, certificate, ed25519_signer, line
from tlsgate.cluster.view import ALL, ClusterView
from tlsgate.core.access import Decision, Identity, Kind, Rule
from tlsgate.core.claims import Claims
from tlsgate.core.rolevalues import Target
from tlsgate.core.routing import Route
from tlsgate.core.wire.sshcert import parse
from tlsgate.errors import BadBytes, BadCertificate, BadResource, Untrusted
from tlsgate.interfaces import IAuthorizer, ICluster

ALICE = Identity(
    common_names=("alice",),
    claims=Claims(cluster=NAME, kind="user", name="alice", roles=("access",)),
    anchor=hashlib.sha256(b"user").digest(),
)
ROUTE = Route(name="r", protocol="raw", require_role=("access",))


class ViewCase(SynchronousTestCase):
    """A view that watches through a door in the test's hands."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.door = FakeDoor()
        self.view = self.make()
        self.changes: list[frozenset[str]] = []
        self.view.on_change(self.changes.append)
        self.logged: list[str] = []
        observer: Any = self.log
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def make(self) -> ClusterView:
        return ClusterView(NAME, self.door, self.clock, lambda: 1000.0, mode="separate")

    def log(self, event: Any) -> None:
        if event.get("log_namespace", "").startswith("tlsgate.cluster"):
            self.logged.append(formatEvent(event))

    def begin(self, **more: Any) -> None:
        """Watch, and hear a snapshot."""
        self.view.start()
        self.door.live.say(snapshot(**more))

    def revision(self) -> int:
        """Of the state."""
        assert self.view.state is not None
        return self.view.state.revision


class HeardTests(ViewCase):
    """Lines of the watch, and what becomes of them."""

    def test_interfaces(self) -> None:
        """A view is what protocols ask about the cluster, and who decides."""
        verifyObject(ICluster, self.view)
        verifyObject(IAuthorizer, self.view)
        self.assertEqual(self.view.api, "the API")
        self.door.__dict__["api"] = None
        self.assertIsNone(self.view.api)

    def test_a_snapshot_and_what_follows(self) -> None:
        """Listeners hear what has changed after it has; the snapshot follows the events."""
        self.begin()
        self.assertEqual((self.changes, self.view.mode), ([ALL], "multiplex"))
        say = self.door.live.say
        say(event("role", "dev", role("dev"), 8))
        say(event("role", "access", None, 9))
        say(event("lock", "l", lock("l", user="bob"), 10))
        say(event("cluster_networking_config", "x", networking(0), 11))
        rotated = snapshot()["authorities"]["host"]
        say(event("cert_authority", "user", rotated, 12))
        say(event("cluster_auth_preference", "x", {"spec": {}}, 13))
        self.assertEqual(
            [set(one) for one in self.changes[1:]],
            [
                {"role"},
                {"role"},
                {"lock"},
                {"cluster_networking_config"},
                {"cert_authority"},
                {"cluster_auth_preference"},
            ],
        )
        self.assertEqual(self.view.mode, "separate")
        self.assertIsNone(self.view.ping_seconds)
        # What is kept for the next process is what this one knows.
        after = self.make()
        assert self.view.snapshot is not None
        after.restore(self.view.snapshot)
        self.assertEqual(after.state, self.view.state)
        self.assertEqual(self.revision(), 13)

    def test_jwks(self) -> None:
        """The keys of applications' tokens are those that the auth service has now."""
        self.assertEqual(self.view.jwks, {"keys": []})
        self.begin()
        self.assertEqual(self.view.jwks, {"keys": []})
        one, two = {"kid": "1"}, {"kid": "2"}
        keys = [{"public_key": "PEM", "jwk": key} for key in (one, two)]
        self.door.live.say(event("cert_authority", "jwt", {"keys": keys, "revision": 8}, 8))
        self.assertEqual(self.view.jwks, {"keys": [one, two]})

    def test_s31_ends_of_sessions(self) -> None:
        """Each end is told by its id; a snapshot or a lock may have ended any."""
        ended: list[str] = []

        def broken(sid: str) -> None:
            raise RuntimeError(sid)

        self.view.on_session_end(broken)
        self.view.on_session_end(ended.append)
        self.begin()
        say = self.door.live.say
        say(event("app_session", "abc", None, 8))
        say(event("role", "dev", role("dev"), 9))
        say(event("lock", "l", lock("l", user="bob"), 10))
        say(event("lock", "l", None, 11))
        self.assertEqual(ended, ["", "abc", ""])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 3)

    def test_second_factor(self) -> None:
        """It is the auth service's word, as long as there is one."""
        self.assertIsNone(self.view.second_factor)
        self.begin()
        self.assertIsNone(self.view.second_factor)
        for spec, said in (({"second_factor": "off"}, "off"), ({}, None)):
            self.door.live.say(event("cluster_auth_preference", "x", {"spec": spec}))
            self.assertEqual(self.view.second_factor, said)

    def test_what_signs(self) -> None:
        """The keys that sign what hosts show are told, as a snapshot and as events name them."""
        self.assertEqual(self.view.signing, "")
        self.begin()
        known = snapshot()["authorities"]["host"]
        for kind, key in (("user", "u1"), ("host", "h1"), ("ssh_host", "s1")):
            resource = {"spec": {**known, "signing": key}}
            self.door.live.say(event("cert_authority", kind, resource))
        self.assertEqual(self.view.signing, "h1 s1")

    def test_a_listener_that_fails(self) -> None:
        """Those behind it hear all the same, and the watch goes on: a lock has to be followed."""

        def fails(what: object) -> None:
            raise ZeroDivisionError

        self.view = self.make()
        self.view.on_change(fails)
        self.view.on_change(self.changes.append)
        self.begin()
        self.door.live.say(event("lock", "l", lock("l", user="alice")))
        self.assertEqual(self.changes, [ALL, frozenset({"lock"})])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_age(self) -> None:
        """The state is as old as the last word; before any it is as old as can be."""
        self.view.start()
        self.assertEqual(self.view.stale_seconds, float("inf"))
        self.door.live.say(ALIVE)  # without a snapshot before, that says nothing
        self.assertEqual(self.view.stale_seconds, float("inf"))
        self.door.live.say(snapshot())
        self.clock.advance(20)
        self.assertEqual(self.view.stale_seconds, 20)
        self.door.live.say(ALIVE)
        self.assertEqual(self.view.stale_seconds, 0)
        self.assertEqual(self.changes, [ALL])

    def test_another_cluster(self) -> None:
        """Of another cluster nothing is taken, neither its snapshot nor what it says later."""
        self.begin()
        say = self.door.live.say
        say(snapshot(cluster="other", revision=99))
        self.assertIn("of cluster other, not root.example", self.logged[-1])
        self.assertEqual(self.revision(), 7)
        self.assertTrue(self.door.watches[-1].stopped)
        self.clock.advance(1)
        self.door.live.say(snapshot(revision=8))
        self.assertEqual(self.revision(), 8)

    def test_unreadable(self) -> None:
        """After a line that cannot be read the watch begins anew; what was known stays."""
        self.begin()
        for broken in (event("lock", "l", lock("l")), event("cert_authority", "user", {})):
            self.door.live.say(broken)
            self.assertEqual([one.stopped for one in self.door.watches[-1:]], [True])
            self.assertEqual((self.view.stale_seconds, self.revision()), (float("inf"), 7))
            self.assertIn("cannot be taken", self.logged[-1])
            self.clock.advance(1)
            self.door.live.say(snapshot())
            self.assertEqual(self.view.stale_seconds, 0)

    def test_waits_grow(self) -> None:
        """Where it stays unreadable, it is asked again less and less often."""
        self.view.start()
        for wait in (1, 2, 4, 8, 16, 30, 30):
            self.door.live.say(snapshot(locks=None))
            self.clock.advance(wait - 0.1)
            self.assertEqual([one for one in self.door.watches if not one.stopped], [])
            self.clock.advance(0.1)
            self.assertFalse(self.door.live.stopped)

    def test_an_ended_watch(self) -> None:
        """When the auth service ends the watch with its last word, it is asked again."""
        self.begin()
        self.door.live.say({"kind": "end", "reason": "locked", "message": "gw1 is locked"})
        self.assertIn("gw1 is locked", self.logged[-1])
        self.clock.advance(1)
        self.door.live.say(snapshot(revision=9))
        self.assertEqual(self.revision(), 9)

    def test_stopped(self) -> None:
        """Once stopped a view does not begin again, whatever it was waiting for."""
        self.begin()
        self.door.live.say(event("lock", "l", lock("l")))
        self.view.stop()
        self.clock.advance(60)
        self.assertTrue(all(one.stopped for one in self.door.watches))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.view.stop()

    def test_started_twice(self) -> None:
        """A start again watches once."""
        self.begin()
        self.view.start()
        self.assertEqual(len(self.door.watches), 1)

    def test_a_role_that_cannot_be_read_is_told_once(self) -> None:
        """It is logged when it comes, and when it comes back; not with every event."""
        odd = role("odd", logins=5)
        self.begin(roles=[odd])
        say = self.door.live.say
        say(event("lock", "l", lock("l", user="x")))
        say(snapshot(roles=[odd]))
        told = [line for line in self.logged if "role odd" in line]
        self.assertEqual(len(told), 1, self.logged)
        say(event("role", "odd", role("odd")))
        say(event("role", "odd", odd))
        told = [line for line in self.logged if "role odd" in line]
        self.assertEqual(len(told), 2, self.logged)


class RestoreTests(ViewCase):
    """Tests for `ClusterView.restore`."""

    def test_restored(self) -> None:
        """What was kept counts, as old as can be, until something is heard."""
        kept = snapshot(locks=[lock("l", user="alice")])
        seen: list[Any] = []
        self.view.on_change(lambda _: seen.append(self.view.snapshot))
        self.view.restore(kept)
        self.assertEqual((self.changes, seen), ([ALL], [kept]))
        self.assertEqual(self.view.stale_seconds, float("inf"))
        self.assertIsNotNone(self.view.lock_on(ALICE))
        self.begin()
        self.assertIsNone(self.view.lock_on(ALICE))

    def test_not_restored(self) -> None:
        """What cannot be read, or is another cluster's, is refused and changes nothing."""
        for kept, error in (
            ({}, BadBytes),
            (snapshot(locks=[lock("l")]), BadResource),
            (snapshot(cluster="other"), Untrusted),
        ):
            self.assertRaises(error, self.view.restore, kept)
        self.assertEqual((self.view.state, self.view.snapshot, self.changes), (None, None, []))


class DecideTests(ViewCase):
    """Tests for `ClusterView.decide` and its neighbours."""

    def test_nothing_heard(self) -> None:
        """Before the first word no certificate of any cluster counts; foreign ones do."""
        foreign = Identity(common_names=("alice",))
        named = Route(name="r", protocol="raw", allow=(Rule(Kind.CN, "alice"),))
        self.assertEqual(
            self.view.decide(named, ALICE, None),
            Decision(False, "the auth service has not been heard yet"),
        )
        self.assertTrue(self.view.decide(named, foreign, None).allowed)
        self.assertFalse(self.view.decide(named, None, None).allowed)
        self.assertEqual(
            (self.view.is_ours(ALICE), self.view.lock_on(ALICE), self.view.mode),
            (False, None, "separate"),
        )

    def test_r14_strict_locks(self) -> None:
        """Where locks are strict, what was heard too long ago lets in nobody of the cluster."""
        strict = {"spec": {"locking_mode": "strict"}}
        foreign = Identity(common_names=("alice",))
        named = Route(name="r", protocol="raw", allow=(Rule(Kind.CN, "alice"),))
        for preference, late in ((strict, False), (None, True)):
            self.view.stop()
            self.view = self.make()
            self.begin(auth_preference=preference)
            self.clock.advance(300)
            self.assertTrue(self.view.decide(ROUTE, ALICE, None).allowed)
            self.clock.advance(1)
            decision = self.view.decide(ROUTE, ALICE, None)
            self.assertEqual(decision.allowed, late)
            if not late:
                self.assertIn("has not been heard for more than 300 s", decision.why)
            self.assertTrue(self.view.decide(named, foreign, None).allowed)
            self.assertFalse(self.view.decide(ROUTE, None, None).allowed)
            self.door.live.say(ALIVE)
            self.assertTrue(self.view.decide(ROUTE, ALICE, None).allowed)

    def test_r14_the_age_of_what_is_kept(self) -> None:
        """A new process counts from when an earlier one heard last; nobody said: endless."""
        strict = snapshot(auth_preference={"spec": {"locking_mode": "strict"}})
        for age, allowed in ((0.0, True), (299.0, True), (301.0, False), (float("inf"), False)):
            view = self.make()
            view.restore(strict, age)
            self.assertEqual((view.stale_seconds, view.away), (age, True))
            self.assertEqual(view.decide(ROUTE, ALICE, None).allowed, allowed)

    def test_away(self) -> None:
        """The auth service is away when its door says so, or when it is silent."""
        self.begin()
        self.assertFalse(self.view.away)
        self.clock.advance(21)
        self.assertTrue(self.view.away)
        self.door.live.say(ALIVE)
        self.assertFalse(self.view.away)
        self.door.lost = True  # type: ignore[attr-defined]
        self.assertTrue(self.view.away)

    def test_targets(self) -> None:
        """Targets of agents are decided by the state, and by nothing before it is known."""
        target = Target(kind="node", name="db1", labels={"env": "prod"}, login="root")
        unheard = Decision(False, "the auth service has not been heard yet")
        self.assertEqual(self.view.decide_target(ALICE, target, None), unheard)
        strict = {"spec": {"locking_mode": "strict"}}
        access = role("access", logins=["root"], node_labels={"*": "*"})
        alice = {"name": "alice", "roles": ["access"], "traits": {}}
        self.begin(roles=[access], users=[alice], auth_preference=strict)
        self.assertTrue(self.view.decide_target(ALICE, target, None).allowed)
        self.clock.advance(301)
        stale = self.view.decide_target(ALICE, target, None)
        self.assertIn("has not been heard for more than 300 s", stale.why)
        self.door.live.say(event("user", "alice", {"spec": {"roles": [], "traits": {}}}))
        self.assertFalse(self.view.decide_target(ALICE, target, None).allowed)
        self.door.live.say(event("user", "bob", {"spec": {"roles": ["access"]}}, 9))
        self.door.live.say(event("user", "alice", None, 10))
        gone = self.view.decide_target(ALICE, target, None)
        self.assertEqual(gone.why, "there is no user alice any more")
        # What is kept for the next process is what this one knows.
        assert self.view.snapshot is not None and self.view.state is not None
        after = self.make()
        after.restore(self.view.snapshot)
        self.assertEqual(after.state, self.view.state)
        assert self.view.state.people is not None
        self.assertEqual(list(self.view.state.people), ["bob"])

    def test_ssh_identity(self) -> None:
        """A user's OpenSSH certificate is believed when the cluster's authority signed it."""
        key, other = (ed25519.Ed25519PrivateKey.generate() for _ in range(2))
        good, forged = (
            parse(certificate(signature=ed25519_signer(one), authority=blob_of(key)))
            for one in (key, other)
        )
        error = self.assertRaises(BadCertificate, self.view.ssh_identity, good)
        self.assertIn("has not been heard yet", error.why)
        trusted = {"id": "1", "public_key": line(blob_of(key))}
        people = [{"name": good.principals[0], "roles": ["access"], "traits": {}}]
        self.begin(
            authorities={**snapshot()["authorities"], "ssh_user": {"keys": [trusted]}}, users=people
        )
        self.assertEqual(self.view.ssh_identity(good).name, good.principals[0])
        error = self.assertRaises(BadCertificate, self.view.ssh_identity, forged)
        self.assertIn("signature does not hold", error.why)

    def test_by_the_state(self) -> None:
        """Then roles decide, and locks, by the clock."""
        self.begin()
        self.assertTrue(self.view.is_ours(ALICE))
        self.assertEqual(self.view.decide(ROUTE, ALICE, None), Decision(True, "role access"))
        one = lock("l", user="alice")
        for expires, allowed in ((999.0, True), (1001.0, False)):
            one["spec"]["expires"] = expires
            self.door.live.say(event("lock", "l", one))
            self.assertEqual(self.view.decide(ROUTE, ALICE, None).allowed, allowed)
            self.assertEqual(self.view.lock_on(ALICE) is None, allowed)
