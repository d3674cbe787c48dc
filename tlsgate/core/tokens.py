"""ALPN tokens: the table of `design` and the choice between two lists.

docs/alpn.md and `tgctl export` are made from `TOKENS`.
"""

from __future__ import annotations

from collections.abc import Sequence


def best_common(ours: Sequence[bytes], offered: Sequence[bytes]) -> bytes | None:
    """Our first token that the client offered too; the order of *ours* wins."""
    return next((token for token in ours if token in offered), None)
