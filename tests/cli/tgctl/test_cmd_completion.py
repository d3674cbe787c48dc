"""Tests for `tgctl completion`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.support.commandline import run


class CompletionTests(SynchronousTestCase):
    """Tests for `tgctl completion`."""

    def test_each_shell(self) -> None:
        """Each shell gets a script for the program's name."""
        for shell in ("bash", "zsh", "fish"):
            result = run("completion", shell)
            self.assertEqual((result.exit_code, result.stderr), (0, ""))
            self.assertIn("_TGCTL_COMPLETE", result.stdout)
            self.assertIn("tgctl", result.stdout)

    def test_completes(self) -> None:
        """The program answers the shell's question with its commands."""
        asked = {"_TGCTL_COMPLETE": "bash_complete", "COMP_WORDS": "tgctl rel", "COMP_CWORD": "1"}
        self.assertEqual(run(env=asked, name="tgctl").stdout, "plain,reload\n")
