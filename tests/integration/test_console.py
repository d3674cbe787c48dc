"""The pages for people in real headless Chromium, and a browser's requests by hand."""

from __future__ import annotations

import http.client
import json
import re
import time
from typing import Any
from urllib.parse import urlencode

import pyotp

from tests.support.browser import Chromium, ForeignSite, Tab
from tests.support.child import until
from tests.support.cluster import ClusterCase, User
from tests.support.harness import CLIENT_SECONDS, Gate

PASSWORD = "canary-correct-horse-battery"

#: What a browser says of a form on a page of ours.
FORM = {
    "Content-Type": "application/x-www-form-urlencoded",
    "Origin": "null",
    "Sec-Fetch-Site": "same-origin",
}


class ConsoleCase(ClusterCase):
    """Tests with a cluster, its people, and their browsers."""

    def chromium(self, gate: Gate, **others: int) -> Chromium:
        """A browser that finds the gate, and *others*: name, with _ for a dot, to port."""
        hosts = {name.replace("_", "."): port for name, port in others.items()}
        browser = Chromium({"gw.test": gate.port(), **hosts})
        self.addCleanup(browser.stop)
        return browser

    def link(self, gate: Gate, name: str = "alice") -> tuple[str, str]:
        """Invite somebody; gives the path of the link's page, and its token."""
        made = gate.admin("POST", "/v1/users", {"name": name, "roles": ["access"]})
        token = made["invite"]["token"]
        self.assertTrue(made["invite"]["url"].endswith(f"/web/invite/{token}"), made)
        return f"/web/invite/{token}", token

    def log_in(self, tab: Tab, user: User) -> None:
        """Fill in the page for that."""
        tab.go("https://gw.test/web/login")
        tab.type("#user", user.name)
        tab.type("#password", user.password)
        tab.type("#code", user.code(time.time()))
        tab.click(".send button")


