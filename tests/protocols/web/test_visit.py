"""Tests for `tlsgate.protocols.web.visit`: what a connection may ask, and for how long."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.interfaces import IProtocolNegotiationFactory
from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.web.clients import H2Client, answers, get, visit
from tlsgate.core.routing import CertRule, RouteTable
from tlsgate.protocols.web.protocol import Web
from tlsgate.protocols.web.visit import BODY_LIMIT_BYTES, IDLE_SECONDS
from tlsgate.testing import FakeContext, connect, route, settings

#: The console's names, an application without certificates, two that demand one.
TABLE = RouteTable(
    (
        route(name="open", server_names=("open.test",), client_cert=CertRule.NONE),
        route(name="vault", server_names=("vault.test",), client_cert=CertRule.REQUIRED),
        route(name="ops", server_names=("*.ops.test",), client_cert=CertRule.REQUIRED),
        route(name="web", protocol="web", catch_all=True),
    ),
    public_names=frozenset({"gw.test"}),
)

#: Server names that lead to the console, and those Hosts that are of its class.
OF_THE_CONSOLE = [None, "gw.test", "elsewhere.test"]
HOSTS_OF_THE_CONSOLE = ["gw.test", "GW.test:3080", "elsewhere.test", "127.0.0.1", "[::1]:443"]
FOREIGN_HOSTS = [
    "open.test",
    "vault.test",
    "VAULT.test.",
    "vault.test:443",
    "a.ops.test",
    "B.ops.test:3080",
]


class S05Tests(SynchronousTestCase):
    """S05: a Host of another class than the connection's server name is answered 421."""

    def test_s05_http_1(self) -> None:
        """Over HTTP/1.1 every Host of another class is refused, before anything else."""
        for server_name in OF_THE_CONSOLE:
            for host in FOREIGN_HOSTS:
                for path in ("/", "/webapi/ping", "/nothing"):
                    answer = get(visit(server_name=server_name, table=TABLE), path, host)
                    self.assertEqual(answer.code, 421, (server_name, host, path))
            for host in HOSTS_OF_THE_CONSOLE:
                answer = get(visit(server_name=server_name, table=TABLE), "/webapi/ping", host)
                self.assertEqual(answer.code, 200, (server_name, host))

    def test_s05_http_2(self) -> None:
        """Over HTTP/2 the same holds for :authority, on each stream."""
        for server_name in OF_THE_CONSOLE:
            client = H2Client(visit(server_name=server_name, token=b"h2", table=TABLE))
            codes = [client.get("/webapi/ping", host).code for host in FOREIGN_HOSTS]
            self.assertEqual(codes, [421] * len(FOREIGN_HOSTS))
            codes = [client.get("/webapi/ping", host).code for host in HOSTS_OF_THE_CONSOLE]
            self.assertEqual(codes, [200] * len(HOSTS_OF_THE_CONSOLE))

    def test_s05_second_pipelined_request(self) -> None:
        """Every request of a connection is checked, not just the first."""
        talk = visit(server_name="gw.test", table=TABLE)
        talk.send(
            b"GET /webapi/find HTTP/1.1\r\nHost: gw.test\r\n\r\n"
            b"GET /webapi/find HTTP/1.1\r\nHost: vault.test\r\n\r\n"
            b"GET /webapi/find HTTP/1.1\r\nHost: gw.test\r\n\r\n"
        )
        self.assertEqual([answer.code for answer in answers(talk.received)], [200, 421, 200])

    def test_s05_absolute_target(self) -> None:
        """A URL on the request line cannot name another host than Host."""
        talk = visit(server_name="gw.test", table=TABLE)
        talk.send(b"GET https://vault.test/ HTTP/1.1\r\nHost: gw.test\r\n\r\n")
        self.assertEqual([answer.code for answer in answers(talk.received)], [400])

    def test_s05_two_names_of_one_wildcard(self) -> None:
        """Names under one wildcard are of one class, and not of the console's."""
        answer = get(visit(server_name="a.ops.test", table=TABLE), "/webapi/ping", "b.ops.test")
        self.assertEqual(answer.code, 200)
        answer = get(visit(server_name="a.ops.test", table=TABLE), "/webapi/ping", "gw.test")
        self.assertEqual(answer.code, 421)

    def test_s05_says_nothing_back(self) -> None:
        """The refusal repeats no byte of the request, in JSON where programs ask."""
        talk = visit(server_name="gw.test", table=TABLE)
        page = get(talk, "/%3Cscript%3E", "vault.test")
        self.assertNotIn(b"vault", page.body)
        self.assertNotIn(b"script", page.body)
        api = get(talk, "/webapi/ping", "vault.test")
        self.assertEqual(list(json.loads(api.body)), ["error"])


