"""S24: no secret of a session is in a log, an argument, the trail, the store or a refusal.

1. Every secret that people choose, right or wrong, has a marker in it; those that the cluster
   and the programs make up are written down as they appear.
2. People work with tgctl, tgsh, the web pages and the API, at debug level, and make mistakes;
   meanwhile every command line of the machine is read again and again.
3. Then everything that was written down anywhere is searched for the marker and the others.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pexpect
import pyotp

from tests.support.child import PATIENCE_SECONDS
from tests.support.cluster import ClusterCase, Holder, User, new_key, request
from tests.support.harness import CLIENT_SECONDS, ROOT

LIMITS = {"handshakes_per_second_per_address": 10_000}
#: A process of ours lives longer than this.
LOOK_SECONDS = 0.02

#: What a browser says of a form on a page of ours.
FORM = {
    "Content-Type": "application/x-www-form-urlencoded",
    "Origin": "null",
    "Sec-Fetch-Site": "same-origin",
}
#: Files that are there to keep a secret, each its owner's alone.
KEEPERS = ("auth.key", "*.key", "*-key.pem", "cluster.pem")


class CommandLines:
    """All command lines that were there while it watched."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> CommandLines:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(PATIENCE_SECONDS)

    def _run(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            for pid in os.listdir("/proc"):
                if pid.isdigit():
                    with contextlib.suppress(OSError):
                        self.seen.add(Path("/proc", pid, "cmdline").read_bytes())


class CanaryTests(ClusterCase):
    """One process."""

    workers = 1

    def setUp(self) -> None:
        super().setUp()
        self.marker = f"canary{secrets.token_hex(6)}"
        #: By what they are; all that nobody may find.
        self.hidden: dict[str, str] = {"marker": self.marker}
        #: What was said to those who made a mistake, and to those who watch.
        self.told: list[tuple[str, str]] = []
        self.daemon = self.cluster(proxy={"workers": self.workers, "limits": LIMITS})
        self.proxy = f"127.0.0.1:{self.daemon.port()}"
        self.home = self.folder() / "home"
        self.env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "TGSH_HOME": str(self.home),
            "HOME": str(self.home),
            "TERM": "dumb",
        }
        self.password = f"{self.marker}-right-horse-battery"
        # Three codes are good at a time: the one before, the present one and the next.
        self.used = int(time.time()) // 30 - 2

    # -- people --

    def program(self, name: str, *words: object) -> list[str]:
        return [sys.executable, "-m", f"tlsgate.cli.{name}.main", *map(str, words)]

    def run_it(self, name: str, *words: object, typed: str = "", code: int = 0) -> str:
        """Run a program; gives stdout, and keeps what it says on stderr to be searched."""
        done = subprocess.run(
            self.program(name, *words),
            env=self.env,
            input=typed,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        self.assertEqual((words, done.returncode), (words, code), done.stderr)
        self.told.append((f"{name} {words[0]}", done.stderr))
        return done.stdout

    def tgctl(self, *words: object) -> str:
        return self.run_it("tgctl", *words, f"--data-dir={self.daemon.data_dir}")

    def code(self) -> str:
        """A one-time code that was not used yet, the oldest that is still good."""
        self.used = max(self.used + 1, int(time.time()) // 30 - 1)
        return str(pyotp.TOTP(self.hidden["otp secret"]).generate_otp(self.used))

    def register(self, link: str) -> None:
        """Answer an invitation in a terminal; the link is typed, since arguments are seen."""
        command, *rest = self.program("tgsh", "register", "-", f"--ca-pin={self.pin}", "--debug")
        child = pexpect.spawn(
            command, rest, env=self.env, timeout=PATIENCE_SECONDS, encoding="utf-8", echo=False
        )
        try:
            child.sendline(link)
            child.expect("Password: ")
            child.sendline(self.password)
            child.expect("again: ")
            child.sendline(self.password)
            child.expect(r"secret: ([A-Z2-7]+)\s")
            self.hidden["otp secret"] = child.match[1]
            child.expect("app: ")
            child.sendline(self.code())
            child.expect(pexpect.EOF)
            self.told.append(("tgsh register", child.before))
        finally:
            child.close(force=True)
        self.assertEqual(child.exitstatus, 0, child.before)

    def in_a_terminal(self) -> None:
        """Invited, registered, logged in and out, with another password, and wrong ones."""
        words = ("--roles=access,editor", "--logins=alice", "--format=json")
        made = json.loads(self.tgctl("users", "add", "alice", *words))
        self.pin = made["pins"][0]
        token = self.hidden["invite token"] = made["invite"]["token"]
        self.register(f"https://{self.proxy}/web/invite/{token}")
        login = ("login", f"--proxy={self.proxy}", "--user=alice", f"--ca-pin={self.pin}")
        wrong = f"{self.marker}-wrong\n000000\n"
        self.run_it("tgsh", *login, "--debug", "--password-file=-", typed=wrong, code=1)
        right = f"{self.password}\n{self.code()}\n"
        self.run_it("tgsh", *login, "--debug", "--password-file=-", typed=right)
        for look in (("status",), ("clusters",), ("mfa", "ls")):
            self.told.append((f"tgsh {look[0]}", self.run_it("tgsh", *look, "--debug")))
        new = f"{self.marker}-another-one-still"
        change = f"{self.password}\n{new}\n{self.code()}\n"
        self.run_it("tgsh", "passwd", "--debug", "--password-file=-", typed=change)
        self.password = new
        for file in self.home.glob("keys/**/*"):
            if file.is_file() and "PRIVATE KEY" in (content := file.read_text()):
                self.hidden[f"key {file.name}"] = body_of(content)
        self.assertIn("key alice", self.hidden)

    def operators(self) -> None:
        """Tokens, links, identities; and what everybody may look at."""
        made = json.loads(self.tgctl("tokens", "add", "--type=node", "--format=json"))
        self.hidden["join token"] = made["secret"].partition(".")[2]
        self.whole_token = made["secret"]
        reset = json.loads(self.tgctl("users", "reset", "alice", "--format=json"))
        self.hidden["reset token"] = reset["invite"]["token"]
        name = self.folder() / "robot"
        self.tgctl("auth", "sign", "--user=alice", "--ttl=1h", f"--out={name}")
        self.hidden["signed key"] = body_of(name.read_text())
        for words in (
            ("get", "all", "--format=json"),
            ("users", "ls"),
            ("tokens", "ls"),
            ("status",),
            ("audit", "ls", "--format=json"),
            ("auth", "export", "--type=user"),
        ):
            self.told.append((f"tgctl {words[0]}", self.tgctl(*words)))

    # -- the API and the pages --

    def say(self, what: str, method: str, path: str, body: object = None, **more: Any) -> None:
        """Ask as nobody; the answer is kept to be searched."""
        answer = more.get("connection") or self.daemon.dial()
        spoken = http.client.HTTPConnection("gw.test", timeout=CLIENT_SECONDS)
        spoken.sock = answer
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Connection": "close"}
        headers |= more.get("headers", {})
        try:
            spoken.request(method, path, None if body is None else raw, headers)
            got = spoken.getresponse()
            text = f"{got.status} {got.reason} {got.getheaders()} {got.read().decode()}"
        except (OSError, http.client.HTTPException):
            text = ""
        finally:
            spoken.close()
        self.told.append((what, text))

    def mistakes(self) -> None:
        """Whatever can be wrong about a request, with a secret in it."""
        bad = f"{self.marker}-wrong"
        tls = new_key()[1]
        login = {"user": "alice", "password": bad, "otp": bad[:6], "tls_public_key": tls}
        bodies: list[tuple[str, object]] = [
            ("/v1/login", login),
            ("/v1/login", {**login, "user": "nobody"}),
            ("/v1/login", {**login, "user": bad}),
            ("/v1/login", {**login, "password": [bad]}),
            ("/v1/login", {**login, "password": {"is": bad}}),
            ("/v1/login", {**login, "passwrd": bad}),
            ("/v1/login", {**login, "password": bad * 200}),
            ("/v1/login", {**login, "tls_public_key": f"-----BEGIN PRIVATE KEY-----\n{bad}"}),
            ("/v1/login", {**login, "ssh_public_key": bad}),
            ("/v1/login", f'{{"password": "{bad}"'.encode()),
            ("/v1/login", f'{{"password": "{bad}'.encode() + b"\xff\xfe"),
            ("/v1/login", bad),
            ("/v1/invites/begin", {"token": bad}),
            ("/v1/invites/begin", {"token": self.hidden["invite token"]}),
            ("/v1/invites/accept", {"token": bad, "password": bad, "otp": bad}),
            ("/v1/invites/accept", {"token": self.hidden["reset token"], "password": self.marker}),
            ("/v1/join", {"token": bad, "type": "node", "name": "n", "tls_public_key": tls}),
            ("/v1/join", {"token": bad, "type": bad, "name": "n", "tls_public_key": tls}),
            (
                "/v1/join",
                {"token": self.whole_token, "type": "db", "name": "n", "tls_public_key": tls},
            ),
            ("/v1/web/login", {"user": "alice", "password": bad, "otp": None, "address": "::1"}),
            ("/v1/web/check", {"cookie": bad, "bearer": bad, "address": "::1"}),
        ]
        for path, body in bodies:
            self.say(f"POST {path}", "POST", path, body)
        reset = self.hidden["reset token"]
        for path in (
            f"/web/invite/{bad}",
            f"/web/reset/{bad}/more",
            f"/web/reset/{reset}/more",
            f"/web/nothing/{bad}",
            f"/v1/{bad}",
            f"/v1/login?password={bad}",
            f"/web/login?password={bad}",
            f"/%0a{quote(bad)}",
        ):
            self.say(f"GET {path[:12]}", "GET", path)
        for name, value in (
            ("Authorization", f"Bearer {bad}"),
            ("Authorization", f"Basic {base64.b64encode(bad.encode()).decode()}"),
            ("Cookie", f"__Host-tlsgate={bad}{'x' * 32}"),
            ("Cookie", f"__Host-tlsgate={self.hidden['cookie']}x; {bad}"),
            ("Host", f"{bad}.example"),
            ("X-Forwarded-For", bad),
        ):
            self.say(f"header {name}", "GET", "/web", None, headers={name: value})
            self.say(f"header {name}", "GET", "/v1/me", None, headers={name: value})

    def at_the_api(self) -> None:
        """The same with a certificate, and a join that succeeds."""
        robot = self.sign(self.daemon, "alice")
        self.hidden["robot key"] = body_of(robot.key.read_text())
        bad = f"{self.marker}-wrong"
        for path, body in (
            ("/v1/me/password", {"old": bad, "new": f"{bad}-new", "otp": "000000"}),
            ("/v1/me/password", {"old": [bad], "new": bad, "otp": None}),
            ("/v1/me/certificates", {"tls_public_key": bad}),
            ("/v1/users", {"name": "bob", "roles": ["access"], "password": bad}),
            ("/v1/tokens", {"types": ["node"], "secret": bad}),
            ("/v1/web/check", {"cookie": bad, "bearer": bad, "address": "::1"}),
        ):
            self.told.append((path, self.ask(self.daemon, robot, "POST", path, body).text))
        self.joined(robot)

    def joined(self, robot: Holder) -> None:
        private, tls, _ = new_key()
        self.hidden["node key"] = body_of(private.decode())
        body = {"token": self.whole_token, "type": "node", "name": "n1", "tls_public_key": tls}
        context = robot.context("tlsgate-join")
        context.load_default_certs()
        connection = context.wrap_socket(self.daemon.connect(), server_hostname="gw.test")
        answer = request(connection, "POST", "/v1/join", body)
        self.assertEqual(answer.status, 200, answer.text)

    def page(self, path: str, jar: dict[str, str], fields: Mapping[str, str] | None = None) -> str:
        """One page as a browser gets it, with its cookies."""
        spoken = http.client.HTTPConnection("gw.test", timeout=CLIENT_SECONDS)
        spoken.sock = self.daemon.dial()
        cookies = "; ".join(f"{name}={value}" for name, value in jar.items())
        headers = {"Cookie": cookies, "Connection": "close"}
        try:
            if fields is None:
                spoken.request("GET", path, headers=headers)
            else:
                spoken.request("POST", path, urlencode(fields), {**headers, **FORM})
            answer = spoken.getresponse()
            for cookie in answer.headers.get_all("Set-Cookie", []):
                name, _, value = cookie.partition(";")[0].partition("=")
                jar[name] = value
            return answer.read().decode()
        finally:
            spoken.close()

    def in_a_browser(self) -> None:
        """Another one's web session, from a wrong password to its end."""
        made = self.daemon.admin("POST", "/v1/users", {"name": "carol", "roles": ["access"]})
        token = self.hidden["carol's token"] = made["invite"]["token"]
        begun = self.web(self.daemon, "POST", "/v1/invites/begin", {"token": token}).body
        secret = self.hidden["carol's otp secret"] = begun["secret"]
        carol = User(name="carol", secret=secret, password=f"{self.marker}-of-carol")
        accept = {"token": token, "password": carol.password, "otp": carol.code(time.time())}
        self.assertEqual(self.web(self.daemon, "POST", "/v1/invites/accept", accept).status, 200)
        jar: dict[str, str] = {}
        for password, code in (
            (f"{self.marker}-wrong", "000000"),
            (carol.password, carol.code(time.time())),
        ):
            shown = self.page("/web/login", jar)
            form = re.search(r'name="form" value="([\w-]+)"', shown)
            assert form is not None
            fields = {"form": form[1], "user": "carol", "password": password, "code": code}
            self.told.append(("web login", self.page("/web/login", jar, fields)))
        cookie = self.hidden["cookie"] = jar["__Host-tlsgate"]
        shown = self.page("/web", jar)
        bearer = re.search(r'name="bearer" value="([\w-]+)"', shown)
        assert bearer is not None and cookie
        self.hidden["bearer"] = bearer[1]
        self.mistakes()
        self.page("/web/logout", jar, {"bearer": bearer[1]})

    # -- where to look --

    def places(self) -> Iterator[tuple[str, bytes]]:
        """Everything that was written anywhere."""
        yield "the log", self.daemon.text().encode()
        for file in self.daemon.folder.rglob("*"):
            if file.is_file() and not any(file.match(keeper) for keeper in KEEPERS):
                yield str(file.relative_to(self.daemon.folder)), file.read_bytes()
            elif file.is_file():
                self.assertEqual(file.stat().st_mode & 0o077, 0, file)
        for command in self.commands.seen:
            yield f"arguments {command[:60]!r}", command
        for what, text in self.told:
            yield f"answer to {what}", text.encode()
        pid = self.daemon.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for one in (pid, *children):
            yield f"environment of {one}", Path(f"/proc/{one}/environ").read_bytes()

    def test_s24_nobody_finds_it(self) -> None:
        """S24: 0 hits at debug level in log, trail, store, arguments, answers, environments."""
        self.commands = CommandLines()
        with self.commands:
            self.in_a_terminal()
            self.operators()
            self.in_a_browser()
            self.at_the_api()
            self.tgctl("audit", "ls")
        self.daemon.admin("GET", "/v1/status")  # whatever was to be written, is
        self.hidden["seal"] = (self.daemon.data_dir / "auth.key").read_text().strip()
        places = list(self.places())
        self.assertTrue(any(b"tgsh.main" in place for _, place in places))
        self.assertTrue(any("audit" in name for name, _ in places), [name for name, _ in places])
        found = [
            (what, name, place[max(0, at - 120) : at + 20])
            for what, secret in self.hidden.items()
            for name, place in places
            for mark in marks(secret)
            if (at := place.find(mark)) >= 0
        ]
        self.assertEqual(found, [])


class WorkersCanaryTests(CanaryTests):
    """Two workers, and the auth service beside them."""

    workers = 2


def body_of(pem: str) -> str:
    """The middle of a private key, as it would stand in any copy of it."""
    found = re.search(r"PRIVATE KEY-----\n(.+?)\n-----END", pem, re.DOTALL)
    assert found is not None
    return found[1].replace("\n", "")[60:120]


def marks(secret: str) -> set[bytes]:
    """A secret as it may have been written: plain, percent-coded, in base64 or hex."""
    raw = secret.encode()
    return {raw, quote(secret).encode(), base64.b64encode(raw)[:-4], raw.hex().encode()}
