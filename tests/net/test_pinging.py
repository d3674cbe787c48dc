"""Tests for `tlsgate.net.pinging`: relays and served protocols inside ping frames."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from tests.net.rig import Client, FakeReactor, Rig, noise, read_all, read_some
from tests.net.test_handover import HandoverCase
from tests.net.test_relay import CarryTests, EndTests
from tlsgate.core.pingframes import LIMIT, PING, Unframe, frame
from tlsgate.net.ends import CHUNK
from tlsgate.net.lease import Lease
from tlsgate.net.owner import Owned
from tlsgate.net.pinging import PING_SECONDS, PingEnd
from tlsgate.net.poller import Poller
from tlsgate.testing import FakeCluster
from tlsgate.tls.fast import AGAIN, BLOCKED, BROKEN, CUT, ENDED, HEADROOM, Slab

ROUTES = """
    - {name: echo, alpn: [tlsgate-tcp], target: "{unix}", client_cert: none, unsafe_anyone: yes}
    - {name: shut, alpn: [tlsgate-redis], target: "{unix}", allow: [{cn: nobody}]}
"""
TOKENS = (b"tlsgate-tcp-ping", b"tlsgate-tcp")


class FramedTls:
    """A client's TLS whose writes are frames, each in one record, and whose reads are unframed."""

    def __init__(self, tls: SSL.Connection) -> None:
        self._tls = tls
        self._got = b""
        self.unframe = Unframe()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tls, name)

    def send(self, data: bytes) -> int:
        """One frame, or nothing."""
        return self._tls.send(frame(data[:16380])) - 4

    def recv(self, most: int) -> bytes:
        """What frames carry."""
        if not self._got:
            self._got = self.unframe.feed(self._tls.recv(65536))
            if not self._got:
                raise SSL.WantReadError
        some, self._got = self._got[:most], self._got[most:]
        return some


class PingedCase(SynchronousTestCase):
    """A rig whose clients speak in frames."""

    binding = True
    version = SSL.TLS1_3_VERSION
    extra = ""

    def setUp(self) -> None:
        self.rig = Rig(ROUTES, binding=self.binding, extra=self.extra)
        self.addCleanup(self.rig.close)

    def pair(self) -> tuple[Client, socket.socket]:
        """A relayed connection: its client and its target."""
        client = self.rig.secure(alpn=TOKENS, version=self.version).shake()
        self.assertEqual(client.tls.get_alpn_proto_negotiated(), TOKENS[0])
        client.tls = FramedTls(client.tls)  # type: ignore[assignment]
        return client, self.rig.accept()

    def cause(self) -> object:
        """Why the only connection ended."""
        self.rig.until(lambda: self.rig.journal)
        return self.rig.journal[-1]["cause"]

    def pings(self, client: Client) -> int:
        """How many pings have come."""
        for _ in range(10):  # each is a record
            with contextlib.suppress(SSL.WantReadError):
                client.tls.recv(1)
        unframe: Unframe = client.tls.unframe
        return unframe.pings


class PingedCarryTests(PingedCase, CarryTests):
    """What a relay carries, it carries in frames as well."""


class PingedEndTests(PingedCase, EndTests):
    """The same of how it ends."""


class PublicPingedCarryTests(PingedCarryTests):
    """The same without pyOpenSSL's private binding."""

    binding = False


class PublicPingedEndTests(PingedEndTests):
    """The same without pyOpenSSL's private binding."""

    binding = False


class Tls12PingedCarryTests(PingedCarryTests):
    """The same under TLS 1.2."""

    version = SSL.TLS1_2_VERSION


