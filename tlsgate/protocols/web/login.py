"""/web/login and /web/logout: a web session begins and ends.

1. GET shows the form; who is logged in already goes on to /web.
2. POST asks the auth service with user name, password and code. It answers with a cookie,
   or one sentence for whatever was wrong (S43).
3. Logging out needs the bearer of the session besides the cookie (S29).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import ClassVar, Final

from twisted.web.server import Request

from tlsgate.protocols.web import form, pages, session
from tlsgate.protocols.web.asked import (
    STALE,
    Asked,
    Go,
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
_PURPOSE: Final = "login"
_BETWEEN: Final = re.compile(r"[\s-]+")
_LONGEST: Final = 1024


class Login(Asked):
    """The page that asks who you are."""

    fields: ClassVar = (form.TOKEN, "user", "password", "code")

    def render(self, request: Request) -> int:
        """Keep what the address tells before it is forgotten (Twisted calls this)."""
        request.said = _TOLD.get(request.uri.partition(b"?")[2], ("", ""))  # type: ignore[attr-defined]
        return super().render(request)

    async def get(self, request: Request, rest: tuple[bytes, ...]) -> Show | Go:
        """Show the form."""
        if rest:
            return self.problem(404)
        if not isinstance(await self.session(request), int):
            return Go(HOME)
        words, kind = request.said  # type: ignore[attr-defined]
        return Show(200, self._page(form.token(request, _PURPOSE), words, kind))

    async def post(
        self, request: Request, rest: tuple[bytes, ...], fields: Mapping[str, str]
    ) -> Show | Go:
        """Take the form."""
        if rest:
            return self.problem(404)
        if not form.good(request, _PURPOSE, fields[form.TOKEN]):
            return self._again(request, 403, STALE)
        user, password = fields["user"].strip(), fields["password"]
        if not user or not password or max(map(len, fields.values())) > _LONGEST:
            return self._again(request, 403, FAILED)
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
            return Go(HOME)
        words = told(request, status, said)
        if words is None and status not in (400, 401):
            return self.problem(500)
        # A name that none can have is told the same as one that nobody has.
        return self._again(request, status if words else 403, words or FAILED)

    def _again(self, request: Request, code: int, words: str) -> Show:
        return Show(code, self._page(form.renewed(request, _PURPOSE), words, ""))

    def _page(self, token: str, words: str, kind: str) -> bytes:
        body = (
            f'<h1>Log in</h1><p class="lead">to <b>{escape(self.place.name)}</b></p>'
            f"{pages.note(words, kind)}"
            f'<form method="post" action="/web/login">{pages.hidden(form.TOKEN, token)}'
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
        return pages.document(title, body, name="", slim=True)


class Logout(Asked):
    """Where the console's button leads."""

    methods: ClassVar = (b"POST",)
    fields: ClassVar = ("bearer",)

    async def post(
        self, request: Request, rest: tuple[bytes, ...], fields: Mapping[str, str]
    ) -> Show | Go:
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
