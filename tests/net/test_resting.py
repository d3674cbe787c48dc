"""What a protocol says of its session beside its bytes: for auditors, and for a drain."""

from __future__ import annotations

import socket

from OpenSSL import SSL

from tests.net.rig import Client, read_all, read_some
from tests.net.test_handover import HandoverCase, Line
from tlsgate.core.relayed import Relayed
from tlsgate.errors import TargetRefused


class Said:
    """A `core.relayed.Rest` that rests after a full stop of the target's."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.rests = False

    def to_target(self, some: memoryview) -> None:
        """See `Rest`."""
        self.heard.append(b">" + bytes(some))
        self.rests = False

    def to_client(self, some: memoryview) -> None:
        """See `Rest`."""
        self.heard.append(b"<" + bytes(some))
        self.rests = bytes(some[-1:]) == b"."

    def resting(self) -> bool:
        """See `Rest`."""
        return self.rests

    def last_words(self) -> tuple[bytes, bytes]:
        """See `Rest`."""
        return b"we close", b"it leaves"


class RestTests(HandoverCase):
    """A protocol that says more of its session."""

    def setUp(self) -> None:
        super().setUp()
        self.rest = Said()
        self.asking.then = self.told

    def told(self, line: Line, said: bytes, rest: bytes) -> None:
        """Say it, and hand over."""
        line.context.about(Relayed({"db_user": "app"}, self.rest))
        self.relay(line, said, rest)

    def begun(self) -> tuple[Client, socket.socket]:
        """A session, to which the target has said that it is ready."""
        client = self.ask(b"db/orders\n")
        target = self.reach.reach()
        self.addCleanup(target.close)
        target.send(b"ready.")
        self.assertEqual(client.read(7), b"+ready.")
        return client, target

    def later(self, seconds: int) -> None:
        """Let time go by."""
        for _ in range(seconds * 10):
            self.rig.reactor.advance(0.1)
            self.rig.settle()

    def test_drain(self) -> None:
        """A drain ends a session that rests: both sides hear so, and an end in order."""
        client, target = self.begun()
        self.rig.gateway.drain(60.0)
        self.later(1)
        client.write(b"more")
        self.assertEqual(read_some(self.rig, target, 4), b"more")
        self.later(5)
        self.assertEqual(self.only()["stage"], "relaying")
        target.send(b"done.")
        self.assertEqual(client.read(5), b"done.")
        self.later(3)
        self.assertEqual(client.read_end(), b"we close")
        self.assertEqual(read_all(self.rig, target), b"it leaves")
        self.assertEqual(self.rest.heard, [b"<ready.", b">more", b"<done."])
        client.sock.close()
        self.assertEqual(self.ended()["cause"], "drain")
        self.nothing_stays()

    def test_succeeded(self) -> None:
        """While another process serves in its place, who rests stays until the limit."""
        client, target = self.begun()
        self.rig.gateway.succeeded = True
        self.rig.gateway.drain(10.0)
        self.later(8)
        self.assertEqual(self.only()["stage"], "relaying")
        self.later(4)
        self.assertEqual(client.read_end(), b"we close")
        self.assertEqual(read_all(self.rig, target), b"it leaves")

    def test_limit(self) -> None:
        """At the limit of a drain who waits for an answer is cut, and who rests is told."""
        client, target = self.begun()
        busy, other = self.begun()
        busy.write(b"more")
        self.assertEqual(read_some(self.rig, other, 4), b"more")
        self.rest.rests = True  # of the first one; both have the same
        _, second = self.rig.gateway._live.values()
        second.relayed = None
        self.rig.gateway.drain(1.0)
        self.later(2)
        self.assertEqual(client.read_end(), b"we close")
        with self.assertRaises(SSL.Error):
            busy.read_end()
        self.assertEqual(read_all(self.rig, target), b"it leaves")

    def test_lingers(self) -> None:
        """Who has not taken the last words when everything ends is cut, and told nothing twice."""
        client, _ = self.begun()
        (one,) = self.rig.gateway._live.values()
        one.end_in_order("drain")
        self.assertFalse(one.rests())
        self.rig.gateway.close_all("drain")
        self.rig.settle()
        self.assertEqual(self.rig.gateway.connections(), [])
        self.assertEqual(self.ended()["cause"], "drain")
        client.sock.close()
        self.nothing_stays()

    def test_locked(self) -> None:
        """Who is locked out is cut at once, and hears nothing more."""
        self.begun()
        self.rig.gateway.end_those(lambda identity: True)
        self.rig.settle()
        self.assertEqual(self.rig.gateway.connections(), [])
        self.assertEqual(self.ended()["cause"], "locked")

    def test_events(self) -> None:
        """Start and end of the session have what the protocol has said of it, and the rest."""
        client, target = self.begun()
        client.sock.close()
        target.close()
        self.ended()
        events = dict(self.rig.witness.events)
        for event in ("db.session.start", "db.session.end"):
            fields = events[event]
            self.assertEqual((fields["db_user"], fields["target"]), ("app", "db/orders"))
            for name in ("route", "listener", "identity", "to_target", "to_client", "trace"):
                self.assertIn(name, fields)
        self.assertNotIn("db_user", events["route.end"])

    def test_rejected(self) -> None:
        """So has the event of one that was refused."""
        client = self.ask(b"db/orders\n")
        self.reach.miss(TargetRefused("db1:5432", "no"))
        client.read_end()
        self.rig.settle()
        client.sock.close()
        self.ended()
        fields = dict(self.rig.witness.events)["db.session.rejected"]
        self.assertEqual((fields["db_user"], fields["fault"]), ("app", "target"))
