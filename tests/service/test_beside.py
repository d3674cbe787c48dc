"""Tests for `tlsgate.service.beside`: the cluster's API on the admin socket."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request
from zope.interface.verify import verifyObject

from tests.auth.cluster import NAME, Cluster
from tests.support.daemon import AnsweringDaemon
from tlsgate.auth.principal import itself
from tlsgate.auth.web import ApiSite
from tlsgate.errors import BadAsk, GateError, Unreachable
from tlsgate.service.admin import AdminApi, Beside, BothApis
from tlsgate.service.beside import WAIT_SECONDS, Here, There
from tlsgate.testing import Conversation, FakeContext, connect


@define
class FakeDoor:
    """An auth process that answers with the same all the time."""

    answer: tuple[int, bytes] | Exception = (200, b'{"items": []}\n')
    asked: list[tuple[Any, ...]] = field(factory=list)
    waiting: Deferred[None] | None = None

    async def raw(self, *asked: Any) -> tuple[int, bytes]:
        self.asked.append(asked)
        if self.waiting is not None:
            await self.waiting
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class _Api:
    """An auth service that may be up."""

    def __init__(self, api: Any) -> None:
        self.api = api


class _Site:
    """As much of a protocol as `connect` asks for."""

    def __init__(self, build: Callable[[], Any]) -> None:
        self._build = build

    def build(self, context: object) -> Any:
        return self._build()


class BesideCase(SynchronousTestCase):
    """An admin socket whose peer is *uid*."""

    uid = 990

    def setUp(self) -> None:
        self.cluster = Cluster(self)

    def dial(self, beside: Any) -> Conversation:
        verifyObject(Beside, beside)
        mine = AdminApi(AnsweringDaemon(), None, owner=990, uid_of=self.uid_of)
        site: Any = _Site(lambda: ApiSite(BothApis(mine, beside), self.cluster.clock))
        return connect(site, FakeContext())

    def uid_of(self, request: Request) -> int:
        return self.uid

    def ask(
        self, talk: Conversation, method: str, path: str, body: bytes = b"", said: str = ""
    ) -> tuple[int, Any]:
        """Ask once; status and JSON."""
        self.send(talk, method, path, body, said)
        self.cluster.turn()
        return self.answered(talk)

    def send(
        self, talk: Conversation, method: str, path: str, body: bytes = b"", said: str = ""
    ) -> None:
        """Ask, as *said*."""
        talk.take()
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        head += f"tlsgate-as: {said}\r\n" if said else ""
        head += "Content-Type: application/json\r\n\r\n"
        talk.send(head.encode("latin-1") + body)

    def answered(self, talk: Conversation) -> tuple[int, Any]:
        """Status and JSON of what has come."""
        top, _, answer = talk.take().partition(b"\r\n\r\n")
        if b"chunked" in top.lower():
            answer = b"".join(answer.split(b"\r\n")[1::2])
        return int(top.split()[1]), json.loads(answer)


class HereTests(BesideCase):
    """Tests for `Here`."""

    def here(self, auth: Any) -> Conversation:
        """A connection to the socket beside *auth*."""
        return self.dial(Here(auth, self.cluster.clock, lambda: itself(NAME, "gw1")))

    def test_as_local(self) -> None:
        """Who may use the socket may do everything, under its user id; the daemon's stay."""
        talk = self.here(_Api(self.cluster.api))
        body = json.dumps({"target": {"user": "eve"}}).encode()
        status, made = self.ask(talk, "POST", "/v1/locks", body)
        self.assertEqual((status, made["kind"]), (200, "lock"), made)
        self.assertEqual(self.cluster.audit.events[-1][1]["user"], "local:990")
        self.assertEqual(self.ask(talk, "GET", "/v1/status")[0], 200)  # the daemon's own
        self.assertEqual(self.ask(talk, "GET", "/v1/nothing")[0], 404)

    def test_not_yours(self) -> None:
        """Anybody else is refused by both."""
        talk = self.here(_Api(self.cluster.api))
        self.uid = 1000
        for path in ("/v1/resources/role", "/v1/status"):
            self.assertEqual(self.ask(talk, "GET", path)[0], 403)

    def test_before_it_is_up(self) -> None:
        """Who asks right after an upgrade is answered once the auth service is there."""
        auth = _Api(None)
        talk = self.here(auth)
        self.assertEqual(self.ask(talk, "GET", "/v1/status")[0], 200)  # the daemon's own
        self.send(talk, "GET", "/v1/resources/role")
        self.cluster.clock.advance(1.0)
        self.assertEqual(talk.take(), b"")
        auth.api = self.cluster.api
        self.cluster.clock.advance(0.1)
        self.cluster.turn()
        self.assertEqual(self.answered(talk)[0], 200)

    def test_never_up(self) -> None:
        """Nobody waits for long."""
        talk = self.here(_Api(None))
        self.send(talk, "GET", "/v1/resources/role")
        for _ in range(int(WAIT_SECONDS * 10) + 1):
            self.cluster.clock.advance(0.1)
        status, said = self.answered(talk)
        self.assertEqual((status, said["error"]["reason"]), (503, "unreachable"))

    def test_gone_before_it_is_up(self) -> None:
        """For who has gone nobody waits."""
        talk = self.here(_Api(None))
        self.send(talk, "GET", "/v1/resources/role")
        talk.hang_up()
        self.cluster.clock.advance(0.1)
        self.assertEqual(self.cluster.clock.getDelayedCalls(), [])
        self.assertEqual(talk.take(), b"")

    def test_never_up_for_others(self) -> None:
        """Somebody else hears that at once."""
        talk = self.here(_Api(None))
        self.uid = 1000
        self.assertEqual(self.ask(talk, "GET", "/v1/resources/role")[0], 403)

    def test_the_process_before(self) -> None:
        """A process that drains asks by this socket as the gateway that it is."""
        talk = self.here(_Api(self.cluster.api))
        body = json.dumps({"boot": "ab" * 8, "started": 1.0, "mode_in_force": "separate"}).encode()
        path = "/v1/gateway/report"
        self.assertEqual(self.ask(talk, "POST", path, body, "gateway")[0], 200)
        for said in ("", "local 0", "anyone 192.0.2.1", "other"):
            self.assertEqual(self.ask(talk, "POST", path, body, said)[0], 403, said)
        self.ask(talk, "POST", "/v1/locks", b'{"target": {"user": "eve"}}', "local 0")
        self.assertEqual(self.cluster.audit.events[-1][1]["user"], "local:990")


