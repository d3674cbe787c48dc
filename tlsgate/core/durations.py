"""Durations as Go and so Teleport write them: `30h`, `1h30m`, `30h0m0s` (https://pkg.go.dev/time#ParseDuration)."""

from __future__ import annotations

import re
from typing import Final

#: The longest duration that is taken: ten years.
LONGEST_SECONDS: Final = 10 * 366 * 86400.0

_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(h|ms|us|µs|ns|m|s)")


def read(text: str) -> float | None:
    """The seconds of *text*; None when it is no duration, or a longer one than we take."""
    if text == "0":
        return 0.0
    place, seconds = 0, 0.0
    while place < len(text) <= 64:
        if (found := _PART.match(text, place)) is None:
            return None
        seconds += float(found[1]) * _UNITS[found[2]]
        place = found.end()
    if place == 0 or seconds > LONGEST_SECONDS:
        return None
    return round(seconds, 9)


def write(seconds: float) -> str:
    """*seconds* as Go prints it, to the millisecond: 108000 is "30h0m0s", 0.5 is "500ms"."""
    if 0 < seconds < 1:
        return f"{seconds * 1000:.6g}ms"
    whole, rest = divmod(round(seconds, 3), 60)
    hours, minutes = divmod(int(whole), 60)
    text = f"{rest:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text
