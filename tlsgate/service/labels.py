"""The labels of what an agent offers: those that are written, and those that commands say.

A command runs once at the start and then each period, by itself, with a bounded time and a
bounded output; its label is the first line that it prints. While it has not said anything
there is no such label, and one that fails keeps what it has said last.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.error import ProcessDone
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from tlsgate.config.settings import LabelCommand, OfferSettings
from tlsgate.core.offers import Offer

#: How long a command may take; a period that is shorter bounds it too.
SECONDS: Final = 10.0
#: Of what it prints; the rest is not read.
_OUTPUT_BYTES: Final = 64 * 1024
#: Of a label's value (`core.offers`).
_VALUE: Final = 1024


class Labels:
    """The labels of one offer.

    Args:
        settings: of the offer.
        reactor: for processes and time.
        changed: called when a label has another value.
    """

    def __init__(self, settings: OfferSettings, reactor: Any, changed: Callable[[], None]) -> None:
        self.settings = settings
        self._changed = changed
        self._said: dict[str, str] = {}
        self._commands = [_Command(one, reactor, self._heard) for one in settings.commands]

    def start(self) -> None:
        """Begin to run the commands."""
        for one in self._commands:
            one.run()

    def stop(self) -> None:
        """Run none any more, and end what runs."""
        for one in self._commands:
            one.stop()

    def now(self) -> Mapping[str, str]:
        """Every label."""
        return {**self.settings.labels, **self._said}

    def offer(self) -> Offer:
        """The offer with the labels that it has now."""
        return Offer(
            kind=self.settings.kind,
            name=self.settings.name,
            labels=self.now(),
            addresses=self.settings.addresses,
            facts=self.settings.facts,
        )

    def keep(self, older: Labels) -> None:
        """Take over what the same commands have said under another configuration."""
        same = {one.settings.name: one.settings for one in older._commands}
        for one in self._commands:
            name = one.settings.name
            if same.get(name) == one.settings and name in older._said:
                self._said[name] = older._said[name]

    def _heard(self, name: str, value: str) -> None:
        if self._said.get(name) != value:
            self._said[name] = value
            self._changed()


class _Command:
    """One command, again and again."""

    log = Logger()

    def __init__(
        self, settings: LabelCommand, reactor: Any, heard: Callable[[str, str], None]
    ) -> None:
        self.settings = settings
        self._reactor = reactor
        self._heard = heard
        self._again: IDelayedCall | None = None
        self._running: _Running | None = None
        self._failed = ""

    def run(self) -> None:
        settings = self.settings
        self._again = self._reactor.callLater(settings.period_seconds, self.run)
        if self._running is not None:
            return  # it is about to be ended
        running = _Running(self._reactor, min(SECONDS, settings.period_seconds), self._over)
        self._running = running
        command = list(settings.command)
        try:
            self._reactor.spawnProcess(running, command[0], command, env=dict(os.environ))
        except (OSError, ValueError) as error:
            self._running = None
            self._fail(str(error))

    def stop(self) -> None:
        if self._again is not None and self._again.active():
            self._again.cancel()
        running, self._running = self._running, None
        if running is not None:
            running.stop()

    def _over(self, why: str, output: bytes) -> None:
        if self._running is None:
            return
        self._running = None
        if why:
            self._fail(why)
            return
        self._failed = ""
        line = output.partition(b"\n")[0].decode("utf-8", "replace").strip()
        value = "".join(one if one.isprintable() else " " for one in line)[:_VALUE]
        self._heard(self.settings.name, value)

    def _fail(self, why: str) -> None:
        if why != self._failed:
            self._failed = why
            self.log.warn(  # noqa: G010 -- Twisted's name
                "the command of label {name} fails: {why}", name=self.settings.name, why=why
            )


class _Running(ProcessProtocol):
    """One run."""

    def __init__(self, reactor: Any, seconds: float, over: Callable[[str, bytes], None]) -> None:
        self._over = over
        self._output = b""
        self._why = ""
        self._late = reactor.callLater(seconds, self._end, f"no end within {seconds:g} s")

    def connectionMade(self) -> None:
        """Twisted calls this: it runs."""
        assert self.transport is not None
        self.transport.closeStdin()

    def outReceived(self, data: bytes) -> None:
        """Twisted calls this with what it prints."""
        self._output += data
        if len(self._output) > _OUTPUT_BYTES:
            self._end(f"it prints more than {_OUTPUT_BYTES} bytes")

    def errReceived(self, data: bytes) -> None:
        """Twisted calls this with what it complains of; nobody reads it."""

    def processEnded(self, reason: Failure) -> None:
        """Twisted calls this at its end."""
        if self._late.active():
            self._late.cancel()
        if not self._why and not reason.check(ProcessDone):
            self._why = reason.getErrorMessage()
        self._over(self._why, self._output)

    def stop(self) -> None:
        """End it; nobody wants to know."""
        if self._late.active():
            self._late.cancel()
        self._end("stopped")

    def _end(self, why: str) -> None:
        self._why = self._why or why
        self._output = self._output[:_OUTPUT_BYTES]
        transport: Any = self.transport
        if transport is not None and transport.pid:
            transport.signalProcess("KILL")
            # Its children may hold the pipes open for ever.
            transport.loseConnection()
