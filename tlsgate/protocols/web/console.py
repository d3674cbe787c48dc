"""/web: who is logged in, and what they may reach from here; the place of the console."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from html import escape
from typing import ClassVar, Final

from attrs import frozen
from twisted.web.resource import Resource
from twisted.web.server import Request

from tlsgate.core.access import Kind
from tlsgate.core.routing import CertRule, Route
from tlsgate.protocols.web import board, pages, session
from tlsgate.protocols.web.account import Account
from tlsgate.protocols.web.asked import LOCKED, Asked, Go, Place, Show, address_of
from tlsgate.protocols.web.board import Board
from tlsgate.protocols.web.boardstyle import BOARD_SCRIPT, BOARD_STYLE
from tlsgate.protocols.web.invite import Invite
from tlsgate.protocols.web.launch import Launch, host_of
from tlsgate.protocols.web.login import HOME, LOGIN, OVER, Login, Logout
from tlsgate.protocols.web.migration import MigrationPage

#: Traits that say what one may be elsewhere, as people call them.
_TRAITS: Final = {
    "logins": "Logins on servers",
    "db_users": "Database users",
    "db_names": "Databases",
    "kubernetes_groups": "Kubernetes groups",
    "kubernetes_users": "Kubernetes users",
}

_POLICY: Final = pages.policy(style=BOARD_STYLE, script=BOARD_SCRIPT)

_UNKNOWN: Final = (
    '<section><p class="none">What is open to you cannot be shown now. Try again in a moment.'
    "</p></section>"
)

#: For those with the preset role; whom another role lets in knows the address.
_OPERATOR: Final = (
    '<h2>For operators</h2><p><a href="/web/migration">From separate ports to one</a>: '
    "where the cluster stands, and who still uses which port.</p>"
)


@frozen
class Open:
    """A static route that is open to somebody, and why."""

    route: Route
    why: str


def open_to(routes: Iterable[Route], user: str, roles: Iterable[str]) -> Iterator[Open]:
    """The routes that a certificate of *user* opens, as `ClusterState.decide` would say."""
    held = set(roles)
    for route in routes:
        if route.client_cert is not CertRule.REQUIRED:
            continue
        role = next((name for name in route.require_role if name in held), None)
        if role is not None:
            yield Open(route, f"role {role}")
        elif not route.require_role and not route.client_ca_files:
            if any(rule.kind is Kind.CN and rule.value == user for rule in route.allow):
                yield Open(route, "your name")


class Console(Asked):
    """The page of who is logged in."""

    isLeaf = False
    methods: ClassVar = (b"GET", b"HEAD")

    def getChild(self, path: bytes, request: Request) -> Resource:
        """Take every path that no child of ours has; `get` says that it is not there."""
        return self

    async def get(self, request: Request, rest: tuple[bytes, ...]) -> Show | Go:
        """Show it; who is not logged in goes to where one logs in."""
        if request.prepath == [b"web", b""]:
            return Go(HOME)
        if request.prepath != [b"web"]:
            return self.problem(404)
        if session.cookie_of(request) is None:
            return Go(LOGIN)
        found = await self.session(request)
        if isinstance(found, session.Session):
            body = {"cookie": found.cookie, "bearer": None, "address": address_of(request)}
            status, said = await self.ask(request, "/v1/web/targets", body)
            page = self._page(found, Board.read(said) if status == 200 else None, host_of(request))
            return Show(200, page, _POLICY)
        if found == 401:
            session.drop(request)
            return Go(OVER)
        if found == 403:
            return self.problem(403, LOCKED)
        return self.problem(503 if found == 503 else 500)

    def _page(self, who: session.Session, found: Board | None, host: str = "") -> bytes:
        def origin(name: str, public_addr: str) -> str | None:
            return self.place.origin(name, public_addr, host)

        reach = _UNKNOWN if found is None else board.body(found, who.user, origin)
        body = (
            f'<div class="top"><h1>{escape(who.user)}</h1>'
            f'<form method="post" action="/web/logout">{pages.hidden("bearer", who.bearer)}'
            '<button class="quiet">Log out</button></form></div>'
            f'<p class="lead">Logged in to <b>{escape(self.place.name)}</b>, until {_time(who)} '
            "if you do nothing here.</p>"
            f'{reach}<details class="more"><summary>You, and your machine</summary>'
            f"{_roles(who)}{_routes(tuple(open_to(self.place.routes, who.user, who.roles)))}"
            f"{self._commands(who.user)}{_OPERATOR if 'editor' in who.roles else ''}</details>"
        )
        return pages.document(
            who.user,
            body,
            name=self.place.name,
            kind="board",
            style=BOARD_STYLE,
            script=BOARD_SCRIPT,
        )

    def _commands(self, user: str) -> str:
        if self.place.proxy is None:
            return ""
        words = ("tgsh", "login", f"--proxy={self.place.proxy}", f"--user={user}")
        lines = (
            ("certificates for this day", shlex.join(words)),
            ("what you have, and for how long", "tgsh status"),
        )
        return f"<h2>On your machine</h2><p>In a terminal.</p>{pages.commands(lines)}"


def _roles(who: session.Session) -> str:
    chips = "".join(f'<span class="who">{escape(role)}</span>' for role in who.roles)
    rows = [("Roles", chips or "none")]
    for name, title in _TRAITS.items():
        values = " ".join(f"<code>{escape(value)}</code>" for value in who.traits.get(name, ()))
        if values:
            rows.append((title, values))
    cells = "".join(f"<dt>{title}<dd>{value}" for title, value in rows)
    return (
        f'<h2>What you are</h2><p>Set by an operator.</p><div class="card"><dl>{cells}</dl></div>'
        '<p><a href="/web/account">Change your password or authenticator</a></p>'
    )


def _routes(found: tuple[Open, ...]) -> str:
    if not found:
        return ""
    rows = "".join(map(_row, found))
    return (
        "<h2>Routes open to you</h2><p>With a certificate of yours, which tgsh login gets.</p>"
        '<div class="card"><table><thead><tr><th scope="col">Route<th scope="col">Ask by'
        f'<th scope="col">Open by</thead><tbody>{rows}</tbody></table></div>'
    )


def _row(found: Open) -> str:
    route = found.route
    tokens = [token.decode("ascii", "backslashreplace") for token in route.alpn]
    ways = [f"<code>{escape(name)}</code>" for name in route.server_names]
    if tokens:
        ways.append("ALPN " + " ".join(f"<code>{escape(token)}</code>" for token in tokens))
    return (
        f'<tr><th scope="row">{escape(route.name)}<td>{", ".join(ways) or "TLS without ALPN"}'
        f'<td><span class="who">{escape(found.why)}</span>'
    )


def _time(who: session.Session) -> str:
    when = datetime.fromtimestamp(who.expires, UTC)
    return f'<time datetime="{when:%Y-%m-%dT%H:%M:%SZ}">{when:%H:%M UTC}</time>'


def tree(place: Place) -> Resource:
    """What stands at /web."""
    console = Console(place)
    console.putChild(b"login", Login(place))
    console.putChild(b"logout", Logout(place))
    console.putChild(b"account", Account(place))
    console.putChild(b"launch", Launch(place))
    console.putChild(b"migration", MigrationPage(place))
    console.putChild(b"invite", Invite(place))
    console.putChild(b"reset", Invite(place))
    return console
