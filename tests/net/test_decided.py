"""What an authorizer may add to a yes, and how the gateway ends what it must: locks, limits."""

from __future__ import annotations

import time

from twisted.trial.unittest import SynchronousTestCase

from tests.net.rig import Client, Rig, read_all, read_some
from tlsgate.core.access import Decision, Identity
from tlsgate.core.routing import Route
from tlsgate.net.dial import Dial

ROUTES = """
    - {name: echo, alpn: [echo], target: "{unix}", allow: [{cn: alice}]}
    - {name: own, alpn: [own], target: "{unix}", allow: [{cn: alice}], idle_seconds: 20}
    - {name: open, alpn: [open], target: "{unix}", client_cert: none, unsafe_anyone: yes}
"""
EPOCH = 1_800_000_000.0


class DecidedCase(SynchronousTestCase):
    """A gateway whose authorizer says what the test wants."""

    def setUp(self) -> None:
        self.rig = Rig(ROUTES, extra="  timeouts: {idle_seconds: 100, lifetime_seconds: 1000}")
        self.addCleanup(self.rig.close)
        self.decision = Decision(True, "rule")
        self.asked: list[tuple[str, str | None, str | None]] = []
        self.patch(self.rig.witness, "decide", self.decide)
        self.patch(time, "time", lambda: EPOCH + self.rig.reactor.seconds())

    def decide(self, route: Route, identity: Identity | None, address: str | None) -> Decision:
        name = None if identity is None else identity.name
        self.asked.append((route.name, name, address))
        return self.decision

    def ended(self, seconds: float) -> str | None:
        """The cause of the end of a connection after so long; None: it goes on."""
        before = len(self.rig.journal)
        self.rig.advance(seconds)
        self.rig.settle()
        return None if len(self.rig.journal) == before else str(self.rig.journal[-1]["cause"])

    def begin(self, token: bytes = b"echo", cert: str | None = "alice") -> Client:
        client = self.rig.secure(alpn=(token,), cert=cert).shake()
        self.target = self.rig.accept()
        client.write(b"x")
        self.assertEqual(read_some(self.rig, self.target, 1), b"x")
        return client


class LimitTests(DecidedCase):
    """`Decision.idle_seconds` and `Decision.until`."""

    def test_who_is_asked_about(self) -> None:
        """The authorizer hears route, identity and address once; open routes need none."""
        self.begin()
        self.begin(b"open")
        self.assertEqual(self.asked, [("echo", "alice", "192.0.2.7")])

    def test_without(self) -> None:
        """A plain yes changes nothing: the configuration's waits hold."""
        self.begin()
        self.assertIsNone(self.ended(80))
        self.assertEqual(self.ended(50), "idle")

    def test_idle(self) -> None:
        """Silence ends it after the shortest of what route, listener and decision say."""
        for token, allowed, before, after in (
            (b"echo", 10.0, 9, 6),
            (b"echo", 500.0, 95, 31),
            (b"own", 10.0, 9, 6),
            (b"own", 500.0, 19, 9),
        ):
            self.decision = Decision(True, "role", allowed, None)
            self.begin(token)
            self.assertIsNone(self.ended(before), (token, allowed))
            self.assertEqual(self.ended(after), "idle", (token, allowed))

    def test_bytes_count(self) -> None:
        """Whoever is not silent goes on."""
        self.decision = Decision(True, "role", 10.0, None)
        client = self.begin()
        for _ in range(5):
            self.assertIsNone(self.ended(6))
            client.write(b"x")
        self.assertEqual(read_some(self.rig, self.target, 5), b"x" * 5)

    def test_until(self) -> None:
        """It ends when the certificate does, however busy it is."""
        self.decision = Decision(True, "role", None, EPOCH + 30)
        client = self.begin()
        for _ in range(5):
            self.assertIsNone(self.ended(5))
            client.write(b"x")
        self.assertEqual(self.ended(6), "lifetime")

    def test_until_is_late(self) -> None:
        """An end that is further away than the listener's own limit does not extend it."""
        self.decision = Decision(True, "role", None, EPOCH + 10_000)
        client = self.begin()
        for _ in range(20):
            self.assertIsNone(self.ended(48))
            client.write(b"x")
        self.assertEqual(self.ended(48), "lifetime")

    def test_until_has_been(self) -> None:
        """A certificate that ended between the handshake and the decision opens nothing long."""
        self.decision = Decision(True, "role", None, EPOCH - 5)
        self.rig.secure(alpn=(b"echo",)).shake()
        self.rig.accept()
        self.assertEqual(self.ended(1), "lifetime")

    def test_a_clock_that_is_set_back(self) -> None:
        """R16: what was counted down stays counted, whatever the wall clock says later."""
        self.decision = Decision(True, "role", None, EPOCH + 30)
        client = self.begin()
        self.patch(time, "time", lambda: EPOCH - 86400)
        self.assertIsNone(self.ended(25))
        client.write(b"x")
        self.assertEqual(self.ended(6), "lifetime")


