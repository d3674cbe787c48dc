"""Tests for `tlsgate.protocols.web.page`, `picture` and `style`: what visitors see."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.protocols.web.auth import FakeAuth
from tests.protocols.web.clients import Answer, get, visit
from tlsgate import __version__, registry
from tlsgate.core.access import Kind, Rule
from tlsgate.core.routing import CertRule
from tlsgate.protocols.base import GateProtocol
from tlsgate.protocols.web.page import Way, standing, ways
from tlsgate.protocols.web.picture import draw
from tlsgate.protocols.web.protocol import Web
from tlsgate.testing import FakeCluster, FakeContext, connect, listener, route, settings

PROTOCOLS = registry.load(None).protocols

ROUTES = (
    route(
        name="secret-ledger",
        alpn=(b"demo-echo",),
        client_cert=CertRule.REQUIRED,
        allow=(Rule(Kind.CN, "alice-in-accounting"),),
        target="tcp:10.1.2.3:9003",
    ),
    route(
        name="vault",
        server_names=("vault.internal.example.com",),
        passthrough=True,
        target="tcp:10.0.0.5:8200",
    ),
    route(name="open", protocol="ssh", alpn=(b"my-ssh",), unsafe_anyone=True),
)

#: Elements without an end tag.
VOID = {"meta", "link", "br", "input", "path", "circle"}
#: Elements whose end tag may be left out.
OPTIONAL = {"tr", "td", "th", "dt", "dd", "p", "thead", "tbody", "li"}


class Reader(HTMLParser):
    """Collects tags and attributes, and checks that elements nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        while self.open[-1] != tag:
            left = self.open.pop()
            assert left in OPTIONAL, f"<{left}> is open at </{tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words += f" {data}"


def landing(**fields: Any) -> Answer:
    """The answer at "/" of a gate with such settings."""
    value = settings(**fields)
    return get(connect(Web(), FakeContext(settings=value, protocols=PROTOCOLS)), "/")


