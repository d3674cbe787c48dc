"""Tests for `tgctl explain`: which gate is asked, and what is printed."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.certs import pki
from tests.support.commandline import TableDoor, run

CONFIG = """\
version: v2
teleport: {{data_dir: data}}
proxy_service:
  web_listen_addr: "127.0.0.1:3080"
  public_addr: gw.test:443
  routes:
    - name: echo
      alpn: [demo-echo]
      target: tcp:127.0.0.1:9003
      client_ca_files: [{ca}]
      allow: [{{cn: alice}}]
"""
TOLD = {
    "outcome": "refused",
    "reason": "no_route",
    "message": "no\x1b way",
    "alert": 120,
    "certificate": None,
    "routes": [],
    "steps": [{"step": "choose", "text": "refused"}],
}


class OfflineTests(SynchronousTestCase):
    """With --config the file is asked."""

    def setUp(self) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        self.config = folder / "gate.yaml"
        self.config.write_text(CONFIG.format(ca=pki().file("ca.pem")))

    def explain(self, *words: str) -> tuple[int, str]:
        result = run("explain", "--config", str(self.config), *words)
        self.assertEqual(result.stderr, "")
        return result.exit_code, result.stdout

    def test_allowed(self) -> None:
        """Each step, each route and the verdict; nothing is left in the data directory."""
        code, shown = self.explain(
            *("--sni", "gw.test", "--alpn", "h2,demo-echo"),
            *("--cert", str(pki().file("alice.pem"))),
        )
        self.assertEqual(code, 0)
        lines = shown.splitlines()
        self.assertEqual(
            [line.split()[0] for line in lines[:11]],
            [
                *("accept", "arrival", "sniff", "hello", "name", "choose", "certificate"),
                "policy",
                *("verify", "authorise", "relay"),
            ],
        )
        self.assertIn("signed by itself", lines[6])
        self.assertIn("> echo  chosen", lines)
        self.assertEqual(lines[-1], "allowed: relayed to tcp:127.0.0.1:9003")
        self.assertFalse((self.config.parent / "data").exists())

    def test_refused(self) -> None:
        """A refusal is exit code 1, with the alert that the client would see."""
        code, shown = self.explain("--alpn", "demo-echo")
        self.assertEqual(code, 1)
        self.assertEqual(
            shown.splitlines()[-1],
            "refused: route echo needs a client certificate (TLS alert 116)",
        )
        code, shown = self.explain("--alpn", "demo-echo", "--cert", str(pki().file("bob.pem")))
        self.assertEqual(code, 1)
        self.assertEqual(shown.splitlines()[-1], "refused: no rule names this certificate")

    def test_json(self) -> None:
        """Programs get every field."""
        code, shown = self.explain("--alpn", "demo-echo", "--format", "json")
        told = json.loads(shown)
        self.assertEqual((code, told["reason"], told["alert"]), (1, "no_certificate", 116))

    def test_no_such_listener(self) -> None:
        """A wrong listener is the asker's mistake."""
        result = run("explain", "--config", str(self.config), "--listener", "ssh")
        self.assertEqual(result.exit_code, 2)
        self.assertEqual(result.stderr, "tgctl: there is no listener 'ssh'; there are: web\n")

    def test_bad_file(self) -> None:
        """A file with problems explains nothing but them."""
        self.config.write_text("version: v9\n")
        result = run("explain", "--config", str(self.config))
        self.assertEqual(result.exit_code, 2)
        self.assertIn("gate.yaml:1:10 version", result.stderr)

    def test_no_certificate_in_the_file(self) -> None:
        """A file without a certificate is named."""
        key = str(pki().file("alice-key.pem"))
        result = run("explain", "--config", str(self.config), "--cert", key)
        self.assertEqual(result.exit_code, 2)
        self.assertEqual(result.stderr, f"tgctl: {key} holds no PEM certificate\n")


class RunningTests(SynchronousTestCase):
    """Without it the daemon is asked."""

    def test_question(self) -> None:
        """Every part of the question goes to the daemon, the key in the file does not."""
        both = Path(self.mktemp())
        alice = pki().alice
        both.write_bytes(alice.key_pem + alice.cert_pem)
        door = TableDoor({"GET /v1/explain": TOLD})
        result = run(
            *("explain", "--listener", "ssh", "--sni", "a.test", "--alpn", "x", "--alpn", "y,z"),
            *("--cert", str(both)),
            door=door,
        )
        self.assertEqual(result.exit_code, 1)
        query = {
            "listener": "ssh",
            "sni": "a.test",
            "alpn": "x,y,z",
            "cert": alice.cert_pem.decode(),
        }
        self.assertEqual(door.asked, [("GET /v1/explain", query)])
        self.assertEqual(
            result.stdout, "choose       refused\n\nrefused: no\\x1b way (TLS alert 120)\n"
        )

    def test_although_a_file_is_named(self) -> None:
        """--running asks the daemon of that file; so does a variable instead of the option."""
        config = Path(self.mktemp()).absolute()
        config.write_text("teleport: {data_dir: /run/gate}")
        for words, env in (
            (("explain", "--running", "--config", str(config)), {}),
            (("explain",), {"TLSGATE_CONFIG": str(config)}),
        ):
            door = TableDoor({"GET /v1/explain": TOLD})
            run(*words, door=door, env=env)
            self.assertEqual(door.opened, [Path("/run/gate")])


class ByRoleTests(SynchronousTestCase):
    """With --user and --target the cluster decides."""

    def test_verdicts(self) -> None:
        """The rule that decided, the roles, and the exit code."""
        for allowed, code, verdict in ((True, 0, "allowed"), (False, 1, "refused")):
            told = {"allowed": allowed, "why": "role access, allow.logins", "roles": ["access"]}
            door = TableDoor({"POST /v1/explain": told})
            result = run(
                *("explain", "--user=alice", "--target=ssh://root@db1", "--labels=env=prod"),
                door=door,
            )
            self.assertEqual(
                (result.exit_code, result.stdout),
                (code, f"{verdict}: role access, allow.logins\nroles: access\n"),
            )
            body = {"user": "alice", "target": "ssh://root@db1", "labels": {"env": "prod"}}
            self.assertEqual(door.bodies, [body])

    def test_both(self) -> None:
        """One without the other is a mistake."""
        self.assertEqual(run("explain", "--user=alice").exit_code, 2)
