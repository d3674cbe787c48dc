"""Passwords and codes: typed, or read from a file; never from the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tlsgate.errors import BadAsk

if TYPE_CHECKING:
    from tlsgate.cli.tgsh.call import Call

#: The help of the option that names such a file.
HELP = "A file with one a line instead of asking ('-': stdin): "
#: Far more than a password and a code.
_LIMIT_BYTES = 8192


class Secrets:
    """What is asked for, in its order: from the terminal, or from the lines of *file*."""

    def __init__(self, call: Call, file: Path | None) -> None:
        self._ask = call.ask_secret
        self._lines = None if file is None else _lines(file)

    def next(self, question: str) -> str:
        """The answer to *question*; for a terminal it is written there.

        Raises:
            BadAsk: the file has no line for it, or it is empty.
        """
        if self._lines is None:
            return self._ask(question)
        if not self._lines or not self._lines[0]:
            raise BadAsk(f"the file with passwords has no line for: {question}")
        return self._lines.pop(0)

    def new(self, question: str) -> str:
        """A new password; at a terminal it is typed twice.

        Raises:
            BadAsk: it was typed in two ways.
        """
        first = self.next(question)
        if self._lines is None and self._ask(f"{question}, again") != first:
            raise BadAsk("the two are not the same; nothing was changed")
        return first


def _lines(file: Path) -> list[str]:
    try:
        if str(file) == "-":
            content = sys.stdin.buffer.read(_LIMIT_BYTES + 1)
        else:
            with file.open("rb") as opened:
                content = opened.read(_LIMIT_BYTES + 1)
        text = content.decode("utf-8")
    except OSError as e:
        raise BadAsk(f"{file} cannot be read: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise BadAsk(f"{file} is not UTF-8") from e
    if len(content) > _LIMIT_BYTES:
        raise BadAsk(f"{file} has more than {_LIMIT_BYTES} bytes")
    return text.splitlines()
