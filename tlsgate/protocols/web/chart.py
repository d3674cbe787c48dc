"""A picture of how many connections each listener had, minute by minute: one SVG, no script."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

_WIDTH, _HEIGHT = 720, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 12, 28
#: Lines of it; colours alone tell nobody apart, so each has its own dashes as well.
LINES: Final = 6
_TICKS: Final = 4


def draw(series: Mapping[str, Sequence[int]], until: float) -> str:
    """The picture and its legend; "" where nothing is known yet.

    Args:
        series: by listener, connections of each minute, the newest last; all of one length.
        until: when the newest minute is, in seconds since the epoch.
    """
    shown = dict(list(series.items())[:LINES])
    length = max((len(points) for points in shown.values()), default=0)
    if length < 2:
        return ""
    top = _round_up(max(max(points) for points in shown.values()))
    parts = "".join((*_grid(top, length, until), *_lines(shown, top, length)))
    return (
        f'<figure class="chart"><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(_words(shown))}">{parts}</svg>{_legend(shown)}</figure>'
    )


def _round_up(most: int) -> int:
    """The figure at the top of the scale: one that divides well."""
    top = _TICKS
    while top < most:
        # 4, 8, 20, 40, 80, 200, …
        top = top * 5 // 2 if str(top).startswith("8") else top * 2
    return top


def _grid(top: int, length: int, until: float) -> Iterator[str]:
    for tick in range(_TICKS + 1):
        value = top * tick // _TICKS
        y = _y(value, top)
        yield (
            f'<path class="grid" d="M{_LEFT} {y:g}H{_WIDTH - _RIGHT}"/>'
            f'<text class="quiet" x="{_LEFT - 8}" y="{y + 5:g}" text-anchor="end">{value}</text>'
        )
    for part, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        minutes = (1.0 - part) * (length - 1)
        when = datetime.fromtimestamp(until - 60 * minutes, UTC)
        x = _LEFT + part * (_WIDTH - _LEFT - _RIGHT)
        yield (
            f'<text class="quiet" x="{x:g}" y="{_HEIGHT - 6}" text-anchor="{anchor}">'
            f"{when:%H:%M}{' UTC' if part == 1.0 else ''}</text>"
        )


def _lines(shown: Mapping[str, Sequence[int]], top: int, length: int) -> Iterator[str]:
    step = (_WIDTH - _LEFT - _RIGHT) / (length - 1)
    for number, (name, points) in enumerate(shown.items()):
        path = " ".join(
            f"{_LEFT + index * step:.1f},{_y(value, top):.1f}" for index, value in enumerate(points)
        )
        yield (
            f'<polyline class="line{number}" data-listener="{escape(name)}" points="{path}">'
            f"<title>{escape(name)}</title></polyline>"
        )


def _legend(shown: Mapping[str, Sequence[int]]) -> str:
    items = "".join(
        f'<li><svg viewBox="0 0 24 8" aria-hidden="true"><path class="line{number}" '
        f'd="M1 4H23"/></svg>{escape(name)} <b>{points[-1]}</b>'
        for number, (name, points) in enumerate(shown.items())
    )
    return f"<figcaption>Connections in each minute, and in this one:<ul>{items}</ul></figcaption>"


def _words(shown: Mapping[str, Sequence[int]]) -> str:
    told = ", ".join(f"{name} {points[-1]}" for name, points in shown.items())
    return f"Connections of each listener over time; now {told}"


def _y(value: int, top: int) -> float:
    return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1.0 - value / top)
