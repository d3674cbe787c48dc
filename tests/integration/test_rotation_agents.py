"""Authorities get new keys while people reach nodes, and neither they nor the nodes notice (S53).

1. People reach an echo and an sshd behind an agent, with certificates of the phase before.
2. Each authority walks through the phases, one after the other, there or back.
3. Nothing has failed; gateway, agent and sshd trust, and show, what the cluster says.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from attrs import define, field
from cryptography import x509

from tests.support.child import during, sized, until
from tests.support.cluster import Holder
from tests.support.echo import Echo
from tests.support.harness import CLIENT_SECONDS
from tests.support.jump import SshFiles
from tests.support.sshcase import Node, SshCase
from tlsgate.core.wire.sshcert import key_blob, parse_line

FORTH: Sequence[str] = ("init", "update_clients", "update_servers", "standby")
BACK: Sequence[str] = ("init", "update_clients", "update_servers", "rollback", "standby")
#: Which authorities go together, and which way.
TOGETHER: Sequence[tuple[Sequence[str], Sequence[str]]] = (
    (("host", "ssh_host"), FORTH),
    (("user", "ssh_user"), BACK),
)
EACH: Sequence[tuple[Sequence[str], Sequence[str]]] = tuple(
    ((kind,), walk) for kind in ("host", "user", "ssh_host", "ssh_user") for walk in (FORTH, BACK)
)
WALKS = (TOGETHER, EACH)[sized(0, 1)]
#: How long people go on once a step has been taken up.
WATCH_SECONDS = sized(0, 10)
#: Between two connections of one of them.
OFTEN_SECONDS, SELDOM_SECONDS = 0.2, 1.0

LIMITS = {"unauthenticated_per_address": 1000, "handshakes_per_second_per_address": 10_000}


@define
class Clients:
    """Clients of one kind, again and again until `stop`."""

    what: str
    connect: Callable[[], None]
    pause_seconds: float
    good: int = 0
    failures: list[str] = field(factory=list)
    _over: threading.Event = field(factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, in a thread."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(self.pause_seconds):
            try:
                self.connect()
            except (OSError, AssertionError, subprocess.SubprocessError) as error:
                self.failures.append(f"{self.what}: {type(error).__name__} {error}")
            else:
                self.good += 1

    def stop(self) -> None:
        """End, once the last connection is through."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(CLIENT_SECONDS)


