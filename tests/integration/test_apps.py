"""HTTP applications through gateway and agent, with real servers behind and real clients."""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import itertools
import json
import os
import re
import socket
import ssl
import subprocess
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests.support.agent import AgentCase
from tests.support.child import program, until
from tests.support.cluster import Holder
from tests.support.harness import CLIENT_SECONDS, GateCase
from tests.support.servers import Haproxy, Nginx
from tests.support.webapps import Shower

VECTORS = Path(__file__).parents[1] / "vectors" / "http" / "requests.json"
FILE_BYTES = 24 * 1024 * 1024
UPGRADE = (
    b"GET %b HTTP/1.1\r\nHost: shower.gw.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SPELLINGS = (
    *("x-tlsgate-user", "X_Tlsgate_User", "X.Tlsgate.User", "x-Forwarded-FOR", "X_Real_Ip"),
    *(
        "x!tlsgate!user",
        "X~Tlsgate~Roles",
        "x-tlsgate-jwt-assertion",
        "X-Webauth-User",
        "Remote_User",
    ),
)
BROWSER = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
FORM = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
SHOWER = "shower.gw.test"


class House:
    """One cluster with an agent in front of three servers, and two people."""

    def __init__(self) -> None:
        case = self.case = AgentCase()
        atexit.register(case.doCleanups)
        self.files = case.folder()
        self.files.chmod(0o755)
        content = os.urandom(1 << 20) * (FILE_BYTES >> 20)
        (self.files / "file").write_bytes(content)
        (self.files / "file").chmod(0o644)
        self.digest = hashlib.sha256(content).hexdigest()
        self.shower = Shower()
        self.shower.start()
        case.addCleanup(self.shower.stop)
        self.nginx = case.serve(
            Nginx(f"root {self.files}; location /seen {{ return 200 $http_x_tlsgate_user; }}")
        )
        self.haproxy = case.serve(
            Haproxy(
                "frontend page\n  mode http\n  bind 127.0.0.1:PORT\n"
                f"  default_backend shower\nbackend shower\n  mode http\n"
                f"  server one 127.0.0.1:{self.shower.port}\n"
            )
        )
        self.gate = case.cluster()
        shown = f"http://127.0.0.1:{self.shower.port}"
        apps: list[dict[str, Any]] = [
            {"name": "shower", "uri": shown, "rewrite": {"redirect": ["127.0.0.1"]}},
            {"name": "files", "uri": f"http://127.0.0.1:{self.nginx.port}"},
            {"name": "proxied", "uri": f"http://127.0.0.1:{self.haproxy.port}"},
            {
                "name": "named",
                "uri": shown,
                "public_addr": "named.example.test",
                "rewrite": {"headers": ["X-Login: {{internal.logins}}", "Host: inner.test"]},
            },
            {"name": "secret", "uri": shown, "labels": {"env": "secret"}},
        ]
        role = {
            "kind": "role",
            "version": "v7",
            "metadata": {"name": "few"},
            "spec": {"allow": {"app_labels": {"env": "other"}}},
        }
        self.gate.admin("PUT", "/v1/resources/role/few", role)
        self.agent = case.agent(self.gate, "apps1", apps=apps)
        case.add_user(self.gate, "ann", ["access"], logins=["root"])
        case.add_user(self.gate, "bob", ["few"])
        case.add_user(self.gate, "cyd", ["access"])
        self.people = itertools.count(1)
        self.ann = case.sign(self.gate, "ann")
        self.bob = case.sign(self.gate, "bob")
        self.cyd = case.sign(self.gate, "cyd")


def corpus() -> list[dict[str, Any]]:
    """The messages; last those whose beginning reaches a target, which may tell of it later."""
    cases: list[dict[str, Any]] = json.loads(VECTORS.read_text())["cases"]
    return sorted(cases, key=lambda case: bool(case["name"].startswith("chunk-")))


@functools.cache
def house() -> House:
    """The one of this process."""
    return House()