class LandingTests(SynchronousTestCase):
    """The landing page."""

    def test_says_what_it_is(self) -> None:
        """It names the cluster, the address, the version, what is served and to whom."""
        answer = landing(cluster_name="root.example.com", routes=ROUTES)
        self.assertEqual(
            (answer.code, answer.headers[b"content-type"]), (200, b"text/html; charset=utf-8")
        )
        words = " ".join(Reader(answer.body.decode()).words.split())
        for wanted in (
            "root.example.com",
            f"tlsgate {__version__}",
            "3080",
            "TCP ALPN demo-echo named certificates",
            "TLS passed through server name the server behind decides",
            "SSH ALPN my-ssh anyone",
        ):
            self.assertIn(wanted, words)

    def test_says_no_more(self) -> None:
        """Names of routes, people, servers and targets are not for visitors."""
        body = landing(routes=ROUTES).body
        for hidden in (b"secret-ledger", b"alice", b"10.1.2.3", b"8200", b"internal.example"):
            self.assertNotIn(hidden, body)

    def test_routes_can_be_left_out(self) -> None:
        """An operator who wants to say less sets `show_routes: no`."""
        web = Web()
        for written in ("no", False, "off"):
            own = web.settings({"show_routes": written})
            context = FakeContext(
                settings=settings(routes=ROUTES), protocols=PROTOCOLS, own_settings=own
            )
            self.assertNotIn(b"demo-echo", get(connect(web, context), "/").body)
        self.assertRaises(ValueError, web.settings, {"show_routes": "perhaps"})
        self.assertRaises(ValueError, web.settings, {"colour": "green"})

    def test_whole_in_itself(self) -> None:
        """Nothing is fetched from anywhere, nothing is run, and links stay here."""
        reader = Reader(landing(routes=ROUTES).body.decode())
        tags = {tag for tag, _, _ in reader.attributes}
        self.assertEqual(tags & {"script", "img", "iframe", "object", "form"}, set())
        for tag, name, value in reader.attributes:
            self.assertFalse(name.startswith("on") or name in ("src", "style"), (tag, name))
            if name == "href":
                assert value is not None
                self.assertTrue(value.startswith(("/webapi/", "data:image/svg+xml,")), value)

    def test_login(self) -> None:
        """Where people may log in, the page leads there; elsewhere it does not."""
        for there in (False, True):
            context = FakeContext(
                settings=settings(),
                protocols=PROTOCOLS,
                cluster=FakeCluster(door=FakeAuth()) if there else None,
            )
            body = get(connect(Web(), context), "/").body
            self.assertEqual(b'href="/web"' in body, there)

    def test_policy_allows_its_own_style(self) -> None:
        """The Content-Security-Policy names the digest of exactly the style in the page."""
        answer = landing()
        found = re.search(rb"<style>(.*?)</style>", answer.body, re.DOTALL)
        assert found is not None
        digest = base64.b64encode(hashlib.sha256(found[1]).digest())
        policy = answer.headers[b"content-security-policy"]
        self.assertIn(b"style-src 'sha256-" + digest + b"'", policy)
        self.assertTrue(policy.startswith(b"default-src 'none'; "))

    def test_headers(self) -> None:
        """The page goes in no frame, is not sniffed, and tells no version of the server."""
        headers = landing().headers
        self.assertEqual(
            {
                name: headers.get(name)
                for name in (
                    b"server",
                    b"x-frame-options",
                    b"x-content-type-options",
                    b"referrer-policy",
                    b"cache-control",
                )
            },
            {
                b"server": b"tlsgate",
                b"x-frame-options": b"DENY",
                b"x-content-type-options": b"nosniff",
                b"referrer-policy": b"no-referrer",
                b"cache-control": b"no-cache",
            },
        )

    def test_well_formed(self) -> None:
        """Elements nest, in every shape that the page takes."""
        for fields in (
            {},
            {"routes": ROUTES},
            {"listeners": (listener("web", "unix:/run/x.sock"),)},
            {
                "version": "v1",
                "listeners": (
                    listener("web", "tcp:3080"),
                    listener("ssh", "tcp:3023", "ssh"),
                    listener("mysql", "unix:/run/mysql.sock", "mysql"),
                    listener("gone", "tcp:3024", "gone"),
                ),
            },
        ):
            reader = Reader(landing(**fields).body.decode())
            self.assertEqual([tag for tag in reader.open if tag not in OPTIONAL], [])

    def test_separate_ports(self) -> None:
        """Each separate port is there, and whether it serves or only tells what to use."""
        ports = (
            listener("web", "tcp:3080"),
            listener("ssh", "tcp:3023:interface=10.0.0.1", "ssh"),
            listener("postgres", "tcp:5432", "postgres"),
        )
        served = route(protocol="postgres", listener="postgres", unsafe_anyone=True)
        for mode, told in (
            ("separate", "each for its own protocol"),
            ("multiplex", "still do not"),
        ):
            body = landing(mode=mode, listeners=ports, routes=(served,)).body.decode()
            words = " ".join(Reader(body).words.split())
            self.assertIn(told, words)
            self.assertIn("SSH 10.0.0.1:3023 , tells clients what to use instead", words)
            self.assertIn("PostgreSQL port 5432 Try it", words)

    def test_escaped(self) -> None:
        """What an operator wrote is text, whatever is in it."""
        odd = route(protocol="raw", alpn=(b"<b>&\xff\"'",), unsafe_anyone=True)
        body = landing(cluster_name="<i>&amp;\"'", routes=(odd,)).body
        self.assertNotIn(b'<i>&amp;"', body)
        self.assertIn(b"&lt;i&gt;&amp;amp;&quot;&#x27;", body)
        self.assertIn(b"&lt;b&gt;&amp;\\xff", body)

    def test_head(self) -> None:
        """HEAD gives the headers of GET, with its length, and no body."""
        for path in ("/", "/webapi/ping", "/nothing"):
            talk = visit()
            full = get(talk, path)
            talk.send(f"HEAD {path} HTTP/1.1\r\nHost: gw.test\r\n\r\n".encode())
            head = talk.take()
            self.assertTrue(head.endswith(b"\r\n\r\n"), path)
            self.assertIn(b"\r\nContent-Length: %d\r\n" % len(full.body), head)


