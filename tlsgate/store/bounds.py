"""What every store refuses before it writes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tlsgate.core.keeping import CHANGES, KEY_BYTES, VALUE_BYTES, Change, Check, Put
from tlsgate.errors import StoreFailed


def check(changes: Sequence[Change]) -> None:
    """Hold *changes* to the bounds of `core.keeping`.

    Raises:
        StoreFailed: they are too many or too big, one key is changed twice, a key is no
            text, or a time is no number.
    """
    if len(changes) > CHANGES:
        raise StoreFailed(f"{len(changes)} changes in one commit; {CHANGES} are the limit")
    keys = [change.key for change in changes if not isinstance(change, Check)]
    if len(set(keys)) != len(keys):
        raise StoreFailed("one commit changes a key twice")
    for change in changes:
        if not 0 < _length(change.key) <= KEY_BYTES:
            raise StoreFailed(f"a key has 1 to {KEY_BYTES} bytes of UTF-8")
        if isinstance(change, Put):
            if len(change.value) > VALUE_BYTES:
                raise StoreFailed(f"{change.key}: a value has at most {VALUE_BYTES} bytes")
            if change.expires is not None and not math.isfinite(change.expires):
                raise StoreFailed(f"{change.key}: {change.expires} is no time to expire at")


def _length(key: str) -> int:
    """How many bytes *key* takes; 0 when UTF-8 has no bytes for it."""
    try:
        return len(key.encode())
    except UnicodeEncodeError:
        return 0
