"""`tlsgate-ssh` without SSH: CONNECT through a real gateway and a real agent to an echo."""

from __future__ import annotations

import contextlib
import json
import ssl
import time

from tests.support.agent import AgentCase
from tests.support.bulk import digest, echoed
from tests.support.cluster import Holder
from tests.support.common import common, no_bugs
from tests.support.echo import Echo
from tests.support.harness import Gate, drain, receive
from tlsgate.core.pingframes import Unframe, frame

BULK = 64 << 20
#: From a lock to the session's end (S08).
CUT_SECONDS = 1.0


class ConnectTests(AgentCase):
    """One gateway, one agent, whose sshd is an echo."""

    def setUp(self) -> None:
        super().setUp()
        self.daemon, self.node = common(self, type(self).begin)
        no_bugs(self, self.daemon, self.node)
        self.alice = self.sign(self.daemon, "alice")

    def begin(self) -> tuple[Gate, Gate]:
        """Start them, for all tests."""
        echo = self.serve(Echo())
        daemon = self.cluster()
        sshd_addr = echo.endpoint.removeprefix("tcp:")
        node = self.agent(daemon, sshd_addr=sshd_addr, labels={"env": "prod"})
        self.add_user(daemon, "alice")
        return daemon, node

    def dial(self, who: Holder, *tokens: str) -> ssl.SSLSocket:
        """A connection that shows a certificate and holds the gateway's against the cluster's."""
        context = who.context(*(tokens or ("tlsgate-ssh",)))
        made = context.wrap_socket(self.daemon.connect(), server_hostname="gw.test")
        self.addCleanup(made.close)
        return made

    def connect(self, connection: ssl.SSLSocket, node: str = "db1.gw.test") -> bytes:
        """Say the CONNECT; gives the head of the answer."""
        connection.sendall(f"CONNECT {node}:22 HTTP/1.1\r\nHost: {node}:22\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            more = connection.recv(1)
            self.assertTrue(more, head)
            head += more
        return head

    def session(self, who: Holder | None = None) -> ssl.SSLSocket:
        """A connection that has reached the node."""
        connection = self.dial(who or self.alice)
        self.assertEqual(self.connect(connection).split()[1], b"200")
        return connection

    def events(self, gate: Gate, event: str) -> list[dict[str, object]]:
        """The audit events of that name."""
        path = gate.folder / "data" / "log" / "events.log"
        lines = map(json.loads, path.read_text().splitlines())
        return [one for one in lines if one["event"] == event]

    def test_bulk_both_ways(self) -> None:
        """64 MiB go to the node and come back as they were; then the end, in order."""
        connection = self.session()
        self.assertEqual(echoed(connection, BULK), digest(BULK))
        # Python's unwrap says close_notify, and reads the other side's.
        connection.unwrap().close()

        def ended() -> list[dict[str, object]]:
            ends = self.events(self.daemon, "session.end")
            return [one for one in ends if one["to_target"] == BULK]

        self.daemon.child.until(ended, "session.end", 5)
        (event,) = ended()
        self.assertEqual(
            [event[key] for key in ("identity", "target", "route", "listener")],
            ["alice", "node/db1", "ssh", "web"],
        )
        self.assertEqual(event["to_client"], BULK)

    def test_many_one_after_another(self) -> None:
        """Streams are used again, and nobody reads what is another's."""
        for index in range(200):
            connection = self.session()
            words = f"client {index}".encode()
            connection.sendall(words)
            self.assertEqual(receive(connection, len(words)), words)
            if index % 3:
                connection.unwrap().close()
            else:
                connection.close()

    def test_refusals(self) -> None:
        """The user reads a sentence."""
        for node, status, said in (
            ("db2.gw.test", b"404", b"no node 'db2' has a tunnel"),
            ("gw.test", b"400", b"it is the gateway"),
        ):
            connection = self.dial(self.alice)
            self.assertEqual(self.connect(connection, node).split()[1], status)
            self.assertIn(said, drain(connection))
        role = {"kind": "role", "version": "v7", "metadata": {"name": "dev"}}
        spec = {"allow": {"logins": ["root"], "node_labels": {"env": "dev"}}}
        self.daemon.admin("PUT", "/v1/resources/role/dev", {**role, "spec": spec})
        self.add_user(self.daemon, "bob", ("dev",))
        connection = self.dial(self.sign(self.daemon, "bob"))
        self.assertEqual(self.connect(connection).split()[1], b"403")
        self.assertIn(b"bob may not reach node db1: ", drain(connection))

    def test_locked(self) -> None:
        """A lock ends the session within a second."""
        self.add_user(self.daemon, "eve")
        connection = self.session(self.sign(self.daemon, "eve"))
        connection.sendall(b"x")
        self.assertEqual(receive(connection, 1), b"x")
        began = time.monotonic()
        self.daemon.admin("POST", "/v1/locks", {"target": {"user": "eve"}})
        with contextlib.suppress(OSError):
            self.assertEqual(drain(connection), b"")
        self.assertLess(time.monotonic() - began, CUT_SECONDS + 0.5)

    def test_pings(self) -> None:
        """With the ping variant a silent session hears from the gateway."""
        networking = {"proxy_ping_interval": "1s", "proxy_listener_mode": 1}
        resource = {
            "kind": "cluster_networking_config",
            "version": "v2",
            "metadata": {"name": "cluster-networking-config"},
            "spec": networking,
        }
        path = "/v1/resources/cluster_networking_config/cluster-networking-config"
        self.daemon.admin("PUT", path, resource)
        connection = self.dial(self.alice, "tlsgate-ssh-ping", "tlsgate-ssh")
        self.assertEqual(connection.selected_alpn_protocol(), "tlsgate-ssh-ping")
        connection.sendall(frame(b"CONNECT db1:22 HTTP/1.1\r\nHost: db1:22\r\n\r\n"))
        unframe, got = Unframe(), b""
        while unframe.pings < 3:
            more = connection.recv(4096)
            self.assertTrue(more, got)
            got += unframe.feed(more)
        self.assertIn(b" 200 ", got)
        self.assertIn(b"\r\ntlsgate-ping-seconds: 1\r\n", got)
        connection.sendall(frame(b"still"))
        while not got.endswith(b"still"):
            got += unframe.feed(connection.recv(4096))
