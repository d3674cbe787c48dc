"""Tests for `tlsgate.net.relay`: bytes, half-close, back-pressure and timers."""

from __future__ import annotations

import contextlib
import hashlib
import socket

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from tests.net.rig import Client, Rig, noise, read_all, read_some, write_all
from tlsgate.net.ends import CHUNK

ROUTES = """
    - {name: echo, alpn: [echo], target: "{unix}", client_cert: none, unsafe_anyone: yes}
    - {name: quick, alpn: [quick], target: "{unix}", client_cert: none, unsafe_anyone: yes}
    - {name: pass, sni: [pass.test], passthrough: yes, target: "{unix}"}
"""


class RelayCase(SynchronousTestCase):
    """A rig with the routes above."""

    binding = True
    version = SSL.TLS1_3_VERSION
    extra = ""
    bridged = False

    def setUp(self) -> None:
        """Build the gateway."""
        self.rig = Rig(ROUTES, binding=self.binding, extra=self.extra, bridged=self.bridged)
        self.addCleanup(self.rig.close)

    def pair(self) -> tuple[Client, socket.socket]:
        """A relayed connection: its client and its target."""
        client = self.rig.secure(alpn=(b"echo",), version=self.version).shake()
        return client, self.rig.accept()

    def cause(self) -> object:
        """Why the only connection ended."""
        self.rig.until(lambda: self.rig.journal)
        return self.rig.journal[-1]["cause"]


class CarryTests(RelayCase):
    """What goes in comes out, in both directions, whatever the record size."""

    def test_both_ways(self) -> None:
        """A few bytes each way arrive at once."""
        client, target = self.pair()
        client.write(b"question")
        self.assertEqual(read_some(self.rig, target, 8), b"question")
        target.send(b"answer")
        self.assertEqual(client.read(6), b"answer")

    def test_record_sizes(self) -> None:
        """Records of 1, 10,000, 16,383 and 16,384 bytes arrive whole while nobody pauses."""
        client, target = self.pair()
        for size in (1, 10_000, 16_383, 16_384):
            sent = noise(size * 27)
            got = b""
            for at in range(0, len(sent), size):
                client.write(sent[at : at + size])
                with contextlib.suppress(BlockingIOError):
                    got += target.recv(1 << 20)
            got += read_some(self.rig, target, len(sent) - len(got))
            self.assertEqual(hashlib.sha256(got).digest(), hashlib.sha256(sent).digest())

    def test_gateway_stopped_and_continued(self) -> None:
        """Records that pile up while the gateway does not run are all read once it does."""
        for size in (1, 10_000, 16_383, 16_384):
            client, target = self.pair()
            sent = noise(size * 12)
            at = 0
            with contextlib.suppress(SSL.WantWriteError):
                while at < len(sent):
                    at += client.tls.send(sent[at : at + size])  # the gateway is not turned
            got = b""
            self.rig.settle()
            got = read_some(self.rig, target, at)
            self.assertEqual(got, sent[:at])
            self.rig.settle()

    def test_s49_reader_paused(self) -> None:
        """While the target takes nothing, no more than a chunk is held, and nothing is lost."""
        for size in (1_000, 10_000, 16_383, 16_384):
            client, target = self.pair()
            sent = noise(4 << 20)
            at = 0
            for _ in range(5_000):
                try:
                    at += client.tls.send(sent[at : at + size])
                except SSL.WantWriteError:
                    if not self.rig.turn():
                        break
            self.assertLess(at, len(sent), "the sender has to feel the pause")
            for connection in self.rig.gateway._live.values():
                assert connection.pair is not None
                held = connection.pair.to_target.held
                self.assertLessEqual(len(held or b""), CHUNK)
            got = b""
            while len(got) < at:
                got += read_some(self.rig, target, min(50_000, at - len(got)))
                self.rig.turn()
            self.assertEqual(got, sent[:at])

    def test_s49_reader_paused_downwards(self) -> None:
        """While the client takes nothing, the target feels it, and nothing is lost."""
        client, target = self.pair()
        sent = noise(8 << 20)
        at = 0
        for _ in range(5_000):
            try:
                at += target.send(sent[at : at + 65536])
            except BlockingIOError:
                if not self.rig.turn():
                    break
        self.assertLess(at, len(sent))
        self.rig.settle()
        self.assertEqual(client.read(at), sent[:at])

    def test_full_duplex(self) -> None:
        """Two megabytes each way at the same time, in odd pieces."""
        client, target = self.pair()
        up, down = noise(2 << 20), noise(2 << 20)
        got_up, got_down, sent_up, sent_down = b"", b"", 0, 0
        for _ in range(100_000):
            with contextlib.suppress(SSL.WantWriteError, SSL.WantReadError):
                if sent_up < len(up):
                    sent_up += client.tls.send(up[sent_up : sent_up + 7_919])
            with contextlib.suppress(BlockingIOError):
                if sent_down < len(down):
                    sent_down += target.send(down[sent_down : sent_down + 10_007])
            self.rig.turn()
            with contextlib.suppress(BlockingIOError):
                got_up += target.recv(30_011)
            with contextlib.suppress(SSL.WantReadError):
                got_down += client.tls.recv(16_001)
            if len(got_up) == len(up) and len(got_down) == len(down):
                break
        self.assertEqual(got_up, up)
        self.assertEqual(got_down, down)

    def test_no_spin(self) -> None:
        """A relay with nothing to do wakes nobody."""
        client, _target = self.pair()
        client.write(b"x")
        self.rig.settle()
        self.assertFalse(self.rig.turn())


