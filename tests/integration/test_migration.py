"""From separate ports to one and back, step by step, with nobody dropped and nobody refused."""

from __future__ import annotations

from tests.support.walk import Walk


class MigrationTests(Walk):
    """One gateway with one worker."""

    limit_seconds = 600

    def test_walk(self) -> None:
        """Steps one to seven and all the way back: by hand first, then with `tgctl migration`."""
        self.walk()
