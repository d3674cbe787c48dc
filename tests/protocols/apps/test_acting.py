"""Tests for `tlsgate.protocols.apps.acting`: who acts in a session, and for how long."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.apps.auth import COOKIE, DER, NOW, AppAuth, AppCluster
from tlsgate.protocols.apps import acting
from tlsgate.protocols.apps.acting import Acting, Key, Sessions, fingerprint
from tlsgate.protocols.apps.strangers import COOKIES

KEY = Key(COOKIE, "grafana", "192.0.2.7", None)


class ActingCase(SynchronousTestCase):
    """Tests with an auth service and a clock."""

    def setUp(self) -> None:
        self.auth, self.clock = AppAuth(), Clock()
        self.cluster = AppCluster(self.auth)
        self.sessions = self.made()

    def made(self, **more: Any) -> Sessions:
        """What is under test."""
        more.setdefault("identify", self.auth.identify)
        return Sessions(self.cluster, self.clock, lambda: self.auth.now, **more)

    def find(self, key: Key = KEY) -> Acting | int:
        """Who acts; it is known at once."""
        return self.successResultOf(self.ask(key))

    def ask(self, key: Key = KEY) -> Deferred[Acting | int]:
        """Who acts, perhaps later."""
        return Deferred.fromCoroutine(self.sessions.find(key))

    def acting(self, key: Key = KEY) -> Acting:
        """Somebody acts."""
        found = self.find(key)
        assert isinstance(found, Acting), found
        return found

    def wait(self, seconds: float) -> None:
        """Let time go by, in small steps."""
        for _ in range(int(seconds)):
            self.auth.now += 1
            self.clock.advance(1)


class FindTests(ActingCase):
    """Tests for `Sessions.find`."""

    def test_strangers(self) -> None:
        """Cookies of nobody are asked about a few times for each address, sessions always."""
        keys = [Key(f"{n:059}", "grafana", "192.0.2.7", None) for n in range(2 * COOKIES)]
        found = [self.find(key) for key in keys]
        self.assertEqual(found, [401] * COOKIES + [429] * COOKIES)
        self.assertEqual(len(self.auth.asked), COOKIES)
        self.assertEqual(self.find(), 429)
        self.acting(evolve(KEY, address="192.0.2.8"))
        self.wait(11)
        self.acting()

    def test_found(self) -> None:
        """The user acts under a certificate for that application, which is asked for once."""
        found = self.acting()
        self.assertEqual((found.sid, found.user), ("sid-1", "alice"))
        self.assertEqual((found.certificate, found.expires), (DER, NOW + 3600))
        claims = found.identity.claims
        assert claims is not None
        self.assertEqual(dict(claims.routes), {"app": "grafana"})
        self.assertIs(self.find(), found)
        ((verb, body, address),) = self.auth.asked
        self.assertEqual((verb, address), ("app-certificate", "192.0.2.7"))
        self.assertEqual(
            {key: body[key] for key in ("cookie", "app", "address", "certificate")},
            {"cookie": COOKIE, "app": "grafana", "address": "192.0.2.7", "certificate": None},
        )

    def test_together(self) -> None:
        """Requests that come at once ask once, and the first one may go away meanwhile."""
        self.auth.slow = True
        asking = [self.ask() for _ in range(5)]
        self.assertEqual(len(self.auth.asked), 1)
        asking[0].cancel()
        self.failureResultOf(asking[0])
        self.auth.waiting[0].callback(None)
        found = {id(self.successResultOf(one)) for one in asking[1:]}
        self.assertEqual(len(found), 1)

    def test_bound(self) -> None:
        """Another address, certificate or application asks by itself: auth says whether (S31)."""
        self.acting()
        for key in (evolve(KEY, address="192.0.2.8"), evolve(KEY, certificate="ab" * 32)):
            self.acting(key)
        self.assertEqual(self.find(evolve(KEY, app="wiki")), 401)
        self.assertEqual(self.auth.verbs(), ["app-certificate"] * 4)

    def test_refused(self) -> None:
        """No session, a lock, nobody to ask: each is a status, kept for a moment at most."""
        for status, wanted in ((401, 401), (403, 403), (503, 503), (500, 503)):
            self.auth.status = status
            self.assertEqual(self.find(), wanted)
            self.wait(6)
        self.auth.status = 0
        self.acting()

    def test_odd_certificate(self) -> None:
        """A certificate that is none, or for anything else, is nobody's."""
        self.auth.pem = "x"
        self.assertEqual(self.find(), 503)
        self.auth.pem = AppAuth().pem
        for routes in ({}, {"app": "wiki"}, {"app": "grafana", "db": "orders"}):
            self.auth.routes = routes
            self.assertEqual(self.find(), 503, routes)
        self.auth.routes = {"app": "grafana", "cluster": "prod"}
        self.acting()

    def test_bug(self) -> None:
        """A bug is logged and answered, and the next request is asked for again."""
        self.auth.slow = True
        asking = self.ask()
        self.auth.waiting[0].errback(ZeroDivisionError())
        self.assertEqual(self.successResultOf(asking), 503)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.auth.slow = False
        self.acting()

    def test_too_many(self) -> None:
        """There are so many open questions, and no more."""
        self.patch(acting, "_ASKING", 1)
        self.auth.slow = True
        self.ask()
        self.assertEqual(self.find(evolve(KEY, address="192.0.2.8")), 503)
        self.assertEqual(len(self.auth.asked), 1)

    def test_too_many_known(self) -> None:
        """Who came first is forgotten first."""
        self.patch(acting, "_KNOWN", 1)
        ended: list[int] = []
        self.acting().on_end(lambda: ended.append(1))
        self.acting(evolve(KEY, address="192.0.2.8"))
        self.assertEqual(ended, [1])

    def test_unheard(self) -> None:
        """Without the cluster's authorities nobody can be told whose a certificate is."""
        self.sessions = self.made(identify=None)
        self.assertEqual(self.find(), 503)
        self.cluster.state = SimpleNamespace(authorities={"user": ()})  # type: ignore[attr-defined]
        self.assertEqual(self.find(), 503)

    def test_fingerprint(self) -> None:
        """No certificate is called nothing."""
        self.assertIsNone(fingerprint(b""))
        self.assertEqual(len(fingerprint(b"x") or ""), 64)

    def test_secrets(self) -> None:
        """S24: nothing that opens anything is in a repr."""
        self.assertNotIn(COOKIE, repr(KEY))
        self.assertNotIn(repr(DER)[2:40], repr(self.acting()))


