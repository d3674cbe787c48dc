"""Tests for `tlsgate.service.membership`: a gateway follows its cluster, by the clock.

One file, since a membership is followed through one life on one clock.
"""

from __future__ import annotations

import json
import shutil
import stat
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cryptography import x509
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.cluster.states import FakeDoor, event, lock, role, snapshot
from tests.support.authorities import CLUSTER, Cluster
from tlsgate.cluster.view import ClusterView
from tlsgate.core.access import Identity
from tlsgate.core.claims import Claims
from tlsgate.errors import ReloadRefused, Unreachable
from tlsgate.service.jumpkey import JumpKey
from tlsgate.service.membership import FIRST_WORD_SECONDS, Membership
from tlsgate.testing import settings
from tlsgate.tls.certs import CertificateStore
from tlsgate.tls.contexts import ContextStore
from tlsgate.tls.sshhost import SshHost

NAMES = ("gate.example.com", "auth.gate.example.com")


class MembershipCase(SynchronousTestCase):
    """A membership in a cluster with real authorities, behind a door in the test's hands."""

    def setUp(self) -> None:
        self.cluster = Cluster()
        self.folder = Path(tempfile.mkdtemp()) / "gateway"
        self.addCleanup(shutil.rmtree, self.folder.parent)
        self.clock = Clock()
        self.renewals: list[float] = []
        self.renew_error: Exception | None = None
        self.cuts: list[Callable[[Identity], bool]] = []
        self.door = FakeDoor()
        self.member = self.make()

    def make(self) -> Membership:
        """The membership of a new process."""
        self.door = FakeDoor()
        self.door.reply = self.reply
        view = ClusterView(self.cluster.name, self.door, self.clock, self.cluster.clock, mode="x")
        member = Membership(view, self.folder, self.clock, succeed, self.cluster.clock)
        self.addCleanup(member.stop)
        return member

    def reply(self, path: str, body: Any) -> tuple[int, Any]:
        """The auth service's answer."""
        self.assertEqual(path, "/v1/gateway/certificates")
        issued = self.cluster.issuer.gateway_certificate(body["names"], body["tls_public_key"])
        return 200, {"certificate": issued.tls_pem, "chain": "", "not_after": issued.not_after}

    async def renew(self) -> None:
        if self.renew_error is not None:
            raise self.renew_error
        self.renewals.append(self.clock.seconds())

    def begin(self, names: tuple[str, ...] = NAMES) -> Deferred[None]:
        """Start it."""
        return self.run_it(self.member.start(names, self.renew, self.cuts.append))

    def run_it(self, awaitable: Awaitable[None]) -> Deferred[None]:
        async def wait() -> None:
            await awaitable

        return Deferred.fromCoroutine(wait())

    def lines(self, **more: Any) -> dict[str, Any]:
        """A snapshot of the cluster as it is."""
        public = self.cluster.authorities.public()
        return snapshot(cluster=self.cluster.name, authorities=public, **more)

    def started(self) -> None:
        """Begin, and hear the first word."""
        begun = self.begin()
        self.door.live.say(self.lines())
        self.successResultOf(begun)

    def pass_time(self, seconds: float) -> None:
        self.cluster.now += seconds
        self.clock.advance(seconds)

    def shown(self) -> x509.Certificate:
        """The certificate that is shown."""
        trust = self.member.trust
        assert trust is not None
        store = CertificateStore.load(trust.keypairs)
        ContextStore(store).prepare([])  # OpenSSL takes it
        return store.pick(None).pairs[0].chain[0]

    def again(self, **change: Any) -> bool:
        """Start another process on what is kept; whether it starts without the auth service."""
        self.member.stop()
        if change:
            file = self.folder / "state.json"
            file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
        self.member = self.make()
        begun = self.begin()
        return begun.called and not self.door.asked


class FakeJoining:
    """A gateway that has joined."""

    def __init__(self) -> None:
        self.authorities: Callable[[], Sequence[str]] = tuple
        self.renewed: list[bool] = []
        self.due = float("inf")

    async def enter(self) -> Any:
        return SimpleNamespace(name="gw1", cluster=CLUSTER)

    async def renew(self, door: Any, *, at_once: bool) -> float:
        self.renewed.append(at_once)
        return self.due


