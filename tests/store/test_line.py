"""Tests for `tlsgate.store.line`."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from tests.support.child import PATIENCE_SECONDS
from tlsgate.store.line import AtOnce, Line


class LineTests(SynchronousTestCase):
    """Jobs in a line."""

    def test_what_waits_is_served_together(self) -> None:
        """While one batch is served the next gathers, in order and at most so many."""
        served: list[list[int]] = []
        begun, go = threading.Event(), threading.Event()

        def serve(jobs: Sequence[int]) -> None:
            begun.set()
            go.wait(PATIENCE_SECONDS)
            served.append(list(jobs))

        line = Line(serve, lambda: None)
        line.start()
        line.put(0)
        begun.wait(PATIENCE_SECONDS)
        for number in range(1, 300):
            line.put(number)
        go.set()
        line.stop()
        self.assertEqual([len(jobs) for jobs in served], [1, 256, 43])
        self.assertEqual([job for jobs in served for job in jobs], list(range(300)))

    def test_stop(self) -> None:
        """What waits is still served, what comes later is refused, and the thread is gone."""
        served: list[int] = []
        line = Line[int](served.extend, lambda: None)
        line.start()
        self.assertTrue(line.put(1))
        line.stop()
        line.stop()
        self.assertFalse(line.put(2))
        self.assertEqual(served, [1])
        self.assertNotIn("store", [thread.name for thread in threading.enumerate()])

    def test_idle(self) -> None:
        """Without a job the thread looks up after the time that is asked for."""
        looked = threading.Event()

        def serve(jobs: Sequence[int]) -> None:
            if not jobs:
                looked.set()

        line = Line(serve, lambda: 0.001)
        line.start()
        self.assertTrue(looked.wait(PATIENCE_SECONDS))
        line.stop()

    def test_take(self) -> None:
        """A long job may serve what has come meanwhile."""
        served: list[list[int]] = []
        done = threading.Event()

        def serve(jobs: Sequence[int]) -> None:
            served.append(list(jobs))
            line.put(1)
            served.append(line.take())
            done.set()

        line = Line(serve, lambda: None)
        line.start()
        line.put(0)
        self.assertTrue(done.wait(PATIENCE_SECONDS))
        line.stop()
        self.assertEqual(served, [[0], [1]])

    def test_at_once(self) -> None:
        """Without a thread a job is served before `put` returns."""
        served: list[int] = []
        line = AtOnce[int](served.extend)
        line.start()
        self.assertTrue(line.put(1))
        self.assertEqual((served, line.take()), ([1], []))
        line.stop()
        self.assertFalse(line.put(2))
        self.assertEqual(served, [1])