class AmbiguousTests(SynchronousTestCase):
    """Requests that leave open what they are for."""

    def test_refused(self) -> None:
        """Two Hosts, none, or an impossible one get 400 (RFC 9112 section 3.2)."""
        for head in (
            b"Host: gw.test\r\nHost: gw.test\r\n",
            b"Host: gw.test\r\nHost: vault.test\r\n",
            b"",
            b"Host:\r\n",
            b"Host: gw.test/vault\r\n",
        ):
            talk = visit(table=TABLE)
            talk.send(b"GET / HTTP/1.1\r\n" + head + b"\r\n")
            self.assertEqual([answer.code for answer in answers(talk.received)], [400], head)

    def test_http_2_without_a_path(self) -> None:
        """CONNECT over HTTP/2 has no path; it is refused and nothing breaks."""
        client = H2Client(visit(token=b"h2", table=TABLE))
        answer = client.ask([(b":method", b"CONNECT"), (b":authority", b"gw.test:443")])
        assert answer is not None
        self.assertEqual(answer.code, 405)
        self.assertEqual(client.get("/webapi/find").code, 200)


class DeadlineTests(SynchronousTestCase):
    """How long a connection may last without a whole request."""

    def test_dripping_header(self) -> None:
        """A header that comes byte by byte is cut off after `opening_seconds` in all."""
        context = FakeContext()
        talk = visit(context=context)
        for byte in b"GET / HTTP/1.1\r\nHost: gw.test\r\nX: aaaaaaaaaaa":
            talk.send(bytes([byte]))
            context.clock.advance(0.3)
        self.assertTrue(talk.aborted)
        self.assertEqual(context.clock.getDelayedCalls(), [])

    def test_silence(self) -> None:
        """Who asks nothing is cut off as well, over both versions."""
        for token in (None, b"http/1.1", b"h2"):
            context = FakeContext(token=token)
            talk = visit(context=context)
            context.clock.advance(10.1)
            self.assertTrue(talk.aborted, token)

    def test_the_listeners_own(self) -> None:
        """A listener's `opening_seconds` counts on it in place of the process's."""
        web = "web_listen_addr: 'localhost:0', listeners: {web: {timeouts: {opening_seconds: 2}}}"
        value = settings(f"version: v2\nproxy_service: {{{web}}}")
        for listener, ended in (("web", True), ("kube", False)):
            context = FakeContext(settings=value, listener=listener)
            talk = visit(context=context)
            context.clock.advance(2.1)
            self.assertEqual(talk.aborted, ended, listener)

    def test_second_request_has_a_deadline_too(self) -> None:
        """After an answer the same patience begins with the next request's first byte."""
        context = FakeContext()
        talk = visit(context=context)
        get(talk, "/webapi/find")
        context.clock.advance(60)
        self.assertFalse(talk.closed)
        talk.send(b"GET /")
        context.clock.advance(10.1)
        self.assertTrue(talk.aborted)

    def test_idle(self) -> None:
        """A connection that asks no more is closed in the end, and leaves no timer."""
        for token in (b"http/1.1", b"h2"):
            context = FakeContext(token=token)
            talk = visit(context=context)
            if token == b"h2":
                H2Client(talk).get("/webapi/find")
            else:
                get(talk, "/webapi/find")
            context.clock.advance(IDLE_SECONDS + 1)
            self.assertTrue(talk.closed, token)
            context.clock.advance(60)
            self.assertEqual(context.clock.getDelayedCalls(), [], token)

    def test_body(self) -> None:
        """A body is dropped, never kept; one that does not end closes the connection."""
        talk = visit()
        talk.send(
            b"POST /webapi/find HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 999999999\r\n\r\n"
        )
        talk.send(b"x" * (BODY_LIMIT_BYTES + 1), pieces=16384)
        self.assertTrue(talk.aborted)

    def test_small_body(self) -> None:
        """A method that is not served gets 405, its body notwithstanding."""
        talk = visit()
        talk.send(b"POST / HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 3\r\n\r\nabc")
        [answer] = answers(talk.take())
        self.assertEqual((answer.code, answer.headers[b"allow"]), (405, b"GET, HEAD"))
        self.assertEqual(get(talk, "/webapi/find").code, 200)


