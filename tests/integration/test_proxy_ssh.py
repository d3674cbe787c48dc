"""`tgsh proxy ssh` as a process of its own, against a gateway of the tests."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import re
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.support.harness import CLIENT_SECONDS
from tests.support.ports import free_port
from tests.support.sshgate import ALICE, GATEWAY, Secured, SshGate

ROOT = Path(__file__).parents[2]


class ProxyCase(SynchronousTestCase):
    """A gateway, and alice who is logged in there."""

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()

    def gate(self, **how: Any) -> SshGate:
        """Start one."""
        made = SshGate(**how)
        made.start(self.home)
        self.addCleanup(made.stop)
        return made

    def words(self, *more: str, python: tuple[str, ...] = ()) -> list[str]:
        """The command line."""
        return [
            *(sys.executable, *python, "-m", "tlsgate.cli.tgsh.entry"),
            *(f"--home={self.home}", "proxy", "ssh", *more),
        ]

    def environment(self, **more: str) -> Mapping[str, str]:
        """Variables without those that mean something here."""
        kept = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        return {**kept, "PYTHONPATH": str(ROOT), **more}

    def dial(
        self,
        *more: str,
        typed: bytes = b"hello",
        python: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run it to its end with *typed* at stdin."""
        return subprocess.run(
            self.words(*(more or ("root@db1.example:22",)), python=python),
            input=typed,
            capture_output=True,
            timeout=CLIENT_SECONDS,
            env=env or self.environment(),
            check=False,
        )

    def open(self) -> subprocess.Popen[bytes]:
        """Start it with pipes."""
        started = subprocess.Popen(
            self.words("root@db1.example:22"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment(),
            bufsize=0,
        )

        def end() -> None:
            started.kill()
            started.wait()
            for stream in (started.stdin, started.stdout, started.stderr):
                if stream is not None:
                    stream.close()

        self.addCleanup(end)
        return started

    def said(self, done: subprocess.CompletedProcess[bytes]) -> str:
        """What it said when it failed."""
        self.assertEqual((done.returncode, done.stdout), (1, b""), done.stderr)
        return done.stderr.decode()


def take(stream: Any, count: int) -> bytes:
    """Exactly *count* bytes, in time."""
    found = b""
    until = time.monotonic() + CLIENT_SECONDS
    while len(found) < count:
        ready, _, _ = select.select([stream], [], [], max(until - time.monotonic(), 0))
        assert ready, f"only {found!r} has come"
        more = os.read(stream.fileno(), count - len(found))
        assert more, f"it has ended after {found!r}"
        found += more
    return found


class CarryTests(ProxyCase):
    """Bytes both ways."""

    def test_both_tokens(self) -> None:
        """With frames or without, what goes in comes out, and one CONNECT has named the node."""
        for tokens in (("tlsgate-ssh-ping", "http/1.1"), ("tlsgate-ssh", "http/1.1")):
            with self.subTest(tokens=tokens):
                self.home = Path(self.mktemp()).absolute()
                gate = self.gate(tokens=tokens)
                done = self.dial()
                self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"hello", b""))
                (head,) = gate.heads
                self.assertRegex(
                    head.decode(),
                    r"\ACONNECT db1\.example:22 HTTP/1\.1\r\nHost: db1\.example:22\r\n"
                    r"User-Agent: tgsh/\S+\r\n\r\n\Z",
                )

    def test_much(self) -> None:
        """64 MiB go both ways at once and arrive as they were."""
        self.gate()
        typed = os.urandom(1 << 20) * 64
        done = self.dial(typed=typed)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertEqual(hashlib.sha256(done.stdout).digest(), hashlib.sha256(typed).digest())

    def test_typed_ends_first(self) -> None:
        """When stdin ends, the node is told so, and what it still says arrives."""

        def late(client: Secured) -> None:
            read = client.read_all()
            for piece in (b"got ", read, b" of it"):
                client.write(piece)
            client.end()

        for tokens in (("tlsgate-ssh-ping", "http/1.1"), ("tlsgate-ssh", "http/1.1")):
            self.home = Path(self.mktemp()).absolute()
            self.gate(then=late, tokens=tokens)
            self.assertEqual(self.dial(typed=b"all").stdout, b"got all of it")

    def test_node_ends_first(self) -> None:
        """When the node ends, stdout is closed, and what is typed still arrives."""
        got: queue.SimpleQueue[bytes] = queue.SimpleQueue()

        def early(client: Secured) -> None:
            client.write(b"bye")
            client.end()
            got.put(client.read_all())

        self.gate(then=early)
        started = self.open()
        assert started.stdin and started.stdout and started.stderr
        self.assertEqual(take(started.stdout, 3), b"bye")
        self.assertEqual(started.stdout.read(), b"")
        started.stdin.write(b"more")
        started.stdin.close()
        self.assertEqual(started.wait(CLIENT_SECONDS), 0, started.stderr.read())
        self.assertEqual(got.get(timeout=CLIENT_SECONDS), b"more")

    def test_node_is_gone(self) -> None:
        """A node that has said all and reads no more is no failure, whatever is typed."""

        def gone(client: Secured) -> None:
            client.write(b"bye")
            client.end()
            client.sock.close()

        self.gate(then=gone)
        started = self.open()
        assert started.stdin and started.stdout and started.stderr
        self.assertEqual(take(started.stdout, 3), b"bye")
        self.assertEqual(started.stdout.read(), b"")
        with contextlib.suppress(BrokenPipeError):
            for _ in range(64):
                started.stdin.write(bytes(65536))
        with contextlib.suppress(BrokenPipeError):
            started.stdin.close()
        self.assertEqual(started.wait(CLIENT_SECONDS), 0, started.stderr.read())

    def test_pings(self) -> None:
        """Pings between data are dropped, however they come."""

        def pinging(client: Secured) -> None:
            client.ping()
            while read := client.read():
                client.ping()
                client.write(read)
                client.ping()
            client.end()

        self.gate(then=pinging)
        self.assertEqual(self.dial(typed=b"x" * 100_000).stdout, b"x" * 100_000)

    def test_silence(self) -> None:
        """After three intervals without a ping it gives up, and says so."""
        gate = self.gate(then=lambda client: client.read_all() and None)
        gate.answer = b"HTTP/1.1 200 OK\r\nTlsgate-Ping-Seconds: 0.5\r\n\r\nearly"
        started = self.open()
        assert started.stdout and started.stderr
        since = time.monotonic()
        self.assertEqual(take(started.stdout, 5), b"early")
        self.assertEqual(started.wait(CLIENT_SECONDS), 1)
        self.assertGreater(time.monotonic() - since, 1.2)
        self.assertIn(b"silent for 1.5 s", started.stderr.read())

    def test_cut(self) -> None:
        """A connection that breaks is no end: it is said, and the exit code is 1."""

        def cut(client: Secured) -> None:
            client.read_all()
            client.write(b"half")
            client.sock.close()

        gate = self.gate(then=cut)
        done = self.dial()
        self.assertEqual((done.returncode, done.stdout), (1, b"half"))
        self.assertEqual(
            done.stderr.decode(),
            f"tgsh: {gate.where} cannot be reached: it hung up without a word\n",
        )

    def test_reader_gone(self) -> None:
        """When ssh goes away, so does it."""
        self.gate()
        started = self.open()
        assert started.stdin and started.stdout
        started.stdin.write(b"one")
        self.assertEqual(take(started.stdout, 3), b"one")
        started.stdout.close()
        started.stdin.write(b"two")
        self.assertEqual(started.wait(CLIENT_SECONDS), 0)


