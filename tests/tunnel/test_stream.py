"""Streams over real TLS: one client after another, and every way in which one can end."""

from __future__ import annotations

import contextlib
import hashlib
import socket

from twisted.trial.unittest import SynchronousTestCase

from tests.net.rig import noise
from tests.tunnel.yard import NO, Agent, Asker, Served, Yard, asked
from tlsgate.core.frames import FrameKind, numbered
from tlsgate.errors import TunnelBroken
from tlsgate.tls.fast import Session


def read(sock: socket.socket, size: int = 1 << 20) -> bytes | None:
    """What has come; b"" for the end, None for nothing yet, "reset" told by an exception."""
    try:
        return sock.recv(size)
    except BlockingIOError:
        return None


class Overheard:
    """A session, and the words that it was given."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.said: list[bytes] = []
        self.read = session.read
        self.write = session.write
        self.pending = session.pending
        self.end = session.end

    def say(self, words: bytes) -> int:
        """See `Session.say`."""
        self.said.append(words)
        return self._session.say(words)


class StreamCase(SynchronousTestCase):
    """A stream, idle."""

    binding = True

    def setUp(self) -> None:
        """Make it."""
        self.yard = Yard(self, binding=self.binding)
        self.agent = Agent()
        self.gateway, self.theirs = self.yard.stream(self.agent)

    def serve(self, user: str = "alice") -> Served:
        """Take a client through it."""
        return self.yard.serve(self.gateway, self.agent, user)

    def assert_serves(self, times: int = 2) -> None:
        """It is idle, and serves clients to their end."""
        for _ in range(times):
            self.yard.settle()
            self.assertEqual((self.yard.lost, self.agent.lost), ([], []))
            self.assertFalse(self.gateway.busy or self.theirs.busy)
            served = self.serve("bob")
            served.client.send(b"from bob")
            served.target.send(b"to bob")
            self.yard.settle()
            self.assertEqual((read(served.target), read(served.client)), (b"from bob", b"to bob"))
            served.client.shutdown(socket.SHUT_WR)
            served.target.shutdown(socket.SHUT_WR)
            self.yard.settle()
            self.assertEqual((read(served.target), read(served.client)), (b"", b""))
            self.assertTrue(served.over())
        self.assertEqual(self.yard.wheel.waiting(), 0)
        self.assertEqual(self.yard.poller.watched(), 2)

    def assert_dead(self) -> None:
        """Both sides have told their owners once, and nothing is left."""
        self.yard.settle()
        self.assertEqual(len(self.yard.lost), 1)
        self.assertEqual(len(self.agent.lost), 1)
        self.assertFalse(self.gateway.open or self.theirs.open)
        self.assertEqual(self.yard.poller.watched(), 0)
        self.assertEqual(self.yard.wheel.waiting(), 0)


class ServingTests(StreamCase):
    """Clients that end in order."""

    def test_one_after_another(self) -> None:
        """A stream serves one client after the other, and says each time that it is idle."""
        self.assert_serves(20)
        self.assertEqual((len(self.yard.idle), self.agent.idle), (20, 20))
        self.assertEqual(self.gateway.serial, 20)
        self.assertEqual(self.gateway.carried(), (160, 120))
        self.assertEqual(self.theirs.carried(), (160, 120))

    def test_last_words(self) -> None:
        """Where the client has ended first, the agent's END and ENDED leave in one write."""
        served = self.serve()
        session = Overheard(self.theirs._wire.session)
        self.theirs._wire.session = self.theirs._wire._raw = session
        served.client.shutdown(socket.SHUT_WR)
        self.yard.settle()
        served.target.shutdown(socket.SHUT_WR)
        self.yard.settle()
        self.assertTrue(served.over())
        last = numbered(FrameKind.END, 1) + numbered(FrameKind.ENDED, 1)
        self.assertEqual(session.said, [last])
        self.assert_serves()

    def test_what_is_asked_arrives(self) -> None:
        """The agent sees all that the gateway asks, and may take its time."""
        asker = Asker()
        self.gateway.ask(asked("carol"), asker.reached, asker.failed)
        self.yard.settle()
        told, request = self.agent.asked.pop()
        self.assertEqual(told, asked("carol"))
        self.assertTrue(request.open and self.gateway.busy and self.theirs.busy)
        self.yard.advance(3_600)
        self.assertIsNone(asker.end)
        request.accept()
        self.yard.settle()
        self.assertIsNotNone(asker.end)
        self.assertFalse(request.open)

    def test_refused(self) -> None:
        """The asker gets the agent's sentence, and the stream serves the next."""
        asker = Asker()
        self.gateway.ask(asked(), asker.reached, asker.failed)
        self.yard.settle()
        self.agent.asked.pop()[1].refuse(NO)
        self.yard.settle()
        self.assertEqual(asker.missed, ("alice may not", False))
        self.assert_serves()

    def test_asked_while_busy(self) -> None:
        """It is refused at once, and the present client is none the worse."""
        served = self.serve()
        asker = Asker()
        self.assertRaises(TunnelBroken, self.gateway.ask, asked(), asker.reached, asker.failed)
        served.client.send(b"still here")
        self.yard.settle()
        self.assertEqual(read(served.target), b"still here")

    def test_answered_twice(self) -> None:
        """A request is answered once: the second answer is none."""
        asker = Asker()
        self.gateway.ask(asked(), asker.reached, asker.failed)
        self.yard.settle()
        request = self.agent.asked.pop()[1]
        request.refuse(NO)
        request.refuse(NO)
        self.assertRaises(TunnelBroken, request.accept)
        self.yard.settle()
        self.assert_serves()

    def test_half_close_by_the_client(self) -> None:
        """The target sees the end and goes on sending for as long as it likes."""
        served = self.serve()
        served.client.send(b"question")
        served.client.shutdown(socket.SHUT_WR)
        self.yard.settle()
        self.assertEqual(served.target.recv(100), b"question")
        self.assertEqual(read(served.target), b"")
        sent = noise(3 << 20)
        self.assertEqual(self.carry(served.target, served.client, sent), sent)
        served.target.close()
        self.yard.settle()
        self.assertEqual(read(served.client), b"")
        self.assertTrue(served.over())
        self.assert_serves()

    def test_half_close_by_the_target(self) -> None:
        """The client sees the end and goes on sending for as long as it likes."""
        served = self.serve()
        served.target.send(b"greeting")
        served.target.shutdown(socket.SHUT_WR)
        self.yard.settle()
        self.assertEqual(served.client.recv(100), b"greeting")
        self.assertEqual(read(served.client), b"")
        sent = noise(3 << 20)
        self.assertEqual(self.carry(served.client, served.target, sent), sent)
        served.client.close()
        self.yard.settle()
        self.assertEqual(read(served.target), b"")
        self.assertTrue(served.over())
        self.assert_serves()

    def carry(self, source: socket.socket, sink: socket.socket, sent: bytes) -> bytes:
        """Send all of *sent*; what arrives."""
        got, at = bytearray(), 0
        while len(got) < len(sent):
            before = (at, len(got))
            with contextlib.suppress(BlockingIOError):
                at += source.send(sent[at : at + 65_537])
            moved = self.yard.turn()
            got += read(sink, 70_001) or b""
            self.assertTrue(moved or (at, len(got)) != before, "nothing moves any more")
        return bytes(got)

    def test_64_mib_each_way(self) -> None:
        """Every byte arrives, in order, in both directions at once."""
        served = self.serve()
        up, down = noise(1 << 20), noise(1 << 20)
        size = 64 << 20
        hashes = {"up": hashlib.sha256(), "down": hashlib.sha256()}
        sent = {"up": 0, "down": 0}
        got = {"up": 0, "down": 0}
        ways = (
            ("up", served.client, served.target, up),
            ("down", served.target, served.client, down),
        )
        while min(got.values()) < size:
            for name, source, sink, block in ways:
                at = sent[name] % len(block)
                with contextlib.suppress(BlockingIOError):
                    if sent[name] < size:
                        sent[name] += source.send(block[at : min(at + 200_003, len(block))])
                some = read(sink, 262_144) or b""
                hashes[name].update(some)
                got[name] += len(some)
            self.yard.turn()
        for name, block in (("up", up), ("down", down)):
            self.assertEqual(got[name], size)
            self.assertEqual(hashes[name].digest(), hashlib.sha256(block * 64).digest())
        served.client.close()
        served.target.close()
        self.assert_serves()

    def test_record_sizes(self) -> None:
        """Writes of 1, 10,000, 16,383 and 16,384 bytes, 27 in a row, arrive while nobody turns."""
        for size in (1, 10_000, 16_383, 16_384):
            served = self.serve()
            sent = noise(size * 27)
            at = 0
            with contextlib.suppress(BlockingIOError):
                while at < len(sent):
                    at += served.client.send(sent[at : at + size])
            self.assertEqual(self.carry_rest(served, at), sent[:at])
            served.client.close()
            served.target.close()
            self.yard.settle()
        self.assert_serves()

    def carry_rest(self, served: Served, size: int) -> bytes:
        """Read *size* bytes at the target."""
        got = bytearray()
        while len(got) < size:
            got += self.yard.until(lambda: read(served.target))
        return bytes(got)


class PublicServingTests(ServingTests):
    """The same without pyOpenSSL's private binding."""

    binding = False
