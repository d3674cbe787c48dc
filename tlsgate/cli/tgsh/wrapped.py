"""Options that are another program's: taken from the command line, and given on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def passed_on(values: Mapping[str, str], flags: Mapping[str, str]) -> Callable[[F], F]:
    """Give a command these options, by sign and help; `given` turns them back."""

    def wrap(command: F) -> F:
        for sign, text in reversed([*flags.items()]):
            command = click.option(sign, _name(sign), count=True, help=text)(command)
        for sign, text in reversed([*values.items()]):
            command = click.option(sign, _name(sign), multiple=True, help=text)(command)
        return command

    return wrap


def given(
    signs: Mapping[str, Any], values: Mapping[str, str], flags: Mapping[str, str]
) -> list[str]:
    """The words of the options that were there."""
    found = [word for sign in values for value in signs[_name(sign)] for word in (sign, value)]
    return [*found, *(sign for sign in flags for _ in range(signs[_name(sign)]))]


def _name(sign: str) -> str:
    """The parameter of *sign*; -l and -L are two."""
    return f"sign_{ord(sign[1])}"