class RefusalTests(ProxyCase):
    """One sentence on stderr that says what to do."""

    def test_gateway_refuses(self) -> None:
        """The body of the gateway's answer is what the user reads."""
        gate = self.gate()
        words = "alice may not reach db1: no role of hers allows it"
        head = f"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: {len(words)}"
        for answer, want in (
            (f"{head}\r\n\r\n{words}ignored", words),
            ("HTTP/1.1 502 Bad Gateway\r\n\r\nno node \x1b[31m\n", r"no node \x1b[31m"),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", "the gateway refused: 503 Service"),
        ):
            gate.answer = answer.encode()
            self.assertTrue(self.said(self.dial()).startswith(f"tgsh: {want}"))

    def test_nonsense(self) -> None:
        """What is no HTTP, or too much of it, is no gateway."""
        gate = self.gate()
        for answer in (b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"x" * 20_000):
            gate.answer = answer
            self.assertIn("its answer to CONNECT is", self.said(self.dial()))

    def test_role(self) -> None:
        """A node's certificate is refused before a byte is sent, and so is another cluster's."""
        for claims, want in (
            (evolve(GATEWAY, system_roles=("node",)), "its certificate is not one of a gateway"),
            (evolve(GATEWAY, cluster="other"), "it belongs to other, not to example"),
            (ALICE, "its certificate is not one of a gateway"),
        ):
            self.home = Path(self.mktemp()).absolute()
            gate = self.gate(claims=claims)
            self.assertIn(want, self.said(self.dial()))
            self.assertEqual(gate.heads, [])

    def test_name(self) -> None:
        """So is a gateway of another name."""
        gate = self.gate(names=("other.test",))
        self.assertIn("its certificate does not name localhost", self.said(self.dial()))
        self.assertEqual(gate.heads, [])

    def test_authority(self) -> None:
        """So is one that the cluster's authorities have not signed."""
        gate = self.gate()
        (self.home / "keys/localhost/cas/example.pem").write_text(SshGate().ca.pem)
        self.assertIn("is not trusted", self.said(self.dial()))
        self.assertEqual(gate.heads, [])

    def test_expired(self) -> None:
        """An expired login is said before anybody is dialled, with the command that heals it."""
        gate = self.gate()
        keys = self.home / "keys/localhost"
        now = time.time()
        gate.issue(keys / "alice-x509.pem", keys / "alice", ALICE, start=now - 99, end=now - 9)
        self.assertEqual(
            self.said(self.dial()),
            f"tgsh: the certificate of alice has expired: run `tgsh login --proxy={gate.where}`\n",
        )
        self.assertEqual((gate.pinged, gate.heads), (0, []))

    def test_not_logged_in(self) -> None:
        """So is none at all."""
        self.assertIn(
            "tgsh login --proxy=gate.test:1", self.said(self.dial("--proxy=gate.test:1", "x"))
        )

    def test_away(self) -> None:
        """A gateway that is away, or speaks something else, is said to be."""
        gate = self.gate(tokens=("http/1.1",))
        self.assertRegex(self.said(self.dial()), "TLS alert 120|does not speak tlsgate-ssh")
        done = self.dial(f"--proxy=localhost:{free_port()}", "db1")
        self.assertIn("nobody listens there; is the port right?", self.said(done))
        self.assertEqual(gate.heads, [])