class PingTests(PingedCase):
    """Our pings, and the client's frames."""

    extra = "  timeouts: {idle_seconds: 100, close_seconds: 80, write_stall_seconds: 70}"

    def test_interval(self) -> None:
        """A ping each interval, from the first one on; none to who has not asked for them."""
        plain = self.rig.secure(alpn=TOKENS[1:]).shake()
        client, _ = self.pair()
        self.rig.advance(PING_SECONDS - 1)
        self.assertEqual(self.pings(client), 0)
        self.rig.advance(2)
        self.assertEqual(self.pings(client), 1)
        self.rig.advance(2 * PING_SECONDS)
        self.assertEqual(self.pings(client), 3)
        with self.assertRaises(SSL.WantReadError):
            plain.tls.recv(1)

    def test_no_activity(self) -> None:
        """Neither our pings nor a client's keep a connection that is idle."""
        client, _ = self.pair()
        for _ in range(9):
            client.tls._tls.send(PING)
            self.rig.advance(10)
        self.assertEqual(self.rig.journal, [])
        self.rig.advance(40)
        self.assertEqual(self.cause(), "idle")

    def test_half_closed_and_gone(self) -> None:
        """Pings that nobody takes keep a half-closed connection no longer than silence does."""
        client, target = self.pair()
        target.shutdown(socket.SHUT_WR)
        self.rig.settle()
        self.rig.advance(130)
        self.assertEqual(self.cause(), "close_timer")
        client.sock.close()

    def test_nothing_after_the_end(self) -> None:
        """After our close_notify there is nothing to say, not even that we live."""
        client, target = self.pair()
        target.send(b"all")
        target.shutdown(socket.SHUT_WR)
        self.assertEqual(client.read_end(), b"all")
        self.rig.advance(40)
        self.assertEqual(self.pings_after_end(client), 0)
        client.write(b"late")
        self.assertEqual(read_some(self.rig, target, 4), b"late")

    def pings_after_end(self, client: Client) -> int:
        """A client that has read close_notify reads nothing more."""
        with self.assertRaises(SSL.ZeroReturnError):
            client.tls.recv(1)
        unframe: Unframe = client.tls.unframe
        return unframe.pings

    def test_who_takes_nothing_is_cut(self) -> None:
        """A client that reads nothing is stalled, pings or not; none stands in a message."""
        client, target = self.pair()
        sent = noise(8 << 20)
        at = 0
        for _ in range(5_000):
            try:
                at += target.send(sent[at : at + 65536])
            except BlockingIOError:
                if not self.rig.turn():
                    break
        self.rig.advance(65)
        self.assertEqual(self.rig.journal, [])
        self.assertEqual(client.read(50_000), sent[:50_000])
        self.rig.advance(120)
        self.assertEqual(self.cause(), "write_stall")

    def test_pinged_at_once(self) -> None:
        """A thousand pings of a client in one record are read, and carried to nobody."""
        client, target = self.pair()
        client.tls._tls.send(PING * 1000 + frame(b"x"))
        self.assertEqual(read_some(self.rig, target, 1), b"x")
        for _ in range(100):
            client.tls._tls.send(PING)
        self.rig.settle()
        client.write(b"y")
        self.assertEqual(read_some(self.rig, target, 1), b"y")
        self.assertEqual(self.rig.gateway.connections()[0]["to_target"], 2)

    def test_every_split(self) -> None:
        """Frames arrive the same however records cut them."""
        wire = frame(b"one") + PING + frame(b"two" * 3) + frame(b"x")
        client, target = self.pair()
        for cut in range(1, len(wire)):
            for part in (wire[:cut], wire[cut:]):
                client.tls._tls.send(part)
                self.rig.settle()
            self.assertEqual(read_some(self.rig, target, 13), b"onetwotwotwox")
        for one in wire:
            client.tls._tls.send(bytes((one,)))
        self.assertEqual(read_some(self.rig, target, 13), b"onetwotwotwox")

    def test_cut_in_a_frame(self) -> None:
        """An end within a length or a message is a cut, and one between messages an end."""
        for wire, cause in (
            (b"", "client_ended"),
            (b"\0", "client_cut"),
            (b"\0\0\0\2a", "client_cut"),
            (frame(b"ab"), "client_ended"),
        ):
            self.rig.journal.clear()
            client, target = self.pair()
            if wire:
                client.tls._tls.send(wire)
            client.tls.shutdown()
            self.rig.settle()
            read_all(self.rig, target)
            target.close()
            self.assertEqual(self.cause(), cause, wire)

    def test_too_long(self) -> None:
        """What is no frame resets both sides; what came before it has arrived."""
        client, target = self.pair()
        wire = frame(b"fine") + (LIMIT + 1).to_bytes(4, "big") + b"x"
        client.tls._tls.send(wire)
        self.assertEqual(read_some(self.rig, target, 4), b"fine")
        self.assertEqual(self.cause(), "client_reset")

    def test_refusal(self) -> None:
        """A refusal under TLS is framed too."""
        client = self.rig.secure(alpn=(b"tlsgate-redis-ping",)).shake()
        self.assertEqual(Unframe().feed(client.read_end()), b"")
        client.sock.close()
        self.rig.until(lambda: self.rig.journal)
        self.assertEqual(self.rig.journal[-1]["cause"], "denied")

    def test_nothing_stays(self) -> None:
        """Who has gone is pinged no more."""
        for _ in range(3):
            client, target = self.pair()
            client.tls.shutdown()
            target.close()
        self.rig.until(lambda: len(self.rig.journal) == 3)
        self.rig.settle()
        self.assertEqual(self.rig.gateway.wheel.waiting(), 0)