class ElsewhereTests(MembershipCase):
    """A gateway whose auth service is elsewhere."""

    def setUp(self) -> None:
        self.joining = FakeJoining()
        super().setUp()

    def make(self) -> Membership:
        """The same, by joining; the cluster's name is not known before."""
        made = super().make()
        made._joining = self.joining  # type: ignore[assignment]
        made.view.name = "not known yet"
        made.public = ("web.example:443",)
        return made

    def reply(self, path: str, body: Any) -> tuple[int, Any]:
        self.body = body
        return super().reply(path, body)

    def test_joining_comes_first(self) -> None:
        """The cluster's name, the own name and what clients are told come from the join."""
        self.started()
        self.assertEqual(self.member.view.name, CLUSTER)
        self.assertEqual(self.body["names"], [*NAMES, f"gw1.gateway.{CLUSTER}"])
        self.assertEqual(self.body["public"], ["web.example:443"])
        named = self.member.named(settings(cluster_name="node"))
        self.assertEqual(named.cluster_name, CLUSTER)
        self.assertIs(self.member.named(named), named)
        cas = self.cluster.authorities.cas()["host"]
        self.assertEqual(list(self.joining.authorities()), list(cas))
        told = self.member.told()
        self.assertEqual((told["name"], told["away"], told["age_seconds"]), (CLUSTER, False, 0.0))

    def test_renewal(self) -> None:
        """The host's own certificate is looked at with each, and its end counts as well."""
        self.joining.due = self.cluster.now + 1000.0
        self.started()
        self.assertEqual(self.joining.renewed, [False])
        self.joining.due = float("inf")
        self.pass_time(1001.0)
        self.assertEqual(self.joining.renewed, [False, False])

    def test_before_it_is_heard(self) -> None:
        """Nothing heard is told as such."""
        self.assertIsNone(self.member.told()["age_seconds"])
        self.assertEqual(list(self.member._host_authorities()), [])


