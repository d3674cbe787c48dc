"""Authorities get new keys while people work, and only who kept an old one notices (S53).

1. People connect all the time: one with the certificate of the first day, the others with
   what the phase before gave them, at every door that shows or verifies a certificate of
   the cluster; operators run tgctl with identity files of the phase before.
2. Both authorities walk through the phases, each step when the one before is taken up.
3. Nothing has failed. What the old keys have signed is then refused, also with a session.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from attrs import define, field
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from tests.support.certs import pki
from tests.support.child import PATIENCE_SECONDS, during, sized, until
from tests.support.cluster import ClusterCase, Holder, request
from tests.support.echo import Echo
from tests.support.harness import ROOT, receive
from tlsgate.auth.api import TABLE
from tlsgate.auth.kinds import KINDS
from tlsgate.auth.seal import Seal

FORTH: Sequence[str] = ("init", "update_clients", "update_servers", "standby")
BACK: Sequence[str] = ("init", "update_clients", "update_servers", "rollback", "standby")
#: Both are rotated together.
TYPES = ("user", "host")
#: How long people go on once a step has been taken up.
WATCH_SECONDS = sized(1, 10)
PEOPLE = sized(1, 6)
#: Between two connections of one of them: there are two cores for all of it.
PAUSE_SECONDS = 0.03

#: All people come from one address.
LIMITS = {"handshakes_per_second_per_address": 10_000}


@define
class Traffic:
    """Connections of one kind, made again and again until `stop`."""

    what: str
    connect: Callable[[], object]
    good: int = 0
    failures: list[str] = field(factory=list)
    _over: threading.Event = field(factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, in a thread."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(PAUSE_SECONDS):
            try:
                self.connect()
            except (OSError, AssertionError) as error:
                self.failures.append(f"{self.what}: {type(error).__name__} {error}")
            else:
                self.good += 1

    def stop(self) -> None:
        """End, once the last connection is through."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(PATIENCE_SECONDS)


