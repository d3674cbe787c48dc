"""Tests for `tlsgate.auth.preference`."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.auth.kinds import read_resource
from tlsgate.auth.opaque import pack
from tlsgate.auth.preference import Preference
from tlsgate.auth.resources import key_of, packed
from tlsgate.core.keeping import Delete, Put
from tlsgate.store.memory import MemoryStore

KEY = key_of("cluster_auth_preference", "")


class PreferenceTests(SynchronousTestCase):
    """Tests for `Preference`."""

    def setUp(self) -> None:
        self.store = MemoryStore(lambda: 1.0)
        self.preference = Preference(self.store)
        self.addCleanup(self.preference.stop)

    def start(self) -> None:
        """Read it, and follow."""
        self.successResultOf(Deferred.fromCoroutine(self.preference.start()))

    def write(self, value: bytes | None) -> None:
        """Keep *value*, and something beside it that is not meant."""
        change = Delete(KEY) if value is None else Put(KEY, value)
        self.successResultOf(
            Deferred.fromCoroutine(self.store.commit([change, Put(f"{KEY}/x", b"{}")]))
        )
        self.store.turn()

    def resource(self, **spec: object) -> bytes:
        """As it is kept."""
        return packed(
            read_resource({"kind": "cluster_auth_preference", "version": "v2", "spec": spec})
        )

    def test_followed(self) -> None:
        """A password alone is a login while it says so, from the start and later."""
        off = self.resource(second_factor="off", unsafe_second_factor_off=True)
        self.write(off)
        self.start()
        self.assertTrue(self.preference.one_factor())
        self.write(self.resource(second_factor="on"))
        self.assertFalse(self.preference.one_factor())
        self.write(off)
        self.assertTrue(self.preference.one_factor())
        self.write(None)
        self.assertFalse(self.preference.one_factor())

    def test_not_read(self) -> None:
        """What cannot be read lets nobody in by less, and is logged."""
        self.write(self.resource(second_factor="off", unsafe_second_factor_off=True))
        self.start()
        logged: list[Any] = []
        observer: Any = logged.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.write(pack({"kind": "of another version"}))
        self.assertFalse(self.preference.one_factor())
        self.assertEqual(len(logged), 1)
        self.preference.stop()
        self.preference.stop()