class EndTests(RelayCase):
    """How a relay ends."""

    def test_client_half_close(self) -> None:
        """After the client's close_notify the target sees EOF, and its answer still arrives."""
        client, target = self.pair()
        client.write(b"all of it")
        client.tls.shutdown()
        self.assertEqual(read_all(self.rig, target), b"all of it")
        answer = noise(3 << 20)
        at = 0
        got = b""
        while len(got) < len(answer):
            with contextlib.suppress(BlockingIOError):
                if at < len(answer):
                    at += target.send(answer[at : at + 65536])
            self.rig.turn()
            with contextlib.suppress(SSL.WantReadError):
                got += client.tls.recv(65536)
        self.assertEqual(got, answer)
        target.close()
        self.assertEqual(client.read_end(), b"")
        self.assertEqual(self.cause(), "client_ended")

    def test_target_half_close(self) -> None:
        """After the target's FIN the client sees close_notify, and may go on sending."""
        client, target = self.pair()
        target.send(b"bye")
        target.shutdown(socket.SHUT_WR)
        self.assertEqual(client.read_end(), b"bye")
        sent = noise(1 << 20)
        got = b""
        at = 0
        while len(got) < len(sent):
            with contextlib.suppress(SSL.WantWriteError):
                if at < len(sent):
                    at += client.tls.send(sent[at : at + 16384])
            self.rig.turn()
            with contextlib.suppress(BlockingIOError):
                got += target.recv(65536)
        self.assertEqual(got, sent)
        client.tls.shutdown()
        self.assertEqual(read_all(self.rig, target), b"")
        self.assertEqual(self.cause(), "target_ended")

    def test_cut_without_close_notify(self) -> None:
        """A client that just closes its socket is told apart; the target gets what came."""
        client, target = self.pair()
        client.write(b"part")
        target.send(b"!")
        client.read(1)  # and with it what TLS 1.3 sends after the handshake: unread, it resets
        client.sock.close()
        self.assertEqual(read_all(self.rig, target), b"part")
        target.close()
        self.assertEqual(self.cause(), "client_cut")

    def test_nothing_stays(self) -> None:
        """After the end no watch, no timer and no connection is left."""
        client, target = self.pair()
        client.tls.shutdown()
        target.close()
        self.cause()
        self.rig.settle()
        self.assertEqual(self.rig.gateway.poller.watched(), 0)
        self.assertEqual(self.rig.gateway.wheel.waiting(), 0)
        self.assertEqual(self.rig.gateway.connections(), [])
        self.assertEqual(self.rig.gateway.census.connections, 0)
        self.assertEqual(self.rig.gateway.census.anonymous, 0)
        self.assertEqual(self.rig.gateway.census_of("web").by_source, {})

    def test_counts(self) -> None:
        """The journal's line has the bytes of each direction, the route and the cause."""
        client, target = self.pair()
        client.write(b"12345")
        read_some(self.rig, target, 5)
        target.send(b"123")
        client.read(3)
        client.tls.shutdown()
        target.close()
        self.cause()
        line = self.rig.journal[-1]
        self.assertEqual(
            (line["event"], line["route"], line["to_target"], line["to_client"]),
            ("route.end", "echo", 5, 3),
        )
        self.assertEqual(self.rig.gateway.tally.carried["echo", "web"], [5, 3])


