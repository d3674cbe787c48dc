"""YAML text to plain values, with the place of every key and value.

1. The text is checked for size and for characters that YAML does not allow.
2. The parser's events are read one by one; nothing of YAML's object model is built, so
   there are no aliases to blow up, no tags to run, and nesting ends at a limit (S34).
3. Scalars stay text: `on`, `off`, `yes` and `no` reach the schema as they are written.

Faults that leave the rest readable (a key twice, an anchor, a tag) are collected; a text
that is no YAML ends the reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml
from attrs import define, field

from tlsgate.errors import BadSettings, Place, Problem

LIMIT_BYTES = 1 << 20
LIMIT_DEPTH = 32

#: Keys and list indexes from the top of the file down to a value.
Path = tuple[str | int, ...]
#: dict, list, Scalar or None.
Tree = Any

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
# YAML 1.2.2 section 5.1, the printable characters.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INT = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(
    r"[-+]?(?:[0-9]{1,18}\.[0-9]{0,18}|\.[0-9]{1,18}|[0-9]{1,18})(?:[eE][-+]?\d{1,3})?"
)

#: In a key whose value is read for its faults only, and not kept.
_LOST = "\0"

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Scalar(str):
    """A scalar as it is written; *plain* when it stands without quotes."""

    plain: bool

    def __new__(cls, text: str, plain: bool = True) -> Scalar:
        made = super().__new__(cls, text)
        made.plain = plain
        return made


def resolve(tree: Tree) -> object:
    """Give *tree* with numbers, true, false and null for what YAML 1.2's core schema calls so.

    For settings whose shape we do not know (a plug-in's own); `yes` and `on` stay text.
    """
    match tree:
        case dict():
            return {str(key): resolve(value) for key, value in tree.items()}
        case list():
            return [resolve(value) for value in tree]
        case Scalar(plain=True):
            if tree.lower() in ("true", "false"):
                return tree.lower() == "true"
            if _INT.fullmatch(tree):
                return int(tree)
            if _FLOAT.fullmatch(tree):
                return float(tree)
            return str(tree)
        case None:
            return None
    return str(tree)


def dotted(path: Path) -> str:
    """Write *path* as messages do: `proxy_service.routes[0].target`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


@define
class Marks:
    """Where in *file* each key and value stands; lines and columns count from 1."""

    file: str
    keys: dict[Path, tuple[int, int]] = field(factory=dict)
    values: dict[Path, tuple[int, int]] = field(factory=dict)
    #: Values that could not be read at all; whoever misses them need not say so again.
    lost: set[Path] = field(factory=set)

    def place(self, path: Path, *, key: bool = False) -> Place:
        """The place of the value at *path*, or of its key, or of what should hold it."""
        if key and path in self.keys:
            return Place(self.file, *self.keys[path])
        path = self.written(path)
        while path:
            if path in self.values:
                return Place(self.file, *self.values[path])
            path = path[:-1]
            if path in self.keys:  # a missing key is missing from what this key names
                return Place(self.file, *self.keys[path])
        return Place(self.file, 1, 1)

    def written(self, path: Path) -> Path:
        """*path* as the file has it: one value where a list may stand has no index."""
        while path and isinstance(path[-1], int) and path not in self.values:
            path = path[:-1]
        return path

    def rename(self, old: str, new: str) -> None:
        """Call the block *old* at the top *new*, places and all."""
        for table in (self.keys, self.values):
            for path in [path for path in table if path and path[0] == old]:
                table[(new, *path[1:])] = table.pop(path)


@define
class _Frame:
    """A mapping or list whose end has not come yet."""

    path: Path
    made: dict[str, Tree] | list[Tree]
    key: Scalar | None = None

    def next_path(self) -> Path:
        if isinstance(self.made, list):
            return (*self.path, len(self.made))
        return (*self.path, str(self.key))

    def add(self, value: Tree) -> None:
        if isinstance(self.made, list):
            self.made.append(value)
        else:
            assert self.key is not None
            if _LOST not in self.key:
                self.made[str(self.key)] = value
            self.key = None


@define
class _Reader:
    """Builds one tree out of the parser's events."""

    marks: Marks
    problems: list[Problem] = field(factory=list)
    stack: list[_Frame] = field(factory=list)
    root: Tree = None
    documents: int = 0

    def wrong(self, mark: Any, message: str, path: Path = ()) -> None:
        place = Place(self.marks.file, mark.line + 1, mark.column + 1)
        shown = (step.partition(_LOST)[0] if isinstance(step, str) else step for step in path)
        self.problems.append(Problem(place, dotted(tuple(shown)), message))

    def take(self, event: Any) -> None:
        kind = type(event)
        if kind is yaml.DocumentStartEvent:
            self.documents += 1
            if self.documents == 2:
                self.wrong(event.start_mark, "a second document; one file is one document")
        if self.documents > 1:
            return
        if kind is yaml.ScalarEvent:
            value: str = event.value
            plain = not event.style  # None, or "" from libyaml
            path = self.put(event, None if plain and value in _NULLS else Scalar(value, plain))
            self.check(event, path)
        elif kind is yaml.MappingStartEvent:
            self.open(event, {})
        elif kind is yaml.SequenceStartEvent:
            self.open(event, [])
        elif kind in (yaml.MappingEndEvent, yaml.SequenceEndEvent):
            self.stack.pop()
        elif kind is yaml.AliasEvent:
            path = self.put(event, None)
            self.wrong(event.start_mark, f"alias *{event.anchor}: write the value out", path)
            self.marks.lost.add(path)

    def check(self, event: Any, path: Path) -> None:
        if event.anchor is None and event.tag is None:
            return
        mark = event.start_mark
        if event.anchor is not None:
            self.wrong(mark, f"anchor &{event.anchor}: anchors are not read", path)
        if event.tag is not None:
            self.wrong(mark, f"tag {event.tag}: tags are not read; write the value only", path)

    def open(self, event: Any, made: dict[str, Tree] | list[Tree]) -> None:
        if len(self.stack) >= LIMIT_DEPTH:
            self.wrong(event.start_mark, f"nested deeper than {LIMIT_DEPTH} levels")
            raise BadSettings(self.problems)
        path = self.put(event, made)
        self.check(event, path)
        self.stack.append(_Frame(path, made))

    def put(self, event: Any, value: Tree) -> Path:
        """Put *value* where it belongs; gives its path."""
        at = (event.start_mark.line + 1, event.start_mark.column + 1)
        if not self.stack:
            self.root = value
            self.marks.values[()] = at
            return ()
        frame = self.stack[-1]
        if isinstance(frame.made, dict) and frame.key is None:
            return self.put_key(event, frame, value, at)
        path = frame.next_path()
        self.marks.values[path] = at
        frame.add(value)
        return path

    def put_key(self, event: Any, frame: _Frame, value: Tree, at: tuple[int, int]) -> Path:
        text = getattr(event, "value", None)  # a null that is written as a key is its text
        if text is None or _LOST in text:
            why = "a key has to be text" if text is None else "a key may not hold a NUL"
            self.wrong(event.start_mark, why, frame.path)
            text = f"?{_LOST}{event.start_mark.index}"
        frame.key = Scalar(text)
        path = frame.next_path()
        if path in self.marks.keys:
            first = self.marks.place(path, key=True)
            self.wrong(event.start_mark, f"written twice; first at line {first.line}", path)
            frame.key = Scalar(f"{text}{_LOST}{event.start_mark.index}")
            path = frame.next_path()
        self.marks.keys[path] = at
        return path


def read_tree(text: str, file: str) -> tuple[Tree, Marks, list[Problem]]:
    """Read *text* into plain values.

    Returns:
        The tree (None for an empty file), its places, and the faults found so far.

    Raises:
        BadSettings: it is too big, too deep, or not YAML.
    """
    reader = _Reader(Marks(file))
    _refuse_bytes(text, file)
    try:
        for event in _events(text):
            reader.take(event)
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file, 1, 1)
        why = " ".join(filter(None, (e.context, e.problem)))
        why = f"not YAML: {why}{_hint(text, mark, why)}"
        raise BadSettings([*reader.problems, Problem(place, "", why)]) from e
    except yaml.YAMLError as e:
        problem = Problem(Place(file, 1, 1), "", f"not YAML: {' '.join(str(e).split())}")
        raise BadSettings([*reader.problems, problem]) from e
    return reader.root, reader.marks, reader.problems


def _hint(text: str, mark: Any, why: str) -> str:
    """What most often lies behind a complaint of the parser."""
    line = text.split("\n")[mark.line] if mark and mark.line <= text.count("\n") else ""
    if line[mark.column : mark.column + 1] == "\t":
        return "; indent with spaces, not tabs"
    if "mapping values are not allowed" in why:
        return "; quote text that ends in a colon"
    return ""


def _events(text: str) -> Iterator[Any]:
    yield from yaml.parse(text, Loader=_Loader)


def _refuse_bytes(text: str, file: str) -> None:
    if len(text) > LIMIT_BYTES or len(text.encode(errors="surrogatepass")) > LIMIT_BYTES:
        raise BadSettings(
            [Problem(Place(file, 1, 1), "", f"larger than {LIMIT_BYTES} bytes; nothing was read")]
        )
    if (found := _UNPRINTABLE.search(text)) is not None:
        before = text[: found.start()]
        place = Place(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
        char = f"U+{ord(found.group()):04X}"
        raise BadSettings([Problem(place, "", f"character {char} may not stand in YAML")])
