"""What a reading finds: problems, warnings, and which parts cannot be trusted any more."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from attrs import define, field

from tlsgate.config.marks import Marks, Path, dotted
from tlsgate.errors import Problem


@define
class Findings:
    """Collects everything that is wrong or worth a word, each with its place."""

    marks: Marks
    #: How the top of the file is called there, where it is not "teleport".
    aliases: dict[str, str] = field(factory=dict)
    problems: list[Problem] = field(factory=list)
    warnings: list[Problem] = field(factory=list)
    #: Paths whose values were refused; what follows from them is not reported again.
    _spoiled: set[Path] = field(factory=set)
    #: All that is above those.
    _above: set[Path] = field(factory=set)

    def wrong(self, path: Path, message: str, *, key: bool = False) -> None:
        """Add a problem with the value at *path*, or with its key."""
        path = self.marks.written(path)
        self.spoil(path)
        if path not in self.marks.lost:
            place = self.marks.place(path, key=key)
            self.problems.append(Problem(place, self.name(path), message))

    def warn(self, path: Path, message: str) -> None:
        """Add a warning about the key at *path*, or about what stands for it."""
        while path and path not in self.marks.values:
            path = path[:-1]
        self.warnings.append(Problem(self.marks.place(path, key=True), self.name(path), message))

    def spoil(self, path: Path) -> None:
        """Remember that nothing may be concluded from what stands at *path*."""
        self._spoiled.add(path)
        self._above.update(path[:end] for end in range(len(path)))

    def trusts(self, *path: str | int) -> bool:
        """True when nothing at, above or below *path* was refused."""
        if path in self._above:
            return False
        return not any(path[:end] in self._spoiled for end in range(len(path) + 1))

    def name(self, path: Path) -> str:
        """Write *path* as the file does."""
        if path and path[0] in self.aliases:
            path = (self.aliases[str(path[0])], *path[1:])
        return dotted(path)

    def sorted(self) -> list[Problem]:
        """All problems in the file's order."""
        return sorted(self.problems, key=_by_place)

    def sorted_warnings(self) -> tuple[Problem, ...]:
        """All warnings in the file's order."""
        return tuple(sorted(self.warnings, key=_by_place))


def _by_place(problem: Problem) -> tuple[int, int, str]:
    return (problem.place.line, problem.place.column, problem.path)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The word of *known* that was most likely meant by *word*, or None."""
    scored = [(_likeness(word.lower(), other), other) for other in known]
    score, best = max(scored, default=(0.0, ""))
    return best if score > 0.6 else None


def _likeness(word: str, other: str) -> float:
    whole = difflib.SequenceMatcher(None, word, other).ratio()
    # "idel" is far from "idle_seconds", and near to how it begins.
    start = other[: len(word)]
    begins = 0.0 if len(word) < 4 else difflib.SequenceMatcher(None, word, start).ratio()
    return max(whole, begins * 0.95)
