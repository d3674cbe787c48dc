"""What the pages for people have in common: their rules, their questions, their answers.

1. The method has to be one of the page's; a form has to come from a page of ours (`form`).
2. The page asks the auth service through the cluster's door and gives what to show, or where
   to go: always one of our own fixed paths, or a registered application's (S30).
3. The answer leaves with the same headers as every other. Nothing is logged: addresses of
   these pages can have a secret in them, so a request forgets its own at once (S24).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from tlsgate.core import appnames
from tlsgate.core.addresses import split
from tlsgate.core.http.forwarded import client_of
from tlsgate.core.routing import Route
from tlsgate.errors import GateError
from tlsgate.interfaces import IAuthDoor
from tlsgate.protocols.web import answers, form, pages, session

#: Status code to what went wrong, for people who use a page.
SENTENCES: Final = {
    400: "This form is not one of this page's. Go back, load the page again, and try once more.",
    403: "This request does not come from a page of this gateway, so nothing was done.",
    404: "There is nothing at this address.",
    405: "This address is not asked in this way.",
    413: "This form is longer than any that this page has.",
    415: "This page takes its own form only.",
    500: "Something went wrong in the gateway; its log says what.",
    503: "The auth service of this cluster cannot be reached now. Try again in a moment.",
}

#: What a form that came with a token of before is told.
STALE: Final = "This page had been open for too long, or was used already. Please try again."

LOCKED: Final = "An operator has locked this account. Only they can open it again."


@frozen(kw_only=True)
class Place:
    """What all pages of one configuration know.

    Attributes:
        door: to the auth service.
        name: of the cluster.
        proxy: where clients reach this gateway, "host:port"; None: nobody knows.
        routes: the static ones.
        publics: the gateway's public names, the first one first.
        addresses: the public addresses, "host:port".
    """

    door: IAuthDoor = field(repr=False)
    name: str
    proxy: str | None
    routes: tuple[Route, ...] = ()
    publics: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()

    def origin(self, name: str, public_addr: str, asked: str | None = None) -> str | None:
        """Where browsers find an application; None: nowhere.

        Args:
            asked: the name by which this one has come: it stays below that.
        """
        known = (one for one in self.addresses if split(one)[0] == asked)
        address = next(known, self.proxy)
        if address is None:
            return None
        host, port = split(address)
        found = appnames.host_of(name, public_addr, host)
        if found is None or appnames.is_own(found, self.publics or (host,)):
            return None
        return f"https://{found}" if port in (None, 443) else f"https://{found}:{port}"


@frozen
class Show:
    """A page to show, and what it may do."""

    code: int
    page: bytes = field(repr=False)
    policy: bytes = pages.POLICY


@frozen
class Go:
    """A path of ours to go to."""

    path: bytes


@frozen
class Leave:
    """A page of an application's to go to; *origin* is that of a registered one (S30)."""

    origin: str
    path: str = field(repr=False)


