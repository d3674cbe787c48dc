"""Change a few keys of a configuration file, and nothing else of its text.

1. `edited` finds each key by the places that the parser knows, and cuts or puts in text there:
   comments, order and layout stay as they are.
2. What comes out is read again: a change that did not come to what was meant is refused.
3. `write` keeps a copy of the file as it was, and replaces it in one step.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path as FilePath
from typing import Any

import yaml
from attrs import field, frozen

from tlsgate.config.marks import Scalar, Tree, dotted, read_tree
from tlsgate.errors import BadSettings, FileChanged, Place, Problem

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

#: What may stand without quotes, and is no other value then.
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]*[A-Za-z0-9]|[A-Za-z0-9]")
#: How deeper lines are indented where a block is new.
_INDENT = "  "
#: Copies of one second.
_MOST_COPIES = 100
#: What stands at a path without a value; `None` is a value that is not written.
_NOTHING = object()


#: A scalar, or a list; one of a single scalar is written as that, and is the same.
Value = str | tuple[str, ...]


@frozen
class Put:
    """Set a key to a scalar, or to several; blocks above it that lack are made."""

    path: tuple[str, ...]
    value: Value


@frozen
class Drop:
    """Take a key out with its whole value; no change where it is not written."""

    path: tuple[str, ...]


@frozen
class Edited:
    """A file's text, as it is and as it is to be."""

    file: str
    before: str = field(repr=False)
    after: str = field(repr=False)

    @property
    def changes(self) -> bool:
        """Whether there is any difference."""
        return self.before != self.after

    @property
    def lines(self) -> tuple[int, ...]:
        """Lines of the old text, from 1, that change or after which something comes."""
        old, new = self.before.splitlines(), self.after.splitlines()
        found: list[int] = []
        for word, start, end, _, _ in difflib.SequenceMatcher(None, old, new).get_opcodes():
            if word == "insert":
                found.append(max(start, 1))
            elif word != "equal":
                found += range(start + 1, end + 1)
        return tuple(dict.fromkeys(found))

    @property
    def places(self) -> tuple[str, ...]:
        """The lines as "FILE:LINE"."""
        return tuple(f"{self.file}:{line}" for line in self.lines)

    def diff(self) -> str:
        """The difference as a unified diff; "" where there is none."""
        old, new = self.before.splitlines(), self.after.splitlines()
        told = difflib.unified_diff(old, new, self.file, f"{self.file} (after)", lineterm="")
        return "".join(f"{line}\n" for line in told)


def edited(text: str, changes: Sequence[Put | Drop], file: str = "tlsgate.yaml") -> Edited:
    """Make *changes* in *text*, one after the other.

    Raises:
        BadSettings: the text is no YAML that we read, or it is written in a way in which such
            a change cannot be made; with the place.
    """
    after = text
    for change in changes:
        tree = _tree(after, file)
        path = _named(change.path, tree)
        wanted = change.value if isinstance(change, Put) else _NOTHING
        if _is(_value(tree, path), wanted):
            continue
        if isinstance(wanted, tuple):  # what is there may stand on several lines
            after = _Editor(after, file).change(Drop(change.path), path)
        after = _Editor(after, file).change(change, path)
        if not _is(_value(_tree(after, file), path), wanted):
            raise _refused(file, 1, path, "cannot be changed here by a program; edit it by hand")
    return Edited(file, text, after)


def line_of(text: str, path: Sequence[str]) -> int | None:
    """The line, from 1, in which the key at *path* is written; None: it is not.

    Raises:
        BadSettings: the text is no YAML that we read.
    """
    tree, marks, problems = read_tree(text, "")
    if problems:
        raise BadSettings(problems)
    found = marks.keys.get(_named(tuple(path), tree))
    return None if found is None else found[0]


def write(path: FilePath, change: Edited, stamp: str) -> FilePath:
    """Put *change* in force for the file at *path*, and keep a copy as PATH.before-STAMP.

    Returns:
        The copy.

    Raises:
        FileChanged: the file is no longer what was edited; nothing was written.
        OSError: it cannot be read or written.
    """
    path = path.resolve()  # a link stays one
    raw = path.read_bytes()
    mark = "\ufeff" if raw.startswith("\ufeff".encode()) else ""
    if raw != (mark + change.before).encode():
        raise FileChanged(str(path))
    found = path.stat()
    copy = _write_new(_copies(path, stamp), raw, found)
    fresh = _write_new(_copies(path, f"{stamp}.new"), (mark + change.after).encode(), found)
    os.replace(fresh, path)
    return copy


