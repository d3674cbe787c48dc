"""Certificates that change, cannot be read, or end."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.errors import ReloadRefused
from tlsgate.service import certwatch
from tlsgate.service.certwatch import CertificateWatch
from tlsgate.tls.certs import Lifetime


class FakeStore:
    """Certificates in name only."""

    def __init__(self) -> None:
        self.trouble: tuple[str, ...] = ()
        self.reloads = 0
        self.ends: list[tuple[Lifetime, str]] = []

    def reload(self) -> bool:
        """Take up some."""
        self.reloads += 1
        return False

    def notices(self, now: float) -> list[tuple[Lifetime, str]]:
        """What ends."""
        return self.ends


class FakeWatch:
    """Files that change when a test says so."""

    changes = 0

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    def changed(self) -> bool:
        """Once for each change."""
        if FakeWatch.changes:
            FakeWatch.changes -= 1
            return True
        return False


class FakeSettings:
    """As much of settings as matters."""

    keypairs_reload_seconds = 5.0


class CertificateWatchTests(SynchronousTestCase):
    """Tests for `CertificateWatch`."""

    def setUp(self) -> None:
        FakeWatch.changes = 0
        self.patch(certwatch, "FileWatch", FakeWatch)
        self.clock, self.store = Clock(), FakeStore()
        self.busy, self.renewed = False, 0
        self.error: Exception | None = None
        self.settings: Any = FakeSettings()
        store: Any = self.store
        self.watch = CertificateWatch(
            self.clock,
            store=lambda: store,
            renew=self.renew,
            busy=lambda: self.busy,
            tells=True,
            now=self.clock.seconds,
        )

    async def renew(self) -> None:
        """Build the gate anew, or fail."""
        self.renewed += 1
        if self.error is not None:
            raise self.error

    def said(self, seconds: float) -> list[tuple[LogLevel, str]]:
        """What is logged in the next *seconds*."""
        with capturedLogs() as events:
            self.clock.advance(seconds)
        return [(event["log_level"], formatEvent(event)) for event in events]

    def test_a_change_is_taken_up(self) -> None:
        """At the next look, once; and not while a reload reads the files anyway."""
        self.watch.follow(self.settings)
        self.said(5)
        self.assertEqual(self.renewed, 0)
        FakeWatch.changes, self.busy = 1, True
        self.said(5)
        self.assertEqual(self.renewed, 0)
        self.busy = False
        self.assertIn("in use", self.said(5)[0][1])
        self.said(5)
        self.assertEqual(self.renewed, 1)

    def test_what_cannot_be_used(self) -> None:
        """The last good ones stay, pair by pair, and the log says why."""
        self.watch.follow(self.settings)
        before = self.store.reloads
        FakeWatch.changes, self.error = 1, ReloadRefused(["no"])
        self.store.trouble = ("a.pem: is empty",)
        ((level, text),) = self.said(5)
        self.assertEqual(level, LogLevel.error)
        self.assertIn("the last good ones stay: a.pem: is empty", text)
        self.assertEqual(self.store.reloads, before + 1)

    def test_a_bug_does_not_end_the_watch(self) -> None:
        """An unexpected error is logged, and the next change is seen."""
        self.watch.follow(self.settings)
        FakeWatch.changes, self.error = 1, RuntimeError("bug")
        self.clock.advance(5)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        FakeWatch.changes, self.error = 1, None
        self.clock.advance(5)
        self.assertEqual(self.renewed, 2)

    def test_never(self) -> None:
        """0 seconds: files are read at a reload only."""
        self.settings.keypairs_reload_seconds = 0
        self.watch.follow(self.settings)
        FakeWatch.changes = 1
        self.said(100)
        self.assertEqual(self.renewed, 0)

    def test_ends_are_told(self) -> None:
        """When a certificate passes a mark, and once a day as long as it is past it."""
        life = Lifetime(("gw.test",), "gw.pem", 0.0, 1000.0)
        self.watch.follow(self.settings)
        self.store.ends = [(life, "third")]
        ((level, text),) = self.said(3600)
        self.assertEqual(level, LogLevel.info)
        self.assertIn("gw.pem for gw.test has less than a third", text)
        self.assertEqual(self.said(3600), [])
        self.store.ends = [(life, "tenth")]
        self.assertEqual([level for level, _ in self.said(3600)], [LogLevel.warn])
        self.store.ends = [(life, "expired")]
        self.assertEqual([level for level, _ in self.said(86400)], [LogLevel.error] * 1)
        self.assertEqual([level for level, _ in self.said(86400)], [LogLevel.error] * 1)

    def test_stop(self) -> None:
        """After the end nobody looks."""
        self.watch.follow(self.settings)
        self.watch.stop()
        self.watch.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