class RotationTests(ClusterCase):
    """One process, and back again."""

    workers = 1
    walks = (BACK, FORTH)[: sized(1, 2)]

    def setUp(self) -> None:
        super().setUp()
        route = {
            "name": "echo",
            "alpn": ["echo"],
            "target": self.serve(Echo()).endpoint,
            "client_cert": "required",
            "require_role": ["access"],
        }
        self.daemon = self.cluster(
            proxy={"routes": [route], "workers": self.workers, "limits": LIMITS}
        )
        self.port = self.daemon.port()
        self.add_user(self.daemon, "alice", ["access", "editor"])
        self.phase = "standby"
        self.fresh()

    # -- people --

    def fresh(self) -> None:
        """Have somebody log in, and an operator sign for a script, in the present phase."""
        self.alice = self.sign(self.daemon, "alice")
        self.script = self.folder() / "script"
        where = f"--data-dir={self.daemon.data_dir}"
        self.tgctl("auth", "sign", "--user=alice", f"--out={self.script}", where)

    def raw(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE_SECONDS)

    def route_context(self, who: Holder, version: ssl.TLSVersion) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(pki().file("ca.pem")))
        context.load_cert_chain(who.cert, who.key)
        context.set_alpn_protocols(["echo"])
        context.minimum_version = context.maximum_version = version
        return context

    def echoed(self, context: ssl.SSLContext, **how: Any) -> ssl.SSLSession | None:
        """Through the route, where the gateway verifies the certificate."""
        with context.wrap_socket(self.raw(), server_hostname="gw.test", **how) as connection:
            connection.sendall(b"hello")
            got = receive(connection, 5)
            assert got == b"hello", f"the route says {got!r}"
            return connection.session

    def routed(self, who: Holder) -> None:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            self.echoed(self.route_context(who, version))

    def asked(self, who: Holder, alpn: str | None, name: str) -> None:
        """The API, where both sides verify what the cluster has issued."""
        context = who.context(*([alpn] if alpn else ()))
        connection = context.wrap_socket(self.raw(), server_hostname=name)
        answer = request(connection, "GET", "/v1/me", host=name)
        assert answer.status == 200, answer.text

    def joined(self, who: Holder) -> None:
        """The door of the first time, where the client verifies the cluster alone."""
        context = ssl.create_default_context(cafile=str(who.cas))
        context.set_alpn_protocols(["tlsgate-join"])
        connection = context.wrap_socket(self.raw(), server_hostname="gw.test")
        answer = request(connection, "GET", "/v1/cas")
        assert answer.status == 200, answer.text

    def tgctl(self, *words: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "tlsgate.cli.tgctl.main", *words],
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(self.folder())},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        self.assertEqual((words, self.phase, done.returncode), (words, self.phase, 0), done.stderr)

    @contextmanager
    def traffic(self, first: Holder) -> Iterator[None]:
        """Let people work meanwhile; none of them may meet a failure."""

        def walks() -> Iterator[Traffic]:
            yield Traffic("the first day's on the route", lambda: self.routed(first))
            for _ in range(PEOPLE):
                yield Traffic("route", lambda: self.routed(self.alice))
                yield Traffic("token", lambda: self.asked(self.alice, "tlsgate-auth", "gw.test"))
                yield Traffic("name", lambda: self.asked(self.alice, None, "auth.gw.test"))
                yield Traffic("join", lambda: self.joined(self.alice))

        people = list(walks())
        for one in people:
            one.start()
        try:
            yield
            until(
                lambda: min(one.good for one in people) > 3,
                "everybody gets through",
                said=lambda: "\n".join(failure for one in people for failure in one.failures[:3]),
            )
        finally:
            for one in people:
                one.stop()
        failures = [failure for one in people for failure in one.failures]
        self.assertEqual(failures, [], f"{len(failures)} failed")

    # -- steps --

    def step(self, phase: str) -> None:
        """Take both authorities to *phase*, and wait until the gateway has followed."""
        self.phase = phase
        for kind in TYPES:
            grace = {"grace_seconds": 0} if phase == "standby" else {}
            body = {"phase": phase, **grace}
            said = self.daemon.admin("POST", f"/v1/authorities/{kind}/rotate", body)
            self.assertEqual(said["phase"], phase)
        until(self.taken_up, f"the gateway takes up {phase}", 5, self.daemon.child.tail)

    def taken_up(self) -> bool:
        """Whether every process trusts what is trusted, and shows what signs now."""
        authorities = self.daemon.admin("GET", "/v1/authorities")["authorities"]
        folders = [file.parent for file in self.daemon.data_dir.glob("gateway/**/cluster.pem")]
        self.assertTrue(folders)
        for folder in folders:
            for kind in TYPES:
                trusted = "".join(key["certificate"] for key in authorities[kind]["keys"])
                if (folder / f"{kind}.pem").read_text() != trusted:
                    return False
            shown = x509.load_pem_x509_certificate((folder / "cluster.pem").read_bytes())
            host = authorities["host"]
            pem = next(key["certificate"] for key in host["keys"] if key["id"] == host["signing"])
            if shown.issuer != x509.load_pem_x509_certificate(pem.encode()).subject:
                return False
        return True

    def test_s53_nobody_notices(self) -> None:
        """S53: no handshake fails in any phase; then what the dropped key signed is refused."""
        for walk in self.walks:
            self.rotated(walk)
        self.check_keys()

    def rotated(self, walk: Sequence[str]) -> None:
        """Rotate both authorities while people work."""
        first = self.alice
        with self.traffic(first):
            for phase in walk[:-1]:
                self.step(phase)
                script = f"--identity={self.script}"
                self.tgctl("get", "roles", script, f"--proxy=127.0.0.1:{self.port}")
                for _ in during(WATCH_SECONDS):
                    pass
                if phase == "rollback":
                    stays, goes = first, self.alice  # who came while the new key signed
                self.fresh()
            if walk[-2] != "rollback":
                stays, goes = self.alice, first
        sessions = []
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.route_context(goes, version)
            sessions.append((context, self.echoed(context)))
        with self.traffic(stays):
            self.step(walk[-1])
            for _ in during(WATCH_SECONDS):
                pass
        self.fresh()
        self.routed(self.alice)
        self.asked(self.alice, "tlsgate-auth", "gw.test")
        self.joined(self.alice)
        for context, session in sessions:
            for how in ({}, {"session": session}):
                for _ in range(4 * self.workers):  # whichever worker it is
                    with self.assertRaises((OSError, AssertionError)):
                        self.echoed(context, **how)
        with self.assertRaises(OSError):
            self.asked(goes, "tlsgate-auth", "gw.test")

    # -- what nobody sees --

    def private_keys(self) -> list[bytes]:
        """The numbers that the authorities' private keys are, as they stand in memory."""
        copy = self.folder() / "copy.db"
        self.daemon.admin("POST", "/v1/backup", {"file": str(copy)})
        seal = Seal.open(self.daemon.data_dir, fresh=False)
        found = []
        with closing(sqlite3.connect(copy)) as database:
            rows = database.execute("select key, value from items").fetchall()
        for place, sealed in ((raw.decode(), value) for raw, value in rows):
            if not place.startswith("secrets/authorities/"):
                continue
            key = serialization.load_der_private_key(seal.reveal(sealed, place), None)
            if isinstance(key, ec.EllipticCurvePrivateKey):
                number = key.private_numbers().private_value
                found += [number.to_bytes(32, order) for order in ("big", "little")]
            else:
                assert isinstance(key, ed25519.Ed25519PrivateKey)
                found.append(key.private_bytes_raw())
        self.assertGreaterEqual(len(found), 3 * 2 + 2)  # three X.509, two OpenSSH
        return found

    def check_keys(self) -> None:
        """No answer of the API and no process but auth's has a private key."""
        keys = self.private_keys()
        marks = [b"PRIVATE KEY", *(base64.b64encode(key).rstrip(b"=")[:40] for key in keys)]
        for answer in self.answers():
            for mark in (*marks, *(key.hex().encode() for key in keys)):
                self.assertNotIn(mark, answer)
        having = {pid for pid in family(self.daemon.pid) if in_memory(pid, keys)}
        auth = {pid for pid in family(self.daemon.pid) if has_store(pid, self.daemon.data_dir)}
        self.assertEqual(len(auth), 1)
        self.assertEqual(having, auth)

    def answers(self) -> Iterator[bytes]:
        """Everything that can be got, as an operator, an editor, and an auditor."""
        self.add_user(self.daemon, "ann", ["auditor"])
        people = [self.alice, self.sign(self.daemon, "ann")]
        paths = [verb.path for verb in TABLE if verb.method == "GET" and not verb.stream]
        self.assertIn("/v1/authorities", paths)
        for template in paths:
            for path in self.filled(template):
                for who in people:
                    yield self.ask(self.daemon, who, "GET", path).text.encode()
                if "/me" not in path:
                    with contextlib.suppress(AssertionError):  # a refusal tells nothing
                        yield json.dumps(self.daemon.admin("GET", path)).encode()

    def filled(self, template: str) -> Iterator[str]:
        for kind in KINDS:
            path = template.replace("{kind}", kind)
            if "{name}" not in path:
                yield path
                continue
            said = self.daemon.admin("GET", f"/v1/resources/{kind}")
            for one in said["items"]:
                yield path.replace("{name}", one["metadata"]["name"])
            if "{kind}" not in template:
                return


class WorkersRotationTests(RotationTests):
    """Two workers and an auth process, straight through."""

    workers = 2
    walks = (FORTH, BACK)[: sized(1, 2)]


def family(pid: int) -> list[int]:
    """A process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def has_store(pid: int, data_dir: Path) -> bool:
    """Whether a process has the cluster's store open."""
    folder = str(data_dir / "store")
    files = Path(f"/proc/{pid}/fd").iterdir()
    return any(os.path.realpath(file).startswith(folder) for file in files)


def in_memory(pid: int, needles: Sequence[bytes]) -> bool:
    """Whether one of *needles* stands anywhere in the memory that a process can write."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights, *_ = line.split()
            if not rights.startswith("rw"):
                continue
            begin, end = (int(number, 16) for number in span.split("-"))
            memory.seek(begin)
            try:
                content = memory.read(end - begin)
            except OSError:  # gone meanwhile, or nobody's to read
                continue
            if any(needle in content for needle in needles):
                return True
    return False