class AppsTests(GateCase):
    """What users with certificates get."""

    def setUp(self) -> None:
        self.house = house()
        self.addCleanup(self.no_bugs)
        self.port = self.house.gate.port()

    def no_bugs(self) -> None:
        """Neither process has met one."""
        for one in (self.house.gate, self.house.agent):
            self.assertEqual(one.bugs(), [], one.child.tail())

    def curl(
        self, url: str, *more: str | Path, who: Holder | None = None, status: int = 200
    ) -> bytes:
        """The body that curl gets of an application."""
        who = who or self.house.ann
        done = subprocess.run(
            (
                *(program("curl", "curl"), "-sSk", "--max-time", str(CLIENT_SECONDS)),
                *("-w", "%{stderr}%{http_code}"),
                *("--connect-to", f"::127.0.0.1:{self.port}"),
                *("--cert", who.cert, "--key", who.key, *more, url),
            ),
            capture_output=True,
            check=False,
        )
        self.assertEqual((done.stderr.decode()[-3:], done.returncode), (str(status), 0), done)
        return done.stdout

    def dial(
        self, name: str = "shower.gw.test", who: Holder | None = None, alpn: str = "http/1.1"
    ) -> ssl.SSLSocket:
        """A connection of somebody's to an application."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        who = who or self.house.ann
        context.load_cert_chain(who.cert, who.key)
        context.set_alpn_protocols([alpn])
        raw = socket.create_connection(("127.0.0.1", self.port), CLIENT_SECONDS)
        return context.wrap_socket(raw, server_hostname=name)

    def said(self, raw: bytes, name: str = SHOWER, who: Holder | None = None) -> bytes:
        """What comes for *raw* until the connection ends."""
        with self.dial(name, who) as connection:
            found = b""
            with contextlib.suppress(ConnectionError):
                connection.sendall(raw)
            with contextlib.suppress(ConnectionError):
                while piece := connection.recv(65536):
                    found += piece
            return found

    def test_files(self) -> None:
        """nginx's files come whole and in ranges, over both versions of HTTP."""
        for version in ("--http1.1", "--http2"):
            whole = self.curl("https://files.gw.test/file", version)
            self.assertEqual(hashlib.sha256(whole).hexdigest(), self.house.digest)
            part = self.curl("https://files.gw.test/file", version, "-r", "1000-1999", status=206)
            self.assertEqual(part, whole[1000:2000])
            self.curl("https://files.gw.test/nothing", version, status=404)
            self.assertEqual(self.curl("https://files.gw.test/file", version, "-I")[:4], b"HTTP")

    def test_bodies(self) -> None:
        """Bodies go up counted and in chunks, long and empty, behind HAProxy too."""
        body = os.urandom(3 << 20)
        file = self.folder() / "body"
        file.write_bytes(body)
        for version in ("--http1.1", "--http2"):
            for more in ((), ("-H", "Transfer-Encoding: chunked", "-H", "Expect:")):
                for name in ("shower", "proxied"):
                    url = f"https://{name}.gw.test/echo"
                    said = self.curl(url, version, *more, "--data-binary", f"@{file}")
                    self.assertEqual(said, body)
            self.assertEqual(self.curl("https://shower.gw.test/echo", version, "-d", ""), b"")
            lines = self.curl("https://shower.gw.test/stream?50", version).split()
            self.assertEqual(lines, [b"%d" % number for number in range(50)])
            self.curl("https://shower.gw.test/empty", version, status=204)
            self.assertEqual(
                self.curl("https://shower.gw.test/until-close", version), b"until the end"
            )
            self.curl("https://shower.gw.test/drop", version, status=502)

    def test_kept_after_bulk(self) -> None:
        """Big bodies, aborted ones and slow readers beside them, leave connections as they were."""
        get = b"GET /file HTTP/1.1\r\nHost: files.gw.test\r\n\r\n"
        post = b"POST /echo HTTP/1.1\r\nHost: shower.gw.test\r\nContent-Length: %d\r\n\r\n"
        body = os.urandom(1 << 20) * 3
        with self.dial("files.gw.test") as slow, self.dial("files.gw.test") as down:
            slow.sendall(get)
            for _ in range(2):
                with self.dial("files.gw.test") as gone:
                    gone.sendall(get)
                    gone.recv(65536)
                with self.dial() as gone:
                    gone.sendall(post % len(body) + body[:100_000])
                for _ in range(2):
                    down.sendall(get)
                    self.assertEqual(self.digest_of(down), self.house.digest)
                with self.dial() as up:
                    for _ in range(2):
                        up.sendall(post % len(body) + body)
                        self.assertEqual(self.digest_of(up), hashlib.sha256(body).hexdigest())
            # Asked for what comes next before anything of the first was read.
            slow.sendall(get)
            for _ in range(2):
                self.assertEqual(self.digest_of(slow), self.house.digest)

    def digest_of(self, connection: ssl.SSLSocket) -> str:
        """Read one answer and no byte more; give its body's hash."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            piece = connection.recv(1)
            self.assertTrue(piece, head)
            head += piece
        self.assertTrue(head.startswith(b"HTTP/1.1 200 "), head)
        left = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        found = hashlib.sha256()
        while left:
            piece = connection.recv(min(left, 65536))
            self.assertTrue(piece, left)
            found.update(piece)
            left -= len(piece)
        return found.hexdigest()

    def test_slow_body(self) -> None:
        """A body that drips in reaches the application as it comes."""
        with self.dial() as connection:
            connection.sendall(
                b"POST /echo HTTP/1.1\r\nHost: shower.gw.test\r\nContent-Length: 5\r\n"
                b"Expect: 100-continue\r\n\r\n"
            )
            self.assertEqual(connection.recv(4096), b"HTTP/1.1 100 Continue\r\n\r\n")
            for piece in b"hello":
                connection.sendall(bytes([piece]))
            answer = connection.recv(4096)
        self.assertTrue(answer.endswith(b"hello"), answer)

    def test_who(self) -> None:
        """The application reads who it is and nothing that the client says in our name (S21)."""
        more = [word for name in SPELLINGS for word in ("-H", f"{name}: evil")]
        named = "Connection: x-tlsgate-user, x-forwarded-for"
        for version in ("--http1.1", "--http2"):
            extra = ("-H", named) if version == "--http1.1" else ()
            said = json.loads(self.curl("https://shower.gw.test/", version, *more, *extra))
            fields = said["fields"]
            self.assertNotIn("evil", [value for _, value in fields])
            self.assertIn(["x-tlsgate-user", "ann"], fields)
            self.assertIn(["x-forwarded-for", "127.0.0.1"], fields)
            self.assertEqual(self.curl("https://files.gw.test/seen", version, *more), b"ann")

    def test_rules(self) -> None:
        """A name of its own, the operator's fields, and redirects that stay outside."""
        said = json.loads(self.curl("https://named.example.test/"))
        self.assertIn(["x-login", "root"], said["fields"])
        self.assertIn(["host", "inner.test"], said["fields"])
        head = self.curl("https://shower.gw.test/redirect", "-i", status=302)
        self.assertIn(b"location: https://shower.gw.test/next\r\n", head)
        cookies = self.curl("https://shower.gw.test/cookie", "-i")
        self.assertIn(b"set-cookie: a=1\r\n", cookies)
        self.assertNotIn(b"__Host-tlsgate", cookies)

    def test_denied(self) -> None:
        """Without a role the sentence says so, and the application hears nothing."""
        before = len(self.house.shower.requests)
        for version in ("--http1.1", "--http2"):
            said = self.curl("https://secret.gw.test/", version, who=self.house.bob, status=403)
            self.assertIn("bob may not reach app secret", json.loads(said)["error"]["message"])
            page = self.curl(
                "https://secret.gw.test/",
                *(version, "-H", "Accept: text/html"),
                who=self.house.bob,
                status=403,
            )
            self.assertIn(b"<h1>403 Forbidden</h1>", page)
            self.curl("https://nothing.gw.test/", version, status=404)
        self.assertEqual(len(self.house.shower.requests), before)

    def test_other_name(self) -> None:
        """Every request is for the connection's own name, the second one too (S05)."""
        good = b"GET / HTTP/1.1\r\nHost: shower.gw.test\r\n\r\n"
        for name in (b"files.gw.test", b"gw.test", b"named.example.test"):
            bad = good.replace(b"shower.gw.test", name)
            said = self.said(good + bad + good)
            self.assertEqual(said.count(b"HTTP/1.1 200 OK"), 1)
            self.assertEqual(said.count(b"HTTP/1.1 421 Misdirected Request"), 1)
        with self.dial("gw.test") as connection:
            connection.sendall(good + b"")
            self.assertIn(b" 421 ", connection.recv(4096).partition(b"\r\n")[0])

    def test_corpus(self) -> None:
        """Of what two readers could take for two things, nothing reaches anybody (S25)."""
        for case in corpus():
            if not case["refused"]:
                continue
            before = len(self.house.shower.requests)
            raw = case["raw"].encode("latin-1")
            after = b"GET /after HTTP/1.1\r\nHost: shower.gw.test\r\nConnection: close\r\n\r\n"
            said = self.said(raw + after)
            heard = [one[:2] for one in self.house.shower.requests[before:]]
            self.assertNotIn(("GET", "/smuggled"), heard, case["name"])
            self.assertNotIn(("GET", "/after"), heard, case["name"])
            # A body that breaks off later has begun to leave.
            self.assertEqual(said.count(b" 200 "), 0, (case["name"], said))
            if not case["name"].startswith("chunk-"):
                self.assertEqual((heard, said[:12]), ([], b"HTTP/1.1 400"), case["name"])

    def test_differential(self) -> None:
        """nginx, HAProxy and h11 see as many requests as they have answered, none inside (S25)."""
        log = self.house.nginx.folder / "access.log"

        def seen(name: str, start: int) -> list[bytes]:
            if name != "files.gw.test":
                return [one[1].encode() for one in self.house.shower.requests[start:]]
            lines = log.read_bytes()[start:].splitlines()
            return [one.split(b'"')[1].split(b" ")[1] for one in lines]

        def logged(name: str, start: int, count: int) -> bool:
            return len(seen(name, start)) >= count

        both, answers = ("files.gw.test", "proxied.gw.test"), 0
        three = (*both, SHOWER)
        for number, case in enumerate(corpus()):
            # A body that goes wrong has begun to leave; its connection ended then.
            cut = case["refused"] and case["name"].startswith("chunk-")
            # Of what is refused before it leaves, both would see the same nothing.
            for name in both[1:] if cut else both[number % 2 :][:1] if case["refused"] else three:
                heard = len(self.house.shower.requests)
                start = log.stat().st_size if name == "files.gw.test" else heard
                raw = case["raw"].encode("latin-1").replace(SHOWER.encode(), name.encode())
                after = b"GET /after HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n"
                said = self.said(raw + after % name.encode(), name)
                answered = said.count(b"HTTP/1.1 ") - said.count(b"server: tlsgate\r\n")
                # nginx writes its log when the answer has left.
                until(functools.partial(logged, name, start, answered), "the log")
                found = seen(name, start)
                if not cut:
                    self.assertEqual(len(found), answered, (case["name"], name, found, said))
                self.assertNotIn(b"/smuggled", found, (case["name"], name))
                if case["refused"]:
                    self.assertEqual(answered, 0, (case["name"], name, said))
                    self.assertNotIn(b"/after", found, (case["name"], name))
                answers += answered
        self.assertGreater(answers, 20)

    def test_pipelines_of_two(self) -> None:
        """Two people, many requests at once over a slow target: each reads their own (S26)."""
        count = 300
        found: dict[str, bytes] = {}

        def ask(user: str, who: Holder) -> None:
            raw = b"".join(
                b"GET /%b?%b HTTP/1.1\r\nHost: shower.gw.test\r\nX-Id: %b-%d\r\n%b\r\n"
                % (
                    *((b"slow", b"1") if number % 100 == 0 else (b"n", b"%d" % number)),
                    *(user.encode(), number),
                    b"Connection: close\r\n" if number == count - 1 else b"",
                )
                for number in range(count)
            )
            found[user] = self.said(raw, who=who)

        both = {"ann": self.house.ann, "cyd": self.house.cyd}
        threads = [threading.Thread(target=ask, args=one, daemon=True) for one in both.items()]
        for one in threads:
            one.start()
        for one in threads:
            one.join(CLIENT_SECONDS)
        for user in both:
            said = found[user].decode()
            pieces = [
                json.loads("{" + each.partition("{")[2].partition("}")[0] + "}")
                for each in said.split("HTTP/1.1 200 OK")[1:]
            ]
            fields = [dict(one["fields"]) for one in pieces]
            self.assertEqual([one["x-id"] for one in fields], [f"{user}-{n}" for n in range(count)])
            self.assertEqual({one["x-tlsgate-user"] for one in fields}, {user})

    def test_who_by_websocket(self) -> None:
        """Nor at the request that a WebSocket begins with (S21)."""
        evil = b"".join(b"%b: evil\r\n" % one.encode() for one in SPELLINGS)
        with self.dial() as connection:
            connection.sendall((UPGRADE % b"/ws")[:-2] + evil + b"\r\n")
            self.assertIn(b" 101 ", connection.recv(4096))
        target, fields = self.house.shower.requests[-1][1:]
        self.assertEqual(target, "/ws")
        self.assertNotIn("evil", [value for _, value in fields])
        self.assertIn(("x-tlsgate-user", "ann"), fields)

    def test_pipeline(self) -> None:
        """Answers come in the order of the requests, each its own (S26)."""
        wanted = [b"/n?%d" % number for number in range(100)]
        raw = b"".join(b"GET %b HTTP/1.1\r\nHost: shower.gw.test\r\n\r\n" % one for one in wanted)
        last = b"GET /last HTTP/1.1\r\nHost: shower.gw.test\r\nConnection: close\r\n\r\n"
        said = self.said(raw + last).decode()
        found = [piece.partition('"')[0] for piece in said.split('"target": "')[1:]]
        self.assertEqual(found, [*(one.decode() for one in wanted), "/last"])

    def test_kept(self) -> None:
        """Connections to the target are kept, and each person has others."""
        before = self.house.shower.connections
        for _ in range(5):
            self.curl("https://shower.gw.test/")
        self.assertLessEqual(self.house.shower.connections - before, 1)

    def test_websocket(self) -> None:
        """After a 101 that fits, bytes are carried; what came behind the request as well."""
        for _ in range(2):
            with self.dial() as connection:
                connection.sendall(UPGRADE % b"/ws" + b"early")
                said = b""
                while b"helloearly" not in said:
                    piece = connection.recv(4096)
                    self.assertTrue(piece, said)
                    said += piece
                self.assertTrue(said.startswith(b"HTTP/1.1 101 Switching Protocols\r\n"))
                sent = os.urandom(20_000)
                connection.sendall(sent)
                said = b""
                while len(said) < len(sent):
                    said += connection.recv(65536)
                self.assertEqual(said, sent)

    def test_websocket_refused(self) -> None:
        """A 101 with another hash is none, and nothing of the client's goes on (S27)."""
        said = self.said(UPGRADE % b"/badws" + b"early")
        self.assertEqual(said[:12], b"HTTP/1.1 502")

    def test_ends_with_lock(self) -> None:
        """A lock on the user ends a WebSocket within a second, and lets no request through."""
        self.house.case.add_user(self.house.gate, "eve", ["access"])
        eve = self.house.case.sign(self.house.gate, "eve")
        with self.dial(who=eve) as connection:
            connection.sendall(UPGRADE % b"/ws")
            self.assertIn(b" 101 ", connection.recv(4096))
            lock = {"target": {"user": "eve"}, "message": "gone"}
            self.house.gate.admin("POST", "/v1/locks", lock)
            connection.settimeout(2)
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                while connection.recv(4096):
                    pass
        with contextlib.suppress(OSError), self.dial(who=eve) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: shower.gw.test\r\n\r\n")
            self.assertNotIn(b" 200 ", connection.recv(4096))

    def test_nobody(self) -> None:
        """Without certificate and cookie a program is told to log in; a page goes there."""
        for accept, start in ((b"*/*", b"HTTP/1.1 401 "), (b"text/html", b"HTTP/1.1 302 ")):
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            raw = socket.create_connection(("127.0.0.1", self.port), CLIENT_SECONDS)
            with context.wrap_socket(raw, server_hostname="shower.gw.test") as connection:
                connection.sendall(
                    b"GET / HTTP/1.1\r\nHost: shower.gw.test\r\nAccept: %b\r\n"
                    b"Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n\r\n" % accept
                )
                self.assertTrue(connection.recv(4096).startswith(start))


