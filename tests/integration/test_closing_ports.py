"""Listeners that a reload takes away: who is there goes on, who comes is told where to go."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from typing import Any

from tests.integration.test_reload import ReloadCase
from tests.support.child import alive, sized, until
from tests.support.common import no_bugs
from tests.support.harness import Gate, drain, receive, secure
from tests.support.ports import free_port, listening
from tests.support.sshcase import Person, SshCase

#: The listeners of a file that has not been moved to one port yet.
LEGACY = {
    "ssh": "listen_addr",
    "tunnel": "tunnel_listen_addr",
    "kube": "kube_listen_addr",
    "mysql": "mysql_listen_addr",
    "postgres": "postgres_listen_addr",
    "mongo": "mongo_listen_addr",
}
#: How long the mode's clients have before ports close.
SETTLE_SECONDS = 3
#: How long a client's program may take.
PROGRAM_SECONDS = sized(20, 60)


class ClosingCase(ReloadCase):
    """A daemon with every legacy port, and files with and without them."""

    workers = 1

    def legacy_gate(self, **proxy: Any) -> Gate:
        """It runs, and `one_port` is the file that closes them."""
        self.ports = {name: free_port() for name in LEGACY}
        keys = {LEGACY[name]: f"127.0.0.1:{port}" for name, port in self.ports.items()}
        more = {"workers": self.workers, **proxy}
        gate = self.echo_gate(proxy={**keys, **more}, may_log=("it is replaced",))
        self.separate = self.text(gate, proxy={**keys, **more})
        self.one_port = self.text(gate, proxy=more)
        return gate

    def states(self, gate: Gate) -> dict[str, str]:
        """What `tgctl listeners` shows."""
        return {one["name"]: one["state"] for one in gate.admin("GET", "/v1/listeners")}

    def plainly(self, name: str, *, first: bytes = b"") -> bytes:
        """What a client reads that says *first* on a legacy port."""
        return self.read(self.ports[name], first)

    def read(self, port: int, first: bytes = b"") -> bytes:
        """The same, of any port."""
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            client.sendall(first)
            return drain(client)

    def under_tls(self, name: str, *alpn: str) -> bytes:
        """What a client reads under TLS on a legacy port; no certificate is shown."""
        raw = socket.create_connection(("127.0.0.1", self.ports[name]), 10)
        with secure(raw, alpn=alpn) as client:
            return drain(client)

    def program(self, *words: str, **env: str) -> str:
        """What a program says that fails."""
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            timeout=PROGRAM_SECONDS,
            env={**os.environ, **env},
            check=False,
        )
        self.assertNotEqual(done.returncode, 0)
        return done.stdout + done.stderr

    def check_refusals(self) -> None:
        """Each port says in its own protocol that it is closed, and what heals."""
        ssh = self.program(
            "ssh", "-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=none",
            "-p", str(self.ports["ssh"]), "alice@127.0.0.1",
        )  # fmt: skip
        self.assertIn("this port is closed; its clients go to gw.test:443 now", ssh)
        self.assertIn("tgsh config", ssh)
        for mode in ("require", "disable"):
            psql = self.program(
                "psql",
                f"host=127.0.0.1 port={self.ports['postgres']} user=a dbname=a sslmode={mode}",
            )
            self.assertIn("FATAL:  this port is closed", psql)
            self.assertIn("tgsh db config", psql)
        for name in ("kube", "tunnel"):
            told = self.under_tls(name, "http/1.1")
            self.assertTrue(told.startswith(b"HTTP/1.1 426 Upgrade Required\r\n"), told)
            self.assertIn(b"Upgrade: TLS/1.2, HTTP/1.1\r\n", told)
            self.assertIn(b"gw.test:443", told)
        frame = self.under_tls("tunnel", "tlsgate-reversetunnel")
        self.assertIn("this port is closed", json.loads(frame[4:])["error"])
        self.assertIn(b"this port is closed", self.plainly("mysql"))
        self.assertIn(b"this port is closed", self.plainly("mongo", first=b"?" * 64))


class OneProcessTests(ClosingCase):
    """Without workers."""

    def test_to_one_port_and_back(self) -> None:
        """Who is there goes on; who comes is told; the way back takes the same sockets."""
        gate = self.legacy_gate()
        held = [self.talk(gate, name) for name in ("kube", "tunnel")]
        inodes = {name: _inode(port) for name, port in self.ports.items()}
        said = gate.reload(self.one_port)
        self.assertEqual(sorted(said["closed"]), sorted(LEGACY))
        self.assertEqual((said["opened"], said["kept"]), ([], ["web"]))
        self.assertEqual(self.states(gate), {"web": "open", **dict.fromkeys(LEGACY, "refusing")})
        self.check_refusals()
        for connection in held:
            self.say(connection)
        self.talk(gate)
        self.assertTrue(gate.events(event="connection.refused", cause="listener_closed"))
        said = gate.reload()
        self.assertEqual((said["opened"], said["closed"]), ([], []))
        said = gate.reload(self.separate)
        self.assertEqual(sorted(said["opened"]), sorted(LEGACY))
        self.assertEqual({name: _inode(port) for name, port in self.ports.items()}, inodes)
        self.assertEqual(set(self.states(gate).values()), {"open"})
        for connection in held:
            self.say(connection)
        self.talk(gate, "kube")
        # A port that only moves says at its old address where it is now.
        old, new = self.ports, {name: free_port() for name in LEGACY}
        keys = {LEGACY[name]: f"127.0.0.1:{port}" for name, port in new.items()}
        said = gate.reload(self.text(gate, proxy=keys))
        self.assertEqual(sorted(said["replaced"]), sorted(LEGACY))
        self.assertEqual((said["opened"], said["closed"]), ([], []))
        moved = {f"{name}-moved": "refusing" for name in LEGACY}
        self.assertEqual(
            self.states(gate), {"web": "open", **dict.fromkeys(LEGACY, "open"), **moved}
        )
        self.assertIn(f"go to gw.test:{new['mysql']} now".encode(), self.plainly("mysql"))
        for connection in held:
            self.say(connection)
        self.talk(gate, "kube")
        gate.reload(self.separate)
        self.assertIn(f"go to gw.test:{old['ssh']} now".encode(), self.read(new["ssh"]))

    def test_cut_at_the_limit(self) -> None:
        """What is left after the listener's `drain_seconds` is cut, and the log says why."""
        gate = self.legacy_gate(timeouts={"drain_seconds": 2})
        held, on_web = self.talk(gate, "kube"), self.talk(gate)
        gate.reload(self.one_port)
        self.say(held)
        ended = gate.event(event="connection.end", listener="kube")
        self.assertEqual(ended["cause"], "listener_closed")
        self.assertEqual(_rest(held), b"")
        self.say(on_web)

    def test_shut_in_the_end(self) -> None:
        """After `refuse_seconds` the port is free for others; 0 is at once."""
        gate = self.legacy_gate(refuse_seconds=3)
        gate.reload(self.one_port)
        self.assertTrue(listening(self.ports["ssh"]))
        until(lambda: not listening(self.ports["ssh"]), "the port is shut")
        self.assertEqual(self.states(gate), {"web": "open"})
        gate.reload(self.separate)
        gate.reload(self.text(gate, proxy={"refuse_seconds": 0}))
        self.assertFalse(any(map(listening, self.ports.values())))

    def test_an_upgrade_keeps_refusing(self) -> None:
        """A new process refuses as the old one did; it closes what its file names no more."""
        gate = self.legacy_gate()
        gate.write(self.one_port)
        for _ in range(2):
            new = gate.admin("POST", "/v1/upgrade")["pid"]
            self.assertEqual(gate.admin("GET", "/v1/status")["pid"], new)
            self.assertEqual(
                self.states(gate), {"web": "open", **dict.fromkeys(LEGACY, "refusing")}
            )
            self.assertIn(b"this port is closed", self.plainly("mysql"))
        gate.reload(self.separate)
        self.assertEqual(set(self.states(gate).values()), {"open"})

    def test_a_fresh_start(self) -> None:
        """A daemon that starts with the new file opens only its own port."""
        gate = self.legacy_gate()
        gate.reload(self.one_port)
        gate.stop()
        self.assertFalse(any(map(listening, self.ports.values())))

    def test_under_load(self) -> None:
        """While the file goes to and fro, everybody who dials an open port is served."""
        gate = self.legacy_gate()
        held = self.talk(gate, "kube")
        for turn in range(6):
            gate.reload(self.separate if turn % 2 else self.one_port)
            for _ in range(5):
                with gate.dial(alpn=["echo"], cert="alice") as connection:
                    self.say(connection)
                if turn % 2:
                    with gate.dial(listener="kube", alpn=["echo"], cert="alice") as connection:
                        self.say(connection)
            self.say(held)