class ChromiumTests(ConsoleCase):
    """What a user sees and does."""

    def test_from_an_invite_to_a_logout(self) -> None:
        """Without any script: a link is used, a session begins, shows what is open, and ends."""
        gate = self.cluster()
        path, token = self.link(gate)
        tab = self.chromium(gate).tab()
        tab.without_scripts()

        tab.go(f"https://gw.test{path}")
        self.assertIn("Welcome, alice", tab.text)
        self.assertNotIn(token, tab.js("document.documentElement.outerHTML"))
        picture = tab.js("document.querySelector('svg.qr').outerHTML")
        secret = str(tab.js("document.querySelector('.secret').innerText")).replace(" ", "")
        user = User(name="alice", secret=secret, password=PASSWORD)
        user.code(time.time() - 60)  # so that three codes can be used now

        self.fill(tab, PASSWORD, "canary-another-password", user)
        self.assertIn("The two passwords are not the same.", tab.text)
        self.assertEqual(tab.js("document.querySelector('svg.qr').outerHTML"), picture)
        self.assertEqual(tab.js("document.activeElement.id"), "password")
        self.assertEqual(tab.js("document.querySelector('#password').value"), "")
        wrong = f"{(int(pyotp.TOTP(secret).now()) + 1) % 1_000_000:06}"
        self.fill(tab, PASSWORD, PASSWORD, user, wrong)
        self.assertIn("Nothing is saved yet.", tab.text)
        self.fill(tab, PASSWORD, PASSWORD, user)
        self.assertIn("All set, alice", tab.text)
        self.assertIn("tgsh login --proxy=gw.test:443 --user=alice", tab.text)

        tab.click("main a")
        self.assertEqual(tab.path, "/web/login")
        tab.type("#user", "alice")
        tab.type("#password", "canary-not-it-at-all")
        tab.type("#code", "000000")
        tab.click(".send button")
        self.assertIn("The user name, the password or the code is wrong.", tab.text)
        self.log_in(tab, user)
        self.assertEqual(tab.path, "/web")
        self.assertIn("Logged in to gw.test", tab.text)
        tab.js("document.querySelector('details.more').open = true")
        self.assertIn("Roles access", tab.text)
        self.assertEqual(tab.js("document.cookie"), "")
        cookies = {one["name"]: one for one in tab.ask("Network.getCookies")["cookies"]}
        cookie = cookies["__Host-tlsgate"]
        self.assertEqual(
            {key: cookie.get(key) for key in ("path", "secure", "httpOnly", "sameSite", "session")},
            {"path": "/", "secure": True, "httpOnly": True, "sameSite": "Strict", "session": True},
        )

        tab.click(".top button")
        self.assertEqual(tab.path, "/web/login?ended")
        self.assertIn("You are logged out.", tab.text)
        tab.go("https://gw.test/web")
        self.assertEqual(tab.path, "/web/login")
        tab.go(f"https://gw.test{path}")
        self.assertIn("This link is not valid, or no longer", tab.text)

        self.looks_well(tab)
        for hidden in (token, secret, "canary", cookie["value"]):  # S24, at debug level
            self.assertNotIn(hidden, gate.text())

    def fill(self, tab: Tab, one: str, other: str, user: User, code: str = "") -> None:
        """Fill in the page of a link."""
        tab.type("#password", one)
        tab.type("#again", other)
        tab.type("#code", code or (user.code(time.time()) if one == other else "123456"))
        tab.click(".send button")

    def looks_well(self, tab: Tab) -> None:
        """Nothing was asked for elsewhere, nothing was refused, no address was passed on."""
        for asked in tab.events("Network.requestWillBeSent"):
            self.assertRegex(asked["request"]["url"], r"\A(?:https://gw\.test/|data:)")
            self.assertNotIn("Referer", asked["request"]["headers"])
        said = [one["entry"] for one in tab.events("Log.entryAdded")]
        refused = [one for one in said if "Content Security Policy" in one["text"]]
        self.assertEqual(refused, [])

    def codes(self, tab: Tab) -> list[int]:
        """What the gate has answered to requests of a foreign page, readable or not."""
        sent = tab.events("Network.requestWillBeSent")
        there = {one["requestId"] for one in sent if "//gw.test/" in one["request"]["url"]}
        told = tab.events("Network.responseReceivedExtraInfo")
        return [one["statusCode"] for one in told if one["requestId"] in there]

    def test_s29_foreign_pages(self) -> None:
        """S29: neither another site nor a neighbour gets anything done with a live session."""
        gate = self.cluster()
        user = self.add_user(gate, "alice")
        site = ForeignSite(FOREIGN)
        self.addCleanup(site.stop)
        browser = self.chromium(gate, evil_test=site.port, app_gw_test=site.port)
        own = browser.tab()
        self.log_in(own, user)
        self.assertEqual(own.path, "/web")
        bearer = str(own.js("document.querySelector('[name=bearer]').value"))

        for host in ("evil.test", "app.gw.test"):
            tab = browser.tab()
            tab.go(f"https://{host}/")
            # Even the bearer, should it ever get out, is of no use elsewhere.
            tried = json.loads(tab.js(f"attack({bearer!r})"))
            self.assertGreaterEqual(len(tried), 12, host)
            self.assertEqual([one for one in tried if one[1] != "refused"], [], host)
            codes = self.codes(tab)  # the page itself may not know all of them
            self.assertGreaterEqual(len(codes), 8, (host, codes))
            self.assertLessEqual(set(codes), {401, 403, 405}, (host, codes))
            for form in ("logout", "login"):
                tab.go(f"https://{host}/")
                tab.js(f"fill({form!r}, {bearer!r})")
                tab.click(f"#{form} button")
                self.assertEqual(tab.js("location.host"), "gw.test")
                self.assertIn("This request does not come from a page of this gateway", tab.text)
            own.go("https://gw.test/web")
            self.assertEqual((own.path, "Logged in to" in own.text), ("/web", True), host)
        events = gate.admin("GET", "/v1/audit?event=session.web.end")["events"]
        self.assertEqual(events, [])
        self.account(gate, own)

    def account(self, gate: Gate, tab: Tab) -> None:
        """Who is logged in sets up a new authenticator, and changes the password."""
        _, token = self.link(gate, "bob")
        begun = self.web(gate, "POST", "/v1/invites/begin", {"token": token})
        bob = User(name="bob", secret=begun.body["secret"], password=PASSWORD)
        # The code of the step before, so that two more can be used now.
        body = {"token": token, "password": PASSWORD, "otp": bob.code(time.time() - 30)}
        self.assertEqual(self.web(gate, "POST", "/v1/invites/accept", body).status, 200)
        tab.go("https://gw.test/web")
        tab.click(".top button")
        self.log_in(tab, bob)
        tab.without_scripts()
        tab.go("https://gw.test/web/account")
        tab.type("#authenticator-old", PASSWORD)
        tab.type("#authenticator-code", bob.code(time.time()))
        tab.click("#authenticator-form button")
        self.assertRegex(tab.path, r"\A/web/reset/[A-Za-z0-9_-]{43}\Z")
        secret = str(tab.js("document.querySelector('.secret').innerText")).replace(" ", "")
        self.assertNotEqual(secret, bob.secret)
        bob = User(name="bob", secret=secret, password=PASSWORD)
        other = "canary-another-password"
        tab.type("#password", PASSWORD)
        tab.type("#again", PASSWORD)
        tab.type("#code", bob.code(time.time() - 30))
        tab.click(".send button")
        self.assertIn("All set, bob", tab.text)
        self.log_in(tab, bob)
        tab.go("https://gw.test/web/account")
        tab.type("#password-old", PASSWORD)
        tab.type("#password-code", bob.code(time.time()))
        tab.type("#password", other)
        tab.type("#again", other)
        tab.click("#password-form button")
        self.assertIn("Your password is changed", tab.text)
        tab.go("https://gw.test/web")
        self.assertEqual(tab.path, "/web/login")
        self.looks_well(tab)
        for hidden in (secret, "canary"):  # S24, at debug level
            self.assertNotIn(hidden, gate.text())


