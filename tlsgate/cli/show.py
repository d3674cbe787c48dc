"""Values to stdout as text, JSON or YAML; what peers sent never reaches a terminal raw."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
from attrs import frozen

#: What --format takes.
FORMATS = ("text", "json", "yaml")


def plain(text: str) -> str:
    """Spell control characters out, so that a peer's name cannot steer a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@frozen
class Column:
    """One column of a table: its title, and the cell of a row."""

    title: str
    cell: Callable[[Mapping[str, Any]], object]
    right: bool = False


def key(name: str, none: str = "-") -> Callable[[Mapping[str, Any]], object]:
    """A cell that shows the row's *name*, or *none* where there is nothing."""

    def cell(row: Mapping[str, Any]) -> object:
        value = row.get(name)
        return none if value is None or value == "" else value

    return cell


def emit(value: Any, how: str, text: Callable[[Any], str]) -> None:
    """Write *value* to stdout: as JSON or YAML, or as *text* makes it readable."""
    if how == "json":
        click.echo(json.dumps(value, indent=2))  # in ASCII: any terminal and any pipe takes it
    elif how == "yaml":
        from tlsgate.cli.yamltext import to_yaml

        click.echo(to_yaml(value), nl=False)
    else:
        shown = text(value)
        if shown:
            click.echo(shown)


def table(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> str:
    """A table for people; on a terminal it keeps to its width, in a pipe to one line a row."""
    cells = [[plain(str(column.cell(row))) for column in columns] for row in rows]
    if not sys.stdout.isatty():
        return _lines(columns, cells)
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        grid.add_column(column.title, justify="right" if column.right else "left", overflow="fold")
    for line in cells:
        grid.add_row(*map(Text, line))
    out = io.StringIO()
    Console(file=out, force_terminal=True).print(grid)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def _lines(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> str:
    """The same for pipes: rich takes a millisecond a row, and nobody sees its colours there."""
    whole = [[column.title for column in columns], *cells]
    widths = [max(map(_width, of_column)) for of_column in zip(*whole, strict=True)]
    lines = []
    for line in whole:
        padded = []
        for column, text, width in zip(columns, line, widths, strict=True):
            space = " " * (width - _width(text))
            padded.append(space + text if column.right else text + space)
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _width(text: str) -> int:
    """How many places of a terminal *text* takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def pairs(value: Sequence[tuple[str, object]]) -> str:
    """Lines of "name  value", the values below each other."""
    width = max((len(name) for name, _ in value), default=0)
    return "\n".join(f"{name:<{width}}  {plain(str(what))}".rstrip() for name, what in value)


def amount(count: float) -> str:
    """A number of bytes for people: "512 B", "1.4 MiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"


def span(seconds: float) -> str:
    """A time for people, its two largest parts: "0.4 s", "12 s", "3 m 4 s", "2 d 3 h"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    left = int(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
