"""Real clients that come every few seconds, all through the walk."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Sequence

from attrs import define, field

from tests.support.child import PATIENCE_SECONDS
from tests.support.walkdials import Attempt
from tests.support.walkways import Document, Way

#: Between two starts of a client program of one kind.
EVERY_SECONDS = 5.0
#: Of what a client has complained about, so much is kept.
_TOLD = 1500


@define(kw_only=True)
class Regular:
    """A real client that comes every few seconds.

    Attributes:
        words: the command, asked each time, so that it may follow the document.
        wanted: what it prints.
        fits: whether it would come at all, by a document.
    """

    name: str
    words: Callable[[], Sequence[object]]
    wanted: str
    fits: Callable[[Document], bool] = lambda document: True


@define
class Regulars:
    """All of them, each in a thread; use it as a context manager.

    Attributes:
        run: runs a command, as the person who comes.
        document: what is served to them now.
        wrong: who did not get what it wanted, by its name as the kind of its way.
        good: how often each has got what it wanted.
    """

    run: Callable[[Sequence[object]], subprocess.CompletedProcess[bytes]]
    ones: Sequence[Regular]
    document: Callable[[], Document]
    every_seconds: float = EVERY_SECONDS
    wrong: list[Attempt] = field(factory=list)
    good: dict[str, int] = field(factory=dict)
    _stopped: threading.Event = field(factory=threading.Event)
    _threads: list[threading.Thread] = field(factory=list)

    def __enter__(self) -> Regulars:
        for number, one in enumerate(self.ones):
            wait = self.every_seconds * number / len(self.ones)
            thread = threading.Thread(target=self._come, args=(one, wait), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Begin no more, and wait for those who have."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE_SECONDS)

    def _come(self, one: Regular, wait: float) -> None:
        while not self._stopped.wait(wait):
            began = time.monotonic()
            if one.fits(self.document()):
                wrong = self._wrong(one)
                took = time.monotonic() - began
                if wrong:
                    way = Way(one.name, 0)
                    made = Attempt(way=way, began=began, age=0.0, seconds=took, wrong=wrong)
                    self.wrong.append(made)
                else:
                    self.good[one.name] = self.good.get(one.name, 0) + 1
            wait = max(0.0, began + self.every_seconds - time.monotonic())

    def _wrong(self, one: Regular) -> str:
        """Have it come; "" where it has got what it wanted."""
        try:
            done = self.run(one.words())
        except Exception as e:
            return repr(e)
        if not done.returncode and done.stdout.decode() == one.wanted:
            return ""
        return f"{done.returncode}: {(done.stdout + done.stderr).decode()[-_TOLD:]}"
