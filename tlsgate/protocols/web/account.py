"""/web/account: who is logged in changes the password, or sets up a new authenticator.

1. GET shows two forms. Both ask for the password and a code: a browser that was left open is
   not enough.
2. A new password ends every web session, this one too; the page says so, and where to log in.
3. A new authenticator is set up on the page of a reset link, to which the browser is sent
   (`invite`); until that is saved everything stays as it was.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Final

from twisted.web.server import Request

from tlsgate.protocols.web import form, pages, session
from tlsgate.protocols.web.asked import (
    LOCKED,
    STALE,
    Asked,
    Go,
    Show,
    address_of,
    reason_of,
    sentence,
    told,
)
from tlsgate.protocols.web.login import LOGIN, OVER

WRONG: Final = "The password or the code is wrong. Nothing was changed."
#: What stands above a form whose new password is not taken.
UNSAVED: Final = "Nothing is saved yet. See below what is wrong, and fill in the fields once more."

_PURPOSE: Final = "account"
_PASSWORD, _FACTOR = "password", "authenticator"
_BETWEEN: Final = re.compile(r"[\s-]+")
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_LONGEST: Final = 1024


class Account(Asked):
    """The page."""

    fields: ClassVar = (form.TOKEN, "bearer", "change", "old", "code", "password", "again")

    async def get(self, request: Request, rest: tuple[bytes, ...]) -> Show | Go:
        """Show both forms; who is not logged in goes to where one logs in."""
        if rest:
            return self.problem(404)
        return await self._show(request, 200, form.token(request, _PURPOSE))

    async def post(
        self, request: Request, rest: tuple[bytes, ...], fields: Mapping[str, str]
    ) -> Show | Go:
        """Change what the form is for."""
        change = fields["change"]
        if rest or change not in (_PASSWORD, _FACTOR):
            return self.problem(404 if rest else 400)
        if not form.good(request, _PURPOSE, fields[form.TOKEN]):
            return await self._again(request, 403, STALE)
        if max(map(len, fields.values())) > _LONGEST or not fields["old"]:
            return await self._again(request, 403, WRONG)
        if change == _PASSWORD and fields["password"] != fields["again"]:
            return await self._again(request, 422, again="The two passwords are not the same.")
        if change == _PASSWORD and not fields["password"]:
            return await self._again(request, 422, password="Choose a password.")
        return await self._change(request, change, fields)

    async def _change(self, request: Request, change: str, fields: Mapping[str, str]) -> Show | Go:
        cookie = session.cookie_of(request)
        if cookie is None:
            return Go(OVER)
        body = {
            "cookie": cookie,
            "bearer": fields["bearer"] or "none",
            "address": address_of(request),
            "old": fields["old"],
            "otp": _BETWEEN.sub("", fields["code"])[:64] or None,
        }
        if change == _PASSWORD:
            body["new"] = fields["password"]
        path = "/v1/web/password" if change == _PASSWORD else "/v1/web/factor"
        status, said = await self.ask(request, path, body)
        if status == 200 and change == _PASSWORD:
            form.renewed(request, _PURPOSE)
            session.drop(request)
            return Show(200, self._done())
        if status == 200 and _TOKEN.fullmatch(str(said.get("token", ""))):
            form.renewed(request, _PURPOSE)
            return Go(b"/web/reset/" + str(said["token"]).encode())
        words = told(request, status, said)
        if words is not None:
            return await self._again(request, status, words)
        reason = reason_of(said)
        if reason == "weak_password":
            return await self._again(request, 422, password=sentence(said["error"]))
        if reason in ("login_failed", "bad_ask"):
            return await self._again(request, 403, WRONG)
        if status == 401:
            session.drop(request)
            return Go(OVER)
        return self.problem(status if status == 403 else 500)

    async def _again(self, request: Request, code: int, note: str = "", **wrong: str) -> Show | Go:
        return await self._show(request, code, form.renewed(request, _PURPOSE), note, wrong)

    async def _show(
        self,
        request: Request,
        code: int,
        token: str,
        note: str = "",
        wrong: Mapping[str, str] | None = None,
    ) -> Show | Go:
        found = await self.session(request)
        if isinstance(found, session.Session):
            return Show(code, self._page(found, token, note, wrong or {}))
        if found == 401:
            session.drop(request)
            return Go(LOGIN if session.cookie_of(request) is None else OVER)
        if found == 403:
            return self.problem(403, LOCKED)
        return self.problem(503 if found == 503 else 500)

    def _page(self, who: session.Session, token: str, note: str, wrong: Mapping[str, str]) -> bytes:
        body = (
            '<h1>Your account</h1><p class="lead">Either change asks for your password and a '
            f"code of your authenticator.</p>{pages.note(note or (wrong and UNSAVED) or '')}"
            + _form(who, token, _PASSWORD, "A new password", _new(wrong), "Change the password")
            + _form(
                who,
                token,
                _FACTOR,
                "A new authenticator",
                "",
                "Set it up",
                "For another phone or app. You choose a password with it; what you have now is "
                "good until the new one works.",
            )
            + '<p class="hint"><a href="/web">Back</a></p>'
        )
        title = "Your account"
        shown = f"Error: {title}" if note or wrong else title
        return pages.document(shown, body, name=self.place.name)

    def _done(self) -> bytes:
        body = (
            "<h1>Your password is changed</h1>"
            f"{pages.note('You are logged out of every browser.', 'good')}"
            "<p>Certificates of <code>tgsh login</code> stay good until their end.</p><p><a "
            'href="/web/login">Log in</a> with the new password.</p>'
        )
        return pages.document("Your password is changed", body, name=self.place.name)


def _form(
    who: session.Session,
    token: str,
    change: str,
    title: str,
    more: str,
    button: str,
    hint: str = "",
) -> str:
    said = f"<p>{hint}</p>" if hint else ""
    return (
        f'<form method="post" action="/web/account" id="{change}-form">'
        f'<section class="card step"><h2>{title}</h2>{said}'
        + pages.hidden(form.TOKEN, token)
        + pages.hidden("bearer", who.bearer)
        + pages.hidden("change", change)
        + pages.field(
            "old",
            "Password now",
            'type="password" required autocomplete="current-password"',
            form=change,
        )
        + pages.field(
            "code",
            "Code from your authenticator",
            'class="code" inputmode="numeric" autocomplete="one-time-code" maxlength="9" '
            'spellcheck="false"',
            form=change,
        )
        + f'{more}</section><p class="send"><button>{button}</button></p></form>'
    )


def _new(wrong: Mapping[str, str]) -> str:
    kind = 'type="password" required autocomplete="new-password" minlength="12"'
    return (
        '<div class="pair"><div>'
        + pages.field(
            "password",
            "New password",
            kind,
            hint="12 to 128 characters.",
            wrong=wrong.get("password", ""),
        )
        + "</div><div>"
        + pages.field("again", "The same once more", kind, wrong=wrong.get("again", ""))
        + "</div></div>"
    )