class WayTests(SynchronousTestCase):
    """Tests for `ways`."""

    def test_each_kind_once(self) -> None:
        """Two routes that look alike to a visitor are one line."""
        twice = (*ROUTES[:1], *ROUTES[:1], *ROUTES[1:2])
        self.assertEqual(
            ways(twice),
            (
                Way("TCP", ("demo-echo",), False, "named certificates"),
                Way("TLS passed through", (), True, "the server behind decides", "behind"),
            ),
        )

    def test_for_whom(self) -> None:
        """Who may pass follows from the route's rule, and is loud where it is anyone."""
        for rule, allow, who, kind in (
            (CertRule.REQUIRED, (), "any certificate", ""),
            (CertRule.REQUIRED, (Rule(Kind.CN, "a"),), "named certificates", ""),
            (CertRule.OPTIONAL, (), "anyone", "open"),
            (CertRule.NONE, (), "anyone", "open"),
        ):
            [way] = ways([route(client_cert=rule, allow=allow)])
            self.assertEqual((way.who, way.kind), (who, kind))


class StandingTests(SynchronousTestCase):
    """Tests for `standing`: what needs no static route."""

    def test_drop_ins(self) -> None:
        """A drop-in is there by its token, where its clients' certificates can be checked."""

        class Lines(GateProtocol):
            name = "lines"
            alpn = (b"lines",)

        class Open(Lines):
            name = "open"
            client_cert = CertRule.NONE

        console = Way("Web and API", ("h2", "http/1.1"), False, "anyone", "plain")
        lines = Way("lines", ("lines",), False, "any certificate")
        free = Way("open", ("lines",), False, "anyone", "plain")
        auth = Way("Auth API", ("tlsgate-auth",), False, "the cluster's certificates")
        join = Way("Login and joining", ("tlsgate-join",), False, "anyone", "plain")
        shown = Way("Web certificate", ("tlsgate-webcert",), False, "anyone", "plain")
        both = (*PROTOCOLS.values(), Lines(), Open())
        checked = settings(client_ca_files=("ca.pem",))
        self.assertEqual(list(standing(checked, both)), [console, auth, join, shown, lines, free])
        self.assertEqual(list(standing(settings(), both)), [console, auth, join, shown, free])
        self.assertEqual(list(standing(settings(auth_enabled=False), both)), [console, free])


class PictureTests(SynchronousTestCase):
    """Tests for `draw`."""

    def test_many_ends(self) -> None:
        """A drawing stays readable: many ends become "and N more"."""
        drawn = draw([f"p{number}" for number in range(20)])
        self.assertIn("p5<", drawn)
        self.assertNotIn("p6<", drawn)
        self.assertIn("and 14 more", drawn)

    def test_escaped(self) -> None:
        """The name of a drop-in is text in the drawing too."""
        self.assertIn("&lt;x&gt;", draw(["<x>"]))


class ErrorTests(SynchronousTestCase):
    """Pages and documents for errors."""

    def test_not_found(self) -> None:
        """People get a page, programs JSON; neither repeats what was asked for."""
        for path in ("/nothing", "/index.php", "/%3Cscript%3E", "//webapi/ping", "/webapis/ping"):
            answer = get(visit(), path)
            self.assertEqual(answer.code, 404, path)
            self.assertIn(b"There is nothing at this address.", answer.body)
            self.assertIn(b"<h1>404</h1>", answer.body)
            self.assertNotIn(b"script", answer.body)
        for path in ("/webapi", "/webapi/", "/webapi/nothing", "/webapi/%2e%2e/", "/v1/x"):
            answer = get(visit(), path)
            self.assertEqual(
                (answer.code, answer.headers[b"content-type"]), (404, b"application/json"), path
            )
        for path in ("/webapi/ping/", "/webapi/find/", "/webapi/../webapi/find"):
            self.assertIn(get(visit(), path).code, (400, 404), path)

    def test_methods(self) -> None:
        """Nothing here can be changed: other methods get 405 with what is allowed."""
        for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW"):
            for path in ("/", "/webapi/ping", "/webapi/find"):
                answer = get(visit(), path, method=method)
                self.assertEqual(
                    (answer.code, answer.headers[b"allow"]), (405, b"GET, HEAD"), (method, path)
                )

    def test_options_of_everything(self) -> None:
        """`OPTIONS *` is for no resource of ours."""
        self.assertEqual(get(visit(), "*", method="OPTIONS").code, 405)

    def test_a_bug(self) -> None:
        """A page that fails is 500 with constant words, and a log entry."""
        context = FakeContext()

        def broken(name: object) -> None:
            raise ZeroDivisionError("hunter2")

        talk = visit(context=context)
        talk.protocol.site.getResourceFor = broken  # type: ignore[attr-defined]
        answer = get(talk, "/")
        self.assertEqual(answer.code, 500)
        self.assertNotIn(b"hunter2", answer.body)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
