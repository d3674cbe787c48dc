"""/web/invite/<token> and /web/reset/<token>: a password and an authenticator, once.

1. GET shows for whom the link is, fields for a password, and the authenticator's secret as a
   picture and as text. The auth service gives the same secret until the link is used.
2. POST sends password and code on. What is wrong with them is said on the same page; the
   link and the picture stay good.
3. When both are taken the page says how to log in.

The token stands in the address only: not in the page, its title, or a referrer (S24).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from typing import Any, ClassVar, Final

from attrs import field, frozen
from twisted.web.server import Request

from tlsgate.protocols.web import form, pages, qr
from tlsgate.protocols.web.asked import STALE, Asked, Go, Show, reason_of, sentence, told

GONE: Final = (
    "This link is not valid, or no longer: it was used, it is over, or a part of it is "
    "missing. Ask whoever sent it for a new one."
)

#: What stands above a form that came back, since passwords never come back in it.
UNSAVED: Final = "Nothing is saved yet. See below what is wrong, and type the password once more."

_TOKEN: Final = re.compile(rb"[A-Za-z0-9_-]{43}")
_PURPOSE: Final = "invite"
#: What people put between the digits of a code.
_BETWEEN: Final = re.compile(r"[\s-]+")
_CODE: Final = re.compile(r"[0-9]{6,8}")


@frozen(kw_only=True)
class Link:
    """What the auth service says of a link."""

    user: str
    reset: bool
    expires: float
    otpauth: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)


@frozen(kw_only=True)
class Wrong:
    """What is wrong with a form: for all of it, or for one of its fields."""

    note: str = ""
    password: str = ""
    again: str = ""
    code: str = ""

    @property
    def any(self) -> bool:
        """Whether there is anything."""
        return self != Wrong()


class Invite(Asked):
    """The page of a link."""

    fields: ClassVar = (form.TOKEN, "password", "again", "code")

    async def get(self, request: Request, rest: tuple[bytes, ...]) -> Show | Go:
        """Show what the link is for."""
        return await self._show(request, rest, 200, Wrong(), form.token)

    async def post(
        self, request: Request, rest: tuple[bytes, ...], fields: Mapping[str, str]
    ) -> Show | Go:
        """Take the password and the code."""
        token = _token(rest)
        if token is None:
            return self.problem(404, GONE)
        if not form.good(request, _PURPOSE, fields[form.TOKEN]):
            return await self._show(request, rest, 403, Wrong(note=STALE), form.renewed)
        code = _BETWEEN.sub("", fields["code"])
        wrong = _look(fields["password"], fields["again"], code)
        if wrong.any:
            return await self._show(request, rest, 422, wrong, form.renewed)
        body = {"token": token, "password": fields["password"], "otp": code or None}
        status, said = await self.ask(request, "/v1/invites/accept", body, as_anyone=True)
        if status == 200:
            return Show(200, self._done(str(said["user"])))
        if reason_of(said) == "bad_token":
            return self.problem(404, GONE)
        status, wrong = _judged(request, status, said)
        return await self._show(request, rest, status, wrong, form.renewed)

    async def _show(
        self, request: Request, rest: tuple[bytes, ...], code: int, wrong: Wrong, mint: Any
    ) -> Show:
        token = _token(rest)
        if token is None:
            return self.problem(404, GONE)
        status, said = await self.ask(
            request, "/v1/invites/begin", {"token": token}, as_anyone=True
        )
        if status != 200:
            if reason_of(said) == "bad_token":
                return self.problem(404, GONE)
            words = told(request, status, said)
            return self.problem(status if words else 500, words)
        link = Link(
            user=str(said["user"]),
            reset=said["kind"] == "reset",
            expires=float(said["expires"]),
            otpauth=said.get("otpauth"),
            secret=said.get("secret"),
        )
        return Show(code, self._page(link, wrong, mint(request, _PURPOSE)))

    def _page(self, link: Link, wrong: Wrong, token: str) -> bytes:
        user = escape(link.user)
        head = f"A new password for {user}" if link.reset else f"Welcome, {user}"
        lead = (
            "The old one is good until this is done."
            if link.reset
            else f"Choose how you log in to <b>{escape(self.place.name)}</b>."
        )
        steps = [_password_step(link.user, wrong)]
        if link.secret is not None and link.otpauth is not None:
            steps += [_scan_step(link.otpauth, link.secret), _code_step(wrong)]
        body = (
            f"<h1>{head}</h1>"
            f'<p class="lead">{lead} This link works once, until {_time(link.expires)}.</p>'
            f"{pages.note(wrong.note or (wrong.any and UNSAVED) or '')}"
            f'<form method="post">{pages.hidden(form.TOKEN, token)}{"".join(steps)}'
            '<p class="send"><button>Save and finish</button></p></form>'
        )
        title = "A new password" if link.reset else "Welcome"
        return pages.document(f"Error: {title}" if wrong.any else title, body, name=self.place.name)

    def _done(self, user: str) -> bytes:
        lines = []
        if self.place.proxy is not None:
            words = ("tgsh", "login", f"--proxy={self.place.proxy}", f"--user={user}")
            lines = [("on your machine; then tgsh status", shlex.join(words))]
        body = (
            f"<h1>All set, {escape(user)}</h1>"
            f"{pages.note('Your password and your authenticator are saved.', 'good')}"
            "<h2>Log in</h2><p>With the new password, and the code that the authenticator "
            f"shows then.</p>{pages.commands(lines)}"
            '<p class="hint">Or in this browser: <a href="/web/login">log in to the web '
            "console</a>.</p>"
        )
        return pages.document("All set", body, name=self.place.name)


def _token(rest: tuple[bytes, ...]) -> str | None:
    """The token in the rest of a path, if it looks like one."""
    if len(rest) != 1 or not _TOKEN.fullmatch(rest[0]):
        return None
    return rest[0].decode()


def _look(password: str, again: str, code: str) -> Wrong:
    """What can be said without asking anybody."""
    wrong_code = ""
    if code and not _CODE.fullmatch(code):
        wrong_code = "The code is the six digits that the authenticator shows."
    if not password:
        return Wrong(password="Choose a password.", code=wrong_code)
    if len(password) > 1024:
        return Wrong(password="This password is too long.", code=wrong_code)
    if password != again:
        return Wrong(again="The two passwords are not the same.", code=wrong_code)
    return Wrong(code=wrong_code)


def _judged(request: Request, status: int, said: Mapping[str, Any]) -> tuple[int, Wrong]:
    """What the auth service has against a form."""
    words = told(request, status, said)
    if words is not None:
        return status, Wrong(note=words)
    reason = reason_of(said)
    if reason == "weak_password":
        return 422, Wrong(password=sentence(said["error"]))
    if reason == "wrong_code":
        return 422, Wrong(code=sentence(said["error"]))
    return 422, Wrong(note="This was not taken. Look at all fields, and try again.")


def _password_step(user: str, wrong: Wrong) -> str:
    kind = 'type="password" required autocomplete="new-password" minlength="12"'
    first = not wrong.code
    return (
        '<section class="card step"><h2><i>1</i>Choose a password</h2>'
        # Without a name it is not sent; it is there for those who keep passwords.
        '<label for="user">User name</label><input id="user" readonly tabindex="-1" '
        f'autocomplete="username" value="{escape(user)}"><div class="pair"><div>'
        + pages.field(
            "password",
            "Password",
            kind,
            hint="12 to 128 characters. A few words that belong together for you alone are good.",
            wrong=wrong.password,
            first=first,
        )
        + "</div><div>"
        + pages.field("again", "The same once more", kind, wrong=wrong.again)
        + "</div></div></section>"
    )


def _scan_step(otpauth: str, secret: str) -> str:
    drawn = qr.picture(otpauth, "QR code of the secret that stands beside it as text") or ""
    scan = "Open an authenticator app and scan this picture."
    spoken = " ".join(secret[at : at + 4] for at in range(0, len(secret), 4))
    link = ""
    if otpauth.startswith("otpauth://totp/"):
        link = f'<li>On this very device: <a href="{escape(otpauth)}">open it in the app</a>.'
    return (
        '<section class="card step"><h2><i>2</i>Add an authenticator</h2>'
        "<p>It shows a new code every 30 seconds; you are asked for one at each login.</p>"
        f'<div class="scan">{drawn}<ul>'
        + (f"<li>{scan}" if drawn else "<li>Open an authenticator app.")
        + f"<li>{'No camera? Type' if drawn else 'Type'} this secret, time-based, six digits:"
        f'<code class="secret">{escape(spoken)}</code>{link}</ul></div></section>'
    )


def _code_step(wrong: Wrong) -> str:
    return (
        '<section class="card step"><h2><i>3</i>Show that it works</h2>'
        + pages.field(
            "code",
            "Code from the authenticator",
            'class="code" required inputmode="numeric" autocomplete="one-time-code" '
            'maxlength="9" pattern="[0-9 \\-]*" spellcheck="false"',
            hint="The six digits that it shows now.",
            wrong=wrong.code,
            first=bool(wrong.code) and not (wrong.password or wrong.again),
        )
        + "</section>"
    )


def _time(seconds: float) -> str:
    """A time for people and for programs."""
    when = datetime.fromtimestamp(seconds, UTC)
    return f'<time datetime="{when:%Y-%m-%dT%H:%M:%SZ}">{when:%H:%M UTC on %-d %B}</time>'