class IntervalTests(PingedCase):
    """The cluster's interval, changed at run time."""

    def test_changes(self) -> None:
        """A shorter one is followed at once; a longer one by new clients alone."""
        cluster = FakeCluster()
        cluster.ping_seconds = 20.0
        self.rig.gateway.cluster = cluster
        one, _ = self.pair()
        cluster.ping_seconds = 5.0
        self.rig.advance(7)
        self.assertEqual(self.pings(one), 1)
        cluster.ping_seconds = 50.0
        self.rig.advance(12)
        self.assertEqual(self.pings(one), 3)
        other, _ = self.pair()
        self.rig.advance(48)
        self.assertEqual(self.pings(other), 0)
        self.rig.advance(3)
        self.assertEqual(self.pings(other), 1)
        cluster.ping_seconds = None
        self.rig.advance(33)
        self.assertEqual(self.pings(other), 2)


class ServedTests(HandoverCase):
    """A served protocol behind a ping token, and its hand-over."""

    def setUp(self) -> None:
        super().setUp()
        self.asking.alpn = (b"tlsgate-ssh",)
        self.patch(type(self.asking), "alpn", (b"tlsgate-ssh",))

    def test_handed_over(self) -> None:
        """Request, answer and target's bytes are all in frames; the protocol knows the interval."""
        from tlsgate import registry
        from tlsgate.net.gate import Gate

        known = {name: one for name, one in registry.load(None).protocols.items() if name != "ssh"}
        gate = Gate.build(self.rig.settings, {**known, "asking": self.asking})
        self.rig.gateway.take(gate)
        client = self.rig.secure(alpn=(b"tlsgate-ssh-ping", b"tlsgate-ssh")).shake()
        client.tls = FramedTls(client.tls)  # type: ignore[assignment]
        client.write(b"node/db1\nearly")
        self.rig.until(lambda: self.reach.reached)
        self.assertEqual(self.asking.made[0].context.ping_seconds, PING_SECONDS)
        target = self.reach.reach()
        self.addCleanup(target.close)
        self.assertEqual(read_some(self.rig, target, 5), b"early")
        target.send(b"answer")
        self.assertEqual(client.read(7), b"+answer")
        self.rig.advance(31)
        with self.assertRaises(SSL.WantReadError):
            client.tls.recv(1)
        self.assertEqual(client.tls.unframe.pings, 1)
        client.tls.shutdown()
        target.shutdown(socket.SHUT_WR)
        self.assertEqual(client.read_end(), b"")
        self.ended()


class Scripted:
    """A session that takes what the test says, and remembers what left."""

    def __init__(self) -> None:
        self.outcomes: list[int] = []
        self.left = b""

    def write(self, slab: Slab, at: int, size: int) -> int:
        """All or nothing, as the script says; after that all."""
        outcome = self.outcomes.pop(0) if self.outcomes else size
        if outcome > 0:
            self.left += bytes(slab.whole[HEADROOM + at : HEADROOM + at + outcome])
        return outcome

    def say(self, words: bytes) -> int:
        """The same."""
        outcome = self.outcomes.pop(0) if self.outcomes else len(words)
        if outcome > 0:
            self.left += words
        return outcome

    def end(self) -> int:
        """It leaves."""
        return ENDED