class SessionsTests(GateCase):
    """What a session's cookie is good for; the browser is played."""

    def setUp(self) -> None:
        self.house = house()
        self.jars: dict[str, dict[str, str]] = {}
        self.user = f"zoe{next(self.house.people)}"
        self.person = self.house.case.add_user(self.house.gate, self.user, ["access"])

    def ask(
        self,
        url: str,
        form: dict[str, str] | None = None,
        who: Holder | None = None,
        more: Any = (),
    ) -> tuple[int, str, str]:
        """Status, Location and body, with this browser's cookies."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        jar = self.jars.setdefault(host, {})
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if who is not None:
            context.load_cert_chain(who.cert, who.key)
        spoken = HTTPConnection(host, timeout=CLIENT_SECONDS)
        raw = socket.create_connection(("127.0.0.1", self.house.gate.port()), CLIENT_SECONDS)
        spoken.sock = context.wrap_socket(raw, server_hostname=host)
        headers = {**BROWSER, **(FORM if form is not None else {}), **dict(more)}
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in jar.items())
        with contextlib.closing(spoken):
            spoken.request(
                "GET" if form is None else "POST",
                url.partition(host)[2].lstrip(":0123456789") or "/",
                None if form is None else urlencode(form),
                headers,
            )
            answer = spoken.getresponse()
            for cookie in answer.headers.get_all("Set-Cookie", []):
                name, _, value = cookie.partition(";")[0].partition("=")
                jar[name] = value
            where = answer.headers.get("Location", "")
            return answer.status, where, answer.read().decode()

    def log_in(self, url: str) -> str:
        """Come to an application without a session; gives where its own host then leads."""
        _, launch, _ = self.ask(url)
        _, login, _ = self.ask(launch)
        page = f"https://gw.test{login}"
        found = re.findall(r'name="(form|next)" value="([^"]+)"', self.ask(page)[2])
        fields = {"user": self.user, "password": self.person.password, **dict(found)}
        fields["code"] = self.person.code(time.time())
        status, again, _ = self.ask("https://gw.test/web/login", fields)
        self.assertEqual(status, 303)
        return self.ask(f"https://gw.test{again}")[1]

    def sees(self, who: Holder | None = None) -> str:
        """Whom the application sees; "" where nobody gets through."""
        status, _, body = self.ask(f"https://{SHOWER}/", who=who)
        return dict(json.loads(body)["fields"])["x-tlsgate-user"] if status == 200 else ""

    def test_cookie(self) -> None:
        """One user's cookie never works with another's certificate, nor after the end (S31)."""
        planted = "a" * 60
        self.jars[SHOWER] = {"__Host-tlsgate-app": planted}
        back = self.log_in(f"https://{SHOWER}//evil.test/x")
        self.assertTrue(back.startswith(f"https://{SHOWER}"), back)
        mine, self.jars[SHOWER] = self.jars[SHOWER], {}
        # Another browser is led nowhere by the same address (login CSRF).
        self.assertEqual(self.ask(back)[0], 403)
        self.assertNotIn("__Host-tlsgate-app", self.jars[SHOWER])
        self.jars[SHOWER] = mine
        status, where, _ = self.ask(back)
        self.assertEqual((status, where), (302, f"https://{SHOWER}//evil.test/x"))
        cookie = mine["__Host-tlsgate-app"]
        self.assertNotIn(cookie, ("", planted))
        self.assertEqual(self.sees(), self.user)
        self.assertEqual(self.sees(who=self.house.cyd), "cyd")
        self.assertEqual(self.sees(who=self.house.bob), "")
        self.assertEqual(self.ask(back)[0], 403)  # a code is good once
        page = f"https://{SHOWER}/x-tlsgate-logout"
        evil = {"Origin": "https://files.gw.test", "Sec-Fetch-Site": "same-site"}
        self.assertEqual(self.ask(page, {}, more=evil)[0], 403)
        self.assertEqual(self.sees(), self.user)
        self.assertEqual(self.ask(page, {}, more={"Origin": f"https://{SHOWER}"})[0], 302)
        for _ in range(20):
            mine["__Host-tlsgate-app"] = cookie
            self.assertEqual(self.sees(), "")
