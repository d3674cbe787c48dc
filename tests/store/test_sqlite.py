"""Tests for `tlsgate.store.sqlite`."""

from __future__ import annotations

import queue
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.store.conformance import StoreTests
from tlsgate.store.sqlite import SqliteStore


class AtOnceTests(StoreTests, SynchronousTestCase):
    """Without a thread it is a store."""

    def setUp(self) -> None:
        self.seconds = 1000.0
        self.folder = Path(self.mktemp()) / "store"
        self.folder.parent.mkdir()
        self.store = SqliteStore(self.folder, now=lambda: self.seconds)
        self.addCleanup(lambda: self.store.stop())

    def run_now(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        result = self.successResultOf(
            Deferred.fromCoroutine(coroutine).addErrback(lambda f: f.value)
        )
        if isinstance(result, Exception):
            raise result
        return result

    def turn(self) -> None:
        self.store.turn()


class ThreadTests(StoreTests, SynchronousTestCase):
    """With its thread it is the same; the test plays the reactor."""

    def setUp(self) -> None:
        self.seconds = 1000.0
        self.calls: queue.Queue[Callable[[], None]] = queue.Queue()
        self.folder = Path(self.mktemp()) / "store"
        self.folder.parent.mkdir()
        self.store = SqliteStore(self.folder, now=lambda: self.seconds, from_thread=self.calls.put)
        self.addCleanup(lambda: self.store.stop())

    def run_now(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        results: list[Any] = []
        Deferred.fromCoroutine(coroutine).addBoth(results.append)
        while not results:
            self.calls.get(timeout=30)()
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]

    def turn(self) -> None:
        # Watches are told after the answers of one transaction, before those of the next.
        self.run_now(self.store.revision())
        self.run_now(self.store.revision())
