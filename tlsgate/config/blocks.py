"""What every block of the configuration is: a frozen pydantic model that refuses unknown keys."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.fields import FieldInfo

from tlsgate.config.fields import Unserved, kind
from tlsgate.config.marks import Path

#: A place in the schema: like a path in the file, with "*" for list indexes and free keys.
Pattern = tuple[str, ...]


class Block(BaseModel):
    """A mapping with known keys; a key without a value counts as not written."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError(f"has to be a mapping (key: value), not {kind(value)}")
        return {k: v for k, v in value.items() if v is not None or k not in cls.model_fields}

    def wrote(self, name: str) -> bool:
        """True when the file has the key *name* with a value."""
        return name in self.model_fields_set


def blocks_below(model: type[Block], at: Pattern = ()) -> Iterator[tuple[Pattern, type[Block]]]:
    """Every block of the schema below *model*, itself first, with where it stands."""
    yield at, model
    for name, info in model.model_fields.items():
        for step, inner in _inner(info.annotation):
            yield from blocks_below(inner, (*at, name, *step))


def _inner(annotation: Any) -> Iterator[tuple[Pattern, type[Block]]]:
    if isinstance(annotation, type) and issubclass(annotation, Block):
        yield (), annotation
        return
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        yield from _inner(args[0])
    elif origin in (typing.Union, types.UnionType):
        for arg in args:
            yield from _inner(arg)
    elif origin in (tuple, list, dict):
        for arg in args:
            yield from (((("*", *step)), inner) for step, inner in _inner(arg))


def pattern_of(path: Path, known: Mapping[Pattern, object]) -> Pattern | None:
    """The pattern of *known* that *path* follows, or None."""
    for pattern in known:
        if len(pattern) == len(path) and all(
            want in ("*", step) for want, step in zip(pattern, path, strict=True)
        ):
            return pattern
    return None


def unserved(block: Block, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """The keys that the file wrote and that do nothing yet, each with the reason."""
    for name, info in type(block).model_fields.items():
        if name not in block.model_fields_set or _is_off(getattr(block, name)):
            continue
        if (why := _why(info)) is not None:
            yield (*path, name), why
        else:
            yield from _unserved_in(getattr(block, name), (*path, name))


def _is_off(value: Any) -> bool:
    return isinstance(value, Block) and getattr(value, "enabled", None) is False


def _unserved_in(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, Block):
        yield from unserved(value, path)
    elif isinstance(value, tuple | list):
        for index, item in enumerate(value):
            yield from _unserved_in(item, (*path, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _unserved_in(item, (*path, key))


def _why(info: FieldInfo) -> str | None:
    return next((item.why for item in info.metadata if isinstance(item, Unserved)), None)
