"""Processes that have loaded everything and wait for orders; one more than are at work.

A start of the interpreter takes a second of CPU. A worker that dies is replaced by the one
that waits already, and the next one starts when the busiest moment is over.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from tlsgate.errors import ProcessGone, WorkerFailed
from tlsgate.service.channel import Channel, connect
from tlsgate.service.logs import LEVELS, Log
from tlsgate.service.spawn import Child, Command, spawn

#: How long after a spare process has died the next one is started.
RETRY_SECONDS = 10.0


@define(eq=False)
class Hand:
    """A process that can be a worker."""

    child: Child
    channel: Channel
    _here: Deferred[None]
    _gone: Deferred[int]

    async def is_here(self) -> None:
        """Done when it has loaded everything.

        Raises:
            ProcessGone: it has ended before.
        """
        await _also(self._here)

    async def is_gone(self) -> int:
        """Done when it has ended; gives its exit code, negative for a signal."""
        code: int = await _also(self._gone)
        return code

    def came(self) -> None:
        """It says that it is here."""
        self._here.callback(None)

    def went(self, code: int) -> None:
        """It has ended."""
        if not self._here.called:
            self._here.errback(Failure(ProcessGone()))
            self._here.addErrback(lambda _: None)
        self._gone.callback(code)


class Hands:
    """Starts processes, and keeps a spare one.

    Args:
        reactor: Twisted's.
        command: how one is started.
        log: where this process's lines go, and theirs too.
        data_dir: the data directory.
        heard: called with what a process says besides that it is here.
        gone: called when one has ended, with its exit code.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        command: Command,
        log: Log,
        data_dir: Path,
        heard: Callable[[Hand, str], None],
        gone: Callable[[Hand, int], None],
    ) -> None:
        self._reactor = reactor
        self._command = command
        self._lines = log
        self._data_dir = data_dir
        self._heard = heard
        self._on_gone = gone
        self._spare: Hand | None = None
        self._dismissed = False

    def take(self) -> Hand:
        """The spare process, or else a new one.

        Raises:
            WorkerFailed: none can be started.
        """
        hand, self._spare = self._spare, None
        return hand or self.spawn()

    def keep_spare(self) -> None:
        """Have one wait, if none does."""
        if self._spare is None and not self._dismissed:
            try:
                self._spare = self.spawn()
            except WorkerFailed as e:
                self.log.error("{error}", error=str(e))
                self._reactor.callLater(RETRY_SECONDS, self.keep_spare)

    def tell_spare(self, word: str) -> None:
        """Tell the one that waits *word*."""
        if self._spare is not None:
            self._spare.channel.tell(word)

    def dismiss(self) -> None:
        """Have none wait any more."""
        self._dismissed = True
        if self._spare is not None:
            self._spare.child.kill("KILL")

    def spawn(self) -> Hand:
        """Start a process that waits for orders.

        Raises:
            WorkerFailed: none can be started.
        """

        async def hear(word: str, fields: dict[str, Any], descriptors: list[int]) -> Any:
            if word == "here":
                hand.came()
            else:
                self._heard(hand, word)

        def ended(code: int) -> None:
            hand.went(code)
            if hand is self._spare:
                self._spare = None
                if not self._dismissed:
                    self._reactor.callLater(RETRY_SECONDS, self.keep_spare)
            self._on_gone(hand, code)

        lines = self._lines
        try:
            child, end = spawn(
                self._reactor,
                self._command,
                role="worker",
                sockets={},
                claim=None,
                fields={
                    "log": lines.sink.output,
                    "background": lines.background,
                    "format": "json" if lines.json else "text",
                    "severity": next(
                        name for name, least in LEVELS.items() if least == lines.least
                    ),
                    "data_dir": str(self._data_dir),
                },
                ended=ended,
            )
        except OSError as e:
            raise WorkerFailed(-1, str(e)) from e
        channel = connect(self._reactor, end, hear, lambda: None)
        hand = Hand(child, channel, Deferred(), Deferred())
        return hand


def _also(first: Deferred[Any]) -> Deferred[Any]:
    """A Deferred that fires as *first* does; several may wait for one thing."""
    other: Deferred[Any] = Deferred()

    def tell(result: Any) -> Any:
        if isinstance(result, Failure):
            other.errback(result)
            return None
        other.callback(result)
        return result

    first.addBoth(tell)
    return other
