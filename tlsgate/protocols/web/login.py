"""/web/login and /web/logout: a web session begins and ends.

1. GET shows the form; who is logged in already goes on to /web.
2. POST asks the auth service with user name, password and code. It answers with a cookie,
   or one sentence for whatever was wrong (S43).
3. Who came for an application (`launch`) goes on to it then.
4. Logging out needs the bearer of the session besides the cookie (S29).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import ClassVar, Final

from twisted.web.server import Request

from tlsgate.protocols.web import form, launch, pages, session
from tlsgate.protocols.web.asked import (
    STALE,
    Asked,
    Go,
    Leave,
    Show,
    address_of,
    reason_of,
    told,
)

HOME: Final = b"/web"
LOGIN: Final = b"/web/login"
#: Paths with what is told there; a query that is none of these says nothing.
ENDED: Final = b"/web/login?ended"
OVER: Final = b"/web/login?over"

FAILED: Final = "The user name, the password or the code is wrong."

_TOLD: Final = {
    b"ended": ("You are logged out.", "good"),
    b"over": ("Your session is over. Log in again.", ""),
}
#: What an address and a form say of the application that somebody came for.
_ADDRESS: Final = re.compile(rf"launch=({launch.NAME})&state=({launch.STATE})")
_NEXT: Final = re.compile(rf"({launch.NAME}) ({launch.STATE})")
_PURPOSE: Final = "login"
_BETWEEN: Final = re.compile(r"[\s-]+")
_LONGEST: Final = 1024

_Wanted = re.Match[str] | None


class Login(Asked):
    """The page that asks who you are."""

    fields: ClassVar = (form.TOKEN, "user", "password", "code", "next")

    def render(self, request: Request) -> int:
        """Keep what the address tells before it is forgotten (Twisted calls this)."""
        query = request.uri.partition(b"?")[2]
        request.said = _TOLD.get(query, ("", ""))  # type: ignore[attr-defined]
        request.launching = _ADDRESS.fullmatch(query.decode("latin-1"))  # type: ignore[attr-defined]
        return super().render(request)

    async def get(self, request: Request, rest: tuple[bytes, ...]) -> Show | Go | Leave:
        """Show the form."""
        if rest:
            return self.problem(404)
        found = request.launching  # type: ignore[attr-defined]
        if not isinstance(await self.session(request), int):
            return Go(HOME if found is None else launch.path_of(found[1], found[2]))
        words, kind = request.said  # type: ignore[attr-defined]
        return self._show(request, 200, form.token(request, _PURPOSE), words, kind, found)

    async def post(
        self, request: Request, rest: tuple[bytes, ...], fields: Mapping[str, str]
    ) -> Show | Go | Leave:
        """Take the form."""
        if rest:
            return self.problem(404)
        wanted = _NEXT.fullmatch(fields["next"])
        if not form.good(request, _PURPOSE, fields[form.TOKEN]):
            return self._again(request, 403, STALE, wanted)
        user, password = fields["user"].strip(), fields["password"]
        if not user or not password or max(map(len, fields.values())) > _LONGEST:
            return self._again(request, 403, FAILED, wanted)
        body = {
            "user": user,
            "password": password,
            "otp": _BETWEEN.sub("", fields["code"])[:64] or None,
            "address": address_of(request),
        }
        status, said = await self.ask(request, "/v1/web/login", body)
        if status == 200:
            form.renewed(request, _PURPOSE)
            session.keep(request, str(said["cookie"]))
            return Go(HOME if wanted is None else launch.path_of(wanted[1], wanted[2]))
        words = told(request, status, said)
        if words is None and status not in (400, 401):
            return self.problem(500)
        # A name that none can have is told the same as one that nobody has.
        return self._again(request, status if words else 403, words or FAILED, wanted)

    def _again(self, request: Request, code: int, words: str, wanted: _Wanted) -> Show:
        return self._show(request, code, form.renewed(request, _PURPOSE), words, "", wanted)

    def _show(
        self, request: Request, code: int, token: str, words: str, kind: str, wanted: _Wanted
    ) -> Show:
        """The form; it may lead on to the application that it is for, if there is one."""
        origin = None if wanted is None else launch.origin_of(self.place, request, wanted[1])
        if wanted is None or origin is None:
            return Show(code, self._page(token, words, kind))
        page = self._page(token, words, kind, wanted[1], f"{wanted[1]} {wanted[2]}")
        return Show(code, page, pages.policy(forms=origin))

    def _page(self, token: str, words: str, kind: str, app: str = "", launching: str = "") -> bytes:
        on = f", and go on to <b>{escape(app)}</b>" if app else ""
        hidden = pages.hidden(form.TOKEN, token)
        hidden += pages.hidden("next", launching) if launching else ""
        body = (
            f'<h1>Log in</h1><p class="lead">to <b>{escape(self.place.name)}</b>{on}</p>'
            f"{pages.note(words, kind)}"
            f'<form method="post" action="/web/login">{hidden}'
            + pages.field(
                "user",
                "User name",
                'required autocomplete="username" autocapitalize="none" spellcheck="false"',
                first=True,
            )
            + pages.field(
                "password", "Password", 'type="password" required autocomplete="current-password"'
            )
            + pages.field(
                "code",
                "Code from your authenticator",
                'class="code" inputmode="numeric" autocomplete="one-time-code" maxlength="9" '
                'spellcheck="false"',
            )
            + '<p class="send"><button>Log in</button></p></form>'
            '<p class="hint">Forgotten something? An operator can send you a link to set both '
            "anew.</p>"
        )
        title = "Log in" if kind or not words else "Error: Log in"
        return pages.document(title, body, name="", kind="slim")


class Logout(Asked):
    """Where the console's button leads."""

    methods: ClassVar = (b"POST",)
    fields: ClassVar = ("bearer",)

    async def post(
        self, request: Request, rest: tuple[bytes, ...], fields: Mapping[str, str]
    ) -> Show | Go | Leave:
        """End the session."""
        if rest:
            return self.problem(404)
        cookie = session.cookie_of(request)
        body = {
            "cookie": cookie,
            "bearer": fields["bearer"][:_LONGEST] or "none",
            "address": address_of(request),
        }
        if cookie is None:
            return Go(OVER)
        status, said = await self.ask(request, "/v1/web/check", body)
        if status == 200 or reason_of(said) == "locked":
            status, said = await self.ask(request, "/v1/web/logout", {"cookie": cookie})
            if status == 200:
                session.drop(request)
                return Go(ENDED)
        if status == 401:
            session.drop(request)
            return Go(OVER)
        return self.problem(status if status in (403, 503) else 500)
