"""Values against a block of the schema: every fault told at its place, the rest still usable."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tlsgate.config.blocks import Block, Pattern, blocks_below, pattern_of
from tlsgate.config.findings import Findings, nearest
from tlsgate.config.marks import Path

B = TypeVar("B", bound=Block)


def validated(model: type[B], tree: Any, at: Path, findings: Findings) -> B | None:
    """Give *tree*, which stands at *at* in the file, as a *model*.

    What is wrong is reported, and what it spoils is left out, so that the rest can be
    checked too. None when nothing usable is left.
    """
    while True:
        try:
            return model.model_validate(tree)
        except ValidationError as e:
            broken = {_report(model, fault, at, findings) for fault in e.errors()}
        if () in broken:
            findings.spoil(at)
            return None
        for path in broken:
            findings.spoil((*at, *path))
            tree = _without(tree, path)


def _report(model: type[Block], fault: ErrorDetails, at: Path, findings: Findings) -> Path:
    """Report *fault*; gives the path, below *at*, of what has to be left out for it."""
    loc = fault["loc"]
    match fault["type"]:
        case "extra_forbidden":
            findings.wrong((*at, *loc), unknown_key(model, loc), key=True)
            return _cut(loc)
        case "missing":
            if findings.trusts(*at, *loc):  # else it is there, and was refused
                findings.wrong((*at, *loc), "is missing")
            return _cut(loc[:-1])
        case "value_error":
            findings.wrong((*at, *loc), str(fault["ctx"]["error"]))
        case _:  # kinds that a validator of ours has not seen before pydantic does
            findings.wrong((*at, *loc), fault["msg"][:1].lower() + fault["msg"][1:])
    return _cut(loc)


def _cut(loc: Path) -> Path:
    """*loc* up to the first list, since taking one item out would move the others."""
    for index, step in enumerate(loc):
        if isinstance(step, int):
            return loc[:index]
    return loc


def _without(tree: Any, path: Path) -> Any:
    if not isinstance(tree, dict):
        return tree
    first, rest = path[0], path[1:]
    if not rest:
        return {key: value for key, value in tree.items() if key != first}
    return {key: _without(value, rest) if key == first else value for key, value in tree.items()}


@cache
def patterns(model: type[Block]) -> Mapping[Pattern, type[Block]]:
    """Every block below *model*, by where it stands."""
    return dict(blocks_below(model))


def unknown_key(model: type[Block], loc: Path) -> str:
    """Say what may have been meant by the unknown key at *loc* of a *model*."""
    known = patterns(model)
    name = str(loc[-1])
    here = pattern_of(loc[:-1], known)
    siblings = tuple(known[here].model_fields) if here is not None else ()
    elsewhere = [
        ".".join(pattern) for pattern, block in known.items()
        if name in block.model_fields and pattern and "*" not in pattern
    ]  # fmt: skip
    if elsewhere:
        return f"is not a setting here; it belongs under {' or '.join(elsewhere[:2])}"
    if (hint := nearest(name, siblings)) is not None:
        return f"is not a setting; did you mean {hint}?"
    if 0 < len(siblings) <= 12:
        return f"is not a setting; there are {', '.join(siblings)}"
    return "is not a setting"
