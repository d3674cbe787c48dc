"""Tests for `tlsgate.tunnel.pool`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.tunnel.gateside import FakeStream, Time
from tlsgate.errors import AgentBusy, GateError
from tlsgate.tunnel.pool import MOST_SPARES, MOST_WAITING, Pool, Stream


class Waiter:
    """Somebody who needs a stream."""

    def __init__(self) -> None:
        self.got: Stream | None = None
        self.error: GateError | None = None

    def given(self, stream: Stream) -> None:
        self.got = stream

    def missed(self, error: GateError) -> None:
        self.error = error


class PoolTests(SynchronousTestCase):
    """Tests for `Pool`."""

    def setUp(self) -> None:
        self.time = Time()
        self.asked: list[int] = []
        self.pool = self.make()

    def make(self, spares: int = 1, most: int = 100) -> Pool:
        self.asked.clear()
        return Pool(
            "db1",
            spares=spares,
            most=most,
            ask=self.asked.append,
            wheel=self.time.wheel,
            now=self.time.clock.seconds,
        )

    def stream(self) -> FakeStream:
        """One more comes."""
        stream = FakeStream(lost=lambda stream, error: self.pool.lost(stream))
        self.pool.added(stream)
        return stream

    def take(self) -> Waiter:
        waiter = Waiter()
        self.pool.take(waiter)
        return waiter

    def test_spare(self) -> None:
        """Who comes first has the spare stream at once, and another one is asked for."""
        first = self.stream()
        self.assertEqual(self.asked, [])
        self.assertIs(self.take().got, first)
        self.assertEqual((self.asked, self.pool.idle, len(self.pool.busy)), ([1], 0, 1))

    def test_wait(self) -> None:
        """Who waits is served in turn, by streams that come and by those that return."""
        first = self.stream()
        self.take()
        waiters = [self.take() for _ in range(3)]
        second = self.stream()
        self.pool.returned(first)
        self.assertEqual([one.got for one in waiters], [second, first, None])
        self.pool.forget(waiters[2])
        self.pool.forget(waiters[2])
        self.assertEqual(self.pool.waiting, 0)

    def test_returned_twice(self) -> None:
        """A stream that was never given, or is back already, is not had twice."""
        first = self.stream()
        self.pool.returned(first)
        self.take()
        self.pool.returned(first)
        self.pool.returned(first)
        self.assertEqual((self.pool.idle, len(self.pool.busy)), (1, 0))

    def test_bounds(self) -> None:
        """Neither streams nor those who wait grow without end, and each is told so."""
        self.pool = self.make(most=3)
        waiters = [self.take() for _ in range(MOST_WAITING + 1)]
        self.assertEqual(sum(self.asked) + 1, 3)
        self.assertIsInstance(waiters[-1].error, AgentBusy)
        self.assertIn("256 clients", str(waiters[-1].error))
        self.assertEqual(self.pool.waiting, MOST_WAITING)
        for _ in range(3):
            self.assertEqual(self.pool.full, False)
            self.stream()
        self.assertEqual(self.pool.full, True)

    def test_adapts(self) -> None:
        """As many more are spare as had to wait at once, and in quiet times fewer."""
        self.pool = self.make(most=100)
        for _ in range(100):
            self.take()
        self.assertEqual(self.pool.spares, MOST_SPARES)
        while self.pool.waiting:
            self.stream()
        for one in list(self.pool.busy):
            self.pool.returned(one)
        self.assertEqual(self.pool.idle, 100)
        self.time.pass_by(200)
        self.assertEqual((self.pool.spares, self.pool.idle), (1, 1))
        self.assertEqual(self.time.wheel.waiting(), 0)

    def test_surplus(self) -> None:
        """What nobody has used for a period is given up, but for the spares."""
        streams = [self.stream() for _ in range(6)]
        for _ in range(3):  # three at a time are needed now and then
            self.time.pass_by(5)
            taken = [self.take().got for _ in range(3)]
            for one in taken:
                assert one is not None
                self.pool.returned(one)
        self.time.pass_by(6)
        self.assertEqual([one.did for one in streams[:2]], [["close"], ["close"]])
        self.assertEqual(self.pool.idle, 4)
        self.time.pass_by(30)
        self.assertEqual(self.pool.idle, 1)

    def test_retire(self) -> None:
        """An agent that has too many may have fewer; the spares stay."""
        for _ in range(5):
            self.stream()
        self.pool.retire(2)
        self.assertEqual(self.pool.idle, 3)
        self.pool.retire(100)
        self.assertEqual((self.pool.idle, self.asked), (1, []))

    def test_asked_again(self) -> None:
        """What was asked for and does not come is asked for again after a while."""
        self.take()
        self.assertEqual(self.asked, [2])
        self.pool.look()
        self.assertEqual(self.asked, [2])
        self.time.pass_by(11)
        self.assertEqual(self.asked, [2, 3])

    def test_unusable(self) -> None:
        """A stream by a certificate that has ended serves nobody."""
        first, second = self.stream(), self.stream()
        second.usable = False
        self.assertIs(self.take().got, first)
        self.assertEqual(second.did, ["close"])
        first.usable = False
        self.pool.returned(first)
        self.assertEqual((first.did, self.pool.idle), (["close"], 0))

    def test_lost(self) -> None:
        """Another one takes the place of a spare stream that breaks."""
        self.stream().die()
        self.assertEqual((self.pool.idle, self.asked), (0, [1]))
        first = self.stream()
        self.take()
        first.die()
        self.assertEqual(len(self.pool.busy), 0)

    def test_shut(self) -> None:
        """A pool that is shut closes what is idle, and lets those who are served finish."""
        busy = self.stream()
        self.take()
        idle = self.stream()
        waits = self.take()
        last = self.take()
        self.assertIs(waits.got, idle)
        self.pool.shut()
        self.assertIsInstance(last.error, AgentBusy)
        self.assertIsInstance(self.take().error, AgentBusy)
        self.assertEqual((busy.did, idle.did), ([], []))
        self.pool.returned(busy)
        late = self.stream()
        self.assertEqual((busy.did, late.did), (["close"], ["close"]))
        self.assertEqual(len(self.pool.busy), 1)
        self.pool.cut("silent")
        self.assertEqual((idle.did, len(self.pool.busy)), (["abort silent"], 0))
        self.assertEqual(self.time.wheel.waiting(), 0)