class ThereTests(BesideCase):
    """Tests for `There`."""

    def setUp(self) -> None:
        super().setUp()
        self.door = FakeDoor()

    def talk(self) -> Conversation:
        door: Any = self.door
        return self.dial(There(door))

    def test_forwarded(self) -> None:
        """The question goes on as it is, with the user id; the answer comes as it is."""
        talk = self.talk()
        self.assertEqual(self.ask(talk, "GET", "/v1/resources/role?limit=2"), (200, {"items": []}))
        self.door.answer = (409, b'{"error": 1}')
        self.assertEqual(self.ask(talk, "PUT", "/v1/resources/x", b"{}"), (409, {"error": 1}))
        self.ask(talk, "PUT", "/v1/resources/x", b"{}", "gateway 192.0.2.1")
        self.ask(talk, "PUT", "/v1/resources/x", b"{}", "local 0")
        self.assertEqual(
            self.door.asked,
            [
                ("GET", "/v1/resources/role?limit=2", None, "local 990"),
                ("PUT", "/v1/resources/x", b"{}", "local 990"),
                ("PUT", "/v1/resources/x", b"{}", "gateway 192.0.2.1"),
                ("PUT", "/v1/resources/x", b"{}", "local 990"),
            ],
        )
        self.assertEqual(self.ask(talk, "GET", "/v1/status")[0], 200)
        self.assertEqual(len(self.door.asked), 4)

    def test_not_yours(self) -> None:
        """Who may not use the socket is refused, and nothing is asked."""
        self.uid = 1000
        status, said = self.ask(self.talk(), "GET", "/v1/resources/role")
        self.assertEqual((status, said["error"]["reason"]), (403, "access_denied"))
        self.assertEqual(self.door.asked, [])

    def test_failures(self) -> None:
        """Each failure is an answer in the API's form."""
        errors: list[tuple[GateError | RuntimeError, int]] = [
            (Unreachable("the auth service", "it is starting"), 503),
            (BadAsk("no path"), 400),
            (RuntimeError("bug"), 500),
        ]
        for error, want in errors:
            self.door.answer = error
            status, said = self.ask(self.talk(), "GET", "/v1/resources/role")
            self.assertEqual((status, set(said["error"])), (want, {"reason", "fault", "message"}))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_too_long(self) -> None:
        """A body that is too long is refused here."""
        status, _ = self.ask(self.talk(), "PUT", "/v1/resources/x", b"x" * ((1 << 20) + 1))
        self.assertEqual((status, self.door.asked), (413, []))

    def test_gone(self) -> None:
        """An answer for a client that has gone goes nowhere."""
        self.door.waiting = Deferred()
        talk = self.talk()
        talk.send(b"GET /v1/resources/role HTTP/1.1\r\nHost: x\r\n\r\n")
        talk.hang_up()
        self.door.waiting.callback(None)
        self.assertEqual(talk.take(), b"")
