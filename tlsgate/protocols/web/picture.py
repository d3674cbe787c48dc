"""The drawing on the landing page: one way in, a gate, and a way out for each protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

#: The mark: two posts and the arch over them.
MARK = (
    '<svg viewBox="0 0 32 32" aria-hidden="true" fill="none" stroke="currentColor" '
    'stroke-width="2.6" stroke-linecap="round"><path d="M6 28V14a10 10 0 0 1 20 0v14"/>'
    '<path d="M16 28V17M11 28v-9M21 28v-9" stroke-width="2" opacity=".75"/></svg>'
)

#: The mark as a data URL, for the browser's tab.
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32' "
    "fill='none' stroke='%23198a66' stroke-width='3' stroke-linecap='round'%3E"
    "%3Cpath d='M6 28V14a10 10 0 0 1 20 0v14M16 28V17M11 28v-9M21 28v-9'/%3E%3C/svg%3E"
)

#: More ends than this are drawn as one that says how many there are.
_ENDS = 7
_WIDTH = 720
_STEP = 36
_GATE = 352  #: where the gate stands
_END = 530  #: where the ways end; what follows is room for names
_POST = 84  #: height of the gate's posts
_SPAN = 34  #: from one post to the other


def draw(ends: Sequence[str]) -> str:
    """An SVG with one way to each of *ends*; there is at least one."""
    shown = list(ends[:_ENDS])
    if len(ends) > _ENDS:
        shown[-1] = f"and {len(ends) - _ENDS + 1} more"
    height = max(len(shown) * _STEP, 5 * _STEP) + 12
    return (
        f'<div class="picture" aria-hidden="true"><svg viewBox="0 0 {_WIDTH} {height}">'
        + "".join((*_clients(height / 2), *_gate(height / 2), *_ways(shown, height / 2)))
        + "</svg></div>"
    )


def _clients(middle: float) -> Iterator[str]:
    """Lines that come from anywhere and meet before the gate."""
    for offset in (-44, -22, 0, 22, 44):
        start = middle + offset
        yield (
            f'<path class="in" d="M4 {start:g}C150 {start:g} 190 {middle:g} '
            f'{_GATE - 30} {middle:g}"/>'
        )
    yield f'<text class="quiet" x="4" y="{middle - 60:g}">clients</text>'


def _gate(middle: float) -> Iterator[str]:
    """Two posts and the arch over them."""
    left, right, radius = _GATE - _SPAN / 2, _GATE + _SPAN / 2, _SPAN / 2
    foot = middle + _POST / 2
    yield (
        f'<path class="gate" d="M{left:g} {foot:g}V{middle - _POST / 2 + radius:g}'
        f'a{radius:g} {radius:g} 0 0 1 {_SPAN} 0V{foot:g}"/>'
    )
    for x in (left, right):
        yield f'<circle class="end" cx="{x:g}" cy="{middle:g}" r="4.5"/>'
    yield (
        f'<text class="quiet" x="{_GATE}" y="{foot + 24:g}" text-anchor="middle">one port</text>'
    )


def _ways(ends: Sequence[str], middle: float) -> Iterator[str]:
    """From the gate to each end."""
    first = middle - (len(ends) - 1) * _STEP / 2
    start, bend = _GATE + 32, (_END - _GATE) / 2
    for index, end in enumerate(ends):
        y = first + index * _STEP
        yield (
            f'<path class="way" d="M{start} {middle:g}C{start + bend:g} {middle:g} '
            f'{_END - bend:g} {y:g} {_END} {y:g}"/>'
            f'<circle class="end" cx="{_END + 5}" cy="{y:g}" r="4"/>'
            f'<text x="{_END + 18}" y="{y + 5:g}">{escape(end)}</text>'
        )
