"""A client's end of a stream behind a served transport, and as its loan shows it."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from tests.net.rig import CLIENT, GATE, noise
from tests.tunnel.test_stream import StreamCase, read
from tests.tunnel.yard import WAITS, Asker, asked
from tlsgate.net.ends import CHUNK, STRIDE, End
from tlsgate.net.transport import ServedTransport
from tlsgate.tls.fast import AGAIN, ENDED
from tlsgate.tunnel.streamend import StreamEnd


class Echo(Protocol):
    """Says back what it hears, until it is told to stop."""

    def __init__(self) -> None:
        self.heard = b""
        self.lost: str | None = None

    def dataReceived(self, data: bytes) -> None:
        """Say it back."""
        self.heard += data
        transport: Any = self.transport
        transport.write(data)
        if self.heard.endswith(b"."):
            transport.loseConnection()

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:  # noqa: B008
        """Remember why."""
        self.lost = reason.type.__name__ if reason.type else ""


class ServedTests(StreamCase):
    """A protocol of the gateway over a stream, as a jump host's channel is."""

    def start(self) -> tuple[Echo, ServedTransport, socket.socket]:
        """Connect one; the third is the target."""
        asker = Asker()
        self.gateway.ask(asked(), asker.reached, asker.failed)
        self.yard.until(lambda: self.agent.asked)
        _, target = self.yard.join(self.agent.asked.pop()[1].accept(), client=False)
        end = self.yard.until(lambda: asker.end)
        echo = Echo()
        transport = ServedTransport(
            end,
            secure=None,
            negotiated=None,
            peer=CLIENT,
            local=GATE,
            slab=self.yard.slab,
            waits=WAITS,
            wheel=self.yard.wheel,
            now=self.yard.reactor.seconds,
        )
        transport.start(echo)
        return echo, transport, target

    def test_both_ways(self) -> None:
        """It hears the target and is heard; more than a frame holds arrives whole."""
        echo, _, target = self.start()
        sent, got, at = noise(1 << 20), b"", 0
        while len(got) < len(sent):
            with contextlib.suppress(BlockingIOError):
                at += target.send(sent[at : at + 65_536])
            self.yard.turn()
            got += read(target) or b""
        self.assertEqual((got, echo.heard), (sent, sent))

    def test_the_protocol_ends_it(self) -> None:
        """The target sees the end behind the last words; what it still says is dropped."""
        echo, transport, target = self.start()
        target.send(b"bye.")
        self.yard.settle()
        self.assertEqual(
            (echo.heard, echo.lost, transport.cause), (b"bye.", "ConnectionDone", "served")
        )
        self.assertEqual((read(target), read(target)), (b"bye.", b""))
        target.send(b"one more word")
        target.close()
        self.yard.settle()
        self.assertFalse(self.gateway.busy)
        self.assert_serves()

    def test_a_target_that_stays(self) -> None:
        """After two seconds it is reset, and the stream serves the next."""
        _, _, target = self.start()
        target.send(b"bye.")
        self.yard.settle()
        self.assertTrue(self.gateway.busy)
        self.yard.advance(3)
        self.yard.settle()
        self.assertFalse(self.gateway.busy)
        self.yard.wheel.stop()
        self.assert_serves()

    def test_the_target_ends_it(self) -> None:
        """The protocol hears it, and the stream serves the next."""
        echo, transport, target = self.start()
        target.close()
        self.yard.settle()
        self.assertEqual((echo.lost, transport.cause), ("ConnectionDone", "client_ended"))
        self.assert_serves()

    def test_the_target_breaks(self) -> None:
        """A reset is told apart."""
        echo, transport, _ = self.start()
        self.gateway.abort("a lock")
        self.assertEqual((echo.lost, transport.cause), ("ConnectionLost", "client_reset"))
        self.assert_dead()


class LoanTests(StreamCase):
    """What a relay sees of a lease."""

    def take(self) -> tuple[End, socket.socket]:
        """A client's end, and its target."""
        asker = Asker()
        self.gateway.ask(asked(), asker.reached, asker.failed)
        self.yard.until(lambda: self.agent.asked)
        _, target = self.yard.join(self.agent.asked.pop()[1].accept(), client=False)
        end: End = self.yard.until(lambda: asker.end)
        return end, target

    def test_a_lease(self) -> None:
        """Descriptor, buffers and address are the connection's, until the client is over."""
        end, _ = self.take()
        assert isinstance(end, StreamEnd)
        self.assertTrue(end.lease.open)
        self.assertGreater(end.lease.fd, 0)
        self.assertIn(end.step(), (CHUNK, STRIDE))
        self.assertEqual(end.lease.local(), self.gateway._lease.local())
        self.assertEqual(end.lease.socket.family, socket.AF_UNIX)
        end.lease.close()
        self.assertFalse(end.lease.open)
        self.assertEqual((end.lease.fd, end.queued(), end.stuck), (-1, 0, False))

    def test_a_socket(self) -> None:
        """What a refusal does to it stays within the client's frames."""
        end, target = self.take()
        self.assertRaises(BlockingIOError, end.lease.socket.recv, 100)
        target.send(b"dropped")
        self.yard.settle()
        self.assertEqual(end.lease.socket.recv(4), b"drop")
        self.assertEqual(end.lease.socket.recv(100), b"ped")
        end.lease.socket.shutdown(socket.SHUT_WR)
        self.assertEqual(end.finish(), ENDED)
        self.yard.settle()
        self.assertEqual(read(target), b"")
        target.close()
        self.yard.settle()
        self.assertEqual(end.lease.socket.recv(100), b"")
        end.lease.close()
        self.assertRaises(OSError, end.lease.socket.recv, 100)
        self.assert_serves()

    def test_small_frames_come_in_one_piece(self) -> None:
        """Several that wait are read to one place, so that the client gets them in one write."""
        end, _ = self.take()
        agent_end = self.theirs._end
        assert agent_end is not None
        for word in (b"one", b"two", b"three"):
            self.yard.slab.view[: len(word)] = word
            self.assertEqual(agent_end.put(self.yard.slab, len(word)), len(word))
        got = b""
        while (count := end.fill(self.yard.slab, CHUNK)) > 0:
            got += bytes(self.yard.slab.view[:count])
        self.assertEqual((count, got), (AGAIN, b"onetwothree"))
        self.assertTrue(end.drained)
