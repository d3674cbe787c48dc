"""Tests for `tlsgate.protocols.apps.sessionpages`."""

from __future__ import annotations

import base64
import hashlib
import re

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.protocols.apps.sessionpages import page, policy, question

CONSOLE = "gate.example.com"


class PageTests(SynchronousTestCase):
    """Tests for the pages."""

    def test_style(self) -> None:
        """The policy lets in the page's own style, and nothing else."""
        for one in (page(403, "No."), question(CONSOLE)):
            found = re.search(rb"<style>(.*?)</style>", one, re.DOTALL)
            assert found is not None
            digest = base64.b64encode(hashlib.sha256(found[1]).digest())
            self.assertIn(b"style-src 'sha256-" + digest + b"'", policy(CONSOLE))
            self.assertNotIn(b"<script", one)

    def test_words(self) -> None:
        """A page says its sentence, escaped, and leads to the application where that helps."""
        self.assertIn(b"a &lt;b&gt;", page(403, "a <b>"))
        self.assertNotIn(b"href", page(403, "x"))
        self.assertIn(b'<a href="/">', page(403, "x", again=True))

    def test_question(self) -> None:
        """Logging out is a form to the same origin, which may lead on to the console."""
        self.assertIn(b'action="/x-tlsgate-logout"', question(CONSOLE))
        self.assertIn(b"form-action 'self' https://gate.example.com;", policy(CONSOLE))
