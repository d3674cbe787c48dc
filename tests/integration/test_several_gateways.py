"""One auth service, two gateways, and an agent that was told of the first one only."""

from __future__ import annotations

import socket
import ssl
from typing import Any

from tests.integration.test_separate import SeparateCase
from tests.support.agent import AgentCase
from tests.support.child import until
from tests.support.echo import Echo
from tests.support.harness import CLIENT_SECONDS, Gate
from tests.support.ports import free_port


class TwoGatewaysTests(SeparateCase, AgentCase):  # type: ignore[misc]  # each has an `again`
    """Tests for an agent that reaches every gateway of its cluster."""

    def gateway(self, auth: Gate, name: str) -> tuple[Gate, int]:
        """A gateway of its own that has joined, and its port."""
        port = free_port()
        proxy = {
            "web_listen_addr": f"127.0.0.1:{port}",
            "public_addr": [f"localhost:{port}", "gw.test:443"],
        }
        made = self.joins(self.token(auth), self.pin(auth), name=name, proxy=proxy)
        return made, port

    def test_both(self) -> None:
        """The second gateway leads to the node, too, and each knows the other's agents not."""
        auth = self.auth()
        _, port = self.gateway(auth, "gw1")
        _, other = self.gateway(auth, "gw2")
        echo = Echo()
        echo.start()
        self.addCleanup(echo.stop)
        auth.admin(
            "PUT",
            "/v1/resources/role/prod?force=1",
            {
                "kind": "role",
                "version": "v7",
                "metadata": {"name": "prod"},
                "spec": {"allow": {"logins": ["root"], "node_labels": {"env": ["prod"]}}},
            },
        )
        keys: dict[str, Any] = {
            "token": self.node_token(auth),
            "pin": self.pin(auth),
            "labels": {"env": "prod"},
            "ssh": {"targets": [f"127.0.0.1:{echo.port}"]},
        }
        agent = self.agent(auth, server=f"localhost:{port}", **keys)
        until(
            lambda: {one["gateway"] for one in self.tunnels(agent)} == {"gw1", "gw2"},
            "a tunnel to each gateway",
            60,
            lambda: str(self.tunnels(agent)) + agent.child.tail(),
        )
        auth.admin("POST", "/v1/users", {"name": "alice", "roles": ["prod"], "traits": {}})
        alice = self.sign(auth, "alice")
        for where in (port, other):
            raw = socket.create_connection(("127.0.0.1", where), CLIENT_SECONDS)
            context: ssl.SSLContext = alice.context("tlsgate-ssh")
            with context.wrap_socket(raw, server_hostname="localhost") as connection:
                asked = f"CONNECT db1:{echo.port} HTTP/1.1\r\nHost: db1\r\n\r\n"
                connection.sendall(asked.encode())
                self.assertTrue(connection.recv(4096).startswith(b"HTTP/1.1 200"), where)
                connection.sendall(b"x")
                self.assertEqual(connection.recv(1), b"x")

        def came() -> dict[str, int]:
            rows = auth.admin("GET", "/v1/ledger?name=alice&listener=web")["items"]
            return {row["transport"]: int(row["count"]) for row in rows}

        until(lambda: came().get("tls-alpn", 0) >= 2, "both gateways' reports", 30, str)
        heard = auth.admin("GET", "/v1/gateways/reports")["items"]
        self.assertEqual({one["gateway"] for one in heard} & {"gw1", "gw2"}, {"gw1", "gw2"})
