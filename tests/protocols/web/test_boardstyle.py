"""Tests for `tlsgate.protocols.web.boardstyle`; tests/integration/test_launcher.py runs it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.protocols.web.boardstyle import BOARD_SCRIPT, BOARD_STYLE


class BoardStyleTests(SynchronousTestCase):
    """The style and the script, as text."""

    def test_ends_nowhere(self) -> None:
        """Neither can end its element early, and the script asks for nothing and writes no HTML."""
        for text in (BOARD_STYLE, BOARD_SCRIPT):
            self.assertNotIn("</", text)
            self.assertNotIn("http", text)
        for word in ("innerHTML", "fetch(", "eval", "document.write", "cookie", "Storage"):
            self.assertNotIn(word, BOARD_SCRIPT)
