"""Tests for `tlsgate.net.closing`, and for what a closed port says."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.net.rig import Rig, read_all, write_all
from tests.net.test_dispatcher import ROUTES, SSL_REQUEST
from tlsgate.config.settings import Closing
from tlsgate.net.closing import Closings
from tlsgate.net.gate import Gate


class FakeTransport:
    """A served client."""

    def __init__(self, rests: bool) -> None:
        self.rests = rests

    def resting(self) -> bool:
        """Whether nobody would lose anything."""
        return self.rests


class FakeConnection:
    """As much of a connection as is asked."""

    kept = None

    def __init__(
        self, gate: Any, listener: str, stage: str = "relaying", rests: bool = False
    ) -> None:
        self.entrance = gate.entrances[listener]
        self.listener = listener
        self.stage = stage
        self.served = FakeTransport(rests)


class FakeGate:
    """As much of a gate: entrances by name, open or closed."""

    def __init__(self, at: str = "a", **listeners: bool) -> None:
        self.entrances = {name: FakeEntrance(shut, name, at) for name, shut in listeners.items()}


class FakeEntrance:
    """One of them; it drains for ten seconds."""

    drain_seconds = 10.0

    def __init__(self, shut: bool, name: str, at: str) -> None:
        self.closed = "closed" if shut else None
        self.endpoint = f"{name}@{at}"

    @property
    def listener(self) -> Any:
        """Itself."""
        return self

    @property
    def timeouts(self) -> Any:
        """Itself."""
        return self


class ClosingsTests(SynchronousTestCase):
    """Tests for `Closings`."""

    def setUp(self) -> None:
        """Two listeners."""
        self.clock = Clock()
        self.live: list[Any] = []
        self.ended: list[tuple[Any, str]] = []
        self.closings = Closings(self.clock, lambda: self.live, self.end)
        self.open: Any = FakeGate(web=False, ssh=False)
        self.shut: Any = FakeGate(web=False, ssh=True)

    def end(self, one: Any, cause: str) -> None:
        """It ends at once."""
        self.live.remove(one)
        self.ended.append((one, cause))

    def test_a_limit(self) -> None:
        """What is left on a closed listener is cut after its own time; the web port's stays."""
        on_ssh, on_web = FakeConnection(self.open, "ssh"), FakeConnection(self.open, "web")
        self.live += [on_ssh, on_web]
        self.closings.follow(self.open, self.shut)
        self.clock.pump([1.0] * 9)
        self.assertEqual(self.ended, [])
        self.clock.advance(1.0)
        self.assertEqual(self.ended, [(on_ssh, "listener_closed")])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_taken_away_for_good(self) -> None:
        """A port that does not even refuse has its clients drained likewise."""
        self.live.append(FakeConnection(self.open, "ssh"))
        gone: Any = FakeGate(web=False)
        self.closings.follow(self.open, gone)
        self.clock.pump([1.0] * 10)
        self.assertEqual(len(self.ended), 1)

    def test_who_rests(self) -> None:
        """A client that only might wish something more is ended first."""
        self.live += [
            FakeConnection(self.open, "ssh", "serving", True),
            FakeConnection(self.open, "ssh", "serving"),
            FakeConnection(self.open, "ssh", "channels", True),
        ]
        self.closings.follow(self.open, self.shut)
        self.clock.advance(1.0)
        self.assertEqual([one.served.rests for one, _ in self.ended], [True])
        self.assertEqual(len(self.live), 2)

    def test_back_again(self) -> None:
        """The listener is served again: who was there stays."""
        self.live.append(FakeConnection(self.open, "ssh"))
        self.closings.follow(self.open, self.shut)
        self.clock.advance(5.0)
        self.closings.follow(self.shut, self.open)
        self.clock.pump([1.0] * 20)
        self.assertEqual(self.ended, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_moved(self) -> None:
        """A listener at another address goes on with whom it has; the idle come anew."""
        busy = FakeConnection(self.open, "ssh")
        idle = FakeConnection(self.open, "ssh", "serving", True)
        self.live += [busy, idle]
        moved: Any = FakeGate("b", web=False, ssh=False, old=True)
        moved.entrances["old"].endpoint = "ssh@a"
        self.closings.follow(self.open, moved)
        here = FakeConnection(moved, "ssh", "serving", True)
        self.live.append(here)
        self.clock.pump([1.0] * 20)
        self.assertEqual(self.ended, [(idle, "listener_closed")])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        # Its end is everybody's, wherever they came.
        self.closings.follow(moved, self.shut)
        self.clock.pump([1.0] * 11)
        self.assertEqual([one for one, _ in self.ended], [idle, here, busy])

    def test_refused_ones_end_by_themselves(self) -> None:
        """Who came after the end is no business of the drain."""
        self.live.append(FakeConnection(self.shut, "ssh"))
        self.closings.follow(self.open, self.shut)
        self.clock.pump([1.0] * 20)
        self.assertEqual(self.ended, [])

    def test_another_gate_changes_no_limit(self) -> None:
        """Certificates that are renewed meanwhile give nobody more time."""
        self.live.append(FakeConnection(self.open, "ssh"))
        self.closings.follow(self.open, self.shut)
        self.clock.pump([1.0] * 5)
        self.closings.follow(self.shut, self.shut)
        self.clock.pump([1.0] * 5)
        self.assertEqual(len(self.ended), 1)

    def test_the_process_ends(self) -> None:
        """Its own drain has the last word."""
        self.live.append(FakeConnection(self.open, "ssh"))
        self.closings.follow(self.open, self.shut)
        self.closings.stop()
        self.closings.stop()
        self.clock.pump([1.0] * 20)
        self.assertEqual(self.ended, [])


class WordsTests(SynchronousTestCase):
    """What a closed port says, whatever comes."""

    def closed(self, protocol: str | None) -> Rig:
        """A rig whose only port is closed, and was that of *protocol*."""
        rig = Rig(ROUTES)
        self.addCleanup(rig.close)
        gate = rig.gateway.gate
        web = evolve(gate.settings.listeners[0], protocol=protocol)
        gone = Closing(listener=web, since=0.0, until=1.0)
        settings = evolve(gate.settings, listeners=(), closing=(gone,))
        rig.gateway.take(Gate.build(settings, gate.protocols))
        return rig

    def says(self, protocol: str | None, first: bytes) -> bytes:
        """What a client reads that says *first*."""
        rig = self.closed(protocol)
        client = rig.connect()
        write_all(rig, client, first)
        said = read_all(rig, client)
        rig.advance(2.5)
        self.assertEqual(rig.journal[-1]["cause"], "listener_closed")
        return said

    def test_where_to(self) -> None:
        """The web port; of a listener that has moved, where it is now."""
        rig = Rig(ROUTES)
        self.addCleanup(rig.close)
        gate = rig.gateway.gate
        (web,) = gate.settings.listeners
        ssh = evolve(web, name="ssh", protocol="ssh", endpoint="tcp:3029")
        old = evolve(ssh, name="ssh-moved", endpoint="tcp:3023")
        public = evolve(gate.settings.public, web=("gw.test:443",), ssh=())
        for moved, listeners, told, wanted in (
            ("", (), (), "gw.test:443"),
            ("ssh", (ssh,), (), "gw.test:3029"),
            ("ssh", (ssh,), ("jump.test:22",), "jump.test:22"),
            ("ssh", (), ("jump.test:22",), "gw.test:443"),
        ):
            gone = Closing(listener=old, since=0.0, until=1.0, moved=moved)
            public = evolve(public, ssh=told)
            settings = evolve(gate.settings, listeners=listeners, closing=(gone,), public=public)
            made = Gate.build(settings, gate.protocols).entrances["ssh-moved"].closed
            self.assertIsNotNone(made)
            self.assertEqual(made and made.web, wanted)

    def test_its_own_opening(self) -> None:
        """The port's own clients read it in their protocol."""
        self.assertIn(b"this port is closed", self.says("ssh", b"SSH-2.0-x\r\n"))
        startup = bytes.fromhex("00000008") + bytes.fromhex("00030000")
        self.assertIn(b"this port is closed", self.says("postgres", startup))

    def test_anything_else(self) -> None:
        """Whoever speaks something else hears the same."""
        self.assertIn(b"this port is closed", self.says("ssh", b"GET / HTTP/1.1\r\n\r\n"))

    def test_before_a_word(self) -> None:
        """Where the server speaks first it does so; a client that waits for that is told late."""
        self.assertIn(b"this port is closed", self.says("mysql", b""))
        rig = self.closed("ssh")
        client = rig.connect()
        rig.advance(5.5)
        self.assertIn(b"this port is closed", read_all(rig, client))

    def test_no_common_token(self) -> None:
        """TLS with other tokens ends by its alert."""
        rig = self.closed("ssh")
        self.assertIn("no application protocol", rig.secure(alpn=(b"echo",), cert=None).alert())

    def test_nobody_knows_the_protocol(self) -> None:
        """A plug-in that is gone has no words; the port closes connections, and no more."""
        self.assertEqual(self.says("gone", b"hello"), b"")
        rig = self.closed("gone")
        self.assertIn("no application protocol", rig.secure(cert=None).alert())

    def test_under_tls(self) -> None:
        """After the protocol's own request for TLS, the words come inside."""
        rig = self.closed("postgres")
        client = rig.connect()
        write_all(rig, client, SSL_REQUEST)
        rig.settle()
        self.assertEqual(client.recv(1), b"S")
