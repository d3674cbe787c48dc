"""From what a run measured to a table: medians, ratios, verdicts, and three formats."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence

import yaml
from attrs import asdict, frozen

#: Above this share of its core something is at its limit.
FULL = 0.97

#: Below this share the gateway has waited for somebody.
WAITED = 0.85

#: Above this share of the gateway's core other programs spoil what is measured.
DISTURBED = 0.1


@frozen(kw_only=True)
class Sample:
    """One run of one case through one gateway."""

    value: float  #: in the case's unit
    rate: float  #: what went through, a second of wall time, in the case's rate unit
    gateway_busy: float  #: CPU seconds of the gateway a second of wall time
    load_busy: float  #: share of the time in which load and target had something to do
    others_busy: float  #: share of the gateway's core that somebody else had
    lines: int = 0  #: log lines the gateway wrote meanwhile


@frozen(kw_only=True)
class Row:
    """What one gateway reached in one case.

    Attributes:
        ratio: to the reference, None for the reference itself.
        spread: the lowest and the highest ratio of a pair of neighbouring runs.
        best: the ratio of the cheapest runs; what disturbs a run only makes it dearer.
        notes: what a reader has to know before believing the number.
    """

    gateway: str
    value: float | None
    ratio: float | None = None
    spread: tuple[float, float] | None = None
    best: float | None = None
    verdict: str = ""
    rate: float | None = None
    gateway_busy: float | None = None
    load_busy: float | None = None
    others_busy: float | None = None
    values: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()


@frozen(kw_only=True)
class Section:
    """A case with a row for each gateway; the first row is the reference."""

    name: str
    title: str
    unit: str
    rate_unit: str
    reach: float | None
    stretch: float | None
    rows: tuple[Row, ...]


def ratios(reference: Sequence[float], other: Sequence[float]) -> tuple[float, ...]:
    """Compare neighbours: run n of *other* with run n of *reference*.

    Whatever drifts on the machine while the bench runs touches both of a pair alike.
    """
    return tuple(b / a for a, b in zip(reference, other, strict=False) if a > 0)


def verdict(ratio: float | None, reach: float | None, stretch: float | None) -> str:
    """Say in one word how *ratio* stands to the goals, as they are printed (two digits)."""
    if ratio is None or reach is None:
        return ""
    if stretch is not None and round(ratio, 2) <= stretch:
        return "stretch"
    return "reached" if round(ratio, 2) <= reach else "missed"


def notes(samples: Sequence[Sample]) -> tuple[str, ...]:
    """What the run says about its own worth."""
    found = []
    others = statistics.median(s.others_busy for s in samples)
    if others > DISTURBED:
        found.append(f"others had {others:.0%} of the gateway's core")
    elif statistics.median(s.load_busy for s in samples) > FULL:
        if statistics.median(s.gateway_busy for s in samples) < WAITED:
            found.append("the load was the limit, not the gateway")
    return tuple(found)


def row(
    gateway: str,
    samples: Sequence[Sample],
    reference: Sequence[Sample] | None,
    *,
    goals: tuple[float | None, float | None] = (None, None),
    remarks: Sequence[str] = (),
) -> Row:
    """Condense the runs of one gateway; *reference* is None for the reference itself."""
    if not samples:
        return Row(gateway=gateway, value=None, notes=tuple(remarks))
    values = tuple(s.value for s in samples)
    pairs = ratios([s.value for s in reference], values) if reference else ()
    ratio = statistics.median(pairs) if pairs else None
    return Row(
        gateway=gateway,
        value=statistics.median(values),
        ratio=ratio,
        spread=(min(pairs), max(pairs)) if pairs else None,
        best=min(values) / min(s.value for s in reference) if reference and pairs else None,
        verdict=verdict(ratio, *goals),
        rate=statistics.median(s.rate for s in samples),
        gateway_busy=statistics.median(s.gateway_busy for s in samples),
        load_busy=statistics.median(s.load_busy for s in samples),
        others_busy=statistics.median(s.others_busy for s in samples),
        values=values,
        notes=(*remarks, *notes(samples)),
    )


def number(value: float | None) -> str:
    """Three significant digits, without exponents; "-" for nothing."""
    if value is None:
        return "-"
    for limit, digits in ((9.995, 2), (99.95, 1)):
        if abs(value) < limit:
            return f"{value:.{digits + (abs(value) < 0.995)}f}"
    return f"{value:.0f}"


def _plain(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def table(lines: Sequence[Sequence[str]]) -> str:
    """Align columns: the first to the left, the last too, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = []
    for line in lines:
        cells = [
            cell.ljust(width) if place in (0, 1, len(widths) - 1) else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        text.append("  ".join(cells).rstrip())
    return "\n".join(text)


def as_text(facts: Mapping[str, str], sections: Sequence[Section]) -> str:
    """Lay out everything for a reader."""
    width = max((len(name) for name in facts), default=0)
    parts = ["\n".join(f"{name.ljust(width)}  {value}" for name, value in facts.items())]
    head = (
        *("case", "gateway", "value", "ratio", "lowest", "highest", "of bests"),
        *("reach", "stretch", "verdict"),
    )
    lines: list[tuple[str, ...]] = [head]
    for section in sections:
        for place, each in enumerate(section.rows):
            first = place == 0
            low, high = each.spread or (None, None)
            lines.append(
                (
                    f"{section.title} [{section.unit}]" if first else "",
                    each.gateway,
                    number(each.value),
                    _plain(each.ratio),
                    _plain(low),
                    _plain(high),
                    _plain(each.best),
                    "-" if first else _plain(section.reach),
                    "-" if first else _plain(section.stretch),
                    each.verdict,
                )
            )
    parts.append(table(lines))
    lines = [("case", "gateway", "rate", "unit", "gateway busy", "load busy", "others", "note")]
    for section in sections:
        for place, each in enumerate(section.rows):
            lines.append(
                (
                    section.name if place == 0 else "",
                    each.gateway,
                    number(each.rate),
                    section.rate_unit,
                    _plain(each.gateway_busy),
                    _plain(each.load_busy),
                    _plain(each.others_busy),
                    "; ".join(each.notes),
                )
            )
    parts.append(table(lines))
    return "\n\n".join(parts)


def as_json(facts: Mapping[str, str], sections: Sequence[Section]) -> str:
    """Everything, for programs."""
    return json.dumps(_everything(facts, sections), indent=2)


def as_yaml(facts: Mapping[str, str], sections: Sequence[Section]) -> str:
    """Everything, as YAML."""
    # By way of JSON, which knows no tuples.
    return str(yaml.safe_dump(json.loads(as_json(facts, sections)), sort_keys=False)).rstrip()


def _everything(facts: Mapping[str, str], sections: Sequence[Section]) -> dict[str, object]:
    return {"machine": dict(facts), "cases": [asdict(section) for section in sections]}


FORMATS = {"text": as_text, "json": as_json, "yaml": as_yaml}
