r"""Patterns of label values: exact text, globs, and regular expressions that cannot run away.

1. `fault` says what is wrong with a pattern, once, when a role is read.
2. `fits` holds a value against one that has no fault.

A regular expression (written `^...$`) is a subset of RE2's
(https://github.com/google/re2/wiki/Syntax): literals, `.`, `[a-z]`, `\\d \\w \\s`, groups,
`|`, `* + ?` and `{m,n}`. It is compiled to at most `STEPS` steps, and all ways through them
are followed at once, a character of the value at a time (https://swtch.com/~rsc/regexp/regexp1.html):
the cost is length times steps whatever the pattern is, and nothing ever backtracks. Python's
own `re` would take minutes for `^(a|a)*b$` and thirty characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from attrs import define, field, frozen

#: The longest pattern, in characters.
PATTERN_LIMIT: Final = 256
#: The longest program that a regular expression may become; {m,n} counts n times.
STEPS: Final = 256
#: How deep groups may stand in groups.
DEPTH: Final = 16
#: Of how many characters one expression remembers which steps take them.
_REMEMBERED: Final = 256

_QUANTIFIER = re.compile(r"\*|\+|\?|\{([0-9]{1,3})(,?)([0-9]{0,3})\}")
_CLASSES: Final[dict[str, str]] = {
    "d": "0123456789",
    "w": "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz",
    "s": "\t\n\f\r ",
}

#: Says whether one character is taken.
_Takes = Callable[[str], bool]


@frozen
class _Split:
    """Go on at both places."""

    first: int
    second: int


#: A program: steps that take a character, or go on without one; its end is the match.
_Program = list["_Takes | _Split"]


@define
class _Wrong(Exception):
    """Leaves the parser; `fault` tells it."""

    why: str


def is_expression(pattern: str) -> bool:
    """True for `^...$`."""
    return len(pattern) > 1 and pattern[0] == "^" and pattern[-1] == "$"


def fault(pattern: str) -> str | None:
    """What is wrong with *pattern*, or None."""
    if not pattern:
        return "is empty"
    if len(pattern) > PATTERN_LIMIT:
        return f"has more than {PATTERN_LIMIT} characters"
    if is_expression(pattern):
        try:
            _expression(pattern)
        except _Wrong as e:
            return f"{pattern!a} is no regular expression of those served: {e.why}"
    return None


def fits(pattern: str, value: str) -> bool:
    """Whether *value* as a whole is what *pattern* says; case counts.

    A regular expression that has a fault fits nothing.
    """
    if is_expression(pattern):
        try:
            return _expression(pattern).takes(value)
        except _Wrong:
            return False
    return pattern in ("*", value) or ("*" in pattern and _globs(pattern, value))


def _globs(pattern: str, value: str) -> bool:
    """Hold a glob, where `*` is any text, against *value*: each piece at its first place."""
    first, *middle, last = pattern.split("*")
    if not value.startswith(first) or not value.endswith(last):
        return False
    place, end = len(first), len(value) - len(last)
    for piece in middle:
        found = value.find(piece, place, max(end, 0))
        if found < 0:
            return False
        place = found + len(piece)
    return place <= end


@define(eq=False)
class _Expression:
    """A compiled expression; a set of steps is a number with a bit for each."""

    end: int  #: the step after the last
    #: By step, the steps that take a character and the end, as far as they are reached from
    #: it without one.
    reached: tuple[int, ...]
    takers: tuple[tuple[int, _Takes], ...]  #: the bit of each step that takes characters
    plain: int  #: of those, the steps that lead to the next and nowhere else
    _taking: dict[str, int] = field(factory=dict)

    def takes(self, value: str) -> bool:
        """Follow all ways through the program at once."""
        now = self.reached[0]
        for char in value:
            ways = now & self._takers_of(char)
            now = (ways & self.plain) << 1
            ways &= ~self.plain
            while ways:
                lowest = ways & -ways
                now |= self.reached[lowest.bit_length()]  # of the step after that one
                ways ^= lowest
        return now >> self.end == 1

    def _takers_of(self, char: str) -> int:
        found = self._taking.get(char)
        if found is None:
            if len(self._taking) >= _REMEMBERED:
                self._taking.clear()
            found = sum(bit for bit, takes in self.takers if takes(char))
            self._taking[char] = found
        return found


def _reached(program: _Program, place: int) -> int:
    """What is reached from *place* without a character."""
    found = 0
    seen: set[int] = set()
    waiting = [place]
    while waiting:
        place = waiting.pop()
        if place in seen:
            continue
        seen.add(place)
        step = program[place] if place < len(program) else None
        if isinstance(step, _Split):
            waiting += (step.first, step.second)
        else:
            found |= 1 << place
    return found


@lru_cache(maxsize=256)
def _expression(pattern: str) -> _Expression:
    parser = _Parser(pattern[1:-1])
    program = parser.choice(0)
    if parser.place < len(parser.text):
        raise _Wrong("a ')' without its '('")
    reached = tuple(_reached(program, place) for place in range(len(program) + 1))
    takers = tuple(
        (1 << place, step) for place, step in enumerate(program) if not isinstance(step, _Split)
    )
    plain = sum(bit for bit, _ in takers if reached[bit.bit_length()] == bit << 1)
    return _Expression(len(program), reached, takers, plain)


def _moved(program: _Program, by: int) -> _Program:
    """*program* for a place that is *by* steps further on."""
    return [
        _Split(step.first + by, step.second + by) if isinstance(step, _Split) else step
        for step in program
    ]


def _bounded(program: _Program) -> _Program:
    if len(program) > STEPS:
        raise _Wrong(f"it is too big: more than {STEPS} steps, counting each repetition")
    return program


def _joined(first: _Program, second: _Program) -> _Program:
    return _bounded([*first, *_moved(second, len(first))])


def _either(first: _Program, second: _Program) -> _Program:
    """A split to both, and a jump from the end of the first over the second."""
    end = len(first) + len(second) + 2
    jump = _Split(end, end)
    return _bounded(
        [
            _Split(1, len(first) + 2),
            *_moved(first, 1),
            jump,
            *_moved(second, len(first) + 2),
        ]
    )


def _optional(body: _Program) -> _Program:
    return _bounded([_Split(1, len(body) + 1), *_moved(body, 1)])


def _repeated(body: _Program) -> _Program:
    """*body* any number of times, none too."""
    end = len(body) + 2
    return _bounded([_Split(1, end), *_moved(body, 1), _Split(0, end)])


@define
class _Parser:
    """One pass over *text*; each method gives a program that starts at step 0."""

    text: str
    place: int = 0

    def _next(self) -> str:
        return self.text[self.place] if self.place < len(self.text) else ""

    def _take(self, why: str) -> str:
        char = self._next()
        if not char:
            raise _Wrong(why)
        self.place += 1
        return char

    def choice(self, depth: int) -> _Program:
        """Branches with `|` between them, up to a `)` or the end."""
        if depth > DEPTH:
            raise _Wrong(f"more than {DEPTH} groups in each other")
        program = self._branch(depth)
        while self._next() == "|":
            self.place += 1
            program = _either(program, self._branch(depth))
        return program

    def _branch(self, depth: int) -> _Program:
        program: _Program = []
        while self._next() not in ("", "|", ")"):
            program = _joined(program, self._quantified(self._atom(depth)))
        return program

    def _quantified(self, body: _Program) -> _Program:
        found = _QUANTIFIER.match(self.text, self.place)
        if found is None:
            return body
        self.place = found.end()
        if self._next() in ("*", "+", "?", "{"):
            raise _Wrong(f"{self._next()!r} follows another quantifier")
        match found[0]:
            case "*":
                return _repeated(body)
            case "+":
                return _joined(body, _repeated(body))
            case "?":
                return _optional(body)
        least = int(found[1])
        most = int(found[3]) if found[3] else (None if found[2] else least)
        if most is not None and most < least:
            raise _Wrong(f"{found[0]} ends before it begins")
        program: _Program = []
        for _ in range(least):
            program = _joined(program, body)
        if most is None:
            return _joined(program, _repeated(body))
        for _ in range(most - least):
            program = _joined(program, _optional(body))
        return program

    def _atom(self, depth: int) -> _Program:
        char = self._take("")
        match char:
            case "(":
                if self.text.startswith("?:", self.place):
                    self.place += 2
                elif self._next() == "?":
                    raise _Wrong("of '(?' only '(?:' is served")
                program = self.choice(depth + 1)
                if self._next() != ")":
                    raise _Wrong("a '(' without its ')'")
                self.place += 1
                return program
            case "[":
                return [self._set()]
            case ".":
                # A line's end too: a deny rule must not be passed by one (RE2 leaves it out).
                return [lambda _: True]
            case "\\":
                return [_one_of(*self._escape())]
            case "*" | "+" | "?" | "{":
                raise _Wrong(f"{char!r} has nothing before it to repeat")
            case "^" | "$":
                raise _Wrong(f"{char!r} may only be the first or last character; write \\{char}")
        return [_one_of(frozenset(char), False)]

    def _escape(self) -> tuple[frozenset[str], bool]:
        """What a backslash stands for: characters, and whether all others are meant."""
        char = self._take("it ends in a backslash")
        if char.lower() in _CLASSES:
            return frozenset(_CLASSES[char.lower()]), char.isupper()
        if char.isalnum():
            raise _Wrong(f"\\{char} is not served")
        return frozenset(char), False

    def _set(self) -> _Takes:
        """The rest of `[...]`."""
        unclosed = "a '[' without its ']'"
        negated = self._next() == "^"
        self.place += negated
        singles: set[str] = set()
        ranges: list[tuple[str, str]] = []
        first = True
        while (char := self._take(unclosed)) != "]" or first:
            first = False
            if char == "\\":
                chars, others = self._escape()
                if others:
                    raise _Wrong("\\D, \\W and \\S are not served inside [...]")
                singles |= chars
                if len(chars) > 1:
                    continue
                char = next(iter(chars))
            elif char == "[" and self._next() == ":":
                raise _Wrong("[:names:] are not served")
            if self._next() == "-" and self.text[self.place + 1 : self.place + 2] not in ("", "]"):
                self.place += 1
                last = self._take(unclosed)
                if last == "\\":
                    last = self._take(unclosed)
                if last < char:
                    raise _Wrong(f"the range {char}-{last} is empty")
                ranges.append((char, last))
            singles.add(char)
        return lambda one: (
            (one in singles or any(low <= one <= high for low, high in ranges)) is not negated
        )


def _one_of(chars: frozenset[str], others: bool) -> _Takes:
    return lambda one: (one in chars) is not others