def _copies(path: FilePath, stamp: str) -> Iterator[FilePath]:
    for number in range(1, _MOST_COPIES):
        tail = "" if number == 1 else f"-{number}"
        yield path.with_name(f"{path.name}.before-{stamp}{tail}")


def _write_new(names: Iterator[FilePath], content: bytes, like: os.stat_result) -> FilePath:
    """Write a file that was not there, for the same people as *like*."""
    for name in names:
        try:
            descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        with os.fdopen(descriptor, "wb") as made:
            if (like.st_uid, like.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(descriptor, like.st_uid, like.st_gid)
            os.fchmod(descriptor, like.st_mode & 0o777)
            made.write(content)
            made.flush()
            os.fsync(descriptor)
        return name
    raise FileExistsError(f"there are {_MOST_COPIES} copies of this second")


# -- what the text says --------------------------------------------------------------------


def _tree(text: str, file: str) -> Tree:
    tree, _, problems = read_tree(text, file)
    if problems:
        raise BadSettings(problems)
    return tree


def _named(path: tuple[str, ...], tree: Tree) -> tuple[str, ...]:
    """*path* as the file calls it."""
    ours = isinstance(tree, dict) and "tlsgate" in tree and "teleport" not in tree
    return ("tlsgate", *path[1:]) if ours and path[0] == "teleport" else path


def _value(tree: Tree, path: tuple[str, ...]) -> object:
    for key in path:
        if not isinstance(tree, dict) or key not in tree:
            return _NOTHING
        tree = tree[key]
    if isinstance(tree, list) and all(isinstance(one, Scalar) for one in tree):
        return tuple(map(str, tree))
    return str(tree) if isinstance(tree, Scalar) else tree


def _is(found: object, wanted: object) -> bool:
    return found == wanted or (isinstance(wanted, tuple) and (found,) == wanted)


def _refused(file: str, line: int, path: tuple[str, ...], why: str) -> BadSettings:
    return BadSettings([Problem(Place(file, line, 1), dotted(path), why)])


def _spelt(value: Value) -> str:
    if isinstance(value, tuple):
        if len(value) == 1:
            return _spelt(value[0])
        return f"[{', '.join(map(_spelt, value))}]"
    return value if _PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)


# -- where it stands -------------------------------------------------------------------------


