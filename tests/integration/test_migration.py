"""From separate ports to one and back, step by step, with nobody dropped and nobody refused."""

from __future__ import annotations

from tests.support.walk import Walk
from tests.support.walktime import Stopwatch

#: The whole walk takes no longer on two cores that have nothing else to do.
ALONE_SECONDS = 240


class MigrationTests(Walk):
    """One gateway with one worker."""

    #: Beside other tests it may wait for them.
    limit_seconds = 600

    def test_walk(self) -> None:
        """Steps one to seven and all the way back: by hand first, then with `tgctl migration`."""
        watch = Stopwatch()
        self.walk()
        ours = (self.hub.pid, self.db1.agent.child.pid)
        self.assertLess(watch.alone(ours), ALONE_SECONDS)
