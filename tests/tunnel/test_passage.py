"""Tests for `tlsgate.tunnel.passage`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.tunnel.gateside import FakeStream, Time, asked, db, make_session, node
from tlsgate.core.offers import Asked
from tlsgate.errors import AgentBusy, AgentRefused, GateError, NoAgent, TunnelBroken
from tlsgate.interfaces import IReach
from tlsgate.testing import FakeReach
from tlsgate.tunnel.agents import Agents
from tlsgate.tunnel.passage import ONWARD_SECONDS, Passage
from tlsgate.tunnel.session import Session


class FakeEnd:
    """A target's end."""

    def __init__(self) -> None:
        self.lease = self
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


class PassageTests(SynchronousTestCase):
    """Tests for `Passage`."""

    def setUp(self) -> None:
        self.time = Time()
        self.agents = Agents()
        self.session = make_session(self.time)
        self.agents.add(self.session)
        self.got: list[Any] = []

    def stream(self, session: Session | None = None) -> FakeStream:
        pool = (session or self.session).pool
        stream = FakeStream(
            idle=lambda one: pool.returned(one), lost=lambda one, error: pool.lost(one)
        )
        pool.added(stream)
        return stream

    def begin(self, name: str = "db1", kind: str = "node") -> Passage:
        passage = Passage(self.agents, asked(name, kind), self.time.wheel)
        self.passage = passage
        passage.start(self.got.append, self.got.append)
        return passage

    def failed(self) -> str:
        """The one error that was told."""
        [error] = self.got
        assert isinstance(error, GateError)
        self.assertEqual(self.passage.slot, 0)
        return str(error)

    def test_onward(self) -> None:
        """A process that has a successor asks that one, once its own agents are gone."""
        ways: list[FakeReach] = []

        def onward(asked: Asked) -> FakeReach:
            ways.append(FakeReach(asked))
            return ways[-1]

        self.agents.offered(self.session, (node("db1"),))
        self.agents.succeeded(onward)
        stream = self.stream()
        self.begin()
        self.assertEqual((stream.asked, ways), (asked(), []))  # it is here still
        self.agents.remove(self.session)
        self.assertEqual(self.agents.offer("node", "db1"), node("db1"))
        passage = self.begin()
        self.assertEqual(ways[-1].asked, asked())
        ways[-1].reached("end")
        passage.cancel()
        self.assertEqual((self.got, ways[-1].cancelled), (["end"], False))
        self.got.clear()
        self.begin()
        ways[-1].missed(NoAgent("node", "db1"))
        self.assertIn("db1", self.failed())
        self.begin().cancel()
        self.assertTrue(ways[-1].cancelled)
        self.got.clear()
        self.begin()
        self.time.pass_by(ONWARD_SECONDS + 1)
        self.assertTrue(ways[-1].cancelled)
        self.assertIn("db1", self.failed())

    def test_onward_to_the_same_agent(self) -> None:
        """What only one agent can do is asked of nobody else."""
        self.agents.succeeded(FakeReach)
        self.agents.remove(self.session)
        passage = Passage(self.agents, asked(), self.time.wheel, "db1")
        passage.start(self.got.append, self.got.append)
        self.assertIsInstance(self.got[0], NoAgent)

    def test_reached(self) -> None:
        """A free stream asks at once, and its end is the client's."""
        verifyObject(IReach, Passage(self.agents, asked(), self.time.wheel))
        stream = self.stream()
        passage = self.begin()
        self.assertEqual((stream.asked, self.got), (asked(), []))
        assert stream.reached is not None
        stream.reached("end")
        passage.cancel()
        self.assertEqual((self.got, stream.did), (["end"], []))
        self.assertEqual(passage.agent, self.session.agent)

    def test_that_agent_only(self) -> None:
        """A way to one agent does not lead to another that offers the same."""
        stream = self.stream()
        other, same = (
            Passage(self.agents, asked(), self.time.wheel, agent)
            for agent in ("other", self.session.agent)
        )
        other.start(self.got.append, self.got.append)
        self.assertEqual([type(one) for one in self.got], [NoAgent])
        self.assertIsNone(stream.asked)
        same.start(self.got.append, self.got.append)
        self.assertEqual(stream.asked, asked())
        same.cancel()

    def test_no_agent(self) -> None:
        """Nobody offers it: the user reads that the agent is likely offline."""
        self.begin("db2")
        self.assertIsInstance(self.got[0], NoAgent)
        self.assertIn("'db2' has a tunnel", self.failed())

    def test_refused(self) -> None:
        """What the agent decides is not asked again."""
        stream, spare = self.stream(), self.stream()
        self.begin()
        assert spare.missed is not None
        spare.missed(AgentRefused("db1", "denied", "no role of yours"), False)
        self.assertEqual((self.failed(), stream.asked), ("no role of yours", None))

    def test_replaced_once(self) -> None:
        """A stream that dies before its status is replaced once, and nobody is told."""
        spares = [self.stream() for _ in range(3)]
        self.begin()
        spares[2].die()
        self.assertEqual((self.got, spares[1].asked), ([], asked()))
        spares[1].die()
        self.assertIsInstance(self.got[0], TunnelBroken)
        self.assertEqual((len(self.got), spares[0].asked), (1, None))

    def test_replaced_by_another(self) -> None:
        """Where several agents offer it, another one may serve instead."""
        first, second = (make_session(self.time, f"a{n}", db("x"), number=n) for n in (8, 9))
        self.agents.add(first)
        stream = self.stream(first)
        self.begin("x", "db")
        self.agents.add(second)
        other = self.stream(second)
        stream.die()
        self.assertEqual(other.asked, asked("x", "db"))

    def test_no_stream(self) -> None:
        """Who waits too long for a stream is told so, and waits no more."""
        self.begin()
        self.time.pass_by(4.75)
        self.assertEqual(self.got, [])
        self.time.pass_by(1)
        self.assertIsInstance(self.got[0], AgentBusy)
        self.assertIn("for 5 s", self.failed())
        self.assertEqual(self.stream().asked, None)

    def test_session_replaced(self) -> None:
        """Who waits goes over to the agent's newer session."""
        self.begin()
        newer = make_session(self.time, number=2)
        self.agents.add(newer)
        self.session.drain()
        self.assertEqual(self.got, [])
        self.assertEqual(self.stream(newer).asked, asked())

    def test_session_gone(self) -> None:
        """Or hears that there is none any more."""
        self.begin()
        self.agents.remove(self.session)
        self.session.ended()
        self.assertIsInstance(self.got[0], NoAgent)

    def test_cancel(self) -> None:
        """A client that goes gives up its place, or its stream."""
        waits = self.begin()
        waits.cancel()
        waits.cancel()
        self.assertEqual(self.session.pool.waiting, 0)
        stream = self.stream()
        asking = self.begin()
        asking.cancel()
        self.assertEqual(stream.did, ["cancel"])
        end = FakeEnd()
        assert stream.reached is not None and stream.missed is not None
        stream.reached(end)
        stream.missed(TunnelBroken("late"), True)
        self.assertEqual((self.got, end.aborted, asking.slot), ([], True, 0))
        Passage(self.agents, asked(), self.time.wheel).cancel()

    def test_expected(self) -> None:
        """Who wants what an agent offered before waits for it to be back, for a while."""
        self.agents = Agents(self.time.clock.seconds)
        self.agents.expected.expect([node("db1"), node("db2")])
        for _ in range(2):
            self.begin()
            self.assertEqual(self.got, [])
        [waiting, gone] = [self.begin("db2") for _ in range(2)]
        gone.cancel()
        self.agents.add(newer := make_session(self.time))
        self.assertEqual((newer.pool.waiting, self.got), (2, []))
        self.time.pass_by(5.5)
        kinds = sorted(type(one).__name__ for one in self.got)
        self.assertEqual(kinds, ["AgentBusy", "AgentBusy", "NoAgent"])
        waiting.cancel()
        self.assertEqual((gone.slot, waiting.slot), (0, 0))

    def test_that_agent_is_not_expected(self) -> None:
        """A way to one agent, where it is away, leads to nobody."""
        self.agents = Agents(self.time.clock.seconds)
        self.agents.expected.expect([node("db1")])
        Passage(self.agents, asked(), self.time.wheel, "db1").start(
            self.got.append, self.got.append
        )
        self.assertEqual([type(one) for one in self.got], [NoAgent])