class Asked(Resource):
    """A page; subclasses answer `get` and `post`, as far as `methods` has them."""

    log = Logger()
    isLeaf = True
    methods: ClassVar[tuple[bytes, ...]] = (b"GET", b"HEAD", b"POST")
    #: What the page's form may have.
    fields: ClassVar[tuple[str, ...]] = (form.TOKEN,)

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place

    def render(self, request: Request) -> int:
        """Answer *request* (Twisted calls this)."""
        rest = tuple(request.postpath or ())
        request.uri = b"/web"  # its repr would show the rest
        lost: list[Failure] = []
        request.notifyFinish().addErrback(lost.append)
        answering = Deferred.fromCoroutine(self._answer(request, rest, lost))
        answering.addErrback(self._failed, request, lost)
        return NOT_DONE_YET

    async def get(self, request: Request, rest: tuple[bytes, ...]) -> Show | Go | Leave:
        """Answer a GET; *rest* is what comes after the page's own path."""
        raise NotImplementedError

    async def post(
        self, request: Request, rest: tuple[bytes, ...], fields: Mapping[str, str]
    ) -> Show | Go | Leave:
        """Answer a form that a page of ours has sent; its token is still to be looked at."""
        raise NotImplementedError

    async def ask(
        self,
        request: Request,
        path: str,
        body: Mapping[str, Any],
        *,
        as_anyone: bool = False,
    ) -> tuple[int, Mapping[str, Any]]:
        """Ask the auth service; one that cannot be reached has the status 503."""
        try:
            status, said = await self.place.door.ask(
                "POST", path, body, address=address_of(request), as_anyone=as_anyone
            )
        except GateError:
            return 503, {}
        return status, said if isinstance(said, dict) else {}

    async def session(self, request: Request, bearer: str | None = None) -> session.Session | int:
        """Give the session of *request*; or the status: 401 without one, 403 for a wrong bearer.

        Args:
            bearer: from the form; None: nothing is to be changed.
        """
        cookie = session.cookie_of(request)
        if cookie is None:
            return 401
        body = {"cookie": cookie, "bearer": bearer, "address": address_of(request)}
        status, said = await self.ask(request, "/v1/web/check", body)
        return session.read(cookie, said) if status == 200 else status

    def problem(self, code: int, sentence: str | None = None) -> Show:
        """A page that says what is wrong."""
        words = SENTENCES.get(code, SENTENCES[500]) if sentence is None else sentence
        return Show(code, pages.problem(code, words))

    async def _answer(self, request: Request, rest: tuple[bytes, ...], lost: list[Failure]) -> None:
        answer = await self._decide(request, rest)
        if lost:
            return
        if isinstance(answer, Show):
            self._send(request, answer.code, answer.page, answer.policy)
            return
        where = answer.path if isinstance(answer, Go) else (answer.origin + answer.path).encode()
        request.setHeader(b"Location", where)
        self._send(request, 303, b"")

    async def _decide(self, request: Request, rest: tuple[bytes, ...]) -> Show | Go | Leave:
        if request.method not in self.methods:
            request.setHeader(b"Allow", b", ".join(self.methods))
            return self.problem(405)
        if request.method != b"POST":
            if form.from_elsewhere(request):
                return self.problem(403)
            return await self.get(request, rest)
        if not form.from_here(request):
            return self.problem(403)
        fields = form.read(request, self.fields)
        if isinstance(fields, int):
            return self.problem(fields)
        return await self.post(request, rest, fields)

    def _failed(self, failure: Failure, request: Request, lost: list[Failure]) -> None:
        self.log.failure("a page for people failed", failure=failure)
        if not lost:
            self._send(request, 500, pages.problem(500, SENTENCES[500]))

    def _send(self, request: Request, code: int, page: bytes, policy: bytes = pages.POLICY) -> None:
        request.setHeader(b"Content-Security-Policy", policy)
        request.setHeader(b"X-Robots-Tag", b"noindex")
        answers.send(request, code, answers.HTML_TYPE, page)


def address_of(request: Request) -> str:
    """The client's address without its port; "local" where it has none."""
    return told_address(request) or "local"


def told_address(request: Request) -> str | None:
    """The same; None where it has none. A balancer that may tells of another one than its own."""
    context = request.visit.context  # type: ignore[attr-defined]
    address: str | None = getattr(context.peer, "host", None)
    if address is None or not context.settings.forwarders:
        return address
    told = request.requestHeaders.getRawHeaders(b"x-forwarded-for", [])
    return client_of(address, told, context.settings.forwarders)


def reason_of(said: Mapping[str, Any]) -> str:
    """Which error the auth service tells of; "" where it tells none."""
    error = said.get("error")
    return str(error.get("reason", "")) if isinstance(error, dict) else ""


def told(request: Request, status: int, said: Mapping[str, Any]) -> str | None:
    """What to tell of an answer that no page can do anything about; None: it is another.

    These are the auth service's sentences where they say more than ours; none of them has
    anything in it that was sent.
    """
    error = said.get("error")
    error = error if isinstance(error, dict) else {}
    if status == 429:
        seconds = error.get("seconds")
        if isinstance(seconds, int | float):
            request.setHeader(b"Retry-After", b"%d" % max(1, round(seconds)))
        return sentence(error) or "There were too many failed attempts. Wait a little."
    if status == 503:
        return SENTENCES[503]
    if reason_of(said) == "locked":
        return LOCKED
    return None


def sentence(error: Mapping[str, Any]) -> str:
    """The auth service's own words as a sentence; "" where it has none."""
    words = str(error.get("message", ""))[:300].strip().rstrip(".")
    return f"{words[:1].upper()}{words[1:]}." if words else ""