class StartTests(MembershipCase):
    """The first word, and a start without one."""

    def test_first_start(self) -> None:
        """It waits for the first word, writes the authorities, and gets a certificate."""
        begun = self.begin()
        self.assertNoResult(begun)
        self.assertIsNone(self.member.trust)
        self.door.live.say(self.lines())
        self.successResultOf(begun)
        trust = self.member.trust
        assert trust is not None
        self.assertEqual(sorted(trust.ca_files), ["host", "user"])
        for kind, file in trust.ca_files.items():
            pems = b"".join(self.cluster.authorities.trusted(kind))
            self.assertEqual(Path(file).read_bytes(), pems)
        names = self.shown().extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(set(names.get_values_for_type(x509.DNSName)), set(NAMES))
        self.assertEqual(stat.S_IMODE(self.folder.stat().st_mode), 0o700)
        modes = {stat.S_IMODE(file.stat().st_mode) for file in self.folder.iterdir()}
        self.assertEqual(modes, {0o600})
        ((method, _, body, _, as_anyone),) = self.door.asked
        self.assertEqual((method, body["names"], as_anyone), ("POST", list(NAMES), False))
        self.assertNotIn("PRIVATE", body["tls_public_key"])
        self.assertEqual(self.renewals, [])  # whoever starts it builds the gate

    def test_no_first_word(self) -> None:
        """Where nothing is kept and nothing is said, the start fails after a while."""
        begun = self.begin()
        self.pass_time(FIRST_WORD_SECONDS)
        self.assertIn("said nothing", str(self.failureResultOf(begun, Unreachable).value))

    def test_refused(self) -> None:
        """A start without a certificate fails with the auth service's own words."""
        for body, said in (
            ({"error": {"message": "not for you"}}, "not for you"),
            ({"error": "?"}, "status 403"),
            (None, "status 403"),
        ):
            self.member = self.make()
            self.door.answers = [(403, body)]
            begun = self.begin()
            self.door.live.say(self.lines())
            self.assertIn(said, str(self.failureResultOf(begun, Unreachable).value))

    def test_kept(self) -> None:
        """A second start needs no auth service, and has every lock that was known."""
        self.started()
        self.door.live.say(event("lock", "l", lock("l", user="eve")))
        self.assertTrue(self.again())
        self.assertEqual(self.door.asked, [])
        state = self.member.view.state
        assert state is not None
        self.assertEqual([one.name for one in state.locks], ["l"])
        self.assertEqual(self.member.view.stale_seconds, 0.0)  # as old as when it was kept
        self.shown()
        # What is said later counts, and costs no new certificate where nothing differs.
        self.door.live.say(self.lines())
        self.pass_time(1)
        self.assertEqual((len(state.locks), len(self.door.asked)), (1, 0))

    def test_kept_and_due(self) -> None:
        """A certificate that is due is good for a start; it is renewed at once."""
        self.started()
        left = self.shown().not_valid_after_utc.timestamp() - self.cluster.now
        self.member.stop()
        self.pass_time(left * 0.9)
        self.assertTrue(self.again())
        self.clock.advance(0)
        self.assertEqual((len(self.door.asked), len(self.renewals)), (1, 1))

    def test_not_kept(self) -> None:
        """What is over, of other names or another cluster, or broken, is not taken up."""
        self.started()
        self.assertTrue(self.again())
        for change in (
            {"names": ["gate.example.com", "other.example.com"]},
            {"names": 5},
            {"snapshot": None},
            {"snapshot": snapshot(cluster="other")},
            {"renew_at": "soon"},
        ):
            kept = (self.folder / "state.json").read_text()
            self.assertFalse(self.again(**change), change)
            (self.folder / "state.json").write_text(kept)
        for file in ("user.pem", "cluster.pem", "state.json"):
            content = (self.folder / file).read_bytes()
            for broken in (None, b"broken"):
                if file == "user.pem" and broken:
                    continue
                (self.folder / file).unlink()
                if broken is not None:
                    (self.folder / file).write_bytes(broken)
                self.assertFalse(self.again(), (file, broken))
                (self.folder / file).write_bytes(content)
        self.assertTrue(self.again())
        self.pass_time(10 * 366 * 86400)
        self.assertFalse(self.again())

    def test_a_disk_that_is_full(self) -> None:
        """What cannot be kept does not keep the gateway from serving."""
        self.started()
        (self.folder / "state.json").unlink()
        (self.folder / "state.json").mkdir()
        self.door.live.say(event("lock", "l", lock("l", user="eve")))
        state = self.member.view.state
        assert state is not None
        self.assertEqual(len(state.locks), 1)


