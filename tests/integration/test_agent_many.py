"""Real SSH sessions and many other clients at once, through one agent."""

from __future__ import annotations

import socket
import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor

from tests.support.child import sized, until
from tests.support.cluster import Holder
from tests.support.connects import connect
from tests.support.echo import Echo
from tests.support.harness import CLIENT_SECONDS
from tests.support.sshcase import CLIENT_SECONDS as PROGRAM_SECONDS
from tests.support.sshcase import Person, SshCase
from tests.support.watched import close_all

_SESSIONS = sized(5, 50)
_OTHERS = sized(95, 950)
_AT_ONCE = 4

_LIMITS = {
    "unauthenticated_per_address": 10_000,
    "handshakes_per_second_per_address": 10_000,
}


class ManyTests(SshCase):
    """One agent, whose sshd and echo serve all of them at the same time."""

    def test_all_at_once(self) -> None:
        """Each is answered while all are open, and nothing is left of them."""
        self.begin(version="v2", proxy_more={"limits": _LIMITS})
        echo = self.serve(Echo())
        node = self.node(ssh={"targets": [f"127.0.0.1:{echo.port}"]})
        person = self.person()
        self.write_config(person)
        alice = self.sign(self.hub, "alice")
        where = f"db1:{echo.port}"
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            others = list(pool.map(lambda _: self.other(alice, where), range(_OTHERS)))
        self.addCleanup(close_all, others)
        sessions = [self.session(person) for _ in range(_SESSIONS)]
        for one in sessions:
            self.assertEqual(one.stdout.readline(), b"here\n")  # type: ignore[union-attr]
        open_now = [
            one for one in self.hub.admin("GET", "/v1/connections") if one["route"] == "ssh"
        ]
        self.assertEqual(len(open_now), _SESSIONS + _OTHERS)
        for number, one in enumerate(sessions):
            assert one.stdin is not None and one.stdout is not None
            words = f"words of {number}\n".encode()
            one.stdin.write(words)
            one.stdin.flush()
            self.assertEqual(one.stdout.readline(), words)
        for number, client in enumerate(others):
            words = f"{number:08}".encode()
            client.sendall(words)
            self.assertEqual(client.recv(8), words)
        for one in sessions:
            assert one.stdin is not None
            one.stdin.close()
            self.assertEqual(one.wait(PROGRAM_SECONDS), 0)
        close_all(others)
        for daemon in (self.hub, node.agent):
            until(
                lambda daemon=daemon: (
                    not [  # type: ignore[misc]
                        one
                        for one in daemon.admin("GET", "/v1/connections")
                        if one["route"] in ("ssh", "node/db1")
                    ]
                ),
                "all have left",
            )

    def other(self, who: Holder, where: str) -> ssl.SSLSocket:
        """A client that is no SSH, at the node's echo."""
        raw = socket.create_connection(("127.0.0.1", self.web_port), CLIENT_SECONDS)
        return connect(raw, who.context("tlsgate-ssh"), where)

    def session(self, person: Person) -> subprocess.Popen[bytes]:
        """OpenSSH, with a program that answers each line."""
        words = ("ssh", "-F", str(person.config), "root@db1.localhost", "echo here; cat")
        made = subprocess.Popen(
            words, env=person.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=person.home
        )
        self.addCleanup(made.wait, PROGRAM_SECONDS)
        self.addCleanup(made.kill)
        return made
