"""Secrets that we make up, the digests that are kept of them, and how a value is kept.

A secret has 256 bits of chance, so one SHA-256 without salt is enough: nobody can try
them out. What people choose goes through `passwords` instead.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from tlsgate.errors import StoreFailed

#: What of a foreign string is looked at before anything else.
LONGEST: Final = 1024

_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}")


def new_secret() -> str:
    """Make 256 bits of chance, as 43 characters that fit an URL and a cookie."""
    return secrets.token_urlsafe(32)


def plausible(text: str) -> bool:
    """Whether *text* has the shape of `new_secret`'s; anything else need not be looked up."""
    return _SECRET.fullmatch(text) is not None


def digest(secret: str) -> str:
    """What is kept of *secret*: SHA-256 in hex.

    Takes any text, lone surrogates too (JSON can carry them).
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def same(one: str, other: str) -> bool:
    """Compare two digests without telling by time where they differ."""
    return hmac.compare_digest(one.encode(), other.encode())


def pack(value: Mapping[str, Any]) -> bytes:
    """Write a value for the store."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def unpack(key: str, value: bytes) -> dict[str, Any]:
    """Read what `pack` wrote.

    Raises:
        StoreFailed: it is no JSON object; the sentence names *key*, never the value.
    """
    try:
        found = json.loads(value)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise StoreFailed(f"what is kept under {key} is no JSON object")
    return found


def moment(seconds: float) -> str:
    """Write seconds since the epoch as resources have them: RFC 3339, UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
