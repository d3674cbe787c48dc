"""Who a request to an application is from, where a browser's session says so; and how one begins.

1. Requests with a client certificate are that certificate's; a session cookie beside it has to
   be of the same user (S31).
2. A request with a session cookie is its user's. Neither counts where a foreign page has made
   the request (S29).
3. A browser without one is sent to the console, with its own page and a secret in a cookie,
   and comes back to `/x-tlsgate-auth` with a one-shot code, which becomes a session here.
4. Programs get 401 as JSON. `/x-tlsgate-logout` ends the session here and everywhere.

`admit` takes plain values and gives plain values: HTTP itself is not its concern.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from attrs import field, frozen
from twisted.internet.interfaces import IReactorTime

from tlsgate.core import appsession
from tlsgate.core.access import Identity
from tlsgate.core.addresses import split
from tlsgate.core.appsession import Headers
from tlsgate.core.appsession import ours as ours  # what a target may not set
from tlsgate.core.appsession import strip as strip  # what a target may see
from tlsgate.errors import GateError
from tlsgate.interfaces import ICluster
from tlsgate.protocols.apps import acting, sessionpages
from tlsgate.protocols.apps.acting import Acting as Acting  # what `admit` gives

_HTML: Final = b"text/html; charset=utf-8"
_JSON: Final = b"application/json"

_LOCKED: Final = "An operator has locked this account. Only they can open it again."
_AWAY: Final = "The auth service of this cluster cannot be reached now. Try again in a moment."
_MANY: Final = "This address has shown too many cookies of no session. Try again in a moment."
_FOREIGN: Final = "A page of another site has asked for this, so nothing was done."
_OTHER: Final = "The session cookie and the client certificate are of different users."
_LOST: Final = (
    "This login was not begun in this browser, or too long ago. Open the application once more."
)
_OVER: Final = "Your session is over. Open the application once more to log in."


@frozen(kw_only=True)
class Shown:
    """One request, as far as it says who sends it.

    Attributes:
        app: name of the application.
        host: "name[:port]" of it, as asked for and held against the connection's name.
        address: of the client.
        certificate: of the client, DER, verified; b"" without one.
        user: whom the certificate names; None without one.
        target: in origin form, "/path?query".
        headers: names in lower case.
        upgrade: it asks for another protocol, such as WebSocket.
    """

    app: str
    host: str
    address: str | None = None
    certificate: bytes = field(default=b"", repr=False)
    user: str | None = None
    method: bytes = b"GET"
    target: bytes = field(default=b"/", repr=False)
    headers: Headers = field(default=(), repr=False)
    upgrade: bool = False


@frozen(kw_only=True)
class Reply:
    """An answer of the gateway's own, whole."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...] = field(default=(), repr=False)
    body: bytes = b""
    kind: bytes = _HTML


