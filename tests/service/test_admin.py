"""Tests for `service.admin`: the admin socket's answers, without a socket."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

from attrs import define, field
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Site
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.support import daemon
from tests.support.daemon import CONNECTIONS, LISTENERS, RELOADED, STATUS, AnsweringDaemon
from tlsgate.errors import BadSettings, Place, Problem, ReloadRefused
from tlsgate.interfaces import IAudit, IDaemon
from tlsgate.service.admin import AdminApi

OWNER = 990


class _Handle:
    """A socket whose peer is *uid*."""

    def __init__(self, uid: int) -> None:
        self.uid = uid

    def getsockopt(self, level: int, name: int, size: int) -> bytes:
        assert (level, name) == (socket.SOL_SOCKET, socket.SO_PEERCRED)
        return struct.pack("=iII", 1, self.uid, 100)


class _Transport(StringTransport):
    def __init__(self, uid: int) -> None:
        super().__init__()
        self.handle = _Handle(uid)

    def getHandle(self) -> _Handle:
        return self.handle


@implementer(IAudit)
@define
class _Audit:
    events: list[tuple[str, dict[str, object]]] = field(factory=list)

    def emit(self, event: str, fields: Any) -> None:
        self.events.append((event, dict(fields)))


class AdminApiTests(SynchronousTestCase):
    """Tests for `AdminApi`."""

    def setUp(self) -> None:
        self.daemon = AnsweringDaemon()
        self.audit = _Audit()
        self.site = Site(AdminApi(self.daemon, self.audit, owner=OWNER))
        self.site.log = lambda request: None  # type: ignore[method-assign]

    def dial(self, uid: int = OWNER) -> tuple[Any, _Transport]:
        transport = _Transport(uid)
        protocol = self.site.buildProtocol(None)
        assert protocol is not None
        protocol.makeConnection(transport)
        return protocol, transport

    def ask(self, method: str, path: str, uid: int = OWNER) -> tuple[int, Any, bytes]:
        protocol, transport = self.dial(uid)
        line = f"{method} {path} HTTP/1.1\r\nHost: tlsgate\r\nConnection: close\r\n\r\n"
        protocol.dataReceived(line.encode())
        return self.answer(transport)

    def answer(self, transport: _Transport) -> tuple[int, Any, bytes]:
        head, _, body = transport.value().partition(b"\r\n\r\n")
        if b"transfer-encoding: chunked" in head.lower():
            size, _, rest = body.partition(b"\r\n")
            body = rest[: int(size, 16)]
        return int(head.split()[1]), json.loads(body), head

    def test_the_double_is_a_daemon(self) -> None:
        """The daemon that these tests use offers what the interface asks for."""
        self.assertTrue(verifyObject(IDaemon, self.daemon))

    def test_reads(self) -> None:
        """Each GET gives what the daemon says."""
        for path, value in (
            ("/v1/status", STATUS),
            ("/v1/listeners", LISTENERS),
            ("/v1/connections", CONNECTIONS),
        ):
            self.assertEqual(self.ask("GET", path)[:2], (200, value))
        self.assertEqual(self.audit.events, [])

    def test_reload(self) -> None:
        """A reload gives what changed and is audited under the user who asked."""
        self.assertEqual(self.ask("POST", "/v1/reload")[:2], (200, RELOADED))
        self.assertEqual(
            self.audit.events,
            [("admin.reload", {"identity": f"local:{OWNER}", "outcome": "done"})],
        )

    def test_root_may_ask(self) -> None:
        """Root may ask whoever the daemon's user is."""
        self.assertEqual(self.ask("POST", "/v1/upgrade", uid=0)[0], 200)
        self.assertEqual(self.audit.events[0][1]["identity"], "local:0")

    def test_others_may_not(self) -> None:
        """Another user learns nothing and changes nothing."""
        for method, path in (("GET", "/v1/status"), ("POST", "/v1/reload"), ("GET", "/x")):
            status, value, _ = self.ask(method, path, uid=OWNER + 1)
            self.assertEqual((status, value["error"]["reason"]), (403, "door_closed"))
        self.assertEqual(self.daemon.asked, [])

    def test_explain(self) -> None:
        """The question's fields reach the daemon; an absent one is None or the web listener."""
        self.ask("GET", "/v1/explain?listener=ssh&sni=gw.test&alpn=h2,http/1.1&cert=PEM%2B")
        self.ask("GET", "/v1/explain")
        self.assertEqual(
            self.daemon.asked,
            [
                ("explain", "ssh", "gw.test", ("h2", "http/1.1"), "PEM+"),
                ("explain", "web", None, (), None),
            ],
        )

    def test_a_field_given_twice(self) -> None:
        """A question that says a thing twice is refused, not half read."""
        status, value, _ = self.ask("GET", "/v1/explain?sni=a&sni=b")
        self.assertEqual((status, value["error"]["message"]), (409, "sni is given 2 times"))

    def test_unknown_path_and_method(self) -> None:
        """What is not there is 404; a wrong method is told the right one."""
        self.assertEqual(self.ask("GET", "/v1/nothing")[0], 404)
        status, _, head = self.ask("GET", "/v1/reload")
        self.assertEqual(status, 405)
        self.assertIn(b"Allow: POST", head)
        self.assertEqual(self.daemon.asked, [])

    def test_refused_reload(self) -> None:
        """A refusal of the daemon's keeps its reason, fault and sentence, and is audited."""
        self.daemon.error = ReloadRefused(["data_dir cannot change"])
        status, value, _ = self.ask("POST", "/v1/reload")
        self.assertEqual(status, 409)
        self.assertEqual(
            value,
            {
                "error": {
                    "reason": "reload_refused",
                    "fault": "operator",
                    "message": "reload refused, the running configuration stays: "
                    "data_dir cannot change",
                }
            },
        )
        self.assertEqual(self.audit.events[0][1]["outcome"], "reload_refused")

    def test_problems_keep_their_places(self) -> None:
        """Each problem of a bad file arrives with its place."""
        self.daemon.error = BadSettings([Problem(Place("g.yaml", 3, 5), "version", "is v9")])
        self.assertEqual(
            self.ask("POST", "/v1/reload")[1]["error"]["problems"],
            [{"file": "g.yaml", "line": 3, "column": 5, "path": "version", "message": "is v9"}],
        )

    def test_a_bug_tells_nothing(self) -> None:
        """An exception that is not ours is logged; the answer carries none of its text."""
        self.daemon.error = RuntimeError("secret")
        status, value, _ = self.ask("GET", "/v1/status")
        self.assertEqual((status, value["error"]["fault"]), (500, "gate"))
        self.assertNotIn("secret", json.dumps(value))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_an_answer_that_is_no_json(self) -> None:
        """A daemon that answers with something else has a bug; nobody waits for ever."""
        self.patch(daemon, "STATUS", {"what": object()})
        self.assertEqual(self.ask("GET", "/v1/status")[0], 500)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_names_that_are_no_text(self) -> None:
        """Bytes of a path that are not UTF-8 arrive as they are kept."""
        self.patch(daemon, "STATUS", {"file": b"/\xff".decode("utf-8", "surrogateescape")})
        self.assertEqual(self.ask("GET", "/v1/status")[1], {"file": "/\udcff"})

    def test_changes_take_turns(self) -> None:
        """A second reload starts when the first has ended."""
        self.daemon.slow = True
        waiting = self.daemon.waiting
        transports = []
        for _ in range(2):
            protocol, transport = self.dial()
            protocol.dataReceived(b"POST /v1/reload HTTP/1.0\r\n\r\n")
            transports.append(transport)
        self.assertEqual(len(waiting), 1)
        waiting[0].callback(None)
        self.assertEqual(len(waiting), 2)
        self.assertEqual(self.answer(transports[0])[0], 200)
        self.assertEqual(transports[1].value(), b"")
        waiting[1].callback(None)
        self.assertEqual(self.answer(transports[1])[0], 200)

    def test_a_client_that_goes_away(self) -> None:
        """The change goes on to its end when tgctl is interrupted; nothing is written."""
        self.daemon.slow = True
        protocol, transport = self.dial()
        protocol.dataReceived(b"POST /v1/reload HTTP/1.0\r\n\r\n")
        protocol.connectionLost(Failure(ConnectionDone()))
        self.daemon.waiting[0].callback(None)
        self.assertEqual(transport.value(), b"")
        self.assertEqual(self.audit.events[0][1]["outcome"], "done")
