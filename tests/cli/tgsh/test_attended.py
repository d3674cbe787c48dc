"""Tests for `tgsh.attended`: real programs of a moment, since nothing else has exit codes."""

from __future__ import annotations

import signal
import sys

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.cli.tgsh.attended import attended


class AttendedTests(SynchronousTestCase):
    """Tests for `attended`."""

    def test_codes(self) -> None:
        """The exit code is the program's; a signal's is 128 and its number."""
        self.assertEqual(attended("sh", ["-c", "exit 7"]), 7)
        self.assertEqual(attended("sh", ["-c", "kill -9 $$"]), 137)
        with self.assertRaises(FileNotFoundError):
            attended("no-such-program-at-all", [])

    def test_signals(self) -> None:
        """What would end us ends it; ^C is its own; afterwards all is as before."""
        kinds = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
        before = [signal.getsignal(one) for one in kinds]
        code = (
            "import os, signal, time\n"
            "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
            "os.kill(os.getppid(), signal.SIGINT)\n"
            "os.kill(os.getppid(), signal.SIGTERM)\n"
            "time.sleep(20)\n"
        )
        self.assertEqual(attended(sys.executable, ["-c", code]), 128 + signal.SIGTERM)
        self.assertEqual([signal.getsignal(one) for one in kinds], before)
