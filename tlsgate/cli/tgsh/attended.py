"""Another program run to its end, where this one has to clean up afterwards."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from types import FrameType


def attended(program: str, words: Sequence[str]) -> int:
    """Run *program* to its end; gives its exit code, as a shell has it for a signal.

    Raises:
        OSError: it cannot be run.
    """
    child: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, frame: FrameType | None) -> None:
        if child is not None:
            child.send_signal(number)

    # The terminal tells both of us of ^C; what ends us by our number has to end the other.
    before = {one: signal.signal(one, pass_on) for one in (signal.SIGTERM, signal.SIGHUP)}
    before |= {one: signal.signal(one, _left_to_it) for one in (signal.SIGINT, signal.SIGQUIT)}
    try:
        child = subprocess.Popen([program, *words])  # noqa: S603  # a word each, no shell
        code = child.wait()
    finally:
        for number, was in before.items():
            signal.signal(number, was)
    return code if code >= 0 else 128 - code


def _left_to_it(number: int, frame: FrameType | None) -> None:
    """Do nothing: the other program would inherit SIG_IGN, and not this."""
