"""Applications in real headless Chromium: login, launch, WebSockets, logout, and who may not.

The gateway has two workers: a browser's connections meet now this one, now that, and none has
the session of the other but by the auth service. All of it is in one file, a long one, since one
gateway and one Jupyter server are started for it.
"""

from __future__ import annotations

import atexit
import functools
import http.client
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from twisted.trial.unittest import SynchronousTestCase

from tests.support.agent import AgentCase
from tests.support.browser import Chromium, ForeignSite, Tab
from tests.support.certs import pki
from tests.support.child import PATIENCE_SECONDS, until
from tests.support.cluster import Holder, User
from tests.support.harness import CLIENT_SECONDS
from tests.support.jupyter import Jupyter
from tests.support.servers import Nginx

#: Where pictures of pages are kept for people to look at.
PICTURES = Path(__file__).parents[2] / ".artefacts"

FILES = """
location = /who { return 200 'cookies: $http_cookie'; }
location = /set { add_header Set-Cookie '__Host-tlsgate-app=stolen; Secure; Path=/'; return 204; }
location / { return 200 'this is $host$request_uri'; default_type text/html; }
"""
#: What a page of another site tries.
ATTACK = """<!doctype html><title>evil</title><script>
const url = "https://files.gw.test/";
async function attack() {
  const found = [];
  for (const [method, path] of [["POST", "who"], ["PUT", "who"], ["DELETE", "who"]])
    try {
      const said = await fetch(url + path, {method, credentials: "include", mode: "no-cors"});
      found.push([method, said.type === "opaque" ? "unread" : await said.text()]);
    } catch (error) { found.push([method, "refused"]); }
  for (const host of ["jupyter.gw.test"])
    found.push(["ws", await new Promise((done) => {
      const socket = new WebSocket(`wss://${host}/api/events/subscribe`);
      socket.onopen = () => done("open");
      socket.onerror = () => done("refused");
    })]);
  return JSON.stringify(found);
}
</script>"""

SOCKET = """new Promise((done, failed) => {
  const socket = window.kept = new WebSocket("wss://jupyter.gw.test/terminals/websocket/1");
  window.closed = new Promise((gone) => { socket.onclose = (e) => gone(Date.now()); });
  let text = "";
  socket.onopen = () => socket.send(JSON.stringify(["stdin", "echo $((41+1))tada\\n"]));
  socket.onmessage = (e) => { text += e.data; if (text.includes("42tada")) done("42tada"); };
  socket.onerror = () => failed("the WebSocket failed");
})"""


class House:
    """One cluster with two applications and two people; shared by the tests."""

    def __init__(self) -> None:
        case = self.case = AgentCase()
        atexit.register(case.doCleanups)
        self.files = case.serve(Nginx(FILES))
        self.jupyter = case.serve(Jupyter())
        pair = pki().keypair("server")
        keypairs = [{"cert_file": str(pair.cert_file), "key_file": str(pair.key_file)}]
        self.gate = case.cluster(proxy={"https_keypairs": keypairs, "workers": 2})
        self.gate.admin(
            "PUT",
            "/v1/resources/role/reader",
            {
                "kind": "role",
                "version": "v7",
                "metadata": {"name": "reader"},
                "spec": {"allow": {"app_labels": {"kind": "files"}}},
            },
        )
        self._people = 0
        self.agent = case.agent(
            self.gate,
            "inner1",
            apps=[
                {
                    "name": "files",
                    "uri": f"http://127.0.0.1:{self.files.port}",
                    "labels": {"kind": "files"},
                    "description": "What we keep",
                },
                {
                    "name": "jupyter",
                    "uri": f"http://127.0.0.1:{self.jupyter.port}",
                    "labels": {"kind": "lab"},
                    "description": "Notebooks and terminals",
                },
            ],
        )

    def mode(self, mode: str) -> None:
        """Tell clients of the cluster which way to take."""
        name, kind = "cluster-networking-config", "cluster_networking_config"
        spec = {"proxy_listener_mode": mode}
        body = {"kind": kind, "version": "v2", "metadata": {"name": name}, "spec": spec}
        self.gate.admin("PUT", f"/v1/resources/{kind}/{name}?force=1", body)

    def user(self, *roles: str) -> User:
        """Somebody new: a code is good for one login, and each test logs in."""
        self._people += 1
        return self.case.add_user(self.gate, f"user{self._people}", roles=roles or ("access",))


@functools.cache
def house() -> House:
    """The one house of this process."""
    return House()