class SessionTests(ConsoleCase):
    """How long a session is good."""

    def test_s31_ends_everywhere(self) -> None:
        """S31: a cookie of a session that ended is refused, a hundred times in two seconds."""
        gate = self.cluster()
        user = self.add_user(gate, "alice")
        browser = Visitor(gate)
        self.assertEqual(browser.log_in(user), (303, "/web"))
        kept = dict(browser.jar)
        status, body = browser.get("/web")
        self.assertEqual(status, 200)
        found = re.search(r'name="bearer" value="(\w+)"', body)
        assert found is not None
        self.assertEqual(browser.post("/web/logout", {"bearer": found[1]})[0], 303)
        since = time.monotonic()
        for _ in range(100):
            browser.jar = dict(kept)
            self.assertEqual(browser.get("/web")[0], 303)
        self.assertLess(time.monotonic() - since, 20)

    def test_a_lock_acts_within_a_second(self) -> None:
        """A user whom an operator locks sees nothing more after a second, on any worker."""
        gate = self.cluster(proxy={"workers": 2})
        user = self.add_user(gate, "alice")
        browser = Visitor(gate)
        browser.log_in(user)
        self.assertEqual(browser.get("/web")[0], 200)
        gate.admin("POST", "/v1/locks", {"target": {"user": "alice"}, "message": "bye"})
        until(lambda: browser.get("/web")[0] == 403, "the lock holds", 1.0)
        self.assertIn("An operator has locked this account.", browser.get("/web")[1])


