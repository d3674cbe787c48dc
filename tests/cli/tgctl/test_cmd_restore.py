"""Tests for `tgctl restore`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.support.commandline import run


class RestoreTests(SynchronousTestCase):
    """Tests for the command; `service.restoring` does the work."""

    def test_nothing_there(self) -> None:
        """Without a cluster at the place that is named the error says what lacks."""
        result = run("--data-dir", "/nonexistent", "restore", "/nonexistent/copy.db")
        self.assertEqual((result.exit_code, result.stdout), (2, ""))
        self.assertIn("auth.key", result.stderr)
