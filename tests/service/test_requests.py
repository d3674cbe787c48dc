"""Tests for `tlsgate.service.requests`: an agent's own decision, dial and end.

One file, though a long one: who was let in is looked at again with the parts that let them in.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.cluster.states import FakeDoor, event, lock, role, snapshot
from tests.net.rig import FakeReactor
from tests.support.authorities import Cluster, p256, spki, ssh_line
from tlsgate.cluster.view import ClusterView
from tlsgate.config.settings import OfferSettings, Timeouts
from tlsgate.core.offers import Answered, Asked, Offer
from tlsgate.errors import TargetDenied
from tlsgate.interfaces import IAudit
from tlsgate.net.ends import PlainEnd
from tlsgate.net.lease import Lease
from tlsgate.net.owner import Owned
from tlsgate.net.poller import Poller
from tlsgate.net.wheel import Wheel
from tlsgate.service.judging import Judge
from tlsgate.service.requests import Requests
from tlsgate.targets import openings
from tlsgate.tls.fast import Slab
from tlsgate.tunnel.dialling import Means

TIMEOUTS = Timeouts(
    prelude_seconds=5.0,
    opening_seconds=10.0,
    dial_seconds=10.0,
    idle_seconds=3600.0,
    write_stall_seconds=30.0,
    close_seconds=60.0,
    lifetime_seconds=None,
    drain_seconds=300.0,
)


DENIED = TargetDenied.reason


@implementer(IAudit)
class Audit:
    """Events, in order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    def emit(self, event: str, fields: Mapping[str, object]) -> None:
        """Keep one."""
        self.events.append((event, fields))


class FakeRequest:
    """A stream's request."""

    def __init__(self, end: Any = None) -> None:
        self.answered: list[Answered] = []
        self.accepted = 0
        self.open = True
        self.cancelled: Any = None
        self._end = end

    def accept(self) -> Any:
        """The target is reached."""
        self.accepted += 1
        return self._end

    def refuse(self, answered: Answered) -> None:
        """It is not."""
        self.answered.append(answered)


class RequestsCase(SynchronousTestCase):
    """An agent's view of a cluster, and requests."""

    def setUp(self) -> None:
        self.cluster = Cluster()
        self.reactor = FakeReactor()
        self.door = FakeDoor()
        clock: Any = self.reactor
        self.view = ClusterView(
            self.cluster.name, self.door, clock, self.cluster.clock, mode="multiplex"
        )
        self.view.start()
        self.snapshot()
        poller = Poller(clock)
        self.addCleanup(poller.close)
        self.means = Means(
            reactor=clock,
            poller=poller,
            wheel=Wheel(clock),
            slab=Slab(),
            now=clock.seconds,
            time=self.cluster.clock,
            environ={},
        )
        self.offers = {
            ("node", "db1"): Offer(
                kind="node",
                name="db1",
                labels={"env": "prod"},
                addresses=("127.0.0.1:1", "db.internal:22"),
            )
        }
        self.journal: list[Any] = []
        self.audit = Audit()
        self.found: Any = []
        judge = Judge(
            self.view, lambda kind, name: self.offers.get((kind, name)), self.cluster.clock
        )
        self.requests = Requests(
            self.means,
            judge,
            lambda: TIMEOUTS,
            self.resolve,
            self.journal.append,
            self.audit,
            self.settings,
            self.door,
            openings(),
        )
        self.view.on_change(lambda _: self.requests.look())

    def settings(self, kind: str, name: str) -> OfferSettings:
        """What the file says of an offer."""
        offer = self.offers[kind, name]
        return OfferSettings(kind=offer.kind, name=name, addresses=offer.addresses)

    def resolve(self, host: str, port: int) -> Deferred[Any]:
        """Look a name up; the test knows what it means."""
        self.looked_up = (host, port)
        found: Deferred[Any] = Deferred()
        if isinstance(self.found, Deferred):
            return self.found
        if isinstance(self.found, Exception):
            found.errback(self.found)
        else:
            kind = socket.SOCK_STREAM
            found.callback(
                [
                    (
                        socket.AF_INET6 if ":" in one else socket.AF_INET,
                        kind,
                        6,
                        "",
                        (one, port, 0, 0) if ":" in one else (one, port),
                    )
                    for one in self.found
                ]
            )
        return found

    def snapshot(self, **more: Any) -> None:
        """The cluster says what it knows."""
        public = self.cluster.authorities.public()
        line = snapshot(
            cluster=self.cluster.name,
            authorities=public,
            roles=[role("access", node_labels={"env": "prod"}, logins=["root"])],
            users=[{"name": "alice", "roles": ["access"], "traits": {}}],
            **more,
        )
        self.door.live.say(line)

    def certificate(self, name: str = "alice", cluster: Cluster | None = None) -> bytes:
        """A user's X.509 certificate."""
        made = cluster or self.cluster
        claims = made.user(name, roles=("access",))
        issued = made.issuer.user_certificates(claims, spki(p256()))
        first = x509.load_pem_x509_certificates(issued.tls_pem.encode())[0]
        return first.public_bytes(Encoding.DER)

    def asked(self, **more: Any) -> Asked:
        """What a gateway asks."""
        said = {
            "kind": "node",
            "name": "db1",
            "user": "alice",
            "client": "192.0.2.7:4711",
            **more,
        }
        if "certificate" not in said and "ssh_certificate" not in said:
            said["certificate"] = self.certificate()
        return Asked(**said)

    def ask(self, end: Any = None, **more: Any) -> FakeRequest:
        """A request arrives."""
        request = FakeRequest(end)
        self.requests.asked(self.asked(**more), request)
        for _ in range(5):
            self.reactor.turn()
        return request

    def refused(self, **more: Any) -> str:
        """The sentence of a refusal."""
        request = self.ask(**more)
        (answered,) = request.answered
        self.assertEqual((request.accepted, self.requests.served), (0, set()))
        self.assertEqual(self.audit.events[-1][0], "agent.deny")
        self.assertFalse(answered.good)
        return answered.message


