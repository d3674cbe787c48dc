"""Codes of audit events."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.auth.events import EVENTS, code_of


class EventsTests(SynchronousTestCase):
    """Tests for `EVENTS`."""

    def test_codes(self) -> None:
        """Each code has the form of Teleport's, and means one event."""
        for event, code in EVENTS.items():
            self.assertRegex(event, r"^[a-z]+(_[a-z]+)*(\.[a-z]+(_[a-z]+)*)+$")
            self.assertTrue(re.fullmatch(r"T[A-Z]{0,2}\d{2,4}[IW]", code), code)
        self.assertEqual(len(set(EVENTS.values())), len(EVENTS))

    def test_what_failed(self) -> None:
        """A failure has the same number and another letter."""
        self.assertEqual(code_of("user.login"), "T1000I")
        self.assertEqual(code_of("user.login", success=False), "T1000W")
        self.assertEqual(code_of("route.deny"), "TGR01W")
        self.assertIsNone(code_of("x.y"))
