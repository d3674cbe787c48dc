"""Clients through gateway and agent: what is carried, what is cut, and what is left behind."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor

from tests.support.bulk import digest, echoed
from tests.support.child import sized, until
from tests.support.cluster import Holder
from tests.support.echo import Echo
from tests.support.harness import CLIENT_SECONDS
from tests.support.sshcase import SshCase
from tests.support.watched import descriptors

_ROUNDS = sized(1_500, 5_000)
_BULK_BYTES = 64 << 20
_AT_ONCE = 8
#: Within which a lock, a role and a label count (S52).
_SOON_SECONDS = 1.0

_LIMITS = {
    "unauthenticated_per_address": 1_000,
    "handshakes_per_second_per_address": 10_000,
}


class TunnelTests(SshCase):
    """An agent that offers an echo beside its sshd, and clients with certificates."""

    def setUp(self) -> None:
        super().setUp()
        self.begin(version="v2", proxy_more={"limits": _LIMITS})
        self.echo = Echo()
        self.echo.start()
        self.addCleanup(self.echo.stop)
        target = f"127.0.0.1:{self.echo.port}"
        self.db1 = self.agent(self.hub, labels={"env": "prod"}, ssh={"targets": [target]})
        self.add_user(self.hub, "alice", ("prod",))
        self.alice = self.sign(self.hub, "alice")
        self.contexts: dict[tuple[str, str], ssl.SSLContext] = {}

    # -- clients -----------------------------------------------------------------------

    def dial(self, who: Holder, token: str = "tlsgate-ssh") -> ssl.SSLSocket:
        """A connection to the gateway, by the token of SSH."""
        raw = socket.create_connection(("127.0.0.1", self.web_port), CLIENT_SECONDS)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if (who.name, token) not in self.contexts:
            self.contexts[who.name, token] = who.context(token)  # files are read for it
        return self.contexts[who.name, token].wrap_socket(raw, server_hostname="localhost")

    def connect(self, who: Holder, name: str = "db1", port: int | None = None) -> ssl.SSLSocket:
        """The same, with the node's echo behind it.

        Raises:
            AssertionError: it was refused; with the answer.
        """
        connection = self.dial(who)
        where = f"{name}:{self.echo.port if port is None else port}"
        connection.sendall(f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            more = connection.recv(4096)  # an echo says nothing by itself
            if not more:
                break
            head += more
        if not head.startswith(b"HTTP/1.1 200"):
            body = head
            with contextlib.suppress(OSError):
                body += connection.recv(65536)
            connection.close()
            raise AssertionError(body.decode())
        return connection

    def refusal(self, who: Holder, name: str = "db1", port: int | None = None) -> str:
        """What somebody reads who is not let through."""
        with self.assertRaises(AssertionError) as caught:
            self.connect(who, name, port).close()
        return str(caught.exception)

    def one_byte(self, who: Holder) -> None:
        """Connect, have one byte echoed, close."""
        with self.connect(who) as connection:
            connection.sendall(b"x")
            self.assertEqual(connection.recv(1), b"x")

    def cut_within(self, connection: ssl.SSLSocket, act: object) -> float:
        """Seconds from the end of *act* to the end of *connection*."""
        assert callable(act)
        connection.settimeout(CLIENT_SECONDS)
        act()
        began = time.monotonic()
        with contextlib.suppress(OSError):
            while connection.recv(65536):
                pass
        return time.monotonic() - began

    # -- what is carried ---------------------------------------------------------------

    def test_nothing_is_left(self) -> None:
        """Thousands of rounds leave no descriptor in gateway, agent, or who is at either end."""
        self.one_byte(self.alice)
        pids = (self.hub.pid, self.db1.pid, os.getpid())  # clients and target are our own
        before = [descriptors(pid) for pid in pids]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(lambda _: self.one_byte(self.alice), range(_ROUNDS)):
                pass
        until(lambda: self.hub.admin("GET", "/v1/status")["connections"] <= 8, "clients are gone")

        def back() -> bool:
            # A spare stream more or less is the adaptive pool's business.
            return all(
                descriptors(pid) <= least + 8 for pid, least in zip(pids, before, strict=True)
            )

        until(back, "descriptors are given back", 30, lambda: str((before, pids)))

    def test_integrity(self) -> None:
        """64 MiB and half-close: what was sent comes back whole, and then the end (R11)."""
        connection = self.connect(self.alice)
        self.assertEqual(echoed(connection, _BULK_BYTES), digest(_BULK_BYTES))
        connection.unwrap().close()

    # -- who is refused ----------------------------------------------------------------

    def test_sentences(self) -> None:
        """A node that is not there, a port that is not offered, a role that is missing."""
        self.assertIn("no node 'db9'", self.refusal(self.alice, "db9"))
        self.assertIn("port 1", self.refusal(self.alice, port=1))
        self.put_role("test", labels={"env": ["test"]})
        self.add_user(self.hub, "bob", ("test",))
        self.assertIn("bob", self.refusal(self.sign(self.hub, "bob")))

    def test_s41_another_name(self) -> None:
        """S41: who joins as db1 again, with another key, is refused and audited."""
        late = self.agent(self.hub, "db1", ready=False, tunnel=False, may_log=("db1",))

        def audited() -> bool:
            said = self.hub.admin("GET", "/v1/audit?event=instance.join")["events"]
            return any(not one["success"] and "db1" in str(one) for one in said)

        until(audited, "the refusal is audited")
        self.assertFalse(late.ready())

    def test_s52_a_lock_cuts(self) -> None:
        """A lock ends what its user has open within a second, and the agent takes nothing new."""
        connection = self.connect(self.alice)
        lock = {"target": {"user": "alice"}, "message": "gone fishing"}
        seconds = self.cut_within(connection, lambda: self.hub.admin("POST", "/v1/locks", lock))
        self.assertLess(seconds, _SOON_SECONDS)
        self.assertIn("gone fishing", self.refusal(self.alice))

    def test_a_role_that_changes(self) -> None:
        """Who loses a role or whose role no longer fits is refused within a second."""
        self.connect(self.alice).close()
        self.put_role("prod", labels={"env": ["test"]})
        until(lambda: self._refused(), "it is refused", _SOON_SECONDS)
        self.put_role("prod", labels={"env": ["prod"]})
        until(lambda: not self._refused(), "it is allowed again", _SOON_SECONDS)

    def _refused(self) -> bool:
        try:
            self.connect(self.alice).close()
        except AssertionError:
            return True
        return False

    def test_removed(self) -> None:
        """`tgctl rm node/db1` ends its tunnel, and it does not come back."""
        connection = self.connect(self.alice)
        self.program_says("tgctl", "rm", "node/db1", "--data-dir", self.hub.data_dir)
        self.assertLess(self.cut_within(connection, lambda: None), 5 * _SOON_SECONDS)
        self.assertIn("db1", self.refusal(self.alice))

    # -- what breaks -------------------------------------------------------------------

    def test_the_agent_dies(self) -> None:
        """kill -9 of the agent ends its clients at once; its next life needs no token."""
        connection = self.connect(self.alice)
        seconds = self.cut_within(connection, lambda: self.kill(self.db1))
        self.assertLess(seconds, _SOON_SECONDS)
        self.assertIn("no node", self.refusal(self.alice))
        back = self.again(self.db1)
        self.until_tunnel(back)
        self.one_byte(self.alice)

    def test_the_gateway_dies(self) -> None:
        """kill -9 of the gateway: the agent is back by itself."""
        self.kill(self.hub)
        self.hub = self.again(self.hub)
        until(lambda: not self._refused(), "the agent is back", 30)
        self.one_byte(self.alice)

    def test_who_came_by_what(self) -> None:
        """Operators see the agent with listener and transport."""
        words = ("tgctl", "inventory", "ls", "--data-dir", self.hub.data_dir)
        # A gateway tells the auth service in batches, some seconds apart.
        until(lambda: " web " in self.program_says(*words), "the gateway has told of db1")
        self.assertIn("db1", self.program_says(*words))
        said = self.program_says("tgctl", "nodes", "ls", "--data-dir", self.hub.data_dir)
        self.assertIn("env=prod", said)
