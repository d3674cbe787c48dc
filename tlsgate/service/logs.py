"""Log lines: one event is one line, as text or as JSON, whatever a peer sends.

1. `Observer` turns events of `twisted.logger` into lines; formats are constant, and only
   what stands in their fields can come from outside.
2. `Journal` turns the end of each connection into a line without that machinery: it runs
   once a connection and costs a few microseconds.
3. Both escape everything that is not printable and cut each foreign field (S23,
   `service.lines`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from twisted.logger import (
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    eventAsText,
    formatEvent,
)
from zope.interface import implementer

from tlsgate.config.settings import Settings
from tlsgate.errors import Fault
from tlsgate.service.lines import Stamp, TextForm, clean, encode, json_form
from tlsgate.service.sink import Later, Sink

#: How much of a whole message is kept; a traceback may have more.
MESSAGE_LIMIT = 4096
TRACEBACK_LIMIT = 16384
#: Refused connections that are written each second; the rest is counted.
REFUSALS_A_SECOND = 100

#: `LogSettings.severity` and Twisted's names of levels, in order.
LEVELS = {"debug": 0, "info": 1, "warn": 2, "error": 3, "critical": 4}

#: What Twisted itself tells at "info" (factories, ports) is for who debugs.
_CHATTY = ("twisted.", "log_legacy")

_LEVEL_OF: dict[str, str] = {
    Fault.CLIENT.value: "info",
    Fault.TARGET.value: "warn",
    Fault.OPERATOR.value: "error",
    Fault.GATE.value: "critical",
}


def output_of(settings: Settings, background: bool) -> str:
    """Where lines go: in the background stderr is gone, so a file takes its place."""
    output = settings.log.output
    if background and output in ("stderr", "stdout"):
        return str(settings.data_dir / "log" / "tlsgate.log")
    return output


class Log:
    """Where this process's lines go and how they look; a reload may change both.

    Args:
        sink: where to.
        style, severity: as `LogSettings` has them.
        background: nobody sees stderr.
    """

    log = Logger()

    def __init__(
        self,
        sink: Sink,
        style: str = "text",
        severity: str = "info",
        *,
        background: bool = False,
    ) -> None:
        self.sink = sink
        self.json = style == "json"
        self.least = LEVELS[severity]
        self.background = background
        self.stamp = Stamp()
        self._later: Later | None = None

    def run_by(self, later: Later | None) -> None:
        """Write at the end of *later*'s turns from now on; None: at once."""
        self._later = later
        self.sink.run_by(later)

    def follow(self, settings: Settings) -> None:
        """Let lines go where *settings* say, and look so."""
        self.json = settings.log.format == "json"
        self.least = LEVELS[settings.log.severity]
        output = output_of(settings, self.background)
        if output == self.sink.output:
            return
        try:
            new = Sink(output, self._later)
        except OSError as e:
            self.log.error("cannot log to {file}: {why}", file=output, why=str(e))
            return
        self.sink.close()
        self.sink = new


@implementer(ILogObserver)
class Observer:
    """Writes events of `twisted.logger` to a log."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def __call__(self, event: LogEvent) -> None:
        log = self._log
        level = event.get("log_level", LogLevel.info).name
        if level == "info" and str(event.get("log_namespace", "-")).startswith(_CHATTY):
            level = "debug"
        if LEVELS[level] < log.least:
            return
        short = {
            key: clean(value) if type(value) is str and key[:4] != "log_" else value
            for key, value in event.items()
        }
        message = formatEvent(short)
        stamp = log.stamp(event.get("log_time", 0.0))
        system = str(event.get("log_namespace") or "-")
        trace = _trace(event)
        if log.json:
            entry = {"time": stamp, "level": level, "system": system}
            entry["message"] = clean(message, MESSAGE_LIMIT)
            if trace:
                entry["traceback"] = clean(trace, TRACEBACK_LIMIT)
            log.sink.write(encode(entry) + "\n")
        else:
            text = clean(message, MESSAGE_LIMIT)
            if trace:
                text = f"{text} | {clean(trace, TRACEBACK_LIMIT)}"
            log.sink.write(f"{stamp} {level} {clean(system)} {text}\n")


def _trace(event: LogEvent) -> str:
    """The traceback of *event*, or an empty text."""
    if "log_failure" not in event:
        return ""
    return eventAsText(
        {"log_format": "", "log_failure": event["log_failure"]},
        includeTimestamp=False,
        includeSystem=False,
    ).strip()


class Journal:
    """Writes one line for each connection that has ended or was refused.

    A call takes the fields as they are, in their order: text, bytes, numbers or None
    (left out). "time" is in seconds since the epoch, "fault" a `Fault`'s value and
    decides the level, "event" is a constant of ours.

    Args:
        log: where to.
        now: a clock's `seconds`, for the count of refusals.
    """

    def __init__(self, log: Log, now: Callable[[], float] = time.time) -> None:
        self._log = log
        self._now = now
        self._second = 0
        self._refused = 0
        self._text = TextForm()

    def __call__(self, entry: Mapping[str, object]) -> None:
        log = self._log
        fault = entry.get("fault")
        level = _LEVEL_OF.get(fault, "info") if isinstance(fault, str) else "info"
        if LEVELS[level] < log.least:
            return
        event = entry.get("event")
        if type(event) is str and event.endswith("refused") and self._too_many():
            return
        log.sink.write(self._line(level, entry))

    def _line(self, level: str, entry: Mapping[str, object]) -> str:
        when, event = entry.get("time"), entry.get("event")
        stamp = self._log.stamp(when if isinstance(when, float | int) else self._now())
        if self._log.json:
            fields = json_form(entry)
            return f'{{"time":"{stamp}","level":"{level}","event":"{event}"{fields}}}\n'
        return f"{stamp} {level} {event}{self._text(entry)}\n"

    def _too_many(self) -> bool:
        """Count a refusal; True: this one is not written."""
        second = int(self._now())
        if second != self._second:
            unwritten, self._refused = self._refused - REFUSALS_A_SECOND, 0
            self._second = second
            if unwritten > 0:
                told: dict[str, object] = {
                    "time": self._now(),
                    "event": "connections.unwritten",
                    "refused": unwritten,
                }
                self._log.sink.write(self._line("warn", told))
        self._refused += 1
        return self._refused > REFUSALS_A_SECOND
