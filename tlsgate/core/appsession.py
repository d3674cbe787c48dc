"""The rules of web sessions at applications, as far as they are rules over one request's head.

1. A browser without a session gets a *launch* cookie, which is a secret of its own and the page
   that it wanted, and is sent to the console with the secret's digest, the *state*.
2. It comes back with a one-shot code and the state. Only the browser that has the secret can
   use them, so nobody can be logged in as somebody else by a link (login CSRF), and the page
   to go on to has never left the application's own origin (S30).
3. From then on its session cookie counts, on requests that no foreign page has made (S29).

All cookies of ours begin with `__Host-tlsgate`: browsers take them over TLS from this very host
only. No application sees or sets one of them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Final

from attrs import field, frozen

Headers = Sequence[tuple[bytes, bytes]]  #: names in lower case

PREFIX: Final = b"__Host-tlsgate"
SESSION: Final = PREFIX + b"-app"
LAUNCH: Final = PREFIX + b"-launch-"

#: Paths at every application that are the gateway's own.
OWN: Final = b"/x-tlsgate-"
AUTH: Final = OWN + b"auth"
LOGOUT: Final = OWN + b"logout"

#: What a browser has to come back within, and how many pages may be on their way at once.
LAUNCH_SECONDS: Final = 600
LAUNCHES: Final = 8

_WORD: Final = re.compile(r"[A-Za-z0-9_-]{32,128}")
_STATE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
#: The address that the console leads back to, as it writes it.
_RETURN: Final = re.compile(
    re.escape(AUTH) + rb"\?code=([A-Za-z0-9_-]{32,128})&state=([A-Za-z0-9_-]{43})"
)
#: What a page's address has, and how much of it is kept; a longer one becomes "/".
_PAGE: Final = re.compile(rb"/[\x21-\x7e]{0,2047}")
_SAFE: Final = frozenset((b"GET", b"HEAD", b"OPTIONS"))


@frozen
class Return:
    """What a browser comes back with from the console."""

    code: str = field(repr=False)
    state: str


def crumbs(headers: Headers) -> Iterable[tuple[bytes, bytes]]:
    """Each cookie of a request, as name and value."""
    for name, value in headers:
        if name == b"cookie":
            for piece in value.split(b";"):
                key, _, kept = piece.strip(b" \t").partition(b"=")
                yield key, kept


def one_cookie(headers: Headers, wanted: bytes) -> str | None:
    """The only cookie of that name, if it looks like one of ours; of two, neither counts."""
    found = [value for name, value in crumbs(headers) if name == wanted]
    if len(found) != 1 or not found[0].isascii():
        return None
    text = found[0].decode("ascii")
    return text if _WORD.fullmatch(text) else None


def strip(headers: Headers) -> list[tuple[bytes, bytes]]:
    """*headers* as a target may see them: without our cookies, the others in one header."""
    kept = [(name, value) for name, value in headers if name != b"cookie"]
    pieces = [
        piece
        for name, value in headers
        if name == b"cookie"
        for piece in (each.strip(b" \t") for each in value.split(b";"))
        if piece and not ours(piece)
    ]
    if pieces:
        kept.append((b"cookie", b"; ".join(pieces)))
    return kept


def ours(cookie: bytes) -> bool:
    """Whether a cookie, or what a Set-Cookie says, has a name that only we may set.

    Browsers differ about white space and about names that are empty, so both are looked past.
    """
    return cookie.lstrip(b" \t=").lower().startswith(PREFIX.lower())


def page_of(target: bytes) -> bytes:
    """Where a browser that has asked for *target* goes on to: a page of the same origin."""
    if _PAGE.fullmatch(target) and not target.startswith(OWN):
        return target
    return b"/"


def state_of(secret: str) -> str:
    """What the console may know of a launch cookie."""
    return _b64(hashlib.sha256(f"tlsgate launch {secret}".encode()).digest())


def is_state(text: str) -> bool:
    """Whether *text* may be a state."""
    return _STATE.fullmatch(text) is not None


def launch_cookie(secret: str, page: bytes) -> tuple[bytes, bytes]:
    """Name and value of the cookie that waits for the browser's return."""
    return launch_name(state_of(secret)), f"{secret}.{_b64(page)}".encode()


def launch_name(state: str) -> bytes:
    """The cookie's name: several pages of one browser may be on their way."""
    return LAUNCH + state[:8].encode()


def launched(headers: Headers, state: str) -> bytes | None:
    """The page that this browser wanted when it was sent off with *state*; None: it was not."""
    found = [value for name, value in crumbs(headers) if name == launch_name(state)]
    if len(found) != 1:
        return None
    secret, _, page = found[0].partition(b".")
    if not secret.isascii() or state_of(secret.decode("ascii")) != state:
        return None
    try:
        return page_of(base64.urlsafe_b64decode(page + b"=" * (-len(page) % 4)))
    except (ValueError, binascii.Error):
        return b"/"


def stale_launches(headers: Headers) -> list[bytes]:
    """Names of launch cookies that are too many, so that no browser fills up with them."""
    found = [name for name, _ in crumbs(headers) if re.fullmatch(LAUNCH + rb"[\w-]{8}", name)]
    return found[: max(0, len(found) + 1 - LAUNCHES)]


def returned(target: bytes) -> Return | None:
    """What is in the address that the console leads back to; None: something else."""
    found = _RETURN.fullmatch(target)
    return None if found is None else Return(found[1].decode(), found[2].decode())


def origin_of(host: str) -> bytes:
    """The origin of "name[:port]" as browsers write it."""
    return b"https://" + host.lower().removesuffix(":443").encode()


def is_foreign(
    method: bytes, headers: Headers, host: str, *, upgrade: bool, certified: bool = False
) -> bool:
    """Whether another origin's page has made this request, and it could change something.

    A neighbour below the same domain is as foreign as anybody: browsers send it our cookie.
    What only shows a page is left to browsers, which show it to nobody else.

    Args:
        host: "name[:port]" that the request is for.
        upgrade: it wants another protocol, so everything may follow; browsers always say who
            asks for that.
        certified: a client certificate says who asks, as programs do that know of no origin.
            Browsers show one to any page's request, and know no SameSite for it.
    """
    if method in _SAFE and not upgrade:
        return False
    origin, site = _only(headers, b"origin"), _only(headers, b"sec-fetch-site")
    own = origin_of(host)
    if upgrade:
        return origin != own and not (certified and origin is None and site is None)
    if site is not None:
        return site not in (b"same-origin", b"none") or origin not in (None, b"null", own)
    return origin not in (None, own)


def is_elsewhere(headers: Headers) -> bool:
    """Whether a page of another origin asks, by whatever way."""
    return _only(headers, b"sec-fetch-site") not in (None, b"same-origin", b"none")


def wants_page(headers: Headers) -> bool:
    """Whether a browser wants to show the answer as a page of its own."""
    if _only(headers, b"sec-fetch-mode") not in (None, b"navigate"):
        return False
    if _only(headers, b"sec-fetch-dest") not in (None, b"document"):
        return False
    return any(b"text/html" in value.lower() for name, value in headers if name == b"accept")


def _only(headers: Headers, wanted: bytes) -> bytes | None:
    """The only header of that name; several say nothing that could be relied on."""
    found = [value for name, value in headers if name == wanted]
    if not found:
        return None
    return found[0].lower() if len(found) == 1 else b"several"


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")
