"""Web sessions as a gateway sees them: a cookie in, and what the auth service says of it.

The gateway keeps nothing of a session and asks at every request, so one that ends anywhere
has ended here (S31). The bearer is what our own pages carry in their forms; a page that can
only make the browser send the cookie has none (S29).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import field, frozen
from twisted.web.server import Request

from tlsgate.auth.sessions import bearer_of as bearer_of  # what our pages carry

#: Browsers take a cookie of this prefix only with Secure, Path=/ and without Domain.
COOKIE: Final = b"__Host-tlsgate"

_SHAPE: Final = re.compile(rb"[A-Za-z0-9_-]{32,128}")


@frozen(kw_only=True)
class Session:
    """Whose session it is, from the auth service.

    Attributes:
        expires: when it ends if nothing is done, seconds since the epoch.
    """

    cookie: str = field(repr=False)
    user: str
    roles: tuple[str, ...] = ()
    traits: Mapping[str, tuple[str, ...]] = field(factory=dict)
    expires: float = 0.0

    @property
    def bearer(self) -> str:
        """What proves that a page of ours asks."""
        return bearer_of(self.cookie)


def read(cookie: str, said: Mapping[str, Any]) -> Session:
    """Read what /v1/web/check answers."""
    return Session(
        cookie=cookie,
        user=str(said["user"]),
        roles=tuple(map(str, said["roles"])),
        traits={str(key): tuple(map(str, each)) for key, each in said["traits"].items()},
        expires=float(said["expires"]),
    )


def cookie_of(request: Request) -> str | None:
    """The session cookie, if it looks like one."""
    cookie = request.getCookie(COOKIE)
    return cookie.decode() if cookie is not None and _SHAPE.fullmatch(cookie) else None


def keep(request: Request, cookie: str) -> None:
    """Have the browser keep *cookie* until it ends or the session does."""
    _set(request, cookie.encode("ascii"))


def drop(request: Request) -> None:
    """Have the browser forget its cookie."""
    _set(request, b"", max_age=b"0")


def _set(request: Request, value: bytes, **more: bytes) -> None:
    request.addCookie(
        COOKIE, value, path=b"/", secure=True, httpOnly=True, sameSite="strict", **more
    )
