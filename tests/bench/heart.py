"""twistd with a heart: how long the reactor was held, for `tests.bench.identity`.

    python -m tests.bench.heart FILE /path/of/twistd ARGUMENTS…

Every few milliseconds the reactor takes the time. Twice a second a line is appended to FILE:
the time, the longest stretch of its thread's own processor time between two beats, and the
longest stretch on the wall, both in seconds. The first is what the code holds; in the second
is also what other threads and other programs took meanwhile.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.task import LoopingCall
from twisted.scripts.twistd import run

BEAT_SECONDS = 0.005
TELL_SECONDS = 0.5


class Heart:
    """Beats in the reactor's thread.

    Args:
        file: where to tell.
    """

    def __init__(self, file: Path) -> None:
        self._file = file.open("a")
        self._last = (time.monotonic(), time.thread_time())
        self._longest = (0.0, 0.0)
        self._told = self._last[0]

    def beat(self) -> None:
        """Take the time."""
        now = (time.monotonic(), time.thread_time())
        wall, held = self._longest
        self._longest = (
            max(wall, now[0] - self._last[0] - BEAT_SECONDS),
            max(held, now[1] - self._last[1]),
        )
        if now[0] - self._told >= TELL_SECONDS:
            wall, held = self._longest
            line = {"time": time.time(), "held": held, "wall": wall}
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
            self._told, self._longest = now[0], (0.0, 0.0)
        self._last = now


def main() -> None:
    """Run twistd with what is left of the arguments."""
    _, file, *sys.argv = sys.argv
    heart = Heart(Path(file))
    reactor.callWhenRunning(LoopingCall(heart.beat).start, BEAT_SECONDS)
    run()


if __name__ == "__main__":
    main()
