"""YAML files with resources: several documents each, and every fault with its place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import yaml
from attrs import frozen

from tlsgate.config.marks import Marks, Path, dotted, read_tree, resolve
from tlsgate.errors import BadSettings, DaemonSaid, Place, Problem

#: A thousand roles; a resource has 256 KiB at most.
LIMIT_BYTES = 16 << 20

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@frozen
class Document:
    """One resource as somebody has written it."""

    value: dict[str, Any]
    marks: Marks
    root: Path  #: where it stands in its document, which may be a list of resources

    def place(self, path: str = "") -> Place:
        """The place of what the API calls *path*: "spec.allow.logins[0]"."""
        known: dict[str, Path] = {}
        for at in (*self.marks.values, *self.marks.keys):
            if at[: len(self.root)] == self.root:
                known.setdefault(_plain(dotted(at[len(self.root) :])), at)
        words = _plain(path)
        # A label's key may have dots in it, so what is known is compared as a whole.
        while words and words not in known:
            words = words.rpartition(".")[0]
        at = known.get(words, self.root)
        return Place(self.marks.file, *(self.marks.values.get(at) or self.marks.keys[at]))

    def problems(self, refusal: DaemonSaid) -> tuple[Problem, ...]:
        """What the API says against it, with the places in the file."""
        if not refusal.problems:
            return (Problem(self.place(), "", str(refusal)),)
        return tuple(
            Problem(self.place(found.path), found.path, found.message) for found in refusal.problems
        )

    def told(self, found: Sequence[Any]) -> list[Problem]:
        """Warnings of the API, with the places in the file."""
        return [
            Problem(self.place(str(one["path"])), str(one["path"]), str(one["message"]))
            for one in found
        ]


def _plain(path: str) -> str:
    """*path* with an index as a part of its own, as some problems have it."""
    return re.sub(r"\[(\d+)\]", r".\1", path).lstrip(".")


def read(text: str, file: str) -> list[Document]:
    """Every resource in *text*.

    Raises:
        BadSettings: with every problem that can be seen without asking a cluster.
    """
    if len(text) > LIMIT_BYTES:
        raise BadSettings([problem(file, f"larger than {LIMIT_BYTES} bytes; nothing was read")])
    problems: list[Problem] = []
    found: list[Document] = []
    for part in _split(text):
        try:
            tree, marks, wrong = read_tree(part, file)
        except BadSettings as e:
            raise BadSettings([*problems, *e.problems]) from e
        problems += wrong
        if tree is None:
            continue
        whole = resolve(tree)
        several = isinstance(whole, list)
        for number, value in enumerate(whole if isinstance(whole, list) else [whole]):
            root: Path = (number,) if several else ()
            document = Document(value if isinstance(value, dict) else {}, marks, root)
            if not isinstance(value, dict):
                problems.append(Problem(document.place(), "", "is no resource: kind, metadata, …"))
            elif not isinstance(value.get("kind"), str):
                problems.append(Problem(document.place("kind"), "kind", "is missing, or no text"))
            else:
                found.append(document)
    if not found and not problems:
        problems.append(problem(file, "there is no resource in it"))
    if problems:
        raise BadSettings(problems)
    return found


def problem(file: str, why: str) -> Problem:
    """A problem with *file* as a whole."""
    return Problem(Place(file, 1, 1), "", why)


def _split(text: str) -> Iterator[str]:
    """The documents of *text*, each behind as many empty lines as stand before it."""
    starts: list[tuple[int, int]] = []
    try:
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.DocumentStartEvent) and event.start_mark is not None:
                starts.append((event.start_mark.index, event.start_mark.line))
    except yaml.YAMLError:
        pass  # whoever reads the last document says where and why
    if not starts:
        starts = [(0, 0)]
    # What stands before the first one is a comment or a directive of it.
    starts[0] = (0, 0)
    ends = [index for index, _ in starts[1:]] + [len(text)]
    for (start, line), end in zip(starts, ends, strict=True):
        yield "\n" * line + text[start:end]
