"""The collector is held while a daemon starts, and only then."""

from __future__ import annotations

import gc
from importlib import import_module, reload
from types import ModuleType

from twisted.application.service import MultiService
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.service import tap


class EntryTests(SynchronousTestCase):
    """`tlsgate.service.entry`."""

    def setUp(self) -> None:
        self.addCleanup(gc.enable)
        self.frozen: list[bool] = []
        self.patch(gc, "freeze", lambda: self.frozen.append(gc.isenabled()))

    def loaded(self) -> ModuleType:
        entry = reload(import_module("tlsgate.service.entry"))
        self.assertFalse(gc.isenabled())
        return entry

    def test_garbage_is_collected_once_the_service_is_made(self) -> None:
        """Nothing is collected while it is made; what is there then is left alone."""
        service = MultiService()
        entry = self.loaded()
        options = entry.Options()
        given: list[object] = []

        def make(options: object) -> MultiService:
            given.append((options, gc.isenabled()))
            return service

        self.patch(tap, "makeService", make)
        self.assertIs(entry.makeService(options), service)
        self.assertEqual(given, [(options, False)])
        self.assertTrue(gc.isenabled())
        self.assertEqual(self.frozen, [False])

    def test_garbage_is_collected_when_no_service_can_be_made(self) -> None:
        """A start that fails leaves the collector on, too."""
        entry = self.loaded()

        def make(options: object) -> MultiService:
            raise SystemExit(2)

        self.patch(tap, "makeService", make)
        self.assertRaises(SystemExit, entry.makeService, entry.Options())
        self.assertTrue(gc.isenabled())

    def test_twistd_loads_it(self) -> None:
        """The plugin names this module, not the one that it wraps."""
        from twisted.plugins import tlsgate_plugin

        self.assertEqual(tlsgate_plugin.tlsgate.module, self.loaded().__name__)