class Visitor:
    """A browser's requests, without the browser."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.jar: dict[str, str] = {}

    def ask(self, method: str, path: str, body: str | None = None) -> tuple[int, str, str]:
        """Status, Location and body."""
        spoken = http.client.HTTPConnection("gw.test", timeout=CLIENT_SECONDS)
        spoken.sock = self.gate.dial()
        headers = {} if body is None else dict(FORM)
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        try:
            spoken.request(method, path, body, headers)
            answer = spoken.getresponse()
            for cookie in answer.headers.get_all("Set-Cookie", []):
                name, _, value = cookie.partition(";")[0].partition("=")
                self.jar[name] = value
            return answer.status, answer.headers.get("Location", ""), answer.read().decode()
        finally:
            spoken.close()

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page."""
        status, _, body = self.ask("GET", path)
        return status, body

    def post(self, path: str, fields: dict[str, Any]) -> tuple[int, str]:
        """Status of a form, and where it leads."""
        status, location, _ = self.ask("POST", path, urlencode(fields))
        return status, location

    def log_in(self, user: User) -> tuple[int, str]:
        """Fill in the page for that."""
        found = re.search(r'name="form" value="(\w+)"', self.get("/web/login")[1])
        assert found is not None
        code = user.code(time.time())
        fields = {"user": user.name, "password": user.password, "code": code, "form": found[1]}
        return self.post("/web/login", fields)


#: A page that would like to use somebody's session at the gate.
FOREIGN = """<!doctype html><title>foreign</title>
<form id="logout" method="post" action="https://gw.test/web/logout">
<input name="bearer"><button>Win a prize</button></form>
<form id="login" method="post" action="https://gw.test/web/login">
<input name="form"><input name="user" value="mallory"><input name="password" value="x">
<input name="code" value="1"><button>Win another</button></form>
<script>
const gate = "gw.test";
function fill(form, bearer) {
  document.querySelector(`#${form} input`).value = bearer;
}
async function fetched(path, options) {
  try {
    const answer = await fetch(`https://${gate}${path}`, {credentials: "include", ...options});
    return answer.type === "opaque" ? "refused" : `read ${answer.status}`;
  } catch { return "refused"; }
}
function framed(path) {
  return new Promise(done => {
    const frame = document.createElement("iframe");
    frame.onload = () => {
      try { done(frame.contentDocument?.body?.innerText ? "shown" : "refused"); }
      catch { done("refused"); }
    };
    frame.src = `https://${gate}${path}`;
    document.body.append(frame);
  });
}
function socket(path) {
  return new Promise(done => {
    const made = new WebSocket(`wss://${gate}${path}`);
    made.onopen = () => done("open");
    made.onerror = () => done("refused");
  });
}
async function attack(bearer) {
  const tried = [];
  const form = new URLSearchParams({bearer});
  const login = new URLSearchParams({form: bearer, user: "alice", password: "x", code: "1"});
  for (const mode of ["cors", "no-cors"]) {
    tried.push([`GET /web ${mode}`, await fetched("/web", {mode})]);
    tried.push([`GET /web/login ${mode}`, await fetched("/web/login", {mode})]);
    for (const [path, body] of [["/web/logout", form], ["/web/login", login]]) {
      tried.push([`POST ${path} ${mode}`, await fetched(path, {mode, method: "POST", body})]);
    }
  }
  const headers = {Authorization: `Bearer ${bearer}`, "Content-Type": "application/json"};
  tried.push(["API", await fetched("/v1/me", {headers})]);
  const body = JSON.stringify({cookie: "x"});
  const asked = {headers, method: "POST", body};
  tried.push(["API logout", await fetched("/v1/web/logout", asked)]);
  tried.push(["frame", await framed("/web")]);
  for (const path of ["/web", "/web/logout", "/v1/watch"]) {
    tried.push([`WebSocket ${path}`, await socket(path)]);
  }
  return JSON.stringify(tried);
}
</script>
"""