class LauncherCase(SynchronousTestCase):
    """Tests with the house and a browser of their own."""

    def setUp(self) -> None:
        self.house = house()

    def chromium(self, own: Holder | None = None, **others: int) -> Chromium:
        """A browser that believes the gate's certificate, and finds all names below its own.

        Args:
            own: whose certificate it has, and shows where it is asked.
            others: more names ("_" for "."), and their ports.
        """
        port = self.house.gate.port()
        hosts = {name.replace("_", "."): at for name, at in others.items()}
        browser = Chromium(
            {**hosts, "gw.test": port, "*.gw.test": port},
            trust=pki().file("ca.pem"),
            own=None if own is None else (own.cert, own.key),
        )
        self.addCleanup(browser.stop)
        return browser

    def log_in(self, tab: Tab, user: User) -> None:
        """Fill in the page for that."""
        tab.type("#user", user.name)
        tab.type("#password", user.password)
        tab.type("#code", user.code(time.time()))
        tab.click(".send button")

    def cookie(self, tab: Tab, name: str = "__Host-tlsgate-app") -> dict[str, Any]:
        """A cookie of the page that is shown."""
        found = {one["name"]: one for one in tab.ask("Network.getCookies")["cookies"]}
        self.assertIn(name, found)
        kept: dict[str, Any] = found[name]
        return kept

    def get(self, host: str, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
        """One request without a browser: status, headers in lower case, body."""
        spoken = http.client.HTTPConnection(host, timeout=CLIENT_SECONDS)
        spoken.sock = self.house.gate.dial(name=host)
        try:
            spoken.request(
                "GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()}
            )
            answer = spoken.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, found, answer.read().decode()
        finally:
            spoken.close()


class FlowTests(LauncherCase):
    """A browser comes to an application."""

    def test_login_and_websocket(self) -> None:
        """It logs in on the way, comes back to its page, and the application's sockets work."""
        tab = self.chromium().tab()
        tab.go("https://jupyter.gw.test/nothing?from=here")
        self.assertEqual(tab.js("location.host + location.pathname"), "gw.test/web/login")
        self.assertIn("and go on to jupyter", tab.text)
        self.log_in(tab, self.house.user())
        self.assertEqual(
            tab.js("location.href"), "https://jupyter.gw.test/nothing?from=here", tab.text
        )
        self.assertIn("404", tab.text)
        cookie = self.cookie(tab)
        self.assertEqual(
            {key: cookie.get(key) for key in ("path", "secure", "httpOnly", "sameSite", "session")},
            {"path": "/", "secure": True, "httpOnly": True, "sameSite": "Lax", "session": True},
        )
        made = tab.js("fetch('/api/terminals', {method: 'POST'}).then((said) => said.status)")
        self.assertEqual(made, 200)
        self.assertEqual(tab.js(SOCKET), "42tada")

        # Logging out at the console ends it all, the open socket too.
        console = tab._browser.tab()
        console.go("https://gw.test/web")
        since = time.monotonic()
        console.click(".top button")
        self.assertIsInstance(tab.js("closed"), int | float)
        self.assertLess(time.monotonic() - since, 5)
        refused = {
            self.get("jupyter.gw.test", "/api/status", **_cookie(cookie))[0] for _ in "x" * 100
        }
        self.assertEqual(refused, {401})
        tab.go("https://jupyter.gw.test/api/status")
        self.assertEqual(tab.js("location.host + location.pathname"), "gw.test/web/login")

    def test_second_application(self) -> None:
        """One login opens all; one connection serves two names, which 421 sorts out (S05)."""
        tab = self.chromium().tab()
        tab.go("https://gw.test/web/login")
        self.log_in(tab, self.house.user())
        tab.go("https://files.gw.test/a//b?c=%2F#d")
        self.assertEqual(tab.js("location.href"), "https://files.gw.test/a//b?c=%2F#d")
        self.assertIn("/a//b?c=%2F", tab.text)
        tab.go("https://jupyter.gw.test/api")
        self.assertEqual(tab.js("location.host"), "jupyter.gw.test")
        self.assertIn("version", tab.text)
        for _ in range(3):
            for host in ("files", "jupyter"):
                tab.go(f"https://{host}.gw.test/api")
                self.assertEqual(tab.js("location.host"), f"{host}.gw.test")
        protocols = tab.js("performance.getEntriesByType('navigation')[0].nextHopProtocol")
        self.assertEqual(protocols, "h2")

    def test_application_sees_no_cookie(self) -> None:
        """Our cookies are nobody's business behind the gateway, and cannot be set from there."""
        tab = self.chromium().tab()
        tab.go("https://files.gw.test/who")
        self.log_in(tab, self.house.user())
        self.assertEqual(tab.text, "cookies:")
        before = self.cookie(tab)["value"]
        tab.js("fetch('/set')")
        self.assertEqual(self.cookie(tab)["value"], before)
        tab.js("document.cookie = 'own=1; path=/'")
        tab.go("https://files.gw.test/who")
        self.assertEqual(tab.text, "cookies: own=1")

    def test_without_the_role(self) -> None:
        """In either mode who may not reads why, and gets no session; who may comes in."""
        self.addCleanup(self.house.mode, "multiplex")
        for mode in ("separate", "multiplex"):
            self.house.mode(mode)
            tab = self.chromium().tab()
            tab.go("https://jupyter.gw.test/api")
            self.log_in(tab, self.house.user("reader"))
            self.assertIn("Your roles do not open this application.", tab.text)
            tab.go("https://files.gw.test/hello")
            self.assertIn("/hello", tab.text)

    def test_from_another_site(self) -> None:
        """A link from elsewhere opens the application for who is logged in at the console."""
        link = "<!doctype html><title>x</title><a href='https://files.gw.test/linked'>go</a>"
        site = ForeignSite(link)
        self.addCleanup(site.stop)
        browser = self.chromium(localhost=site.port)
        tab = browser.tab()
        tab.go("https://gw.test/web/login")
        self.log_in(tab, self.house.user())
        tab.go("https://localhost/")
        tab.js("document.querySelector('a').click()")
        wanted = "https://files.gw.test/linked"
        until(lambda: tab.js("location.href") == wanted, "the application", PATIENCE_SECONDS)


class TheftTests(LauncherCase):
    """Who has something of somebody else's."""

    def test_s31_cookie(self) -> None:
        """S31: a cookie is worth nothing at another application, and nothing after its end."""
        tab = self.chromium().tab()
        tab.go("https://files.gw.test/mine")
        self.log_in(tab, self.house.user())
        cookie = _cookie(self.cookie(tab))
        self.assertEqual(self.get("files.gw.test", "/", **cookie)[0], 200)
        self.assertEqual(self.get("jupyter.gw.test", "/api", **cookie)[0], 401)
        tab.go("https://files.gw.test/x-tlsgate-logout")
        self.assertEqual(tab.js("location.host + location.pathname"), "gw.test/web/login")
        self.assertIn("You are logged out.", tab.text)
        since = time.monotonic()
        codes = {self.get("files.gw.test", "/", **cookie)[0] for _ in range(100)}
        self.assertEqual(codes, {401}, time.monotonic() - since)
        tab.go("https://gw.test/web")
        self.assertEqual(tab.path, "/web/login?over")

    def test_lock(self) -> None:
        """A user who is locked out reaches nothing more after a second."""
        user = self.house.user("reader")
        tab = self.chromium().tab()
        tab.go("https://files.gw.test/mine")
        self.log_in(tab, user)
        cookie = _cookie(self.cookie(tab))
        self.assertEqual(self.get("files.gw.test", "/", **cookie)[0], 200)
        self.house.gate.admin("POST", "/v1/locks", {"target": {"user": user.name}})
        until(
            lambda: self.get("files.gw.test", "/", **cookie)[0] in (401, 403), "the lock holds", 1.0
        )

    def test_deleted(self) -> None:
        """A user who is deleted reaches nothing more after a second."""
        user = self.house.user("reader")
        tab = self.chromium().tab()
        tab.go("https://files.gw.test/mine")
        self.log_in(tab, user)
        cookie = _cookie(self.cookie(tab))
        self.assertEqual(self.get("files.gw.test", "/", **cookie)[0], 200)
        self.house.gate.admin("DELETE", f"/v1/resources/user/{user.name}")
        until(
            lambda: self.get("files.gw.test", "/", **cookie)[0] in (401, 403), "the end of it", 1.0
        )

    def test_s29_foreign_pages(self) -> None:
        """S29: with a live session neither another site nor a neighbour gets anything done."""
        site = ForeignSite(ATTACK)
        self.addCleanup(site.stop)
        browser = self.chromium(localhost=site.port, neighbour_gw_test=site.port)
        own = browser.tab()
        for app in ("jupyter", "files"):
            own.go(f"https://{app}.gw.test/api")
            if own.js("location.host") == "gw.test":
                self.log_in(own, self.house.user())
        tab = browser.tab()
        for host in ("localhost", "neighbour.gw.test"):
            tab.go(f"https://{host}/")
            tried = json.loads(tab.js("attack()"))
            self.assertEqual(tried[-1], ["ws", "refused"], host)
            sent = tab.events("Network.requestWillBeSent")
            there = {
                one["requestId"] for one in sent if "//files.gw.test/" in one["request"]["url"]
            }
            told = tab.events("Network.responseReceivedExtraInfo")
            codes = {one["statusCode"] for one in told if one["requestId"] in there}
            self.assertLessEqual(codes, {401, 403}, host)

    def test_s30_redirects(self) -> None:
        """S30: neither a path nor a Host leads anywhere but to the console and back."""
        for path in (
            *("//evil.example/", "/\\evil.example", "/@evil.example", "/%0d%0aLocation:%20x"),
            *("/x-tlsgate-auth?code=x&state=//evil.example", "/?next=https://evil.example/"),
            *("/web/launch/files?state=x", "/.evil.example", "/;//evil.example"),
        ):
            status, headers, body = self.get("files.gw.test", path, Accept="text/html")
            self.assertIn(status, (302, 400, 403, 404), path)
            if status == 302:
                where = urlsplit(headers["location"])
                self.assertEqual((where.netloc, where.path), ("gw.test", "/web/launch/files"))
            self.assertNotIn("evil", body + headers.get("location", ""), path)
        for name in ("evil.example", "none", "files%2f..%2fx"):
            status, headers, _ = self.get("gw.test", f"/web/launch/{name}?state={'s' * 43}")
            self.assertEqual((status, headers.get("location")), (404, None), name)

    def test_programs(self) -> None:
        """A program is told in JSON, and led nowhere."""
        status, headers, body = self.get("files.gw.test", "/", Accept="application/json")
        self.assertEqual((status, headers["content-type"]), (401, "application/json"))
        self.assertIn("tgsh apps login files", json.loads(body)["error"]["message"])


class CertificateTests(LauncherCase):
    """A browser that has a certificate of the cluster."""

    def test_shown_to_applications(self) -> None:
        """It opens applications without a login, WebSockets too, and not those that roles shut."""
        user = self.house.user()
        tab = self.chromium(self.house.case.sign(self.house.gate, user.name)).tab()
        tab.go("https://files.gw.test/who")
        self.assertEqual(tab.text, "cookies:")
        tab.go("https://jupyter.gw.test/nothing")
        self.assertIn("404", tab.text)
        made = tab.js("fetch('/api/terminals', {method: 'POST'}).then((said) => said.status)")
        self.assertEqual((made, tab.js(SOCKET)), (200, "42tada"))
        reader = self.house.user("reader")
        tab = self.chromium(self.house.case.sign(self.house.gate, reader.name)).tab()
        tab.go("https://jupyter.gw.test/api")
        self.assertIn("may not reach app jupyter: no role of", tab.text)
        tab.go("https://files.gw.test/hello")
        self.assertIn("/hello", tab.text)

    def test_not_asked_for_at_the_console(self) -> None:
        """The console asks for no certificate: who has one logs in there as everybody does."""
        user = self.house.user()
        tab = self.chromium(self.house.case.sign(self.house.gate, user.name)).tab()
        tab.go("https://gw.test/web")
        self.assertEqual(tab.path, "/web/login")
        self.log_in(tab, user)
        self.assertEqual(tab.path, "/web")


class BoardTests(LauncherCase):
    """The launcher's page."""

    def test_board(self) -> None:
        """It shows what is open, finds by typing, works by keys, and looks as it should."""
        tab = self.chromium().tab()
        tab.go("https://gw.test/web/login")
        self.log_in(tab, self.house.user())
        for wanted in ("Applications 2", "files", "What we keep", "jupyter", "kind=lab"):
            self.assertIn(wanted, tab.text)
        tab.shot(PICTURES / "launcher-desktop.png", width=1280, height=900)
        tab.shot(PICTURES / "launcher-dark.png", width=1280, height=900, dark=True)
        for width in (390, 320):
            tab.shot(PICTURES / f"launcher-phone-{width}.png", width=width, height=844)
            wide = tab.js("document.documentElement.scrollWidth - innerWidth")
            self.assertLessEqual(wide, 0, f"it scrolls sideways at {width}")
        tab.key("/")
        self.assertEqual(tab.js("document.activeElement.id"), "find")
        tab.ask("Input.insertText", text="note LAB")
        shown = (
            "[...document.querySelectorAll('[data-words]:not([hidden]) b')].map((e) => e.innerText)"
        )
        self.assertEqual(tab.js(shown), ["jupyter"])
        self.assertIn("1 of 2", tab.text)
        tab.ask("Input.insertText", text="x")
        self.assertIn("Nothing of that name or label.", tab.text)
        tab.key("Escape")
        self.assertEqual(tab.js(shown), ["files", "jupyter"])
        tab.ask("Input.insertText", text="what we")
        tab.loading(lambda: tab.key("Enter"))
        self.assertEqual(tab.js("location.href"), "https://files.gw.test/")
        said = [one["entry"]["text"] for one in tab.events("Log.entryAdded")]
        self.assertEqual([one for one in said if "Content Security Policy" in one], [])

    def test_keys(self) -> None:
        """The keys of tokens are there for anybody."""
        status, headers, body = self.get("gw.test", "/.well-known/jwks.json")
        self.assertEqual((status, headers["content-type"]), (200, "application/json"))
        self.assertIn("keys", json.loads(body))


def _cookie(cookie: dict[str, Any]) -> dict[str, str]:
    return {"Cookie": f"{cookie['name']}={cookie['value']}"}
