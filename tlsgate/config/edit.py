"""Changes of single keys in a configuration file: text in, text out, comments and layout kept.

1. `edited` finds each key by its node's place and changes only the characters of it.
2. `Edited` shows the change as a diff with the file's lines.
3. `write` keeps a copy beside the file and replaces the file in one step.

The YAML is composed anew after each change, so that places are always true; files are small.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import yaml
from attrs import field, frozen

from tlsgate.config.marks import LIMIT_BYTES
from tlsgate.errors import BadSettings, FileChanged, Place, Problem

#: The block that files may call by our name.
_ALIASES: Final = {"teleport": "tlsgate"}
#: What needs no quotes, in a block and between braces.
_PLAIN: Final = re.compile(r"[A-Za-z0-9/][A-Za-z0-9_./-]*(?::[A-Za-z0-9_./-]+)*")
_INDENT: Final = 2
#: Copies of one file made in one second.
_COPIES: Final = 100

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@frozen
class Put:
    """Set a scalar; the key is added, with the blocks above it, where it lacks."""

    path: tuple[str, ...]
    value: str


@frozen
class Drop:
    """Remove a key with its whole value; one that lacks is no change."""

    path: tuple[str, ...]


@frozen
class Edited:
    """A file's text, and what becomes of it."""

    file: str
    before: str = field(repr=False)
    after: str = field(repr=False)

    @property
    def changes(self) -> bool:
        """Whether anything does."""
        return self.before != self.after

    @property
    def lines(self) -> tuple[int, ...]:
        """The lines of the old text that change, or after which something comes; from 1."""
        found: list[int] = []
        old, new = self.before.splitlines(), self.after.splitlines()
        for kind, first, last, _, _ in difflib.SequenceMatcher(None, old, new).get_opcodes():
            if kind == "insert":
                found.append(max(1, first))
            elif kind != "equal":
                found += range(first + 1, last + 1)
        return tuple(dict.fromkeys(found))

    @property
    def places(self) -> tuple[str, ...]:
        """The same as "FILE:LINE"."""
        return tuple(f"{self.file}:{line}" for line in self.lines)

    def diff(self) -> str:
        """A unified diff; "": nothing changes."""
        return "".join(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in difflib.unified_diff(
                self.before.splitlines(keepends=True),
                self.after.splitlines(keepends=True),
                self.file,
                f"{self.file} (after)",
            )
        )


def edited(text: str, changes: Sequence[Put | Drop], file: str = "tlsgate.yaml") -> Edited:
    """What becomes of *text* with *changes*.

    Raises:
        BadSettings: it is no YAML, or something cannot be changed in place.
    """
    after = text
    for change in changes:
        after = _Text(after, file).changed(change)
    return Edited(file, text, after)


def write(path: Path, change: Edited, stamp: str) -> Path:
    """Put the new text in the place of the old one; gives the copy of the old.

    Args:
        stamp: a word for the copy's name, FILE.before-STAMP.

    Raises:
        FileChanged: the file is not what the change was made from.
        BadSettings: it cannot be read or written.
    """
    path = Path(os.path.realpath(path))  # a link stays one
    try:
        kept = path.read_bytes()
        if kept.decode("utf-8-sig") != change.before:
            raise FileChanged(str(path))
        state = path.stat()
        copy = _free(path, stamp)
        _replace(copy, kept, state)
        _replace(path, change.after.encode(), state)
    except (OSError, UnicodeDecodeError) as e:
        why = getattr(e, "strerror", None) or "it is no text"
        raise BadSettings([Problem(Place(str(path), 1, 1), "", f"not written: {why}")]) from e
    return copy


def _free(path: Path, stamp: str) -> Path:
    """A name that no copy has yet."""
    names = [f"{path.name}.before-{stamp}"]
    names += [f"{names[0]}-{number}" for number in range(2, _COPIES)]
    return next(path.parent / name for name in names if not (path.parent / name).exists())


