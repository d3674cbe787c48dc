"""Tests for `tlsgate.core.rolevalues`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.rolevalues import Options, is_login


class LoginTests(SynchronousTestCase):
    """Tests for `is_login`."""

    def test_names(self) -> None:
        """Names of accounts are logins; a path, an option or a pattern is none."""
        right = ["root", "alice.b", "_apt", "alice@example.com", "0day", "a-b", "DOM\\x", "host$"]
        wrong = ["", ".", "..", "-l", "a/b", "../root", "a b", "a\n", "*", "ö", "x" * 65, "a\0"]
        self.assertEqual([name for name in right if not is_login(name)], [])
        self.assertEqual([name for name in wrong if is_login(name)], [])


class OptionsTests(SynchronousTestCase):
    """Tests for `Options`."""

    def test_default_life(self) -> None:
        """A role that says nothing of it caps certificates at 30 hours."""
        self.assertEqual(Options().max_session_seconds, 30 * 3600)
