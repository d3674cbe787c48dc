"""Tests for `tlsgate.core.durations`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core import durations


class DurationsTests(SynchronousTestCase):
    """Tests for `read` and `write`."""

    def test_read(self) -> None:
        """What Go's time.ParseDuration takes is read; anything else is None."""
        wanted = {
            "0": 0.0,
            "0s": 0.0,
            "30h": 108000.0,
            "30h0m0s": 108000.0,
            "1h30m": 5400.0,
            "1.5h": 5400.0,
            "500ms": 0.5,
            "7us": 7e-6,
            "7µs": 7e-6,
            "7ns": 7e-9,
            "": None,
            "30": None,
            "h": None,
            "-1s": None,
            "1d": None,
            "1h ": None,
            "99999999h": None,
            "1s" * 40: None,
            "1h\n": None,
        }
        self.assertEqual({text: durations.read(text) for text in wanted}, wanted)

    def test_write(self) -> None:
        """A duration is printed as Go does."""
        wanted = {0.0: "0s", 0.5: "500ms", 1.5: "1.5s", 60.0: "1m0s", 108000.0: "30h0m0s",
                  3601.25: "1h0m1.25s", 10.0: "10s", 59.9999: "1m0s"}  # fmt: skip
        self.assertEqual({seconds: durations.write(seconds) for seconds in wanted}, wanted)

    def test_back(self) -> None:
        """What is written reads as the same number of milliseconds."""

        @given(st.integers(0, 10**9))
        def check(milliseconds: int) -> None:
            seconds = milliseconds / 1000
            self.assertEqual(durations.read(durations.write(seconds)), seconds)

        check()