class EndTests(ActingCase):
    """Tests for the end of a session."""

    def test_ended(self) -> None:
        """S31: what the watch tells counts at once, a hundred times, and is told on."""
        ended: list[int] = []
        found = self.acting()
        found.on_end(lambda: ended.append(1))
        found.on_end(lambda: ended.append(2))()
        del self.auth.sessions[COOKIE]
        self.cluster.session_ended("sid-other")
        self.assertEqual((ended, self.find()), ([], found))
        self.cluster.session_ended("sid-1")
        self.assertEqual(ended, [1])
        self.assertEqual({self.find() for _ in range(100)}, {401})
        found.on_end(lambda: ended.append(3))
        self.assertEqual(ended, [1, 3])

    def test_on_the_way(self) -> None:
        """An end that is heard before the answer of before counts."""
        self.auth.slow = True
        asking = self.ask()
        self.cluster.session_ended("sid-1")
        self.auth.waiting[0].callback(None)
        self.assertEqual(self.successResultOf(asking), 401)

    def test_left(self) -> None:
        """Who logs out here is out here before anybody tells."""
        self.acting()
        self.sessions.left("another" * 8)
        self.assertEqual(self.auth.verbs(), ["app-certificate"])
        self.sessions.left(COOKIE)
        del self.auth.sessions[COOKIE]
        self.assertEqual(self.find(), 401)

    def test_any(self) -> None:
        """After a gap in the watch nothing is taken for granted."""
        ended: list[int] = []
        self.acting()
        self.cluster.session_ended("")
        self.acting().on_end(lambda: ended.append(1))
        self.assertEqual(self.auth.verbs(), ["app-certificate"] * 2)
        del self.auth.sessions[COOKIE]
        self.cluster.session_ended("")
        self.assertEqual(ended, [1])

    def test_fault(self) -> None:
        """One that fails to follow costs the others nothing."""
        ended: list[int] = []
        found = self.acting()
        found.on_end(lambda: 1 / 0)
        found.on_end(lambda: ended.append(1))
        self.cluster.session_ended("sid-1")
        self.assertEqual(ended, [1])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_other_session(self) -> None:
        """A cookie that has another session now is no more the one of before."""
        ended: list[int] = []
        self.acting().on_end(lambda: ended.append(1))
        self.auth.sessions[COOKIE] = ("sid-2", "alice", "grafana")
        self.auth.now += 3600
        self.assertEqual((self.acting().sid, ended), ("sid-2", [1]))


