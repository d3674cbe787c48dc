"""tgctl and tgsh as people use them, in a terminal, against a daemon that is a cluster."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pexpect
import pyotp

from tests.support.certs import pki
from tests.support.child import PATIENCE_SECONDS, program
from tests.support.cluster import ClusterCase
from tests.support.harness import ROOT, Gate

#: No programs' variables of the test's own, and no colours.
ENVIRONMENT = {
    **{
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TLSGATE_", "TGSH_", "TELEPORT_"))
    },
    "PYTHONPATH": str(ROOT),
    "TERM": "dumb",
}
PASSWORD = "correct horse battery staple"


class LoginTests(ClusterCase):
    """From an invitation to a login, and what it opens."""

    def setUp(self) -> None:
        super().setUp()
        self.gateway: Gate = self.cluster()
        self.proxy = f"127.0.0.1:{self.gateway.port()}"
        self.home = self.folder() / "home"
        self.env = {**ENVIRONMENT, "TGSH_HOME": str(self.home)}
        self.used = 0

    def program(self, name: str, *words: object) -> list[str]:
        return [sys.executable, "-m", f"tlsgate.cli.{name}.main", *map(str, words)]

    def run_it(self, name: str, *words: object, code: int = 0) -> str:
        """Run a program to its end; gives stdout, or stderr where it is to fail."""
        done = subprocess.run(
            self.program(name, *words),
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        self.assertEqual((words, done.returncode), (words, code), done.stderr)
        return done.stderr if code else done.stdout

    def tgctl(self, *words: object) -> str:
        return self.run_it("tgctl", *words, "--data-dir", self.gateway.data_dir)

    def typed(self, name: str, *words: object, **answers: str) -> str:
        """Run a program in a terminal of its own, and type *answers* to its questions."""
        command, *rest = self.program(name, *words)
        child = pexpect.spawn(
            command, rest, env=self.env, timeout=PATIENCE_SECONDS, encoding="utf-8"
        )
        shown = ""
        try:
            for question, answer in answers.items():
                child.expect(question)
                shown += child.before or ""
                child.sendline(answer if answer != "CODE" else self.code(shown))
            child.expect(pexpect.EOF)
            shown += child.before or ""
        finally:
            child.close(force=True)
        self.assertEqual((words, child.exitstatus), (words, 0), shown)
        self.assertNotIn(PASSWORD, shown)
        return shown

    def code(self, shown: str) -> str:
        """A one-time code that was not used yet; the secret may be in what is shown."""
        if found := re.search(r"secret: ([A-Z2-7]+)", shown):
            self.secret = found[1]
        step = max(int(time.time()) // 30, self.used + 1)
        self.used = step
        return str(pyotp.TOTP(self.secret).generate_otp(step))

    def invited(self) -> dict[str, Any]:
        """Invite alice, who answers in a terminal."""
        words = ("--roles=access,editor", "--logins=alice,root", "--format=json")
        made: dict[str, Any] = json.loads(self.tgctl("users", "add", "alice", *words))
        token = made["invite"]["token"]
        self.pin = made["pins"][0]
        shown = self.typed(
            *("tgsh", "register", f"https://{self.proxy}/web/invite/{token}"),
            f"--ca-pin={self.pin}",
            **{"Password: ": PASSWORD, "again: ": PASSWORD, "app: ": "CODE"},
        )
        self.assertIn(f"tgsh login --proxy={self.proxy} --user=alice --ca-pin={self.pin}", shown)
        return made

    def login(self, *words: object) -> str:  # type: ignore[override]  # in a terminal
        return self.typed(
            *("tgsh", "login", f"--proxy={self.proxy}", "--user=alice", f"--ca-pin={self.pin}"),
            *words,
            **{"Password of alice: ": PASSWORD, "code: ": "CODE"},
        )

    def test_a_user(self) -> None:
        """Invited, registered, logged in by pin, asked who one is, logged out."""
        self.invited()
        self.assertIn("Logged in as:        alice", self.login())
        status = json.loads(self.run_it("tgsh", "status", "--format=json"))["active"]
        self.assertEqual((status["roles"], status["cluster"]), (["access", "editor"], "gw.test"))
        self.assertIn("online", self.run_it("tgsh", "clusters"))
        self.assertIn("totp", self.run_it("tgsh", "mfa", "ls"))
        self.assertIn("alice", self.run_it("tgctl", "users", "ls", f"--proxy={self.proxy}"))
        self.assertEqual(self.run_it("tgsh", "logout"), "you are logged out of every cluster\n")
        self.assertIn("tgsh login", self.run_it("tgsh", "status", code=1))

    def test_curl(self) -> None:
        """curl asks the API with the files that `tgsh status` names, and nothing else of ours."""
        self.invited()
        self.login()
        files = json.loads(self.run_it("tgsh", "status", "--format=json"))["active"]["files"]
        port = self.gateway.port()
        done = subprocess.run(
            [
                *(program("curl", "curl"), "--silent", "--show-error", "--max-time", "20"),
                *("--cert", files["certificate"], "--key", files["key"]),
                *("--cacert", files["authorities"]),
                *("--resolve", f"auth.gw.test:{port}:127.0.0.1"),
                f"https://auth.gw.test:{port}/v1/me",
            ],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(json.loads(done.stdout)["name"], "alice")

    def test_by_the_web_certificate(self) -> None:
        """Where the machine trusts the web certificate, no pin is needed; else nothing is asked."""
        self.invited()
        words = ("login", f"--proxy={self.proxy}", "--user=alice")
        said = self.run_it("tgsh", *words, code=1)
        self.assertIn("is not trusted", said)
        self.env["SSL_CERT_FILE"] = str(pki().file("ca.pem"))
        questions = {"Password of alice: ": PASSWORD, "code: ": "CODE"}
        self.assertIn("Logged in as:        alice", self.typed("tgsh", *words, **questions))
        web = self.home / "keys" / "127.0.0.1" / "certs.pem"
        self.assertEqual(web.read_text(), pki().file("ca.pem").read_text())

    def test_an_identity_for_scripts(self) -> None:
        """The operator signs; the file works for both programs, and a lock ends that."""
        self.invited()
        name = self.folder() / "robot"
        self.tgctl("auth", "sign", "--user=alice", "--ttl=1h", f"--out={name}")
        where = ("-i", name, f"--proxy={self.proxy}")
        self.assertIn("totp", self.run_it("tgsh", *where, "mfa", "ls"))
        self.assertIn("kind: role", self.run_it("tgctl", *where, "get", "role/access"))
        self.tgctl("lock", "--user=alice", "--message=on leave")
        self.assertIn("on leave", self.run_it("tgsh", *where, "mfa", "ls", code=1))

    def test_resources(self) -> None:
        """A role from a file, edited, refused with its place, and removed."""
        file = self.folder() / "role.yaml"
        file.write_text("kind: role\nmetadata: {name: ops}\nspec: {allow: {logins: [root]}}\n")
        self.assertEqual(self.tgctl("create", "-f", file), "role ops is written\n")
        self.env["EDITOR"] = "sed -i s,root,admin,"
        self.assertEqual(self.tgctl("edit", "role/ops"), "role ops is changed\n")
        self.assertIn("admin", self.tgctl("get", "role/ops"))
        file.write_text("kind: role\nmetadata: {name: ops}\nspec:\n  alow: {}\n")
        words = ("create", "-f", file, "--data-dir", self.gateway.data_dir)
        self.assertIn(f"{file}:4:", self.run_it("tgctl", *words, code=2))
        self.assertEqual(self.tgctl("rm", "role/ops"), "role ops is removed\n")
        self.assertIn("gw.test", self.tgctl("status"))
        self.assertIn("role.created", self.tgctl("audit", "ls"))
        self.assertIn("revision", self.tgctl("backup", self.folder() / "copy.db"))
        Path(file).unlink()
