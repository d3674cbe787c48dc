"""In which line of a configuration file a key stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml


def key_line(text: str, path: Sequence[str]) -> int | None:
    """The line of the key at *path*, counted from 1; None: it is not written.

    *text* is one that `config.read` has taken.
    """
    node: Any = yaml.compose(text, Loader=yaml.CSafeLoader)
    line: int | None = None
    for word in path:
        if not isinstance(node, yaml.MappingNode):
            return None
        found = next(((key, value) for key, value in node.value if key.value == word), None)
        if found is None:
            return None
        line, node = found[0].start_mark.line + 1, found[1]
    return line
