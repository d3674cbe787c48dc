"""An auth service that is only a dictionary, behind a door; and browsers that come to it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from zope.interface import implementer

from tests.protocols.web.clients import Answer, H2Client, answers, visit
from tlsgate.auth.sessions import bearer_of
from tlsgate.errors import Unreachable
from tlsgate.interfaces import IAuthDoor, ITunnels, IWatch
from tlsgate.protocols.web.protocol import Web
from tlsgate.testing import Conversation, FakeCluster, FakeContext, settings

TOKEN = "T0ken-of-the-link" + "x" * 26
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
PASSWORD = "correct horse battery"
CODE = "123456"
EXPIRES = 1_800_000_000.0


def error(status: int, reason: str, message: str = "no", **more: Any) -> tuple[int, Any]:
    """A refusal as the API says it."""
    return status, {"error": {"reason": reason, "fault": "client", "message": message, **more}}


BAD_TOKEN = error(401, "bad_token", "this link is not valid, or no longer: ask for a new one")


@implementer(IAuthDoor)
@define
class FakeAuth:
    """Answers as the auth service does, for alice, with one link and her sessions.

    Attributes:
        link: what the link says; None: there is none.
        sessions: cookie to user.
        asked: every question: path, body, whether it was asked as anyone, address.
        answer: what is said to everything instead, by path.
        away: it does not answer at all.
        targets: what alice may reach.
        codes: one-shot code to the user, the application and the state that it is for.
        slow: each answer waits until the test fires its entry of `waiting`.
    """

    link: dict[str, Any] | None = field(
        factory=lambda: {
            "user": "alice",
            "kind": "invite",
            "expires": EXPIRES,
            "secret": SECRET,
            "otpauth": f"otpauth://totp/gate.example.com:alice?secret={SECRET}&issuer=gate",
        }
    )
    sessions: dict[str, str] = field(factory=dict)
    asked: list[tuple[str, Mapping[str, Any], bool, str | None]] = field(factory=list)
    answer: dict[str, tuple[int, Any]] = field(factory=dict)
    roles: tuple[str, ...] = ("access",)
    traits: Mapping[str, list[str]] = field(factory=lambda: {"logins": ["alice", "root"]})
    targets: Mapping[str, Any] = field(factory=dict)
    codes: dict[str, tuple[str, str, str]] = field(factory=dict)
    away: bool = False
    slow: bool = False
    waiting: list[Deferred[None]] = field(factory=list)

    async def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        address: str | None = None,
        as_anyone: bool = False,
    ) -> tuple[int, Any]:
        assert method == "POST" and body is not None
        self.asked.append((path, body, as_anyone, address))
        if self.slow:
            self.waiting.append(Deferred())
            await self.waiting[-1]
        if self.away:
            raise Unreachable("the auth service", "nobody is there")
        if path in self.answer:
            return self.answer[path]
        verb = getattr(self, "_" + path.removeprefix("/v1/").replace("/", "_").replace("-", "_"))
        found: tuple[int, Any] = verb(body)
        return found

    def watch(self, heard: Any) -> IWatch:
        raise NotImplementedError

    def paths(self) -> list[str]:
        """What was asked for."""
        return [path for path, _, _, _ in self.asked]

    def _invites_begin(self, body: Mapping[str, Any]) -> tuple[int, Any]:
        if self.link is None or body != {"token": TOKEN}:
            return BAD_TOKEN
        return 200, self.link

    def _invites_accept(self, body: Mapping[str, Any]) -> tuple[int, Any]:
        if self.link is None or body["token"] != TOKEN:
            return BAD_TOKEN
        if len(body["password"]) < 12:
            why = "this password is not taken: it needs at least 12 characters"
            return error(400, "weak_password", why)
        if self.link["secret"] is not None and body["otp"] != CODE:
            return error(400, "wrong_code", "the one-time code is wrong: type the six digits")
        self.link = None
        return 200, {"user": "alice"}

    def _web_login(self, body: Mapping[str, Any]) -> tuple[int, Any]:
        if (body["user"], body["password"], body["otp"]) != ("alice", PASSWORD, CODE):
            return error(401, "login_failed", "the user name, the password or the code is wrong")
        cookie = f"{len(self.sessions):016x}{'c' * 43}"
        self.sessions[cookie] = body["user"]
        found = {"cookie": cookie, "bearer": bearer_of(cookie), "user": "alice"}
        return 200, {**found, "expires": EXPIRES}

    def _web_check(self, body: Mapping[str, Any]) -> tuple[int, Any]:
        user = self.sessions.get(body["cookie"])
        if user is None:
            return error(401, "bad_token")
        if body["bearer"] not in (None, bearer_of(body["cookie"])):
            return error(403, "access_denied")
        said = {"user": user, "roles": list(self.roles), "traits": dict(self.traits)}
        return 200, {**said, "expires": EXPIRES}

    def _web_password(self, body: Mapping[str, Any]) -> tuple[int, Any]:
        refused = self._proof(body)
        if refused is None and len(body["new"]) < 12:
            why = "this password is not taken: it needs at least 12 characters"
            refused = error(400, "weak_password", why)
        if refused is None:
            self.sessions.clear()
        return refused or (200, {"user": "alice"})

    def _web_factor(self, body: Mapping[str, Any]) -> tuple[int, Any]:
        said = {"user": "alice", "token": TOKEN, "expires": EXPIRES}
        return self._proof(body) or (200, said)

    def _proof(self, body: Mapping[str, Any]) -> tuple[int, Any] | None:
        status, said = self._web_check(body)
        if status != 200:
            return status, said
        if (body["old"], body["otp"]) != (PASSWORD, CODE):
            return error(401, "login_failed", "the user name, the password or the code is wrong")
        return None

    def _web_targets(self, body: Mapping[str, Any]) -> tuple[int, Any]:
        status, said = self._web_check(body)
        return (status, said) if status != 200 else (200, dict(self.targets))

    def _web_app_session(self, body: Mapping[str, Any]) -> tuple[int, Any]:
        status, said = self._web_check(body)
        if status != 200:
            return status, said
        code = f"{len(self.codes)}{'k' * 42}"
        self.codes[code] = (said["user"], body["app"], body["state"])
        return 200, {"code": code, "app": body["app"]}

    def _web_logout(self, body: Mapping[str, Any]) -> tuple[int, Any]:
        user = self.sessions.pop(body["cookie"], None)
        return 200, {"user": user, "ended": 0 if user is None else 1}


#: What a browser says of a form on a page of ours, which sends no referrer.
OURS = (("Origin", "null"), ("Sec-Fetch-Site", "same-origin"))

_HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([\w .-]*)">')


class Browser:
    """A browser on one connection: it keeps cookies, and sends forms with what is hidden there.

    Attributes:
        jar: cookie to value.
        last: what was shown last.
    """

    def __init__(
        self,
        auth: FakeAuth,
        *,
        h2: bool = False,
        local: IAddress | None = None,
        tunnels: ITunnels | None = None,
        **fields: Any,
    ) -> None:
        fields = {"cluster_name": "root.example.com", **fields}
        self.context = FakeContext(
            settings=settings(**fields),
            cluster=FakeCluster("root.example.com", door=auth),
            token=b"h2" if h2 else b"http/1.1",
        )
        self.context.local = local or self.context.local
        self.context.tunnels = tunnels
        self.talk: Conversation = visit(context=self.context, web=Web())
        self.jar: dict[str, str] = {}
        self.last = Answer()
        self._client = H2Client(self.talk) if h2 else None

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: tuple[tuple[str, str], ...] = (),
        *,
        cookies: bool = True,
    ) -> Answer:
        """Ask with the cookies that there are; give the answer and keep its cookies."""
        pairs = list(headers)
        if self.jar and cookies:
            pairs.append(("Cookie", "; ".join(f"{k}={v}" for k, v in self.jar.items())))
        send = self._send_2 if self._client else self._send_1
        self.last = send(method, path, body, pairs)
        for value in self.last.cookies:
            for name, morsel in SimpleCookie(value.decode()).items():
                self.jar.pop(name, None)
                if morsel["max-age"] != "0":
                    self.jar[name] = morsel.value
        return self.last

    def get(self, path: str, *headers: tuple[str, str]) -> Answer:
        """Go to a page."""
        return self.ask("GET", path, headers=headers)

    def post(
        self,
        path: str,
        fields: Mapping[str, str] | None = None,
        headers: tuple[tuple[str, str], ...] = OURS,
        **more: Any,
    ) -> Answer:
        """Send the form of the page that was shown last, with *fields* filled in."""
        whole = {**dict(_HIDDEN.findall(self.last.body.decode())), **(fields or {})}
        kind = ("Content-Type", "application/x-www-form-urlencoded")
        return self.ask("POST", path, urlencode(whole).encode(), (kind, *headers), **more)

    def log_in(self, **fields: str) -> Answer:
        """Fill in the page for that."""
        self.get("/web/login")
        filled = {"user": "alice", "password": PASSWORD, "code": CODE, **fields}
        return self.post("/web/login", filled)

    def _send_1(
        self, method: str, path: str, body: bytes, headers: list[tuple[str, str]]
    ) -> Answer:
        lines = [f"{method} {path} HTTP/1.1", "Host: gw.test", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers]
        self.talk.take()
        self.talk.send("\r\n".join([*lines, "", ""]).encode() + body)
        return self.answered()

    def answered(self) -> Answer:
        """The only answer that has come since over HTTP/1.1."""
        wire = self.talk.take()
        if b"\r\n\r\n" in wire and not wire.partition(b"\r\n\r\n")[2]:
            wire = re.sub(rb"(?i)content-length: \d+", b"Content-Length: 0", wire)  # to a HEAD
        [answer] = answers(wire)
        return answer

    def _send_2(
        self, method: str, path: str, body: bytes, headers: list[tuple[str, str]]
    ) -> Answer:
        assert self._client is not None
        fixed = {":method": method, ":scheme": "https", ":authority": "gw.test", ":path": path}
        pairs = [*fixed.items(), *((name.lower(), value) for name, value in headers)]
        answer = self._client.ask([(k.encode(), v.encode()) for k, v in pairs], body)
        assert answer is not None
        return answer