class ChangeTests(MembershipCase):
    """What comes later."""

    def setUp(self) -> None:
        super().setUp()
        self.started()

    def test_renewed_in_time(self) -> None:
        """After two thirds of its life a certificate is replaced, and the gate built anew."""
        first = self.shown()
        life = first.not_valid_after_utc.timestamp() - self.cluster.now
        self.pass_time(life * 2 / 3 - 60)
        self.assertEqual(len(self.door.asked), 1)
        self.pass_time(61)
        self.assertEqual((len(self.door.asked), len(self.renewals)), (2, 1))
        self.assertNotEqual(self.shown().serial_number, first.serial_number)
        self.pass_time(life * 2 / 3 + 1)
        self.assertEqual(len(self.renewals), 2)

    def test_a_renewal_that_fails(self) -> None:
        """It is tried again until it succeeds, whatever went wrong; the old one stays."""
        first = self.shown().serial_number
        due = self.member._renew_at - self.cluster.now
        self.door.answers = [Unreachable("the auth service", "x")]
        self.pass_time(due)
        self.assertEqual((self.renewals, self.shown().serial_number), ([], first))
        self.door.answers = [(503, {"error": {"message": "x"}})]
        self.pass_time(30)
        self.renew_error = ReloadRefused(["a reload came in between"])
        self.pass_time(30)
        self.renew_error = OSError("disk full")
        self.pass_time(30)
        self.renew_error = RuntimeError("bug")
        self.pass_time(30)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(self.renewals, [])
        self.renew_error = None
        self.pass_time(30)
        self.assertEqual(len(self.renewals), 1)
        self.pass_time(300)
        self.assertEqual(len(self.renewals), 1)

    def test_a_rotation(self) -> None:
        """A changed authority is written and the gate built anew, at once."""
        self.cluster.rotate("user", "init")
        public = self.cluster.authorities.public()["user"]
        self.door.live.say(event("cert_authority", "user", public))
        self.clock.advance(0)
        trust = self.member.trust
        assert trust is not None
        pems = b"".join(self.cluster.authorities.trusted("user"))
        self.assertEqual(Path(trust.ca_files["user"]).read_bytes(), pems)
        self.assertEqual(len(self.renewals), 1)
        # Said again, it is nothing new.
        self.door.live.say(event("cert_authority", "user", public))
        self.door.live.say(self.lines())
        self.clock.advance(0)
        self.assertEqual(len(self.renewals), 1)

    def test_a_rotation_of_host_keys(self) -> None:
        """The jump host's certificate is followed too: another key signs those of SSH."""
        for phase, renewals in (("init", 0), ("update_clients", 0), ("update_servers", 1)):
            self.cluster.rotate("ssh_host", phase)
            public = self.cluster.authorities.public()["ssh_host"]
            self.door.live.say(event("cert_authority", "ssh_host", public))
            self.clock.advance(0)
            self.assertEqual((phase, len(self.renewals)), (phase, renewals))
            self.assertEqual(self.member.followed()["ssh_host"], public["revision"])

    def test_what_is_followed(self) -> None:
        """A step counts as taken up when the gate has been built anew, and that is told."""
        before, told = self.member.followed(), []
        self.member.on_followed = lambda: told.append(self.member.followed())
        self.cluster.rotate("user", "init")
        public = self.cluster.authorities.public()["user"]
        self.door.live.say(event("cert_authority", "user", public))
        self.assertEqual(told, [before])
        self.clock.advance(0)
        self.assertEqual(told[1:], [{**before, "user": public["revision"]}])

    def test_s52_locks(self) -> None:
        """Each lock ends its holder's connections within the same turn, a snapshot's too."""
        alice = Identity(claims=self.cluster.user("alice"))
        bob = Identity(claims=self.cluster.user("bob"))
        self.cuts.clear()
        self.door.live.say(event("lock", "l", lock("l", user="alice")))
        (meant,) = self.cuts
        self.assertEqual([meant(alice), meant(bob)], [True, False])
        self.cuts.clear()
        self.door.live.say(self.lines(locks=[lock("m", user="bob")]))
        (meant,) = self.cuts
        self.assertEqual([meant(alice), meant(bob)], [False, True])

    def test_what_is_kept_follows(self) -> None:
        """Roles and locks are written down as they change."""
        for kind, name, resource in (
            ("role", "dev", role("dev")),
            ("lock", "l", lock("l", role="x")),
        ):
            self.door.live.say(event(kind, name, resource))
            kept = json.loads((self.folder / "state.json").read_text())["snapshot"]
            names = [one["metadata"]["name"] for one in kept[f"{kind}s"]]
            self.assertIn(name, names)

    def test_users_are_kept_soon(self) -> None:
        """Changes of users are written down together, and at the end at the latest."""

        def kept() -> list[str]:
            snapshot = json.loads((self.folder / "state.json").read_text())["snapshot"]
            return [one["name"] for one in snapshot["users"]]

        self.door.live.say(self.lines(users=[]))
        self.cuts.clear()
        person = {"metadata": {"name": "x"}, "spec": {"roles": ["access"], "traits": {}}}
        for name in ("ann", "bob"):
            self.door.live.say(event("user", name, person))
        self.assertEqual((kept(), len(self.cuts)), ([], 2))
        self.clock.advance(1)
        self.assertEqual(kept(), ["ann", "bob"])
        self.door.live.say(event("user", "ann", None))
        self.member.stop()
        self.assertEqual(kept(), ["bob"])

    def test_new_names(self) -> None:
        """A reload that brings names gets a certificate for them first; fewer names need none."""
        self.successResultOf(self.run_it(self.member.follow(NAMES[:1])))
        self.assertEqual(len(self.door.asked), 1)
        more = (*NAMES, "kube.gate.example.com")
        for _ in range(2):  # one that failed has changed nothing
            self.door.answers = [Unreachable("the auth service", "x")]
            self.failureResultOf(self.run_it(self.member.follow(more)), Unreachable)
        self.successResultOf(self.run_it(self.member.follow(more)))
        self.assertEqual(self.door.asked[-1][2]["names"], list(more))
        names = self.shown().extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertIn(more[-1], names.get_values_for_type(x509.DNSName))

    def test_s52_while_connections_drain(self) -> None:
        """Locks hold to the end of a drain; nothing else is done any more."""
        self.member.linger()
        before = (self.folder / "state.json").read_bytes()
        self.cuts.clear()
        self.door.live.say(event("lock", "l", lock("l", user="alice")))
        self.assertEqual(len(self.cuts), 1)
        self.pass_time(400 * 86400)
        self.assertEqual((len(self.door.asked), self.renewals), (1, []))
        self.assertEqual((self.folder / "state.json").read_bytes(), before)

    def test_stopped(self) -> None:
        """After the stop nothing is asked, cut or written."""
        before = (self.folder / "state.json").read_bytes()
        say = self.door.live.say
        self.member.stop()
        self.assertTrue(self.door.watches[0].stopped)
        say(event("role", "dev", role("dev")))
        self.pass_time(400 * 86400)
        self.assertEqual((len(self.door.asked), self.renewals), (1, []))
        self.assertEqual((self.folder / "state.json").read_bytes(), before)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.member.stop()


