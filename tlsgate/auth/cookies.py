"""What sessions in browsers are known by: a cookie, of which only a digest is kept.

A cookie is a bucket of its user's and 256 bits of chance. What is kept stands under
`<prefix><bucket>/<digest of the cookie>`, so finding one is one read and finding all of a
user is one scan; neither shows the user's name.
"""

from __future__ import annotations

import re
from typing import Final

from tlsgate.auth.opaque import digest, new_secret

_COOKIE: Final = re.compile(r"([0-9a-f]{16})[A-Za-z0-9_-]{43}")


def new_cookie(user: str) -> str:
    """Make a cookie of *user*'s."""
    return bucket_of(user) + new_secret()


def bucket_of(user: str) -> str:
    """Where the sessions of *user* stand; a cookie shows it, so it is no name."""
    return digest(f"session of {user}")[:16]


def place_of(prefix: str, cookie: str) -> str | None:
    """Where what *cookie* is known for stands; None: it has no such shape."""
    shape = _COOKIE.fullmatch(cookie)
    return None if shape is None else f"{prefix}{shape.group(1)}/{digest(cookie)}"


def id_of(key: str) -> str:
    """What a session is called: enough of its digest to be the only one."""
    return key.rpartition("/")[2][:24]