class WayTests(ProxyCase):
    """Which way it takes, and what it says when that has changed."""

    def test_asked_once_a_minute(self) -> None:
        """The answer is kept for a minute; an older one is not believed."""
        gate = self.gate()
        for _ in range(2):
            self.assertEqual(self.dial().returncode, 0)
        self.assertEqual(gate.pinged, 1)
        kept = self.home / "keys/localhost/ping.json"
        found = json.loads(kept.read_text())
        kept.write_text(json.dumps({**found, "asked": time.time() - 61}))
        self.assertEqual(self.dial().returncode, 0)
        self.assertEqual(gate.pinged, 2)

    def test_separate(self) -> None:
        """In separate mode ssh takes its place; the profile is set right, and it is said."""
        gate = self.gate()
        self.fake_ssh()
        gate.ping["proxy"] = {
            "tls_routing_enabled": False,
            "ssh": {"listen_addr": "0.0.0.0:3023"},
        }
        done = self.dial(env=self.environment(PATH=f"{self.home}:{os.environ['PATH']}"))
        words = done.stdout.decode().splitlines()
        self.assertEqual(words[-4:], ["-W", "db1.example:22", "--", "localhost"])
        for option in ("User=alice", "Port=3023", "StrictHostKeyChecking=yes"):
            self.assertIn(option, words)
        self.assertEqual(
            done.stderr.decode(),
            f"tgsh: localhost:{gate.port} takes SSH at localhost:3023 now, not at its web port "
            f"{gate.port}; the profile is set right\n",
        )
        profile = (self.home / "localhost.yaml").read_text()
        self.assertIn("tls_routing_enabled: false\n", profile)
        self.assertIn("localhost:3023", profile)

    def test_back_again(self) -> None:
        """A profile of separate mode does not lead to a port that is gone."""
        gate = self.gate()
        profile = self.home / "localhost.yaml"
        text = profile.read_text().replace("true", "false")
        profile.write_text(f'{text}ssh_proxy_addr: "localhost:3023"\n')
        done = self.dial()
        self.assertEqual((done.returncode, done.stdout), (0, b"hello"))
        self.assertIn(b"not at localhost:3023; the profile is set right", done.stderr)
        self.assertIn("tls_routing_enabled: true\n", profile.read_text())
        self.assertEqual(len(gate.heads), 1)

    def test_a_dial_fails(self) -> None:
        """A kept answer that leads nowhere is asked for again at once."""
        gate = self.gate(tokens=("http/1.1",))
        self.fake_ssh()
        keep = {"asked": time.time(), "address": gate.where, "answer": gate.ping}
        (self.home / "keys/localhost/ping.json").write_text(json.dumps(keep))
        gate.ping = {
            **gate.ping,
            "proxy": {"tls_routing_enabled": False, "ssh": {"listen_addr": ":3023"}},
        }
        done = self.dial(env=self.environment(PATH=f"{self.home}:{os.environ['PATH']}"))
        self.assertIn(b"takes SSH at localhost:3023 now", done.stderr)
        self.assertIn(b"-W\n", done.stdout)

    def fake_ssh(self) -> None:
        """An `ssh` that prints its words."""
        program = self.home / "ssh"
        program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        program.chmod(0o755)


class ImportTests(ProxyCase):
    """What it costs to begin."""

    def test_standard_library_and_little_else(self) -> None:
        """Nothing of weight is imported on the way, asked afresh or not."""
        self.gate()
        for _ in range(2):
            done = self.dial(python=("-X", "importtime"))
            self.assertEqual((done.returncode, done.stdout), (0, b"hello"), done.stderr)
            names = set(re.findall(r"\| +([\w.]+)$", done.stderr.decode(), re.M))
            self.assertIn("ssl", names)
            roots = {name.partition(".")[0] for name in names}
            heavy = {"twisted", "OpenSSL", "cryptography", "click", "yaml", "attr", "attrs"}
            self.assertEqual(roots & heavy, set())
            ours = {name for name in names if name.startswith("tlsgate")}
            self.assertNotIn("tlsgate.errors", ours)
