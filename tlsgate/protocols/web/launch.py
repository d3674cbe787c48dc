"""/web/launch/<application>: from a session at the console to one at an application.

1. A browser that an application has sent off comes with a *state*, the digest of a secret that
   only this browser has (`core.appsession`). Without one it is led to the application first.
2. Without a session here it logs in, and comes back. Where another site's page has led here,
   browsers do not send our cookie: then the page loads itself once more, as our own.
3. The auth service decides whether the user's roles allow the application, and gives a one-shot
   code for it and that state, with which the browser goes back: to the application's own origin
   as its agent has registered it, and nowhere else (S30).
"""

from __future__ import annotations

import re
from html import escape
from typing import ClassVar, Final
from urllib.parse import urlencode

from twisted.web.server import Request

from tlsgate.auth.sessions import bearer_of
from tlsgate.core.addresses import split
from tlsgate.core.appnames import PUBLIC_ADDR
from tlsgate.core.appsession import AUTH
from tlsgate.protocols.web import pages, session
from tlsgate.protocols.web.asked import (
    LOCKED,
    Asked,
    Go,
    Leave,
    Place,
    Show,
    address_of,
    reason_of,
)

#: The names that applications have, and the state; an address with anything else is none.
NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
STATE: Final = r"[A-Za-z0-9_-]{43}"
_ADDRESS: Final = re.compile(rf"state=({STATE})(&again)?")
_NAME: Final = re.compile(NAME)

_GONE: Final = "No application of this name is there now. Its agent may be away; try again later."
_DENIED: Final = "Your roles do not open this application. An operator can change that."


def path_of(app: str, state: str) -> bytes:
    """Where a browser is led to an application."""
    return f"/web/launch/{app}?{urlencode({'state': state})}".encode()


def origin_of(place: Place, request: Request, app: str) -> str | None:
    """The origin of an application that an agent offers here now; None: there is none."""
    tunnels = request.visit.context.tunnels  # type: ignore[attr-defined]
    offer = None if tunnels is None else tunnels.offer("app", app)
    if offer is None or offer.facts.get("protocol") == "tcp":
        return None
    return place.origin(offer.name, offer.facts.get(PUBLIC_ADDR, ""), host_of(request))


def host_of(request: Request) -> str:
    """The name that *request* is for, which has been held against the connection's."""
    return split(request.getHeader("host") or "")[0].lower()


class Launch(Asked):
    """The way to an application."""

    methods: ClassVar = (b"GET", b"HEAD")

    def render(self, request: Request) -> int:
        """Keep what the address tells before it is forgotten (Twisted calls this)."""
        query = request.uri.partition(b"?")[2].decode("latin-1")
        request.launching = _ADDRESS.fullmatch(query)  # type: ignore[attr-defined]
        return super().render(request)

    async def get(self, request: Request, rest: tuple[bytes, ...]) -> Show | Go | Leave:
        """Lead there, or to what comes before that."""
        app = rest[0].decode("latin-1") if len(rest) == 1 else ""
        if not _NAME.fullmatch(app):
            return self.problem(404)
        origin = origin_of(self.place, request, app)
        if origin is None:
            return self.problem(404, _GONE)
        found = request.launching  # type: ignore[attr-defined]
        if found is None:
            return Leave(origin, "/")
        state, again = found[1], found[2]
        cookie = session.cookie_of(request)
        if cookie is None:
            site = request.getHeader("sec-fetch-site")
            if site not in (None, "same-origin", "none") and not again:
                return self._once_more(app, state)
            return Go(b"/web/login?" + urlencode({"launch": app, "state": state}).encode())
        body = {
            "cookie": cookie,
            "bearer": bearer_of(cookie),
            "app": app,
            "state": state,
            "address": address_of(request),
        }
        status, said = await self.ask(request, "/v1/web/app-session", body)
        if status == 200:
            query = urlencode({"code": str(said["code"]), "state": state})
            return Leave(origin, f"{AUTH.decode()}?{query}")
        if status == 401:
            session.drop(request)
            return Go(b"/web/login?" + urlencode({"launch": app, "state": state}).encode())
        if status == 403:
            return self.problem(403, LOCKED if reason_of(said) == "locked" else _DENIED)
        if status == 404:
            return self.problem(404, _GONE)
        return self.problem(503 if status == 503 else 500)

    def _once_more(self, app: str, state: str) -> Show:
        path = path_of(app, state).decode() + "&again"
        body = (
            f'<h1>One moment</h1><p class="lead">This leads on to <b>{escape(app)}</b>.</p>'
            f'<p><a href="{escape(path)}">Go on</a></p>'
        )
        return Show(200, pages.document("One moment", body, kind="slim", refresh=path))
