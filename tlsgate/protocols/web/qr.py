"""A QR code as an SVG that stands in the page: no request, no picture, no script."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

#: The quiet zone that readers need (ISO/IEC 18004 section 5.3.8), in modules.
_QUIET = 4


def picture(text: str, says: str) -> str | None:
    """Draw *text*; None where the optional package `segno` is not there.

    Args:
        text: at most a few hundred characters.
        says: what the picture is, for those who do not see it; ready for HTML.
    """
    try:
        import segno  # late: a gate without a cluster needs no pictures
    except ImportError:
        return None
    rows = segno.make(text, error="m", micro=False).matrix
    side = len(rows) + 2 * _QUIET
    return (
        f'<svg class="qr" role="img" aria-label="{says}" viewBox="0 0 {side} {side}" '
        f'shape-rendering="crispEdges"><path fill="#fff" d="M0 0h{side}v{side}H0z"/>'
        f'<path fill="#000" d="{"".join(_bars(rows))}"/></svg>'
    )


def _bars(rows: Sequence[Sequence[int]]) -> Iterator[str]:
    """A bar for each run of dark modules."""
    for y, row in enumerate(rows, _QUIET):
        start: int | None = None
        for x, dark in enumerate((*row, 0)):
            if dark and start is None:
                start = x
            elif not dark and start is not None:
                yield f"M{start + _QUIET} {y}h{x - start}v1h-{x - start}z"
                start = None
