"""Tests for `tlsgate.store.memory`."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.store.conformance import StoreTests
from tlsgate.store.memory import MemoryStore


class MemoryStoreTests(StoreTests, SynchronousTestCase):
    """The memory store is a store."""

    def setUp(self) -> None:
        self.seconds = 1000.0
        self.store = MemoryStore(lambda: self.seconds)

    def run_now(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        result = self.successResultOf(
            Deferred.fromCoroutine(coroutine).addErrback(lambda f: f.value)
        )
        if isinstance(result, Exception):
            raise result
        return result

    def turn(self) -> None:
        self.store.turn()
