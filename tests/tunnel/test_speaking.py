"""Tests for `tlsgate.tunnel.speaking`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.tunnel.agentside import FakeLease, FakeSession, ping
from tlsgate.core.frames import Frame, FrameKind, frame, only
from tlsgate.net.poller import READ, WRITE
from tlsgate.tls.fast import AGAIN, BLOCKED, BROKEN, ENDED, Slab
from tlsgate.tunnel.speaking import Speaking


class SpeakingTests(SynchronousTestCase):
    """Tests for `Speaking`."""

    def setUp(self) -> None:
        self.lease, self.session = FakeLease(), FakeSession()
        self.heard: list[Frame] = []
        self.lost: list[str] = []
        lease: Any = self.lease
        self.speaking = Speaking(
            lease,
            self.session,
            Slab(),
            limit_of=only(FrameKind.PING, FrameKind.CONTROL),
            heard=self.heard.append,
            lost=self.lost.append,
        )

    def test_frames_cut_anywhere(self) -> None:
        """Each frame is heard once, however the network cuts the bytes."""
        wire = ping() + frame(FrameKind.CONTROL, b"{}") + ping()
        for at in range(len(wire) + 1):
            self.setUp()
            self.session.incoming += wire[:at]
            self.speaking.start()
            self.session.incoming += wire[at:]
            self.lease.on_ready(READ)
            self.assertEqual(
                [one.kind for one in self.heard],
                [FrameKind.PING, FrameKind.CONTROL, FrameKind.PING],
            )
            self.assertEqual((self.lost, self.lease.mask), ([], READ))

    def test_not_a_byte_further(self) -> None:
        """After a pause the rest stays where it is, for whoever takes the connection."""
        self.speaking.heard = lambda _: self.speaking.pause()
        self.session.incoming += ping() + b"the next one's"
        self.speaking.start()
        self.assertEqual((bytes(self.session.incoming), self.lease.mask), (b"the next one's", 0))
        self.assertEqual(self.speaking.release(), (self.lease, self.session))
        self.speaking.write(b"late")
        self.speaking.close()
        self.assertEqual((bytes(self.session.written), self.lease.ended), (b"", ""))

    def test_it_goes_on(self) -> None:
        """Somebody else may go on with it, under other rules."""
        self.speaking.heard = lambda _: self.speaking.pause()
        self.session.incoming += ping() + frame(FrameKind.STATUS, b"{}")
        self.speaking.start()
        self.speaking.resume(only(FrameKind.STATUS), self.heard.append, self.lost.append)
        self.assertEqual([one.kind for one in self.heard], [FrameKind.STATUS])

    def test_ends(self) -> None:
        """An end, a reset and a frame that may not come are told once."""
        for after, wire, said in (
            (ENDED, b"", "has ended"),
            (BROKEN, b"", "is broken"),
            (AGAIN, frame(FrameKind.DATA, b"x"), "not allowed here"),
            (AGAIN, b"\x09\xff\xff\xff", "are the most"),
            (AGAIN, ping() * 300, "too much at once"),
        ):
            self.setUp()
            self.session.incoming += wire
            self.session.after = after
            self.speaking.start()
            self.lease.on_ready(READ)
            (why,) = self.lost
            self.assertIn(said, why)
            self.assertEqual(self.lease.ended, "aborted")

    def test_writes_that_wait(self) -> None:
        """What is not taken waits in order, and leaves when the socket takes it again."""
        self.session.room = 5
        self.speaking.write(b"hello world")
        self.speaking.write(b", and more")
        self.assertEqual((bytes(self.session.written), self.lease.mask), (b"hello", READ | WRITE))
        self.speaking.start()
        self.session.room = 1000
        self.lease.on_ready(WRITE)
        self.assertEqual(bytes(self.session.written), b"hello world, and more")
        self.assertEqual(self.lease.mask, READ)

    def test_tls_wants_the_other_direction(self) -> None:
        """A write may wait for something to read, and a read for room to write."""
        self.speaking.start()
        self.session.room, self.session.refuses = 0, AGAIN
        self.speaking.write(b"x")
        self.assertEqual(self.lease.mask, READ)
        self.session.room = 1
        self.session.after = BLOCKED
        self.lease.on_ready(READ)
        self.assertEqual((bytes(self.session.written), self.lease.mask), (b"x", WRITE))
        self.session.after = AGAIN
        self.lease.on_ready(WRITE)
        self.assertEqual(self.lease.mask, READ)

    def test_a_peer_that_takes_nothing(self) -> None:
        """What waits is bounded, and a broken write is an end."""
        self.session.room = 0
        for _ in range(5):
            self.speaking.write(b"x" * (1 << 20))
        self.assertEqual(self.lost, ["it takes nothing of what it is told"])
        self.setUp()
        self.session.room, self.session.refuses = 0, BROKEN
        self.speaking.write(b"x")
        self.assertEqual(self.lost, ["it is broken"])

    def test_close(self) -> None:
        """In order, or with a reset; nobody is told of what was asked for."""
        self.speaking.close()
        self.speaking.abort()
        self.assertEqual((self.lease.ended, self.lost), ("closed", []))
        self.setUp()
        self.speaking.abort()
        self.assertEqual((self.lease.ended, self.lost), ("aborted", []))