class EndThoseTests(DecidedCase):
    """Tests for `Gateway.end_those`."""

    def lock(self, name: str) -> None:
        """Lock out who is called so."""
        self.rig.gateway.end_those(lambda identity: identity.name == name)

    def test_s52_relays(self) -> None:
        """Every connection of the holder ends at once, on both sides, and no other one."""
        alice = [(self.begin(), self.target) for _ in range(3)]
        bob, open_ = self.begin(cert="bob"), self.begin(b"open")
        self.lock("alice")
        self.rig.settle()
        self.assertEqual([one["cause"] for one in self.rig.journal], ["locked"] * 3)
        for _, target in alice:
            self.assertEqual(read_all(self.rig, target), b"")
        for other in (bob, open_):
            other.write(b"y")
        self.assertEqual(len(self.rig.gateway.connections()), 2)
        ends = [event for event, fields in self.rig.witness.events if fields.get("cause")]
        self.assertEqual(ends, ["route.end"] * 3)

    def test_a_client_that_takes_nothing(self) -> None:
        """Who reads nothing cannot stay by that."""
        self.begin()
        self.target.setblocking(False)
        try:
            while True:
                self.target.send(bytes(65536))
                self.rig.settle()
        except BlockingIOError:
            pass
        self.lock("alice")
        self.rig.settle()
        self.assertEqual([one["cause"] for one in self.rig.journal], ["locked"])

    def test_while_it_dials(self) -> None:
        """A connection whose target has not answered yet ends, too."""
        self.patch(Dial, "start", lambda dial: None)
        self.rig.secure(alpn=(b"echo",)).shake()
        self.rig.settle()
        (one,) = self.rig.gateway.connections()
        self.assertEqual((one["identity"], one["stage"]), ("alice", "dialling"))
        self.lock("alice")
        self.rig.settle()
        self.assertEqual(self.rig.gateway.connections(), [])
        self.assertEqual(self.rig.journal[-1]["cause"], "locked")

    def test_who_has_no_identity(self) -> None:
        """Before the handshake there is nobody to lock out; the decision comes later."""
        waiting = self.rig.secure(alpn=(b"echo",))
        self.rig.gateway.end_those(lambda identity: True)
        self.rig.settle()
        self.decision = Decision(False, "lock l on user alice")
        self.assertEqual(waiting.shake().read_end(), b"")
        self.rig.advance(2.5)
        self.assertEqual(self.rig.journal[-1]["cause"], "denied")

    def test_s58_a_protocol_that_fails(self) -> None:
        """One that cannot be ended in order is reset, and those behind it end all the same."""
        for _ in range(3):
            self.begin()
        first, *_ = self.rig.gateway._live.values()
        self.patch(first, "end_in_order", lambda cause: 1 // 0)
        self.lock("alice")
        self.rig.settle()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.rig.gateway.connections(), [])
        causes = [one["cause"] for one in self.rig.journal]
        self.assertEqual(causes.count("locked"), 2)

    def test_another_cause(self) -> None:
        """The cause is the caller's."""
        self.begin()
        self.rig.gateway.end_those(lambda _: True, "gone")
        self.rig.settle()
        self.assertEqual(self.rig.journal[-1]["cause"], "gone")