def _replace(path: Path, content: bytes, state: os.stat_result) -> None:
    """Write a file whole or not at all, with the mode and the owner of *state*."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
            out.flush()
            os.fchmod(out.fileno(), state.st_mode & 0o7777)
            if (state.st_uid, state.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(out.fileno(), state.st_uid, state.st_gid)
            os.fsync(out.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class _Text:
    """One text with the places of its nodes."""

    def __init__(self, text: str, file: str) -> None:
        self.text, self._file = text, file
        self._newline = "\r\n" if "\r\n" in text else "\n"
        if len(text) > LIMIT_BYTES:
            self._refuse(1, 1, "", "the file is too long")
        try:
            self._root: Any = yaml.compose(text, Loader=_Loader)
        except yaml.YAMLError as e:
            mark = getattr(e, "problem_mark", None)
            line, column = (1, 1) if mark is None else (mark.line + 1, mark.column + 1)
            self._refuse(line, column, "", "this is no YAML")
        except RecursionError:
            self._refuse(1, 1, "", "it is nested too deeply")

    def changed(self, change: Put | Drop) -> str:
        """The text after *change*."""
        path = self._aliased(change.path)
        if isinstance(change, Drop):
            return self._dropped(path)
        return self._put(path, change.value)

    # -- finding --

    def _aliased(self, path: tuple[str, ...]) -> tuple[str, ...]:
        other = _ALIASES.get(path[0])
        top = self._pair(self._root, path[0])
        if other is not None and top is None and self._pair(self._root, other) is not None:
            return (other, *path[1:])
        return path

    def _pair(self, node: Any, word: str) -> tuple[Any, Any] | None:
        if not isinstance(node, yaml.MappingNode):
            return None
        return next((pair for pair in node.value if pair[0].value == word), None)

    def _put(self, path: tuple[str, ...], value: str) -> str:
        node = self._root
        if node is None:
            return self._joined(self.text, _block(path, value, 0))
        key: Any = None
        for depth, word in enumerate(path):
            if _is_null(node) and key is not None:
                # A block that is named and empty.
                at = self._line_end(node.end_mark.line)
                return self._inserted(at, _block(path[depth:], value, key.start_mark.column + 2))
            if not isinstance(node, yaml.MappingNode):
                self._stuck(node, path[:depth], "is no block, so nothing can be put below it")
            pair = self._pair(node, word)
            if pair is None:
                return self._added(node, path[depth:], value)
            key, node = pair
        if not isinstance(node, yaml.ScalarNode):
            self._stuck(node, path, "has several values here: change it by hand")
        start, end = node.start_mark.index, node.end_mark.index
        written = _scalar(value)
        if node.value == value and start != end:
            return self.text
        if start == end:
            start = end = key.end_mark.index + self.text[key.end_mark.index :].index(":") + 1
            written = f" {written}"
        return self.text[:start] + written + self.text[end:]

    def _added(self, node: Any, path: tuple[str, ...], value: str) -> str:
        """A new key in a mapping that is there."""
        if node.flow_style:
            at = node.end_mark.index - 1
            comma = ", " if node.value else ""
            return self.text[:at].rstrip() + comma + _flow(path, value) + self.text[at:]
        first = node.value[0][0]
        column = first.start_mark.column
        if path == ("version",):
            return self._inserted(first.start_mark.index - column, _block(path, value, column))
        at = self._line_end(self._last_line(node))
        return self._inserted(at, _block(path, value, column))

    def _dropped(self, path: tuple[str, ...]) -> str:
        node, parent, pair = self._root, self._root, None
        for word in path:
            found = self._pair(node, word)
            if found is None:
                return self.text
            parent, pair, node = node, found, found[1]
        assert pair is not None
        key, value = pair
        if parent.flow_style:
            return self._cut_from_flow(parent, pair)
        begin = self.text.rfind("\n", 0, key.start_mark.index) + 1
        if self.text[begin : key.start_mark.index].strip():
            self._stuck(key, path, "shares its line: remove it by hand")
        end = self._line_end(max(key.end_mark.line, self._last_line(value)))
        return self.text[:begin] + self.text[end:]

    def _cut_from_flow(self, parent: Any, pair: tuple[Any, Any]) -> str:
        at = parent.value.index(pair)
        start, end = pair[0].start_mark.index, pair[1].end_mark.index
        if at + 1 < len(parent.value):
            end = parent.value[at + 1][0].start_mark.index
        elif at:
            start = parent.value[at - 1][1].end_mark.index
        return self.text[:start] + self.text[end:]

    # -- places --

    def _last_line(self, node: Any) -> int:
        """The last line of a node; a block's own end is where the next one begins."""
        if isinstance(node, yaml.ScalarNode) or node.flow_style or not node.value:
            line = int(node.end_mark.line)
            if node.end_mark.column == 0 and line > node.start_mark.line:
                line -= 1  # a block scalar ends below its last line
            return line
        last = node.value[-1]
        if not isinstance(last, tuple):
            return self._last_line(last)
        return max(int(last[0].end_mark.line), self._last_line(last[1]))

    def _line_end(self, line: int) -> int:
        """Where the line after *line* (from 0) begins."""
        at = 0
        for _ in range(line + 1):
            found = self.text.find("\n", at)
            if found < 0:
                return len(self.text)
            at = found + 1
        return at

    def _inserted(self, at: int, lines: Sequence[str]) -> str:
        return self._joined(self.text[:at], lines) + self.text[at:]

    def _joined(self, before: str, lines: Sequence[str]) -> str:
        if before and not before.endswith("\n"):
            before += self._newline
        return before + "".join(line + self._newline for line in lines)

    def _stuck(self, node: Any, path: Sequence[str], why: str) -> NoReturn:
        mark = node.start_mark
        self._refuse(mark.line + 1, mark.column + 1, ".".join(path), why)

    def _refuse(self, line: int, column: int, path: str, why: str) -> NoReturn:
        raise BadSettings([Problem(Place(self._file, line, column), path, why)])


def _is_null(node: Any) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null")


def _block(path: Sequence[str], value: str, column: int) -> list[str]:
    """Lines that say *path*, one a block."""
    lines = [f"{' ' * (column + _INDENT * at)}{word}:" for at, word in enumerate(path)]
    return [*lines[:-1], f"{lines[-1]} {_scalar(value)}"]


def _flow(path: Sequence[str], value: str) -> str:
    word, *rest = path
    return f"{word}: {{{_flow(rest, value)}}}" if rest else f"{word}: {_scalar(value)}"


def _scalar(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)
