"""Tests for `tlsgate.protocols.apps.pool`."""

from __future__ import annotations

from typing import cast

from attrs import define
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.protocols.apps.link import Link
from tlsgate.protocols.apps.pool import Key, Pool


@define(eq=False)
class _Link:
    """What the pool uses of a link."""

    born: float = 0.0
    idle: bool = True
    closed: bool = False
    idle_since: float = 0.0
    on_gone: object = None

    def close(self) -> None:
        self.closed = True


class PoolTests(SynchronousTestCase):
    """What is kept, for whom, and how long."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.pool = Pool(self.clock)
        self.addCleanup(self.pool.stop)
        self.ann, self.bob = Key("wiki", b"a"), Key("wiki", b"b", "session")

    def put(self, key: Key, **fields: float) -> _Link:
        """Keep one."""
        link = _Link(**fields)  # type: ignore[arg-type]
        self.pool.put(key, cast(Link, link))
        return link

    def test_per_key(self) -> None:
        """What is one person's, or one session's, is nobody else's (S26)."""
        link = self.put(self.ann)
        self.assertIsNone(self.pool.take(self.bob))
        self.assertIs(self.pool.take(self.ann), link)
        self.assertIsNone(self.pool.take(self.ann))

    def test_rest(self) -> None:
        """What has been still for a while is closed, in time for targets that do so."""
        link = self.put(self.ann)
        self.clock.advance(2)
        self.assertIsNone(self.pool.take(self.ann, fresh_seconds=1))
        self.assertTrue(link.closed)
        link = self.put(self.ann)
        for _ in range(6):
            self.clock.advance(1)
        self.assertEqual((link.closed, len(self.pool)), (True, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_limits(self) -> None:
        """So many for each, none that is old, none that is no more idle."""
        links = [self.put(self.ann) for _ in range(20)]
        self.assertEqual([one.closed for one in links], [False] * 16 + [True] * 4)
        self.clock.advance(400)
        self.assertTrue(self.put(self.bob, born=0.0).closed)
        self.assertTrue(self.put(self.bob, born=400.0, idle=False).closed)

    def test_dropped(self) -> None:
        """A session's end ends what was kept for it."""
        ann, bob = self.put(self.ann), self.put(self.bob)
        self.pool.drop(lambda key: key.session == "session")
        self.assertEqual((ann.closed, bob.closed, len(self.pool)), (False, True, 1))
        self.pool.stop()
        self.assertTrue(ann.closed)

    def test_gone(self) -> None:
        """What its target closes is forgotten."""
        link = self.put(self.ann)
        assert callable(link.on_gone)
        link.on_gone(link)
        self.assertEqual((len(self.pool), self.pool.take(self.ann)), (0, None))