class SlowReaderTests(SynchronousTestCase):
    """Clients that ask and do not take the answers."""

    def test_pipelining_waits(self) -> None:
        """A full transport stops further answers, however many requests are there (S49)."""
        talk = visit()
        transport = talk.protocol.transport  # type: ignore[attr-defined]
        room = 40_000
        plain_write = transport.write

        def write(data: bytes) -> None:
            plain_write(data)
            if len(talk.received) > room:
                transport.producer.pauseProducing()

        transport.write = write
        talk.send(b"GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n" * 100)
        self.assertTrue(len(answers(talk.received)) < 10)
        self.assertEqual(transport.producerState, "paused")
        count = 0
        while wire := talk.take():
            count += len(answers(wire))
            transport.producer.resumeProducing()
        self.assertEqual(count, 100)
        self.assertEqual(transport.producerState, "producing")
        self.assertEqual(get(talk, "/webapi/find").code, 200)

    def test_s32_a_closed_window(self) -> None:
        """A client that takes no body costs nothing, is ended for its silence, or goes on."""
        for goes_on in (True, False):
            context = FakeContext(token=b"h2")
            plain, looks = context.clock.callLater, iter(range(1000))

            def counted(*args: Any, plain: Any = plain, looks: Any = looks) -> Any:
                if next(looks, None) is None:
                    raise AssertionError("it asks itself again and again")
                return plain(*args)

            context.clock.callLater = counted  # type: ignore[assignment]
            client = H2Client(visit(context=context))
            client.takes = False
            asked = [
                (b":method", b"GET"),
                (b":scheme", b"https"),
                (b":authority", b"gw.test"),
                (b":path", b"/"),
            ]
            streams = 0
            while len(client.ended) == streams:
                client.ask(asked)
                streams += 1
            for _ in range(100):
                context.clock.advance(0)
                client.pump()
            soon = [call for call in context.clock.getDelayedCalls() if call.getTime() <= 0]
            self.assertEqual(soon, [])
            if not goes_on:
                context.clock.advance(IDLE_SECONDS + 1)
                self.assertTrue(client.talk.closed)
                continue
            client.takes = True
            client.connection.increment_flow_control_window(1 << 20)
            for _ in range(100):
                client.pump()
                context.clock.advance(0)
            self.assertEqual(len(client.ended), streams)

    def test_client_asks_no_more(self) -> None:
        """Who ends its direction gets what it has asked for, and then the end."""
        for token in (b"http/1.1", b"h2"):
            context = FakeContext(token=token)
            talk = visit(context=context)
            if token == b"h2":
                H2Client(talk).get("/webapi/find")
            else:
                get(talk, "/webapi/find")
            talk.half_close()
            self.assertTrue(talk.closed, token)
            context.clock.advance(100)
            self.assertEqual(context.clock.getDelayedCalls(), [], token)

    def test_client_asks_no_more_and_is_slow(self) -> None:
        """What waits for a full transport is answered before the end."""
        talk = visit()
        transport = talk.protocol.transport  # type: ignore[attr-defined]
        plain_write = transport.write

        def write(data: bytes) -> None:
            plain_write(data)
            transport.producer.pauseProducing()

        transport.write = write
        talk.send(b"GET /webapi/find HTTP/1.1\r\nHost: gw.test\r\n\r\n" * 3)
        talk.half_close()
        count = 0
        while wire := talk.take():
            count += len(answers(wire))
            if not talk.closed:
                transport.producer.resumeProducing()
        self.assertEqual((count, talk.closed), (3, True))

    def test_pipelining_cut_anywhere(self) -> None:
        """Pipelined requests are answered in order, however the network cuts them."""
        wire = b"".join(
            b"GET %s HTTP/1.1\r\nHost: gw.test\r\n\r\n" % path
            for path in (b"/webapi/find", b"/x", b"/webapi/x", b"/webapi/ping")
        )
        for pieces in (1, 2, 3, 7, 50, 1000):
            talk = visit()
            talk.send(wire, pieces=pieces)
            codes = [answer.code for answer in answers(talk.received)]
            self.assertEqual(codes, [200, 404, 404, 200])


class ReloadTests(SynchronousTestCase):
    """What connections of two configurations have in common: nothing."""

    def test_each_its_own_settings(self) -> None:
        """After a reload new connections see the new settings, old ones keep theirs."""
        web = Web()
        old = connect(web, FakeContext(settings=settings(cluster_name="old")))
        new = connect(web, FakeContext(settings=settings(cluster_name="new")))
        names = [json.loads(get(talk, "/webapi/find").body)["cluster_name"] for talk in (old, new)]
        self.assertEqual(names, ["old", "new"])

    def test_one_site(self) -> None:
        """Connections of one configuration share what is made from it."""
        web, value = Web(), settings()
        sites = [web.build(FakeContext(settings=value)).site for _ in range(3)]  # type: ignore[attr-defined]
        self.assertEqual(len(set(map(id, sites))), 1)

    def test_tokens_are_the_dispatchers(self) -> None:
        """The factory lists no ALPN tokens, so Twisted leaves the context alone."""
        self.assertFalse(IProtocolNegotiationFactory.providedBy(Web().build(FakeContext())))
