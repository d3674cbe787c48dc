"""Options that several commands take: durations, lists, labels, moments."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from typing import Any

import click

from tlsgate.core.durations import read

_DAYS = re.compile(r"(\d{1,5})d(.*)")


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """A duration in whole seconds: 30m, 1h30m, 7d.

    Args:
        least: seconds; 0 where none at all means something.
    """

    name = "duration"

    def __init__(self, least: int = 1) -> None:
        self.least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read *value*."""
        if isinstance(value, int):
            return value
        seconds = seconds_of(value)
        if seconds is None or seconds < self.least:
            self.fail(f"{value!r} is no duration: 30m, 1h30m, 7d", param, ctx)
        return int(seconds)


class Moment(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """A time: how long ago (1h), or 2026-01-02, or 2026-01-02T03:04:05Z; UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read *value*: a duration as a `timedelta`, a date as seconds since the epoch."""
        if not isinstance(value, str):
            return value
        if (seconds := seconds_of(value)) is not None:
            return datetime.timedelta(seconds=seconds)
        try:
            found = datetime.datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time: 1h (ago), or 2026-01-02T03:04:05Z", param, ctx)
        return found.replace(tzinfo=found.tzinfo or datetime.UTC).timestamp()


def seconds_of(text: str) -> float | None:
    """The seconds of a duration, days among them; None where it is none."""
    days = _DAYS.fullmatch(text)
    if days is None:
        return read(text)
    rest = read(days[2]) if days[2] else 0.0
    return None if rest is None else int(days[1]) * 86400 + rest


class Words(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """A list with commas."""

    name = "a,b"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        """Split *value*."""
        if not isinstance(value, str):
            return list(value)
        return [word for word in map(str.strip, value.split(",")) if word]


class Labels(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """Labels: a=b,c=d."""

    name = "a=b,…"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, str]:
        """Split *value*."""
        if not isinstance(value, str):
            return dict(value)
        pairs = [word.partition("=") for word in Words().convert(value, param, ctx)]
        if not all(equals and key for key, equals, _ in pairs):
            self.fail(f"{value!r} is no list of labels: a=b,c=d", param, ctx)
        return {key: what for key, _, what in pairs}


DURATION = Duration()
DURATION_OR_NONE = Duration(least=0)
MOMENT = Moment()
WORDS = Words()
LABELS = Labels()


def merged(lists: Iterable[list[str]]) -> list[str]:
    """What an option that may be given several times has named, each once."""
    return list(dict.fromkeys(word for words in lists for word in words))