class AgentRotationTests(SshCase):
    """A gateway, an agent with an sshd and an echo, and alice."""

    def setUp(self) -> None:
        super().setUp()
        self.begin(version="v2", proxy_more={"limits": LIMITS})
        self.echo = Echo()
        self.echo.start()
        self.addCleanup(self.echo.stop)
        target = f"127.0.0.1:{self.echo.port}"
        self.db1: Node = self.node("db1", ssh={"targets": [target]})
        self.add_user(self.hub, "alice", ("prod",))
        self.phase = "standby"
        self.fresh()

    def fresh(self) -> None:
        """Have an operator sign for alice, and write ssh's files, in the present phase."""
        alice = self.sign(self.hub, "alice")
        files = SshFiles(alice)
        files.write_config(self.web_port)
        self.alice, self.files = alice, files

    # -- clients --

    def echoed(self) -> None:
        """Reach the echo by the token of SSH; the gateway shows the cluster's certificate."""
        who: Holder = self.alice
        raw = socket.create_connection(("127.0.0.1", self.web_port), CLIENT_SECONDS)
        with who.context("tlsgate-ssh").wrap_socket(raw, server_hostname="localhost") as connection:
            where = f"db1:{self.echo.port}"
            connection.sendall(f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n\r\n".encode())
            head = b""
            while not head.endswith(b"\r\n\r\n") and (byte := connection.recv(1)):
                head += byte
            assert head.startswith(b"HTTP/1.1 200"), f"in {self.phase}: {head!r}"
            connection.sendall(b"x")
            assert connection.recv(1) == b"x", f"no echo in {self.phase}"

    def jumped(self) -> None:
        """Log in to the node over the jump host; each shows the cluster's host certificate."""
        port = str(self.db1.port)
        done = subprocess.run(
            self.files.words("-J", "gw.test", "-p", port, "root@db1", "echo", "in"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=CLIENT_SECONDS,
            check=False,
        )
        assert done.stdout == b"in\n", f"in {self.phase}: {done.stderr.decode()}"

    @contextlib.contextmanager
    def clients(self) -> Iterator[Sequence[Clients]]:
        """Have people come meanwhile; none of them may meet a failure."""
        people = [
            Clients("echo", self.echoed, OFTEN_SECONDS),
            Clients("echo", self.echoed, OFTEN_SECONDS),
            Clients("ssh -J", self.jumped, SELDOM_SECONDS),
        ]
        for one in people:
            one.start()
        try:
            yield people
        finally:
            for one in people:
                one.stop()
        failures = [failure for one in people for failure in one.failures]
        self.assertEqual(failures, [], f"{len(failures)} failed")

    # -- steps --

    def step(self, kinds: Sequence[str], phase: str) -> None:
        """Take authorities to *phase*, which waits until everybody has followed."""
        self.phase = f"{phase} of {kinds}"
        words = [f"--phase={phase}", f"--data-dir={self.hub.data_dir}"]
        if phase == "standby":
            words.append("--grace-period=0s")
        for kind in kinds:
            self.program_says("tgctl", "auth", "rotate", f"--type={kind}", *words)
        # When it has ended for all of them, everybody has followed.
        self.assertEqual(self.behind(), [], self.db1.agent.child.tail())

    def behind(self) -> list[str]:
        """Who trusts or shows something else than the cluster says."""
        said = self.hub.admin("GET", "/v1/authorities")["authorities"]
        hub, agent = self.hub.data_dir / "gateway", self.db1.agent.data_dir / "agent"

        def signs(kind: str) -> str:
            """What the key is that signs."""
            keys = {key["id"]: key for key in said[kind]["keys"]}
            one = keys[said[kind]["signing"]]
            return str(one.get("certificate") or one["public_key"])

        def trusted(kind: str) -> list[str]:
            return [
                str(key.get("certificate") or key["public_key"]).strip()
                for key in said[kind]["keys"]
            ]

        host = x509.load_pem_x509_certificate(signs("host").encode()).subject
        ssh_host = key_blob(signs("ssh_host"))
        found = {
            "the gateway trusts users": pems(hub / "user.pem") == set(trusted("user")),
            "the gateway trusts hosts": pems(hub / "host.pem") == set(trusted("host")),
            "the gateway shows": issuer(hub / "cluster.pem") == host,
            "the agent shows": issuer(agent / "host.crt") == host,
            "the agent trusts": pems(agent / "host.cas") == set(trusted("host")),
            "sshd trusts": set(text(agent / "ssh" / "user_ca.pub").splitlines())
            == set(trusted("ssh_user")),
        }
        for who, file in (
            ("the jump host shows", hub / "ssh_host_ed25519_key-cert.pub"),
            ("sshd shows", agent / "ssh" / "host_key-cert.pub"),
        ):
            found[who] = parse_line(text(file)).authority == ssh_host
        return [what for what, right in found.items() if not right]

    def test_s53_agents(self) -> None:
        """S53: no client fails in any phase of any authority, and everybody follows."""
        for kinds, walk in WALKS:
            self.rotated(kinds, walk)

    def rotated(self, kinds: Sequence[str], walk: Sequence[str]) -> None:
        """Rotate authorities while people come and go."""
        with self.clients() as people:
            for phase in walk:
                self.step(kinds, phase)
                for _ in during(WATCH_SECONDS):
                    pass
                self.passed(people)
                self.fresh()

    def passed(self, people: Sequence[Clients]) -> None:
        """Wait until each of them has got through once more."""
        before = [one.good for one in people]
        until(
            lambda: all(one.good > seen for one, seen in zip(people, before, strict=True)),
            f"everybody gets through in {self.phase}",
            said=lambda: "\n".join(one for each in people for one in each.failures[:3]),
        )


def text(file: Path) -> str:
    """What a file has."""
    return file.read_text()


def pems(file: Path) -> set[str]:
    """The certificates in a file."""
    end = "-----END CERTIFICATE-----"
    return {f"{one.strip()}\n{end}" for one in text(file).split(end)[:-1]}


def issuer(file: Path) -> x509.Name:
    """Who has signed the certificate in a file."""
    content = file.read_bytes()
    return x509.load_pem_x509_certificate(content[content.index(b"-----BEGIN CERT") :]).issuer
