"""Tests for `tlsgate.config.lines`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config.lines import key_line

TEXT = """\
version: v1
auth_service:
  # what clients are told
  proxy_listener_mode: separate
"""


class LineTests(SynchronousTestCase):
    """Tests for `key_line`."""

    def test_lines(self) -> None:
        """A key is found below others; what is not written has no line."""
        for path, line in (
            (("version",), 1),
            (("auth_service",), 2),
            (("auth_service", "proxy_listener_mode"), 4),
            (("auth_service", "enabled"), None),
            (("version", "more"), None),
        ):
            self.assertEqual(key_line(TEXT, path), line, path)
        self.assertIsNone(key_line("", ("version",)))
