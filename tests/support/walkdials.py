"""New connections, a steady number a second, by whatever way the cluster advertises just then.

1. One thread fetches the document again and again, and remembers when each was served.
2. For each connection somebody is imagined who has read the document up to two seconds ago.
3. What the connection comes to is kept; nobody is asked again.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from attrs import define, field, frozen

from tests.support.walkways import Document, Means, Way, advertised, fetch, try_way

#: How long a client may take to dial by what it has read.
READ_SECONDS = 2.0
#: Between two looks at the document.
_FETCH_SECONDS = 0.4
#: Connections that may be under way at once.
_AT_ONCE = 16


@frozen(kw_only=True)
class Attempt:
    """One connection.

    Attributes:
        began: seconds of `time.monotonic`; `age` of its document then.
        wrong: why it failed; "" where it did not.
    """

    way: Way
    began: float
    age: float
    seconds: float
    wrong: str = ""

    def __str__(self) -> str:
        what = self.wrong or "good"
        return f"{self.way}, by a document of {self.age:.1f} s: {what} ({self.seconds:.1f} s)"


@define(kw_only=True)
class Dialler:
    """See the module; use it as a context manager.

    Attributes:
        means: with what its clients come.
        rate: connections a second in all.
        attempts: everything that was tried, in the order of its end.
    """

    means: Means
    rate: float
    attempts: list[Attempt] = field(factory=list)
    _documents: deque[tuple[float, Document]] = field(factory=deque)
    _stopped: threading.Event = field(factory=threading.Event)
    _threads: list[threading.Thread] = field(factory=list)

    def __enter__(self) -> Dialler:
        self._documents.append((time.monotonic(), fetch(self.means)))
        for work in (self._read, self._dial):
            thread = threading.Thread(target=work, daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Begin nothing more, and wait for what is under way."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(60)

    @property
    def document(self) -> Document:
        """The one that was served last."""
        return self._documents[-1][1]

    def failed(self, since: float = 0.0) -> list[Attempt]:
        """What went wrong of that which began at *since* or later."""
        return [one for one in list(self.attempts) if one.wrong and one.began >= since]

    def tried(self, since: float = 0.0) -> dict[str, int]:
        """How many connections were made by each way."""
        counted: dict[str, int] = {}
        for one in list(self.attempts):
            if one.began >= since:
                counted[str(one.way)] = counted.get(str(one.way), 0) + 1
        return counted

    # -- inside --

    def _read(self) -> None:
        while not self._stopped.wait(_FETCH_SECONDS):
            began = time.monotonic()
            try:
                served = fetch(self.means)
            except (OSError, AssertionError, ValueError) as e:
                self._keep(Way("web", self.means.port), began, 0.0, repr(e))
                continue
            self._documents.append((began, served))
            while len(self._documents) > 1 and self._documents[1][0] < began - 2 * READ_SECONDS:
                self._documents.popleft()

    def _dial(self) -> None:
        turns = itertools.count()
        begins = time.monotonic()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for number in turns:
                wait = begins + number / self.rate - time.monotonic()
                if self._stopped.wait(max(wait, 0.0)):
                    return
                if wait < -1.0:
                    begins -= wait  # the machine was busy: no burst afterwards
                pool.submit(self._one, number)

    def _one(self, number: int) -> None:
        began = time.monotonic()
        known = list(self._documents)
        fresh = [one for one in known if one[0] >= began - READ_SECONDS]
        served, document = random.choice(fresh or known[-1:])
        ways = advertised(document, self.means)
        way = ways[number % len(ways)]
        wrong = ""
        try:
            try_way(way, self.means)
        except (OSError, AssertionError, ValueError) as e:
            wrong = repr(e)
        except Exception as e:
            wrong = f"unexpected: {e!r}"
        self._keep(way, began, began - served, wrong)

    def _keep(self, way: Way, began: float, age: float, wrong: str) -> None:
        took = time.monotonic() - began
        made = Attempt(way=way, began=began, age=age, seconds=took, wrong=wrong)
        self.attempts.append(made)
