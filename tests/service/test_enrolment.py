"""Tests for `tlsgate.service.enrolment`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.cluster.states import FakeDoor, event, lock, snapshot
from tests.support.authorities import Cluster, p256, ssh_line
from tlsgate.cluster.hostfiles import HostFiles
from tlsgate.cluster.joining import Joining
from tlsgate.cluster.view import ClusterView
from tlsgate.config.settings import Join
from tlsgate.core.offers import Offer
from tlsgate.errors import NotJoined, Unreachable
from tlsgate.service.enrolment import FIRST_WORD_SECONDS, Enrolment

JOIN = Join(
    servers=("gate.example.com:443",),
    cluster=None,
    token="the token",
    pins=("sha256:" + "ab" * 32,),
    unsafe_no_pin=False,
)


class FakeSsh:
    """What sshd shows."""

    def __init__(self) -> None:
        self.is_certified = self.is_following = True
        self.kept: list[str | None] = []
        self.line = ssh_line(p256())

    def public_key(self) -> str:
        """The key."""
        return self.line

    def keep(self, certificate: str | None) -> None:
        """Take its certificate."""
        self.kept.append(certificate)


class EnrolmentTests(SynchronousTestCase):
    """Tests for `Enrolment`."""

    def setUp(self) -> None:
        self.cluster = Cluster()
        self.folder = Path(self.mktemp()).absolute() / "agent"
        self.offers = [Offer(kind="node", name="db1")]
        self.renewals = self.relabels = 0
        self.labels: Any = None
        self.gateways: list[Any] = []
        self.make()

    def make(self, **more: Any) -> None:
        """The enrolment of a new process."""
        self.clock: Any = Clock()
        self.door = FakeDoor()
        self.door.reply = self.reply
        self.bodies: list[tuple[str, Any]] = []
        self.beats: Any = (200, {"next_seconds": 60, "expires": 0})
        join = evolve(JOIN, **more)
        files = HostFiles(self.folder, "node")
        joining = Joining(join, "db1", files, self.clock, self.cluster.clock)
        self.patch(joining, "_dial", lambda *_: self.door)
        self.view = ClusterView("?", self.door, self.clock, self.cluster.clock, mode="multiplex")
        self.ssh = FakeSsh()
        self.enrolment = Enrolment(
            joining,
            self.view,
            self.ssh,
            self.folder,
            self.clock,
            renewed=self.renewed,
            relabelled=self.relabelled,
            told_of=self.gateways.append,
            offers=lambda: self.offers,
            hostname="host",
            now=self.cluster.clock,
        )

    def renewed(self) -> None:
        """Count it."""
        self.renewals += 1

    def relabelled(self) -> None:
        """Count it."""
        self.relabels += 1

    def reply(self, path: str, body: Any) -> tuple[int, Any]:
        """What the auth service says."""
        self.bodies.append((path, body))
        if path == "/v1/agent/heartbeat":
            if isinstance(self.beats, Exception):
                raise self.beats
            return self.beats  # type: ignore[no-any-return]
        issued = self.cluster.issuer.host_certificate(
            self.cluster.host("db1", "node"),
            body["tls_public_key"],
            ssh_public_key=body["ssh_public_key"],
        )
        cas = {kind: list(texts) for kind, texts in issued.cas.items()}
        answer = {"certificate": issued.tls_pem, "ssh_certificate": issued.ssh, "cas": cas}
        return 200, answer if self.labels is None else {**answer, "labels": self.labels}

    def hear(self, **more: Any) -> None:
        """The first word of the auth service."""
        public = self.cluster.authorities.public()
        self.door.live.say(snapshot(cluster=self.cluster.name, authorities=public, **more))

    def start(self) -> None:
        """Join, and hear."""
        starting = Deferred.fromCoroutine(self.enrolment.start())
        if self.view.state is None:
            self.assertNoResult(starting)
            self.hear()
        self.successResultOf(starting)

    def asked(self, path: str) -> list[Any]:
        """The bodies of questions."""
        return [body for at, body in self.bodies if at == path]

    def test_a_first_start(self) -> None:
        """It joins, keeps what sshd shows, hears, and tells what it offers."""
        self.start()
        (body,) = self.asked("/v1/join")
        self.assertEqual((body["type"], body["name"], body["token"]), ("node", "db1", "the token"))
        self.assertEqual(body["ssh_public_key"], self.ssh.line)
        self.assertIn("-cert-v01@openssh.com ", str(self.ssh.kept[0]))
        self.assertEqual(self.view.name, self.cluster.name)
        self.clock.advance(1)
        (beat,) = self.asked("/v1/agent/heartbeat")
        self.assertEqual(beat["offers"], [self.offers[0].told()])
        self.assertEqual(beat["sshd"], {"certified": True})
        told = self.enrolment.told()
        self.assertEqual(
            (told["name"], told["away"], told["strict"]), (self.cluster.name, False, False)
        )

    def test_again_without_a_token_or_anybody(self) -> None:
        """What was kept is enough: no token, no question, and the locks that were heard."""
        self.start()
        self.door.live.say(event("lock", "l", lock("l", user="alice")))
        self.clock.advance(1)
        self.enrolment.stop()
        self.make(token=None, pins=())
        starting = Deferred.fromCoroutine(self.enrolment.start())
        self.successResultOf(starting)
        self.assertEqual(self.asked("/v1/join"), [])
        state: Any = self.view.state
        self.assertTrue(state.locks)
        self.assertTrue(self.enrolment.told()["away"])

    def test_the_labels_of_its_token(self) -> None:
        """They come with the certificate, are kept over a restart, and change with a word."""
        self.labels = {"env": "prod"}
        self.start()
        self.assertEqual((self.enrolment.labels, self.relabels), ({"env": "prod"}, 0))
        self.beats = (200, {"labels": {"env": "dev"}})
        self.clock.advance(1)
        self.assertEqual((self.enrolment.labels, self.relabels), ({"env": "dev"}, 1))
        self.labels = None  # an older auth service takes none away
        self.renew()
        for odd in ("env", ["env"], {"env": 1}, None):
            self.beats = (200, {"labels": odd})
            self.enrolment.beat()
            self.clock.advance(1)
        self.enrolment.stop()
        self.make(token=None, pins=())
        self.start()
        self.assertEqual((self.enrolment.labels, self.relabels), ({"env": "dev"}, 1))

    def test_where_gateways_are(self) -> None:
        """The auth service says so with each answer to a heartbeat; an older one does not."""
        self.start()
        for said, want in (
            (["gate.example.com:443"], ["gate.example.com:443"]),
            ([1, "", "x" * 300, "b:1"], ["b:1"]),
            ("odd", []),
        ):
            self.beats = (200, {"gateways": said})
            self.enrolment.beat()
            self.clock.advance(1)
            self.assertEqual(list(self.gateways[-1]), want)

    def test_nobody_is_heard(self) -> None:
        """After a while it goes on without: everybody is refused meanwhile."""
        starting = Deferred.fromCoroutine(self.enrolment.start())
        self.clock.advance(FIRST_WORD_SECONDS)
        self.successResultOf(starting)
        self.assertIsNone(self.enrolment.told()["age_seconds"])

    def test_it_cannot_join(self) -> None:
        """Why stands in the error; nothing runs on."""
        self.door.answers = [(401, {"error": {"message": "bad join token"}})]
        starting = Deferred.fromCoroutine(self.enrolment.start())
        self.assertIn("--type=node", str(self.failureResultOf(starting, NotJoined).value))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.enrolment.stop()

    def test_it_stops_while_it_waits(self) -> None:
        """A daemon that is told to end does not wait for a first word."""
        starting = Deferred.fromCoroutine(self.enrolment.start())
        self.enrolment.stop()
        self.successResultOf(starting)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def renew(self) -> None:
        """Two thirds of the certificate's life are over."""
        self.cluster.now = self.enrolment.joined.renew_at + 1
        call = self.enrolment._calls["renew"]
        call.reset(0)
        self.clock.advance(0)

    def test_renewal(self) -> None:
        """At two thirds of its life there is another certificate, and it is used."""
        self.start()
        before = self.enrolment.joined
        self.renew()
        self.assertEqual((self.renewals, len(self.asked("/v1/me/certificates"))), (1, 1))
        self.assertGreater(self.enrolment.joined.not_after, before.not_after)

    def test_a_renewal_that_fails(self) -> None:
        """It is tried again soon, and what is there is used meanwhile."""
        self.start()
        self.clock.advance(1)
        self.door.answers = [Unreachable("x", "y")]
        self.renew()
        self.assertEqual(self.renewals, 0)
        self.clock.advance(30)
        self.assertEqual(self.renewals, 1)

    def test_a_rotation(self) -> None:
        """Another authority is followed at once."""
        self.start()
        self.cluster.rotate("host", "init")
        self.hear()
        self.clock.advance(0)
        self.assertEqual(len(self.asked("/v1/me/certificates")), 1)
        self.assertEqual(len(self.enrolment.joined.cas), 2)

    def test_a_rotation_of_host_keys(self) -> None:
        """Another key signs what sshd shows: it is certified anew, by a later process too."""
        self.start()
        before = len(self.ssh.kept)
        for phase in ("init", "update_clients"):
            self.cluster.rotate("ssh_host", phase)
            self.hear()
            self.clock.advance(0)
        self.assertEqual(self.asked("/v1/me/certificates"), [])
        self.door.answers = [Unreachable("x", "y")]
        self.cluster.rotate("ssh_host", "update_servers")
        self.hear()
        self.clock.advance(0)
        self.enrolment.stop()  # before the next try
        self.make(token=None, pins=())
        self.start()
        self.hear()
        self.clock.advance(0)
        self.assertEqual(len(self.asked("/v1/me/certificates")), 1)
        self.assertEqual(len(self.ssh.kept), 1)
        self.assertEqual(before, 1)

    def test_what_is_followed(self) -> None:
        """A step is told when it is taken up, and not again for nothing."""
        self.start()
        self.clock.advance(1)
        path = "/v1/agent/heartbeat"
        beats = self.asked(path)
        self.assertEqual(beats[-1]["authorities"], self.view.revisions)
        self.hear()
        self.clock.advance(1)
        self.assertEqual(len(self.asked(path)), len(beats))
        self.ssh.is_following = False
        before = dict(self.view.revisions)
        self.cluster.rotate("ssh_user", "init")
        self.hear()
        self.assertEqual(self.enrolment.followed(), before)
        self.ssh.is_following = True
        self.hear()
        self.clock.advance(1)
        self.assertEqual(self.asked(path)[-1]["authorities"], self.view.revisions)
        self.assertNotEqual(before, self.view.revisions)

    def test_a_beat_during_a_beat(self) -> None:
        """What has changed since a heartbeat went out is told right after its answer."""
        waiting: Deferred[None] = Deferred()
        asked = self.door.ask
        path = "/v1/agent/heartbeat"

        async def ask(method: str, at: str, body: Any = None, **more: Any) -> Any:
            answer = await asked(method, at, body, **more)
            if at == path and len(self.asked(path)) == 1:
                await waiting
            return answer

        self.patch(self.door, "ask", ask)
        self.start()
        self.clock.advance(1)
        self.enrolment.beat()
        self.clock.advance(1)
        self.assertEqual(len(self.asked(path)), 1)
        waiting.callback(None)
        self.clock.advance(1)
        self.assertEqual(len(self.asked(path)), 2)

    def test_a_change_during_a_renewal(self) -> None:
        """What changes while an answer is awaited is followed right after it."""
        self.start()
        reply = self.reply

        def rotated(path: str, body: Any) -> tuple[int, Any]:
            answer = reply(path, body)
            if path == "/v1/me/certificates" and len(self.asked(path)) == 1:
                for phase in ("update_clients", "update_servers"):
                    self.cluster.rotate("host", phase)
                self.hear()
            return answer

        self.door.reply = rotated
        self.cluster.rotate("host", "init")
        self.hear()
        self.clock.advance(0)
        self.assertEqual(len(self.asked("/v1/me/certificates")), 1)
        self.clock.advance(1)
        self.assertEqual(len(self.asked("/v1/me/certificates")), 2)
        self.clock.advance(10)
        self.assertEqual(len(self.asked("/v1/me/certificates")), 2)

    def test_another_key_of_sshd(self) -> None:
        """A key without a certificate gets one at the start."""
        self.ssh.is_certified = False
        self.start()
        self.clock.advance(1)
        self.assertEqual(len(self.asked("/v1/me/certificates")), 1)
        self.assertEqual(len(self.ssh.kept), 2)

    def test_heartbeats(self) -> None:
        """Each minute, soon after a change, and again soon where one was not taken."""
        self.start()
        self.clock.advance(1)
        for seconds, count in ((59, 1), (2, 2)):
            self.clock.advance(seconds)
            self.assertEqual(len(self.asked("/v1/agent/heartbeat")), count)
        self.offers = []
        self.enrolment.beat()
        self.enrolment.beat()
        self.clock.advance(0.5)
        self.assertEqual(self.asked("/v1/agent/heartbeat")[-1]["offers"], [])
        self.assertEqual(len(self.asked("/v1/agent/heartbeat")), 3)
        for beats in (Unreachable("x", "y"), (403, {"error": {"message": "locked"}}), (500, 1)):
            self.beats = beats
            self.enrolment.beat()
            self.clock.advance(0.5)
            count = len(self.asked("/v1/agent/heartbeat"))
            self.clock.advance(5)
            self.assertEqual(len(self.asked("/v1/agent/heartbeat")), count + 1)
        self.beats = (200, {})
        self.clock.advance(5)
        count = len(self.asked("/v1/agent/heartbeat"))
        self.clock.advance(59)
        self.assertEqual(len(self.asked("/v1/agent/heartbeat")), count)

    def test_files_of_sshd_that_cannot_be_kept(self) -> None:
        """The tunnel does not depend on them."""

        def broken(*_: object) -> Any:
            raise OSError(28, "No space left on device")

        self.patch(self.ssh, "public_key", broken)
        self.patch(self.ssh, "keep", broken)
        self.door.reply = self.without_ssh
        self.start()
        self.assertEqual(self.enrolment.joined.name, "db1")

    def without_ssh(self, path: str, body: Any) -> tuple[int, Any]:
        """An answer to who has shown no key for it."""
        if path != "/v1/join":
            return 200, {}
        self.assertNotIn("ssh_public_key", body)
        issued = self.cluster.issuer.host_certificate(
            self.cluster.host("db1", "node"), body["tls_public_key"]
        )
        return 200, {"certificate": issued.tls_pem, "cas": {"host": list(issued.cas["host"])}}

    def test_it_lingers(self) -> None:
        """While it drains nothing is renewed or told, and what is heard still counts."""
        self.start()
        self.enrolment.linger()
        self.enrolment.beat()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.door.live.say(event("lock", "l", lock("l", user="alice")))
        state: Any = self.view.state
        self.assertTrue(state.locks)
        self.enrolment.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