class SshTests(MembershipCase):
    """The key that is shown to SSH clients, and its certificate."""

    def setUp(self) -> None:
        self.refuses = False
        self.certifies = True
        super().setUp()

    def make(self) -> Membership:
        """One that has a jump host."""
        made = super().make()
        made._jump_key = JumpKey(self.folder, self.folder)
        return made

    def reply(self, path: str, body: Any) -> tuple[int, Any]:
        """An auth service that certifies the key, knows none, or gives no certificate."""
        line = body.get("ssh_public_key")
        if line is not None and self.refuses:
            return 400, {"error": {"message": "ssh_public_key: not known"}}
        status, answer = super().reply(path, body)
        if line is None or not self.certifies:
            return status, answer
        claims = Claims(cluster=CLUSTER, kind="host", name="gw", system_roles=("gateway",))
        issued = self.cluster.issuer.host_certificate(
            claims, body["tls_public_key"], ssh_public_key=line
        )
        return status, {**answer, "ssh_certificate": issued.ssh}

    def shown_to_ssh(self) -> SshHost:
        """What a jump host shows."""
        trust = self.member.trust
        assert trust is not None and trust.ssh_host is not None
        return SshHost.load(trust.ssh_host)

    def test_certified(self) -> None:
        """The key is made once and certified; a start without the auth service shows both."""
        self.started()
        shown = self.shown_to_ssh()
        self.assertTrue(shown.certificate)
        self.assertTrue(self.again())
        self.assertEqual(self.shown_to_ssh().certificate, shown.certificate)

    def test_older_auth(self) -> None:
        """An auth service that knows no such key still gives the rest; the plain key is shown."""
        self.refuses = True
        self.started()
        self.assertEqual(self.shown_to_ssh().certificate, b"")

    def test_kept_by_an_older_version(self) -> None:
        """Where no certificate is kept, one is asked for soon."""
        self.certifies = False
        self.started()
        self.certifies = True
        self.assertTrue(self.again())
        self.door.live.say(self.lines())
        self.pass_time(0.0)
        self.assertTrue(self.shown_to_ssh().certificate)

    def test_broken(self) -> None:
        """A certificate that does not belong to the key is not shown, and is no fault at start."""
        self.started()
        (self.folder / "ssh_host_ed25519_key-cert.pub").write_text("nonsense")
        self.again()
        self.assertEqual(self.shown_to_ssh().certificate, b"")
        self.assertEqual(len(self.flushLoggedErrors()), 0)
        (self.folder / "ssh_host_ed25519_key").unlink()
        self.again()
        trust = self.member.trust
        assert trust is not None
        self.assertIsNone(trust.ssh_host)