class DecisionTests(RequestsCase):
    """Who is let in."""

    def test_allowed(self) -> None:
        """A user whose role has the node's labels; the first address is dialled."""
        request = self.ask()
        self.assertEqual(request.answered[0].reason, "target_refused")  # nobody listens there
        self.assertNotIn("may not", request.answered[0].message)

    def test_by_an_openssh_certificate(self) -> None:
        """The jump host has nothing else; it is verified the same."""
        for cluster, good in ((self.cluster, True), (Cluster(), False)):
            key = p256()
            claims = cluster.user(roles=("access",))
            issued = cluster.issuer.user_certificates(claims, spki(key), ssh_line(key))
            request = self.ask(certificate=b"", ssh_certificate=issued.ssh)
            self.assertEqual(request.answered[0].reason == DENIED, not good)
        self.refused(ssh_certificate="ssh-rsa x")
        self.refused(certificate=b"")

    def test_s41_a_gateway_that_was_taken(self) -> None:
        """It can neither name another user, nor show a certificate of its own making."""
        self.assertIn("somebody else's", self.refused(user="bob"))
        theirs = self.certificate(cluster=Cluster())
        self.assertIn("no authority of this cluster", self.refused(certificate=theirs))
        self.assertIn("malformed", self.refused(certificate=b"0" * 100))

    def test_expired(self) -> None:
        """A certificate that has ended is told so."""
        der = self.certificate()
        self.cluster.now += 40 * 3600
        self.assertIn("has ended", self.refused(certificate=der))

    def test_labels_and_roles(self) -> None:
        """Another label, a role that is gone, a user that is gone, a lock: refused."""
        self.door.live.say(event("lock", "l", lock("l", user="alice")))
        self.assertIn("alice may not reach node db1: ", self.refused())
        self.door.live.say(event("lock", "l", None))
        node = self.offers["node", "db1"]
        self.offers["node", "db1"] = Offer(kind="node", name="db1", addresses=node.addresses)
        self.refused()
        self.offers["node", "db1"] = node
        self.door.live.say(event("user", "alice", None))
        self.refused()

    def test_nothing_is_heard_yet(self) -> None:
        """Without a word of the auth service nobody is let in."""
        self.view.state = None
        self.assertIn("has not heard the auth service", self.refused())

    def test_strict_and_stale(self) -> None:
        """Where locks are strict what is known is good for so long and no longer."""
        strict = {"metadata": {"name": "x"}, "spec": {"locking_mode": "strict"}}
        self.snapshot(auth_preference=strict)
        self.assertEqual(self.ask().answered[0].reason, "target_refused")
        self.reactor.advance(self.view.stale_limit_seconds + 1)
        self.assertIn("locks are strict", self.refused())

    def test_what_is_not_offered(self) -> None:
        """Another node, or another address, is refused whatever the role says."""
        self.assertIn("does not offer it", self.refused(name="db2"))
        for address in ("169.254.169.254:80", "[::1]:22", "127.0.0.1:2"):
            said = self.refused(address=address)
            self.assertIn("none of those in the configuration", said)

    def test_a_bug_is_no_door(self) -> None:
        """Whatever fails inside, the request is refused and the stream goes on."""

        def broken(*_: object) -> Any:
            raise ZeroDivisionError

        self.patch(self.view, "decide_target", broken)
        request = self.ask()
        self.assertEqual(request.answered[0].reason, "error")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class NameTests(RequestsCase):
    """Names of targets."""

    def test_s41_a_name_that_rebinds(self) -> None:
        """What a name means now is judged, and nothing but that is dialled."""
        for found in ("127.0.0.1", "::1", "169.254.169.254", "fe80::1"):
            self.found = [found]
            said = self.refused(address="db.internal:22")
            self.assertIn(f"means {found} now", said)
            self.assertEqual(self.looked_up, ("db.internal", 22))

    def test_no_address(self) -> None:
        """A name that means nothing, or cannot be looked up in time."""
        self.found = []
        self.assertIn("no address", self.refused(address="db.internal:22"))
        self.found = OSError("x")
        self.assertIn("cannot be looked up", self.refused(address="db.internal:22"))
        self.found = Deferred()
        request = self.ask(address="db.internal:22")
        self.reactor.advance(10)
        self.assertIn("cannot be looked up", request.answered[0].message)

    def test_a_client_that_goes(self) -> None:
        """Nothing is dialled for it any more, and nobody is answered."""
        self.found = Deferred()
        request = self.ask(address="db.internal:22")
        request.cancelled()
        self.assertEqual((request.answered, self.requests.served), ([], set()))

    def test_a_lock_while_it_is_looked_up(self) -> None:
        """Who is locked before the target is reached is refused with the reason."""
        self.found = Deferred()
        request = self.ask(address="db.internal:22")
        self.door.live.say(event("lock", "l", lock("l", user="alice")))
        self.assertEqual(request.answered[0].reason, DENIED)
        self.assertEqual(self.requests.served, set())


