"""Forms that browsers send: whether this gate's own page sent them, and what is in them.

A form is taken when all of this holds (S29):

1. the browser says that a page of the very same origin sent it (`Sec-Fetch-Site`; browsers
   that do not know it have to name our origin in `Origin`): a neighbour below the same
   domain is as foreign as anybody;
2. it has the token that goes with the browser's own cookie. The cookie has the prefix
   `__Host-`, so no neighbour can set it. It is new after each form that was taken, so a
   token is used once; tabs that are open side by side share the one that is not used yet;
3. it is of the one media type, short, and has the page's own fields, each once.

Neither needs a memory of the gateway's: any worker may take what another one has shown.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import parse_qsl

from twisted.web.server import Request

#: The longest form that is read; the longest field is a password.
LIMIT_BYTES: Final = 8192
#: The field that carries the token.
TOKEN: Final = "form"

_COOKIE: Final = b"__Host-tlsgate-form"
_SHAPE: Final = re.compile(rb"[A-Za-z0-9_-]{43}")
_TYPE: Final = re.compile(
    r"application/x-www-form-urlencoded(?:[ \t]*;[ \t]*charset=\"?utf-8\"?)?\Z", re.IGNORECASE
)


def from_here(request: Request) -> bool:
    """Whether a page of the origin that *request* is for has sent it.

    Our pages send no referrer, so browsers say `Origin: null` for their forms; that is no
    proof by itself.
    """
    site = _header(request, "sec-fetch-site")
    origin = _header(request, "origin")
    host = _header(request, "host")
    ours = host is not None and origin is not None and origin.lower() == f"https://{host.lower()}"
    if site is None:
        return ours
    return site == "same-origin" and (ours or origin in (None, "null"))


def from_elsewhere(request: Request) -> bool:
    """Whether another origin's page asks for *request* otherwise than by leading here."""
    site = _header(request, "sec-fetch-site")
    if site in (None, "same-origin", "none"):
        return False
    led = ("navigate", "document")
    return (_header(request, "sec-fetch-mode"), _header(request, "sec-fetch-dest")) != led


def read(request: Request, names: Sequence[str]) -> Mapping[str, str] | int:
    """Give the fields of a form, those that are missing as ""; or the status to refuse with.

    Args:
        names: the fields that it may have.
    """
    kinds = request.requestHeaders.getRawHeaders("content-type", [])
    coded = request.requestHeaders.hasHeader("content-encoding")
    if len(kinds) != 1 or not _TYPE.match(kinds[0].strip()) or coded:
        return 415
    assert request.content is not None
    body = request.content.read(LIMIT_BYTES + 1)
    if len(body) > LIMIT_BYTES:
        return 413
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=len(names),
        )
    except ValueError:  # not ASCII, not UTF-8 below the percent signs, or too many
        return 400
    fields = dict(pairs)
    if len(fields) != len(pairs) or not fields.keys() <= set(names):
        return 400
    if any("\0" in text for text in fields.values()):
        return 400
    return {name: fields.get(name, "") for name in names}


def token(request: Request, purpose: str) -> str:
    """Give the token of a page that is shown now, and see to it that the browser has its cookie."""
    kept = _kept(request)
    return _of(kept, purpose) if kept is not None else renewed(request, purpose)


def renewed(request: Request, purpose: str) -> str:
    """The same, with a new cookie: tokens that were shown before are worth nothing now."""
    made = secrets.token_urlsafe(32).encode()
    request.addCookie(_COOKIE, made, path=b"/", secure=True, httpOnly=True, sameSite="strict")
    return _of(made, purpose)


def good(request: Request, purpose: str, shown: str) -> bool:
    """Whether *shown* is the token that a page for *purpose* had in this browser."""
    kept = _kept(request)
    if kept is None:
        return False
    return hmac.compare_digest(_of(kept, purpose).encode(), shown.encode("utf-8"))


def _kept(request: Request) -> bytes | None:
    cookie = request.getCookie(_COOKIE)
    return cookie if cookie is not None and _SHAPE.fullmatch(cookie) else None


def _of(cookie: bytes, purpose: str) -> str:
    return hmac.new(cookie, f"tlsgate form {purpose}".encode(), hashlib.sha256).hexdigest()


def _header(request: Request, name: str) -> str | None:
    """The only header of that name; two say nothing that could be relied on."""
    found = request.requestHeaders.getRawHeaders(name)
    if not found:
        return None
    return found[0] if len(found) == 1 else "several"