class BlockedTests(SynchronousTestCase):
    """A socket that takes nothing in the midst of something."""

    def setUp(self) -> None:
        poller = Poller(FakeReactor())  # type: ignore[arg-type]
        self.addCleanup(poller.close)
        sock, other = socket.socketpair()
        self.addCleanup(sock.close)
        self.addCleanup(other.close)
        self.session = Scripted()
        self.end = PingEnd(Lease(Owned(sock), poller), self.session, 30.0)  # type: ignore[arg-type]
        self.slab = Slab()

    def put(self, data: bytes) -> int:
        """Write *data* as a relay does."""
        self.slab.view[: len(data)] = data
        return self.end.put(self.slab, len(data))

    def test_ping_in_part(self) -> None:
        """A ping that may have left in part comes again before anything else."""
        self.session.outcomes = [AGAIN, BLOCKED, AGAIN]
        self.assertEqual(self.end.due(0.0), 30.0)
        self.assertFalse(self.end.write_again)
        self.assertEqual(self.put(b"ab"), 0)
        self.assertFalse(self.end.write_again)
        self.assertEqual(self.put(b"ab"), 0)
        self.assertTrue(self.end.write_again)
        self.assertEqual(self.put(b"ab"), 2)
        self.assertEqual(self.session.left, PING + frame(b"ab"))

    def test_message_in_part(self) -> None:
        """A message that is stuck comes again as it was, with what has come since behind it."""
        self.session.outcomes = [BLOCKED]
        self.assertEqual(self.put(b"ab"), 0)
        self.assertEqual(self.end.due(0.0), 30.0)
        self.assertEqual(self.put(b"abcde"), 5)
        self.assertEqual(self.session.left, frame(b"ab") + frame(b"cde"))

    def test_taken_in_part(self) -> None:
        """A session that takes a part goes on without another header."""
        self.session.outcomes = [4 + 2, 1, AGAIN]
        self.assertEqual(self.put(b"abcde"), 3)
        self.assertTrue(self.end.write_again)
        self.assertEqual(self.put(b"de"), 2)
        self.assertEqual(self.session.left, frame(b"abcde"))

    def test_end(self) -> None:
        """A late ping leaves before close_notify, and none comes after it."""
        self.session.outcomes = [BLOCKED, BLOCKED, 4]
        self.end.due(0.0)
        self.assertEqual(self.end.finish(), BLOCKED)
        self.assertEqual(self.end.finish(), ENDED)
        self.assertIsNone(self.end.due(0.0))
        self.assertEqual(self.session.left, PING)

    def test_broken(self) -> None:
        """What is broken is broken for pings as well."""
        self.session.outcomes = [BLOCKED, BROKEN, BLOCKED, BROKEN, BROKEN]
        self.end.due(0.0)
        self.assertEqual(self.put(b"ab"), BROKEN)
        self.end.due(0.0)
        self.assertEqual(self.end.finish(), BROKEN)
        self.assertEqual(self.put(b"ab"), BROKEN)
        self.end.lease.abort()
        self.assertIsNone(self.end.due(0.0))

    def test_empty(self) -> None:
        """An empty write sends nothing, and is no ping."""
        self.assertEqual(self.put(b""), 0)
        self.assertEqual(self.session.left, b"")


class ReadScript:
    """A session whose reads are given, with their outcomes."""

    def __init__(self, *reads: bytes | int) -> None:
        self._reads = list(reads)

    def read(self, slab: Slab, at: int, size: int) -> int:
        """At most *size* bytes of the next piece, or its outcome."""
        piece = self._reads[0]
        if isinstance(piece, int):
            if len(self._reads) > 1:
                del self._reads[0]
            return piece
        slab.whole[HEADROOM + at : HEADROOM + at + len(piece[:size])] = piece[:size]
        if len(piece) > size:
            self._reads[0] = piece[size:]
        else:
            del self._reads[0]
        return len(piece[:size])

    def pending(self) -> int:
        """What is left of the piece."""
        piece = self._reads[0]
        return 0 if isinstance(piece, int) else len(piece)


class FillTests(SynchronousTestCase):
    """Outcomes of `PingEnd.fill`."""

    def read(self, *reads: bytes | int) -> list[bytes | int]:
        """What each fill gives, until one gives no bytes."""
        poller = Poller(FakeReactor())  # type: ignore[arg-type]
        self.addCleanup(poller.close)
        sock = socket.socket()
        self.addCleanup(sock.close)
        session: Any = ReadScript(*reads)
        end, slab = PingEnd(Lease(Owned(sock), poller), session, 30.0), Slab()
        found: list[bytes | int] = []
        while True:
            count = end.fill(slab, CHUNK)
            if count <= 0:
                return [*found, count]
            found.append(bytes(slab.view[:count]))
            self.assertTrue(end.drained or end.pending() or count == CHUNK)

    def test_outcomes(self) -> None:
        """Whatever comes behind the bytes is met by the next fill."""
        for outcome in (AGAIN, BLOCKED, BROKEN, CUT, ENDED):
            self.assertEqual(self.read(frame(b"abc"), outcome), [b"abc", outcome])
        self.assertEqual(self.read(frame(b"abc")[:6], ENDED), [b"ab", CUT])
        self.assertEqual(self.read(frame(b"abc")[:3], ENDED), [CUT])
        self.assertEqual(self.read(frame(b"abc")[:3], AGAIN), [AGAIN])
        self.assertEqual(self.read(PING * 70, AGAIN), [AGAIN])

    def test_long(self) -> None:
        """A message longer than one step is read in steps, and nothing of it is lost."""
        data = noise(200_000)
        self.assertEqual(self.read(frame(data), AGAIN)[-1], AGAIN)
        got = [one for one in self.read(frame(data), AGAIN) if isinstance(one, bytes)]
        self.assertEqual(b"".join(got), data)

    def test_no_frame(self) -> None:
        """After what is no frame nothing is read any more."""
        self.assertEqual(
            self.read(frame(b"a") + b"\xff\xff\xff\xff\0\0\0\1b", AGAIN), [b"a", BROKEN]
        )