class Sessions:
    """The web sessions of one gateway at applications.

    Args:
        clock: for looking after what is known of sessions.
        now: seconds since the epoch.
        console: "host[:port]" where browsers find the console; of several the one is taken
            below which an application's name is, else the first.
        identify: as of `acting.Sessions`.
    """

    def __init__(
        self,
        cluster: ICluster,
        clock: IReactorTime,
        now: Callable[[], float],
        console: str | Sequence[str],
        identify: Callable[[bytes], Identity] | None = None,
    ) -> None:
        self._cluster = cluster
        self._consoles = (console,) if isinstance(console, str) else tuple(console)
        self._known = acting.Sessions(cluster, clock, now, identify)

    def stop(self) -> None:
        """Look after nothing any more."""
        self._known.stop()

    async def admit(self, shown: Shown) -> Acting | Reply | None:
        """Give who sends a request, or what to answer it; None: its certificate says all."""
        path = shown.target.partition(b"?")[0]
        if path.startswith(appsession.OWN):
            if path == appsession.AUTH:
                return await self._back(shown)
            if path == appsession.LOGOUT:
                return await self._logout(shown)
            return self._page(shown, 404, "There is nothing at this address.")
        cookie = appsession.one_cookie(shown.headers, appsession.SESSION)
        if cookie is None and shown.user is None:
            return self._launch(shown)
        foreign = appsession.is_foreign(
            shown.method,
            shown.headers,
            shown.host,
            upgrade=shown.upgrade,
            certified=shown.user is not None,
        )
        if foreign and shown.user is not None:
            return self._page(shown, 403, _FOREIGN)
        if cookie is None:
            return None
        found = await self._known.find(self._key(shown, cookie))
        if isinstance(found, int):
            if shown.user is not None:
                # The certificate is good by itself; a cookie of nobody takes nothing from it.
                return None if found == 401 else self._problem(shown, found)
            return self._launch(shown, over=True) if found == 401 else self._problem(shown, found)
        if shown.user is not None:
            return None if shown.user == found.user else self._page(shown, 403, _OTHER)
        return self._page(shown, 403, _FOREIGN) if foreign else found

    def _console(self, shown: Shown) -> str:
        host = split(shown.host)[0]
        below = (one for one in self._consoles if host.endswith(f".{split(one)[0]}"))
        return next(below, self._consoles[0])

    def _key(self, shown: Shown, cookie: str) -> acting.Key:
        return acting.Key(cookie, shown.app, shown.address, acting.fingerprint(shown.certificate))

    # -- a session begins --

    def _launch(self, shown: Shown, *, over: bool = False) -> Reply:
        """Send a browser to the console; tell a program where one logs in."""
        cookies = [_cookie(appsession.SESSION, b"", b"0")] if over else []
        if shown.upgrade or not appsession.wants_page(shown.headers):
            words = f"log in first: tgsh apps login {shown.app}"
            return self._said(401, "no_session", words, shown, cookies)
        if shown.method not in (b"GET", b"HEAD"):
            # What was sent is lost either way: a login cannot bring it back.
            return self._page(shown, 401, _OVER, again=True, cookies=cookies)
        secret = secrets.token_urlsafe(32)
        name, value = appsession.launch_cookie(secret, appsession.page_of(shown.target))
        cookies += [_cookie(one, b"", b"0") for one in appsession.stale_launches(shown.headers)]
        cookies.append(_cookie(name, value, b"%d" % appsession.LAUNCH_SECONDS))
        query = urlencode({"state": appsession.state_of(secret)})
        where = f"https://{self._console(shown)}/web/launch/{shown.app}?{query}"
        return _go(where.encode(), cookies)

    async def _back(self, shown: Shown) -> Reply:
        """Take the one-shot code that a browser comes back with."""
        back = appsession.returned(shown.target)
        page = None if back is None else appsession.launched(shown.headers, back.state)
        if shown.method != b"GET" or back is None or page is None:
            return self._page(shown, 403, _LOST, again=True)
        if not appsession.wants_page(shown.headers):
            return self._page(shown, 403, _FOREIGN)
        status, said = await self._ask(
            "app-session",
            shown,
            {
                "code": back.code,
                "app": shown.app,
                "state": back.state,
                "address": shown.address,
                "certificate": acting.fingerprint(shown.certificate),
            },
        )
        spent = _cookie(appsession.launch_name(back.state), b"", b"0")
        if status != 200:
            if status in (400, 401):
                return self._page(shown, 403, _LOST, again=True, cookies=[spent])
            return self._problem(shown, status)
        cookie = _cookie(appsession.SESSION, str(said["cookie"]).encode("ascii"))
        return _go(appsession.origin_of(shown.host) + page, [spent, cookie])

    # -- a session ends --

    async def _logout(self, shown: Shown) -> Reply:
        """End the session of the cookie, at the console and at all applications.

        A link on another site only leads to a page that asks first.
        """
        cookie = appsession.one_cookie(shown.headers, appsession.SESSION)
        if shown.method == b"POST":
            if appsession.is_foreign(b"POST", shown.headers, shown.host, upgrade=False):
                return self._page(shown, 403, _FOREIGN)
        elif shown.method != b"GET":
            return self._page(shown, 405, "This address takes GET and POST.")
        elif appsession.is_elsewhere(shown.headers):
            page = sessionpages.question(self._console(shown))
            return Reply(status=200, headers=_closed(self._console(shown)), body=page)
        if cookie is not None:
            status, _ = await self._ask("app-logout", shown, {"cookie": cookie})
            if status not in (200, 401):
                return self._problem(shown, status)
            self._known.left(cookie)
        gone = _cookie(appsession.SESSION, b"", b"0")
        return _go(f"https://{self._console(shown)}/web/login?ended".encode(), [gone])

    async def _ask(self, verb: str, shown: Shown, body: dict[str, Any]) -> tuple[int, Any]:
        try:
            status, said = await self._cluster.door.ask(
                "POST", f"/v1/gateway/{verb}", body, address=shown.address
            )
        except GateError:
            return 503, {}
        return status, said if isinstance(said, dict) else {}

    # -- answers --

    def _problem(self, shown: Shown, status: int) -> Reply:
        if status == 403:
            return self._page(shown, 403, _LOCKED)
        if status == 429:
            return self._page(shown, 429, _MANY)
        return self._page(shown, 503, _AWAY)

    def _page(
        self,
        shown: Shown,
        status: int,
        sentence: str,
        *,
        again: bool = False,
        cookies: list[tuple[bytes, bytes]] | None = None,
    ) -> Reply:
        """Say a constant sentence, as a page or as JSON."""
        if not appsession.wants_page(shown.headers):
            return self._said(status, "app_session", sentence, shown, cookies or [])
        page = sessionpages.page(status, sentence, again=again)
        headers = (*_closed(self._console(shown)), *(cookies or ()))
        return Reply(status=status, headers=headers, body=page)

    def _said(
        self,
        status: int,
        reason: str,
        words: str,
        shown: Shown,
        cookies: list[tuple[bytes, bytes]],
    ) -> Reply:
        error = {"reason": reason, "fault": "client", "message": words}
        body = json.dumps({"error": error}).encode() + b"\n"
        headers = [*_HEADERS, *cookies]
        if status == 401:  # RFC 9110 section 15.5.2 wants it
            headers.append((b"WWW-Authenticate", f'tlsgate realm="{shown.app}"'.encode()))
        return Reply(status=status, headers=tuple(headers), body=body, kind=_JSON)


_HEADERS: Final = (
    (b"Cache-Control", b"no-store"),
    (b"Referrer-Policy", b"no-referrer"),
    (b"X-Content-Type-Options", b"nosniff"),
)


def _closed(console: str) -> tuple[tuple[bytes, bytes], ...]:
    """The headers of a page: it takes nothing from anywhere, and goes in nobody's frame."""
    return (
        *_HEADERS,
        (b"X-Frame-Options", b"DENY"),
        (b"Content-Security-Policy", sessionpages.policy(console)),
    )


def _go(where: bytes, cookies: list[tuple[bytes, bytes]]) -> Reply:
    return Reply(status=302, headers=((b"Location", where), *_HEADERS, *cookies))


def _cookie(name: bytes, value: bytes, max_age: bytes | None = None) -> tuple[bytes, bytes]:
    """A cookie that pages on other sites do not get sent, but links from there do."""
    life = b"" if max_age is None else b"; Max-Age=" + max_age
    flags = b"; Path=/; Secure; HttpOnly; SameSite=Lax"
    return b"Set-Cookie", name + b"=" + value + flags + life
