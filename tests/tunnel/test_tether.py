"""Tests for `tlsgate.tunnel.tether`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.tunnel.agentside import FakeLease, FakeSession, control, hello, ping
from tlsgate.core.frames import FrameKind, frame, message, only, read_message
from tlsgate.core.greetings import Changed, Drain, Inventory, Open, Reconnect, Retire
from tlsgate.core.tunnelway import Way
from tlsgate.errors import GateError, TunnelBroken
from tlsgate.net.poller import READ
from tlsgate.net.wheel import Wheel
from tlsgate.tls.fast import ENDED, Slab
from tlsgate.tunnel.speaking import Speaking
from tlsgate.tunnel.tether import Tether


class FakeStream:
    """A stream of which only the state matters."""

    def __init__(self, idle: Any, lost: Any) -> None:
        self.busy = False
        self.ended = ""
        self.idle, self.lost = idle, lost

    def close(self) -> None:
        """Remember it."""
        self.ended = "closed"

    def abort(self, cause: str) -> None:
        """Remember it."""
        self.ended = cause


class FakeOwner:
    """Whom a session tells."""

    def __init__(self, slab: Slab) -> None:
        self.slab = slab
        self.told_of: list[Any] = []
        self.dials: list[tuple[Callable[[Any], None], Callable[[GateError], None]]] = []
        self.cancelled = 0
        self.streams: list[FakeStream] = []

    def dial_stream(self, tether: Tether, met: Any, failed: Any) -> Callable[[], None]:
        """See `tether.Owner`."""
        self.dials.append((met, failed))

        def cancel() -> None:
            self.cancelled += 1

        return cancel

    def make_stream(self, lease: Any, session: Any, asked: Any, idle: Any, lost: Any) -> FakeStream:
        """See `tether.Owner`."""
        self.streams.append(FakeStream(idle, lost))
        self.ask = asked
        return self.streams[-1]

    def asked(self, tether: Tether, asked: Any, request: Any) -> None:
        """See `tether.Owner`."""
        self.told_of.append(("asked", asked, request))

    def told(self, tether: Tether) -> None:
        """See `tether.Owner`."""
        self.told_of.append("told")

    def moved(self, tether: Tether, why: str) -> None:
        """See `tether.Owner`."""
        self.told_of.append(("moved", why))

    def proved(self, tether: Tether) -> None:
        """See `tether.Owner`."""
        self.told_of.append("proved")

    def ended(self, tether: Tether, why: str) -> None:
        """See `tether.Owner`."""
        self.told_of.append(("ended", why))

    def come(self) -> Any:
        """The oldest dial has met its gateway."""
        met, _ = self.dials.pop(0)
        made: Any = Speaking(
            FakeLease(),  # type: ignore[arg-type]
            FakeSession(),
            self.slab,
            limit_of=only(),
            heard=lambda _: None,
            lost=lambda _: None,
        )
        made.pause()
        met(made)
        return made


class TetherTests(SynchronousTestCase):
    """Tests for `Tether`."""

    def setUp(self) -> None:
        self.clock, self.slab = Clock(), Slab()
        self.lease, self.session = FakeLease(), FakeSession()
        self.owner = FakeOwner(self.slab)
        self.make(spares=1)

    def make(self, **more: Any) -> None:
        """A session whose gateway has said *more* in its HELLO."""
        lease: Any = self.lease
        speaking = Speaking(
            lease,
            self.session,
            self.slab,
            limit_of=only(FrameKind.HELLO),
            heard=lambda _: None,
            lost=lambda _: None,
        )
        speaking.pause()
        wheel = Wheel(self.clock)
        way = Way("gate.example.com", 443, alpn=True)
        self.tether = Tether(hello(**more), speaking, self.owner, wheel, way)

    def hear(self, wire: bytes) -> None:
        """The gateway says something."""
        self.session.incoming += wire
        self.lease.on_ready(READ)

    def said(self) -> list[dict[str, Any]]:
        """Our words on the control connection."""
        return [read_message(one) for one in self.session.said() if one.kind is FrameKind.CONTROL]

    def test_the_first_streams(self) -> None:
        """As many as the HELLO says are dialled at once, and the gateway's wishes after that."""
        self.make(spares=2)
        self.tether.start()
        self.assertEqual(len(self.owner.dials), 2)
        self.owner.come()
        self.owner.come()
        self.assertEqual((self.tether.streams, self.tether.busy), (2, 0))
        self.hear(control(Open(3)))
        self.assertEqual(len(self.owner.dials), 3)

    def test_dials_are_bounded(self) -> None:
        """So many at a time, and never more than the most."""
        self.tether.start()
        self.hear(control(Open(1000)) * 3)
        self.assertEqual(len(self.owner.dials), 16)
        for _ in range(1100):
            if self.owner.dials:
                self.owner.come()
        self.assertEqual((self.tether.streams, self.owner.dials), (1000, []))

    def test_a_dial_that_fails(self) -> None:
        """It is not tried again by us: the gateway asks for what it needs."""
        self.tether.start()
        _, failed = self.owner.dials.pop()
        failed(TunnelBroken("x"))
        self.assertEqual((self.owner.dials, self.owner.told_of), ([], []))

    def test_pings(self) -> None:
        """Each is answered; ours go out each period, and an answer keeps the session."""
        self.tether.start()
        self.hear(ping(b"abcdefgh"))
        for _ in range(8):
            frames = self.session.said()
            self.assertIn(FrameKind.PING, [one.kind for one in frames])
            if _ == 0:
                self.assertEqual(frames[-1].body, b"abcdefgh")
            newest = [one.body for one in frames if one.kind is FrameKind.PING][-1]
            self.hear(frame(FrameKind.PONG, newest))
            self.clock.pump([0.25] * 61)
        self.assertEqual((self.tether.over, self.owner.told_of), (False, ["proved"]))

    def test_r15_a_gateway_that_is_silent(self) -> None:
        """Three pings without an answer end the session, and every stream of it."""
        self.tether.start()
        self.owner.come()
        self.owner.streams[0].busy = True
        self.clock.pump([0.25] * 4 * 46)
        self.assertTrue(self.tether.over)
        self.assertEqual(self.owner.streams[0].ended, "the gateway is silent")
        self.assertEqual(self.owner.told_of, [("ended", "it has not answered to three pings")])
        self.assertEqual((self.lease.ended, self.clock.getDelayedCalls()), ("aborted", []))

    def test_settings_that_change(self) -> None:
        """Another period of pings counts at once; others are the owner's."""
        self.tether.start()
        changed = Changed(ping_seconds=1.0, spares=3, workers=("0", "1"), gateways=("a:1",))
        self.hear(control(changed))
        self.assertEqual((self.tether.workers, self.tether.gateways), (("0", "1"), ("a:1",)))
        self.assertEqual(self.owner.told_of, ["told"])
        self.session.said()
        self.clock.pump([0.25] * 6)
        self.assertEqual([one.kind for one in self.session.said()], [FrameKind.PING])

    def test_it_drains(self) -> None:
        """Idle streams close, busy ones end when they are done, and the session then."""
        self.make(spares=3)
        self.tether.start()
        self.owner.come()
        self.owner.come()
        idle, busy = self.owner.streams
        busy.busy = True
        self.session.said()
        self.tether.drain()
        self.tether.drain()
        self.assertEqual(self.said(), [{"say": "drain"}])
        self.assertEqual((idle.ended, busy.ended, self.owner.cancelled), ("closed", "", 1))
        self.hear(control(Open(2)))
        self.assertEqual(len(self.owner.dials), 1)
        self.owner.come()  # one that could not be cancelled any more
        self.assertEqual(len(self.owner.streams), 2)
        busy.busy = False
        busy.idle(busy)
        self.assertEqual((busy.ended, self.lease.ended), ("closed", "closed"))
        self.assertEqual(self.owner.told_of, [("ended", "it is drained")])

    def test_the_gateway_drains(self) -> None:
        """The agent looks for another session, and lets this one end."""
        self.tether.start()
        self.owner.come()
        self.hear(control(Drain()))
        self.assertEqual(self.owner.told_of, [("ended", "it is drained"), ("moved", "it drains")])

    def test_reconnect(self) -> None:
        """It is the owner's to dial anew; nothing ends before."""
        self.tether.start()
        self.hear(control(Reconnect("the mode has changed")))
        self.assertEqual(self.owner.told_of, [("moved", "the mode has changed")])
        self.assertFalse(self.tether.over)

    def test_the_connection_breaks(self) -> None:
        """Idle streams end with it, busy ones go on until they are done."""
        self.make(spares=2)
        self.tether.start()
        self.owner.come()
        self.owner.come()
        idle, busy = self.owner.streams
        busy.busy = True
        self.session.after = ENDED
        self.lease.on_ready(READ)
        self.assertEqual((idle.ended, busy.ended), ("closed", ""))
        self.assertEqual(self.owner.told_of, [("ended", "it has ended")])
        busy.idle(busy)
        self.assertEqual(busy.ended, "closed")
        self.clock.pump([0.25] * 4 * 17)
        self.assertEqual(self.clock.getDelayedCalls(), [])  # it pings no more

    def test_a_stream_that_ends(self) -> None:
        """It counts no more."""
        self.tether.start()
        self.owner.come()
        stream = self.owner.streams[0]
        stream.lost(stream, TunnelBroken("x"))
        self.assertEqual(self.tether.streams, 0)

    def test_requests_and_offers(self) -> None:
        """A request is the owner's; what is offered is told."""
        self.tether.start()
        self.owner.come()
        self.owner.ask("asked", "request")
        self.assertEqual(self.owner.told_of, [("asked", "asked", "request")])
        self.session.said()
        self.tether.offer(Inventory((), "host"))
        self.assertEqual(self.said(), [{"say": "inventory", "offers": [], "hostname": "host"}])

    def test_what_no_gateway_says(self) -> None:
        """An odd word ends the session; one of a newer version is passed over."""
        self.tether.start()
        self.hear(message(FrameKind.CONTROL, {"say": "sing"}))
        self.assertFalse(self.tether.over)
        self.hear(control(Retire(1)))
        self.assertTrue(self.tether.over)
        self.assertIn("only an agent does", self.owner.told_of[0][1])

    def test_cut(self) -> None:
        """Everything ends at once, and nobody is told."""
        self.tether.start()
        self.owner.come()
        self.tether.cut("the agent ends")
        self.assertEqual(self.owner.streams[0].ended, "the agent ends")
        self.assertEqual((self.owner.told_of, self.lease.ended), ([], "aborted"))