class LifeTests(ActingCase):
    """Tests for renewal, checks and forgetting."""

    def test_renewed(self) -> None:
        """After two thirds of its life a certificate is replaced beside the requests."""
        before = self.acting()
        ended: list[int] = []
        before.on_end(lambda: ended.append(1))
        self.auth.now += 2401
        self.assertIs(self.acting(), before)
        self.assertIsNot(self.acting(), before)
        self.assertEqual(self.auth.verbs(), ["app-certificate"] * 2)
        self.cluster.session_ended("sid-1")
        self.assertEqual(ended, [1])  # whoever held the old one hears of it still

    def test_expired(self) -> None:
        """A certificate at its end serves nobody; the next request waits for another one."""
        before = self.acting()
        self.auth.now += 3596
        self.assertIsNot(self.acting(), before)

    def test_another_authority(self) -> None:
        """A certificate of an authority that has gone is replaced, and the session goes on."""
        ended: list[int] = []
        before = self.acting()
        before.on_end(lambda: ended.append(1))
        self.auth.now += 10
        self.cluster.anchor = b"new"
        self.wait(16)
        self.assertEqual(self.auth.verbs(), ["app-certificate"] * 2)
        self.assertEqual(ended, [])
        self.cluster.anchor = before.identity.anchor

    def test_used(self) -> None:
        """A session that is used is said to be, once a minute."""
        self.acting()
        for _ in range(59):
            self.auth.now += 1
            self.find()
        self.assertEqual(self.auth.verbs(), ["app-certificate"])
        self.auth.now += 1
        self.auth.slow = True
        self.find()
        self.find()
        self.assertEqual(self.auth.verbs(), ["app-certificate", "app-check"])
        self.auth.waiting[0].callback(None)
        self.find()
        self.assertEqual(self.auth.verbs(), ["app-certificate", "app-check"])

    def test_found_out(self) -> None:
        """That question finds an end which nobody has told of."""
        self.acting()
        del self.auth.sessions[COOKIE]
        self.auth.now += 60
        self.find()
        self.assertEqual(self.find(), 401)

    def test_watched(self) -> None:
        """So is one that has something open, until that is closed; then it is forgotten."""
        off = self.acting().on_end(lambda: None)
        self.wait(620)
        self.assertIn(self.auth.verbs().count("app-check"), range(8, 11))
        off()
        asked = len(self.auth.asked)
        self.wait(620)
        self.assertEqual(len(self.auth.asked), asked)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_away(self) -> None:
        """While the auth service is away sessions go on for a while, and then no longer."""
        ended: list[int] = []
        self.acting().on_end(lambda: ended.append(1))
        self.auth.status = 503
        self.wait(290)
        self.assertEqual(ended, [])
        self.wait(60)
        self.assertEqual(ended, [1])

    def test_end_of_certificate(self) -> None:
        """What nobody renews ends with its certificate."""
        self.auth.life_seconds = 30
        ended: list[int] = []
        self.acting().on_end(lambda: ended.append(1))
        self.auth.status = 503
        self.wait(46)
        self.assertEqual(ended, [1])

    def test_stop(self) -> None:
        """Nothing is left of it, and what was told of before is forgotten in time."""
        self.cluster.session_ended("sid-9")
        self.wait(700)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.acting()
        self.sessions.stop()
        self.sessions.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