class ServedTests(RequestsCase):
    """Who is let in, until the end."""

    def setUp(self) -> None:
        super().setUp()
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        self.listening = listening
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        self.offers["node", "db1"] = Offer(
            kind="node", name="db1", labels={"env": "prod"}, addresses=(address,)
        )
        ours, self.client = socket.socketpair()
        self.addCleanup(self.client.close)
        ours.setblocking(False)
        self.client.settimeout(5)
        end = PlainEnd(Lease(Owned(ours), self.means.poller))
        self.request = self.ask(end)
        self.turn()
        self.target, _ = listening.accept()
        self.addCleanup(self.target.close)
        self.target.settimeout(5)
        self.turn()

    def turn(self) -> None:
        """Let everything go on."""
        for _ in range(50):
            self.reactor.turn()

    def test_bytes_flow(self) -> None:
        """Both ways, and the end is told with how much there was."""
        self.assertEqual((self.request.accepted, len(self.requests.served)), (1, 1))
        self.client.sendall(b"hello")
        self.turn()
        self.assertEqual(self.target.recv(100), b"hello")
        self.target.sendall(b"hello yourself")
        self.turn()
        self.assertEqual(self.client.recv(100), b"hello yourself")
        (told,) = self.requests.told()
        self.assertEqual(
            (told["stage"], told["to_target"], told["identity"]), ("relay", 5, "alice")
        )
        self.client.shutdown(socket.SHUT_WR)
        self.target.close()
        self.turn()
        self.assertEqual(self.requests.served, set())
        name, fields = self.audit.events[-1]
        self.assertEqual((name, fields["to_target"], fields["to_client"]), ("agent.end", 5, 14))
        self.assertEqual([one["event"] for one in self.journal], ["agent.end"])

    def cut(self, line: Any) -> None:
        """After this change the client is gone in the same turn."""
        self.door.live.say(line)
        self.assertEqual(self.requests.served, set())
        self.assertEqual(self.audit.events[-1][1]["cause"], "locked")

    def test_a_lock(self) -> None:
        """A lock on the user ends what is open."""
        self.cut(event("lock", "l", lock("l", user="alice")))

    def test_a_role(self) -> None:
        """So does a role that has the node's labels no more."""
        self.cut(event("role", "access", role("access", node_labels={"env": "dev"})))

    def test_a_user_that_is_gone(self) -> None:
        """And a user that is no more."""
        self.cut(event("user", "alice", None))

    def test_a_bug_keeps_nobody(self) -> None:
        """Who cannot be decided about again is cut, as who would be refused."""
        self.patch(self.requests.judge, "stands", lambda case: 1 // 0)
        self.cut(event("lock", "l", lock("l", user="bob")))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_label(self) -> None:
        """A label that is gone counts when the agent looks."""
        node = self.offers["node", "db1"]
        self.offers["node", "db1"] = Offer(kind="node", name="db1", addresses=node.addresses)
        self.requests.look()
        self.assertEqual(self.requests.served, set())

    def test_what_changes_nothing(self) -> None:
        """A lock on somebody else, and the end of the certificate, end nothing."""
        self.door.live.say(event("lock", "l", lock("l", user="bob")))
        self.cluster.now += 40 * 3600
        self.requests.look()
        self.assertEqual(len(self.requests.served), 1)
