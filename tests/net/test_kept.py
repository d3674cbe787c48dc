"""Tests of a connection that somebody else keeps, or that is known later: see `net.connection`."""

from __future__ import annotations

import contextlib
from typing import Any

from OpenSSL import SSL
from zope.interface import implementer

from tests.net.rig import Client, noise
from tests.net.test_handover import HandoverCase, Line
from tlsgate.core.access import Identity
from tlsgate.interfaces import IKept
from tlsgate.net.ends import STRIDE, End


@implementer(IKept)
class Stream:
    """A tunnel's stream, for all that the gateway knows of it."""

    cause = ""
    rests = False

    def __init__(self, end: End) -> None:
        self.end = end

    def end_in_order(self, cause: str) -> None:
        """See `IKept`."""
        self.cause = cause
        self.end.lease.abort()

    def resting(self) -> bool:
        """See `IKept`."""
        return self.rests

    def carried(self) -> tuple[int, int]:
        """See `IKept`."""
        return 7, 8


class KeptTests(HandoverCase):
    """`IRouteContext.keep`: a socket that somebody else has now."""

    def setUp(self) -> None:
        super().setUp()
        self.kept: list[Stream] = []
        self.asking.then = self.keep

    def keep(self, line: Line, said: bytes, rest: bytes) -> None:
        """Release and keep."""
        transport: Any = line.transport
        transport.write(b"hello\n")
        stream = Stream(transport.release())
        self.assertEqual(transport.unsent, b"")
        line.context.keep(stream)
        self.kept.append(stream)

    def begin(self) -> Client:
        client = self.rig.secure(alpn=(b"ask",)).shake()
        client.write(b"agent\n")
        self.rig.until(lambda: self.kept)
        return client

    def test_it_is_known(self) -> None:
        """What was written has left; the socket is the keeper's, and the connection listed."""
        client = self.begin()
        self.assertEqual(client.read(6), b"hello\n")
        one = self.only()
        self.assertEqual((one["stage"], one["to_target"], one["to_client"]), ("tunnel", 7, 8))
        end = self.kept[0].end
        client.write(b"frame")
        self.assertEqual(end.fill(self.rig.gateway.slab, 100), 5)
        self.assertEqual(self.rig.gateway.poller.watched(), 0)
        self.assertEqual(self.rig.gateway.wheel.waiting(), 0)
        end.lease.close()
        self.assertEqual(self.ended()["cause"], "closed")
        self.assertIsNone(self.asking.made[0].lost)

    def test_unsent(self) -> None:
        """What the socket does not take is left to whoever has it then."""
        data = noise(5_000_000)

        def keep(line: Line, said: bytes, rest: bytes) -> None:
            transport: Any = line.transport
            transport.write(data)
            self.end, self.unsent = transport.release(), transport.unsent
            line.context.keep(Stream(self.end))
            self.kept.append(Stream(self.end))

        self.asking.then = keep
        client = self.begin()
        self.assertTrue(0 < len(self.unsent) <= len(data))
        slab, left = self.rig.gateway.slab, bytearray(self.unsent)
        got = bytearray()
        while len(got) < len(data):
            size = min(len(left), STRIDE)  # as it was begun
            slab.view[:size] = left[:size]
            del left[: self.end.put(slab, size)]
            with contextlib.suppress(SSL.WantReadError):
                got += client.tls.recv(1 << 20)
        self.assertEqual(bytes(got), data)

    def test_locked(self) -> None:
        """A lock reaches it, with its cause."""
        self.begin()
        self.rig.gateway.end_those(lambda one: one.name == "alice")
        self.assertEqual(self.ended()["cause"], "locked")
        self.nothing_stays()

    def test_drain(self) -> None:
        """A drain waits until it rests."""
        self.begin()
        drained = self.rig.gateway.drain(60)
        self.rig.advance(5)
        self.assertNoResult(drained)
        self.kept[0].rests = True
        self.rig.advance(1)
        self.assertEqual(self.successResultOf(drained), 0)
        self.assertEqual(self.ended()["cause"], "drain")


class IdentifyTests(HandoverCase):
    """`IRouteContext.identify`."""

    def test_known_later(self) -> None:
        """Locks and the list go by whoever the protocol has found out; the ledger stays even."""
        bob = Identity(common_names=("bob",))
        self.asking.then = lambda line, said, rest: line.context.identify(bob)
        client = self.rig.secure(alpn=(b"ask",)).shake()
        client.write(b"x\n")
        self.rig.until(lambda: self.only()["identity"] == "bob")
        self.rig.gateway.end_those(lambda one: one is bob)
        client.sock.close()
        self.assertEqual(self.ended()["identity"], "bob")
        self.assertEqual(
            [what for what, _, _ in self.rig.witness.seen], ["opened", "known", "closed"]
        )