class TimerTests(RelayCase):
    """Every wait of a relay ends."""

    extra = "  timeouts: {idle_seconds: 60, write_stall_seconds: 20, close_seconds: 10}"

    def test_idle(self) -> None:
        """A pair that moves no byte ends in order after idle_seconds, and not before."""
        client, target = self.pair()
        self.rig.settle()
        self.rig.advance(50)
        client.write(b"x")
        read_some(self.rig, target, 1)
        self.rig.advance(55)
        self.assertEqual(self.rig.journal, [])
        self.rig.advance(20)
        self.assertEqual(self.cause(), "idle")
        self.assertEqual(client.read_end(), b"")
        self.assertEqual(read_all(self.rig, target), b"")

    def test_write_stall(self) -> None:
        """A peer that takes nothing of what waits for it is cut off."""
        client, _target = self.pair()
        with contextlib.suppress(SSL.WantWriteError):
            for _ in range(100):
                client.tls.send(bytes(16384))
                self.rig.turn()
        self.rig.settle()
        self.rig.advance(30)
        self.assertEqual(self.cause(), "write_stall")

    def test_write_stall_beside_traffic(self) -> None:
        """What a peer goes on sending does not excuse it from reading."""
        client, target = self.pair()
        with contextlib.suppress(BlockingIOError):
            for _ in range(100):
                target.send(bytes(65536))
                self.rig.turn()
        self.rig.settle()
        for _ in range(3):
            client.write(b"x")
            self.assertEqual(read_some(self.rig, target, 1), b"x")
            self.rig.advance(5)
        self.assertEqual(self.rig.journal, [])
        client.write(b"x")
        self.rig.advance(15)
        self.assertEqual(self.cause(), "write_stall")

    def test_a_slow_reader_is_no_stall(self) -> None:
        """A peer that takes little, from what the kernel holds for it, stays."""
        client, target = self.pair()
        with contextlib.suppress(BlockingIOError):
            for _ in range(100):
                target.send(bytes(65536))
                self.rig.turn()
        self.rig.settle()
        for _ in range(6):
            self.rig.advance(10)
            client.sock.recv(20_000)
        self.assertEqual(self.rig.journal, [])
        self.rig.advance(30)
        self.assertEqual(self.cause(), "write_stall")

    def test_close_timer(self) -> None:
        """A pair of which one side has ended and the other is silent is cut off."""
        client, target = self.pair()
        client.tls.shutdown()
        read_all(self.rig, target)
        self.rig.advance(9)
        self.assertEqual(self.rig.journal, [])
        self.rig.advance(6)
        self.assertEqual(self.cause(), "close_timer")


class LifetimeTests(RelayCase):
    """The one wait that activity does not restart."""

    extra = "  timeouts: {lifetime_seconds: 31}"

    def test_lifetime(self) -> None:
        """A busy pair ends all the same."""
        client, target = self.pair()
        for _ in range(4):
            client.write(b"x")
            read_some(self.rig, target, 1)
            self.rig.advance(10)
        self.assertEqual(self.cause(), "lifetime")

    def test_s08_to_the_second(self) -> None:
        """S08: it is no more than a second late, however long the other waits are."""
        client, _ = self.pair()
        self.rig.advance(30.5)
        self.assertEqual(self.rig.journal, [])
        self.rig.advance(1)
        self.assertEqual(client.read_end(), b"")
        self.assertEqual(self.cause(), "lifetime")


class PassthroughTests(RelayCase):
    """A connection that is relayed from its hello on."""

    def test_hello_arrives_untouched(self) -> None:
        """The target sees the client's own hello, and does the handshake itself."""
        client = self.rig.secure(name="pass.test", cert=None)
        with contextlib.suppress(SSL.WantReadError):
            client.tls.do_handshake()
        target = self.rig.accept()
        head = self.rig.until(lambda: _peek(target))
        self.assertEqual(head[:1], b"\x16")
        self.assertIn(b"pass.test", head)
        write_all(self.rig, target, b"not TLS, and nobody here minds")
        self.rig.settle()
        self.assertEqual(client.sock.recv(100), b"not TLS, and nobody here minds")


def _peek(sock: socket.socket) -> bytes:
    try:
        return sock.recv(65536)
    except BlockingIOError:
        return b""


class PublicCarryTests(CarryTests):
    """The same without pyOpenSSL's private binding."""

    binding = False


class PublicEndTests(EndTests):
    """The same without pyOpenSSL's private binding."""

    binding = False


class Tls12CarryTests(CarryTests):
    """The same under TLS 1.2."""

    version = SSL.TLS1_2_VERSION


class Tls12EndTests(EndTests):
    """The same under TLS 1.2; a client may read after its own close_notify there too."""

    version = SSL.TLS1_2_VERSION