class _Editor:
    """One change of one text, which has been read without a fault."""

    def __init__(self, text: str, file: str) -> None:
        self._text = text
        self._file = file
        self._newline = "\r\n" if "\r\n" in text else "\n"
        self._root: Any = yaml.compose(text, Loader=_Loader)

    def change(self, change: Put | Drop, path: tuple[str, ...]) -> str:
        """Give the text after it."""
        if self._root is None:
            if isinstance(change, Drop):
                return self._text
            return self._appended(self._block(path, change.value, ""))
        if isinstance(change, Drop):
            return self._drop(path)
        return self._put(path, change.value)

    def _put(self, path: tuple[str, ...], value: Value) -> str:
        node = self._root
        for depth, key in enumerate(path):
            if not isinstance(node, yaml.MappingNode):
                raise self._odd(node, path[:depth], "is no mapping")
            found = _entry(node, key)
            if found is None:
                return self._add(node, path, depth, value)
            name, below = found
            if depth == len(path) - 1:
                return self._set(name, below, path, value)
            if _is_empty(below):
                return self._fill(name, below, path[depth + 1 :], value)
            node = below
        raise AssertionError("a path has a key")  # pragma: no cover

    def _set(self, name: Any, node: Any, path: tuple[str, ...], value: Value) -> str:
        if not isinstance(node, yaml.ScalarNode) or node.style in ("|", ">"):
            raise self._odd(node, path, "is no single value")
        start, end = node.start_mark.index, node.end_mark.index
        if start == end:  # nothing is written behind the colon
            start = end = self._text.index(":", name.end_mark.index) + 1
            return f"{self._text[:start]} {_spelt(value)}{self._text[end:]}"
        return self._text[:start] + _spelt(value) + self._text[end:]

    def _fill(self, name: Any, nothing: Any, rest: tuple[str, ...], value: Value) -> str:
        """Put a block in the place of *nothing*, or of a word for it."""
        lines = self._block(rest, value, _column(name) * " " + _INDENT)
        start, end = nothing.start_mark.index, nothing.end_mark.index
        if start != end:
            start = self._text.index(":", name.end_mark.index) + 1
            self._text = self._text[:start] + self._text[end:]
        return self._after_line(name.end_mark.line, lines)

    def _add(self, node: Any, path: tuple[str, ...], depth: int, value: Value) -> str:
        """Add what lacks from *depth* on, to the mapping *node*."""
        rest = path[depth:]
        if node.flow_style:
            inside = _spelt(value)
            for key in reversed(rest[1:]):
                inside = f"{{{key}: {inside}}}"
            at = node.end_mark.index - 1
            if node.value:
                at = node.value[-1][1].end_mark.index
                return f"{self._text[:at]}, {rest[0]}: {inside}{self._text[at:]}"
            return f"{self._text[:at]}{rest[0]}: {inside}{self._text[at:]}"
        indent = _column(node) * " "
        if not depth and len(rest) == 1:  # such as `version`, which people look for at the top
            first = self._line_start(node.value[0][0].start_mark.line)
            block = "".join(self._block(rest, value, indent))
            return self._text[:first] + block + self._text[first:]
        return self._after_line(_last_line(node), self._block(rest, value, indent))

    def _drop(self, path: tuple[str, ...]) -> str:
        node = self._root
        for key in path[:-1]:
            found = _entry(node, key) if isinstance(node, yaml.MappingNode) else None
            if found is None:
                return self._text
            node = found[1]
        found = _entry(node, path[-1]) if isinstance(node, yaml.MappingNode) else None
        if found is None:
            return self._text
        name, below = found
        if node.flow_style:
            return self._drop_from_flow(node, name, below)
        start = self._line_start(name.start_mark.line)
        if self._text[start : name.start_mark.index].strip():
            raise self._odd(name, path, "stands behind something else")
        end = self._line_start(max(name.end_mark.line, _last_line(below)) + 1)
        return self._text[:start] + self._text[end:]

    def _drop_from_flow(self, node: Any, name: Any, below: Any) -> str:
        index = next(at for at, (key, _) in enumerate(node.value) if key is name)
        start, end = name.start_mark.index, max(name.end_mark.index, below.end_mark.index)
        if index + 1 < len(node.value):
            end = node.value[index + 1][0].start_mark.index
        elif index:
            start = node.value[index - 1][1].end_mark.index
        return self._text[:start] + self._text[end:]

    # -- lines --

    def _block(self, keys: Sequence[str], value: Value, indent: str) -> list[str]:
        """Lines for a value below *keys*."""
        lines = []
        for key in keys[:-1]:
            lines.append(f"{indent}{key}:{self._newline}")
            indent += _INDENT
        return [*lines, f"{indent}{keys[-1]}: {_spelt(value)}{self._newline}"]

    def _appended(self, lines: Sequence[str]) -> str:
        gap = "" if not self._text or self._text.endswith("\n") else self._newline
        return self._text + gap + "".join(lines)

    def _after_line(self, line: int, lines: Sequence[str]) -> str:
        at = self._line_start(line + 1)
        if at == len(self._text):
            return self._appended(lines)
        return self._text[:at] + "".join(lines) + self._text[at:]

    def _line_start(self, line: int) -> int:
        """Where a line, counted from 0, begins; the text's end where there is none."""
        lines = self._text.split("\n", line)
        if len(lines) <= line:
            return len(self._text)
        return sum(len(one) + 1 for one in lines[:line])

    def _odd(self, node: Any, path: tuple[str, ...], why: str) -> BadSettings:
        line = node.start_mark.line + 1
        return _refused(self._file, line, path, f"{why}, and is not edited by a program")


def _entry(node: Any, key: str) -> tuple[Any, Any] | None:
    return next(((name, value) for name, value in node.value if name.value == key), None)


def _is_empty(node: Any) -> bool:
    """Whether nothing is written behind a key, or a word for nothing."""
    return isinstance(node, yaml.ScalarNode) and not node.style and node.value in ("", "~", "null")


def _column(node: Any) -> int:
    return int(node.start_mark.column)


def _last_line(node: Any) -> int:
    """The last line, from 0, with something of *node*; its own end is where the next begins."""
    if isinstance(node, yaml.ScalarNode) or node.flow_style or not node.value:
        mark = node.end_mark
        in_next = isinstance(node, yaml.ScalarNode) and node.style in ("|", ">")
        return int(mark.line - 1 if in_next and not mark.column else mark.line)
    last = node.value[-1]
    if isinstance(node, yaml.MappingNode):
        name, value = last
        return max(int(name.end_mark.line), _last_line(value))
    return _last_line(last)
