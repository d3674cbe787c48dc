"""Fields to the inside of a log line, quickly, whatever a peer has put into them (S23).

Both forms leave out "time" and "event", which stand in front of every line, and whatever
is None. They run once or twice a connection: what a field usually is, short printable
ASCII, takes the short way.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping

#: How much of one field that a peer may have filled is kept, in characters.
FIELD_LIMIT = 256

#: A value that needs no quotes in a text line: printable ASCII without space, quote, "=".
_PLAIN = re.compile(r"[!#-<>-\[\]-~]+\Z")
#: How many different texts `TextForm` keeps in the form they are written.
_KEPT = 4096

encode = json.JSONEncoder(separators=(",", ":"), check_circular=False, default=str).encode


def clean(text: str, limit: int = FIELD_LIMIT) -> str:
    """Give *text* without anything that could end a line or move a cursor, cut at *limit*."""
    if len(text) > limit:
        text = text[:limit] + "…"
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text
    )


class Stamp:
    """Times as ISO 8601 in UTC; the part down to the second is made once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def __call__(self, seconds: float) -> str:
        whole = int(seconds)
        if whole != self._second:
            self._second = whole
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
        return f"{self._text}.{int((seconds - whole) * 1000):03d}Z"


class JsonForm:
    """Fields as `,"key":value` one after the other.

    The last answer is kept: journal and audit are told of the same connection.
    """

    def __init__(self) -> None:
        self._last: Mapping[str, object] | None = None
        self._said = ""

    def __call__(self, entry: Mapping[str, object]) -> str:
        if entry is self._last:
            return self._said
        parts = []
        for key, value in entry.items():
            if value is None or key == "time" or key == "event":
                continue
            kind = type(value)
            if kind is int:
                parts.append(f',"{key}":{value}')
            elif kind is float:
                parts.append(f',"{key}":{value:.6f}')
            elif kind is bool:
                parts.append(f',"{key}":{"true" if value else "false"}')
            else:
                text = value if kind is str else as_text(value)
                if (
                    len(text) <= FIELD_LIMIT  # type: ignore[arg-type]
                    and text.isascii()  # type: ignore[attr-defined]
                    and text.isprintable()  # type: ignore[attr-defined]
                    and '"' not in text  # type: ignore[operator]
                    and "\\" not in text  # type: ignore[operator]
                ):
                    parts.append(f',"{key}":"{text}"')
                else:
                    parts.append(f',"{key}":{encode(clean(text))}')  # type: ignore[arg-type]
        self._last, self._said = entry, "".join(parts)
        return self._said


class TextForm:
    """Fields as ` key=value` one after the other; quoted where that is needed."""

    def __init__(self) -> None:
        self._shown: dict[str, str] = {}

    def __call__(self, entry: Mapping[str, object]) -> str:
        parts = []
        shown = self._shown
        for key, value in entry.items():
            if value is None or key == "time" or key == "event":
                continue
            kind = type(value)
            if kind is int or kind is bool:
                parts.append(f" {key}={value}")
            elif kind is float:
                parts.append(f" {key}={value:.3f}")
            else:
                text = value if kind is str else as_text(value)
                told = shown.get(text)  # type: ignore[call-overload]
                if told is None:
                    told = self._show(text)  # type: ignore[arg-type]
                parts.append(f" {key}={told}")
        return "".join(parts)

    def _show(self, text: str) -> str:
        """How *text* is written; kept, because most fields repeat."""
        if len(text) > FIELD_LIMIT or not _PLAIN.match(text):
            told = encode(clean(text))
        else:
            told = text
        if len(text) <= FIELD_LIMIT:
            if len(self._shown) >= _KEPT:
                self._shown.clear()
            self._shown[text] = told
        return told


def as_text(value: object) -> str:
    """Any field as text: bytes as they are, several with commas."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, list | tuple):
        return ",".join(as_text(one) for one in value)
    return str(value)


#: The one of this process, so that its memory of the last entry serves all who ask.
json_form = JsonForm()