class WorkersTests(ClosingCase):
    """With two workers."""

    workers = 2

    def test_to_one_port_and_back(self) -> None:
        """Both refuse; one that takes a killed one's place does so too."""
        gate = self.legacy_gate()
        held = self.talk(gate, "kube")
        gate.reload(self.one_port)
        self.check_refusals()
        self.say(held)
        for member in gate.admin("GET", "/v1/status")["members"]:
            os.kill(member["pid"], signal.SIGKILL)
            until(lambda pid=member["pid"]: not alive(pid), "its end")  # type: ignore[misc]
        until(lambda: _serves(gate), "new workers")
        self.assertEqual(self.states(gate), {"web": "open", **dict.fromkeys(LEGACY, "refusing")})
        for _ in range(6):
            self.assertIn(b"this port is closed", self.plainly("mysql"))
        gate.reload(self.separate)
        self.talk(gate, "kube")


class ClusterTests(SshCase):
    """A cluster's gateway from v1 to v2 and back by reloads, with OpenSSH and an agent."""

    workers = 1

    def test_to_v2_and_back(self) -> None:
        """The mode comes first, and its time; then ports close, and nobody who is there notices."""
        self.begin(
            mode="separate",
            auth={"settle_seconds": SETTLE_SECONDS},
            proxy_more={"workers": self.workers},
        )
        hub, db1 = self.hub, self.node()
        alice = self.person()
        self.write_config(alice)
        jump = ("ssh", "-F", alice.config, "root@db1.localhost")
        held = self.hold(alice, *jump, "cat")
        self.until_agent_at("tunnel")
        first = json.loads(hub.file.read_text())
        gone = ("listen_addr", "tunnel_listen_addr", "ssh_public_addr", "tunnel_public_addr")
        proxy = {key: one for key, one in first["proxy_service"].items() if key not in gone}
        then = {**first, "version": "v2", "proxy_service": proxy}

        refused = hub.reload(then, status=409)["error"]["message"]
        self.assertIn("clients are told to use it now", refused.replace("them", "it"))
        self.assertIn("tgctl reload --force", refused)
        self.mode("multiplex")
        self.assertIn("wait another", hub.reload(status=409)["error"]["message"])
        until(self.reloads, "the mode has settled", said=lambda: self.refused)
        states = {one["name"]: one["state"] for one in hub.admin("GET", "/v1/listeners")}
        self.assertEqual(states, {"web": "open", "ssh": "refusing", "tunnel": "refusing"})
        self.assertEqual(self.echoed(held, b"still\n"), b"still\n")
        self.assertIn("this port is closed; its clients go to localhost", self.fails(alice, *jump))
        self.until_agent_at("web")
        self.forget(alice)
        self.assertEqual(self.says(alice, "tgsh", "ssh", "root@db1", "echo in"), "in\n")
        self.write_config(alice)
        self.assertEqual(self.says(alice, *jump, "echo in"), "in\n")
        hub.admin("POST", "/v1/upgrade")
        self.assertIn(
            "this port is closed", self.fails(alice, "ssh", "-p", str(self.ssh_port), "localhost")
        )

        said = hub.reload(first)
        self.assertEqual(said["opened"], ["ssh", "tunnel"])
        self.mode("separate")
        self.forget(alice)
        self.write_config(alice)
        self.assertEqual(self.says(alice, *jump, "echo in"), "in\n")
        self.until_agent_at("tunnel")
        self.assertEqual(self.echoed(held, b"and still\n"), b"and still\n")
        hub.write(then)
        self.program_says("tgctl", "--data-dir", hub.data_dir, "reload", "--force")
        shown = self.program_says("tgctl", "--data-dir", hub.data_dir, "listeners")
        self.assertIn("refusing until", shown)
        self.assertEqual(self.echoed(held, b"to the end\n"), b"to the end\n")
        no_bugs(self, hub, db1.agent)

    def hold(self, person: Person, *words: object) -> subprocess.Popen[bytes]:
        """A program that goes on."""
        made = subprocess.Popen(
            [str(word) for word in words],
            env=person.env,
            cwd=person.home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.addCleanup(_end, made)
        self.assertEqual(self.echoed(made, b"begin\n"), b"begin\n")
        return made

    def echoed(self, held: subprocess.Popen[bytes], line: bytes) -> bytes:
        """What comes back of a line."""
        assert held.stdin is not None and held.stdout is not None
        held.stdin.write(line)
        held.stdin.flush()
        return held.stdout.readline()

    def forget(self, person: Person) -> None:
        """Have tgsh ask anew which way to take."""
        (person.home / ".tgsh/keys/localhost/ping.json").unlink(missing_ok=True)

    def until_agent_at(self, listener: str) -> None:
        """Wait until the agent's tunnel is on that listener, and on no other."""

        def there() -> bool:
            agents = self.hub.admin("GET", "/v1/migration/agents")["agents"]
            return {one["listener"] for one in agents} == {listener}

        until(there, f"the agent on {listener}")

    def reloads(self) -> bool:
        """Whether a reload is taken now; who waits for it reads why not."""
        made = subprocess.run(
            [sys.executable, "-m", "tlsgate.cli.tgctl.main", "--data-dir", self.hub.data_dir,
             "reload"],
            capture_output=True,
            timeout=PROGRAM_SECONDS,
            check=False,
        )  # fmt: skip
        self.refused = made.stderr.decode()
        return made.returncode == 0


class ClusterWorkersTests(ClusterTests):
    """The same with two workers."""

    workers = 2


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.communicate()


def _serves(gate: Gate) -> bool:
    members = gate.admin("GET", "/v1/status")["members"]
    return len(members) == 2 and all(member["ready"] for member in members)


def _rest(connection: socket.socket) -> bytes:
    try:
        return receive(connection, 1)
    except ConnectionResetError:
        return b""


def _inode(port: int) -> str:
    """The kernel's number of the socket that listens on *port*."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        for line in list(table)[1:]:
            words = line.split()
            if words[3] == "0A" and int(words[1].rpartition(":")[2], 16) == port:
                return words[9]
    raise AssertionError(f"nobody listens on {port}")
