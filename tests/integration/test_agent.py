"""An agent as a process of its own: it joins, holds its tunnel, and comes back."""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
import ssl
import threading
import time
from typing import Any

from tests.support.agent import BACK_SECONDS, AgentCase
from tests.support.cluster import Holder
from tests.support.common import common, no_bugs
from tests.support.echo import Echo
from tests.support.harness import CLIENT_SECONDS, Gate, receive
from tests.support.ports import free_port


class AgentTests(AgentCase):
    """One agent and its gateway."""

    def nodes(self, gate: Gate) -> list[Any]:
        """What the cluster knows of nodes."""
        return list(gate.admin("GET", "/v1/resources/node")["items"])

    def test_it_joins_and_comes_back(self) -> None:
        """By a token once; after its own end, and the gateway's, without."""
        gate = self.cluster()
        agent = self.agent(gate, labels={"env": "prod"})
        (tunnel,) = self.tunnels(agent)
        self.assertEqual((tunnel["worker"], tunnel["busy"]), ("0", 0))
        self.assertEqual(agent.admin("GET", "/v1/listeners"), [])
        # Killed without a word, and started again without a token.
        self.kill(agent)
        again = self.again(agent)
        self.until_tunnel(again)
        joins = again.events(message="joined the cluster gw.test as node db1")
        self.assertEqual(len(joins), 1)  # the log of both: the first one's
        # The gateway is killed; the agent serves on, and is back by itself.
        self.kill(gate)
        again.child.until(lambda: not self.tunnels(again), "it notices", CLIENT_SECONDS)
        gate = self.again(gate)
        since = time.monotonic()
        self.until_tunnel(again)
        self.assertLess(time.monotonic() - since, BACK_SECONDS)
        self.assertEqual(again.stop(), 0)

    def test_readiness_reload_and_end(self) -> None:
        """The diagnostic port, a reload that changes labels, and an end in order."""
        gate = self.cluster()
        diag = free_port()
        agent = self.agent(
            gate,
            labels={"env": "prod"},
            teleport={"diag_addr": f"127.0.0.1:{diag}"},
            ssh={"commands": [{"name": "word", "command": ["echo", "hello"], "period": "1s"}]},
        )
        spoken = http.client.HTTPConnection("127.0.0.1", diag, timeout=CLIENT_SECONDS)
        self.addCleanup(spoken.close)
        spoken.request("GET", "/readyz")
        self.assertEqual(spoken.getresponse().status, 200)
        text = agent.file.read_text().replace('"env": "prod"', '"env": "dev"')
        agent.reload(text)
        labels = {"env": "dev", "word": "hello"}

        def told() -> bool:
            return any(one["metadata"].get("labels") == labels for one in self.nodes(gate))

        gate.child.until(told, "the new labels are known", CLIENT_SECONDS)
        refused = agent.reload(text.replace('"db1"', '"db2"'), status=409)
        self.assertIn("cannot change while the daemon runs", str(refused))
        agent.send(signal.SIGTERM)
        self.assertEqual(agent.child.wait(CLIENT_SECONDS), 0)


class RefusedTests(AgentCase):
    """Who is not let in, or no longer, at one gateway."""

    def setUp(self) -> None:
        super().setUp()
        self.house = common(self, type(self).cluster)
        no_bugs(self, self.house)

    def test_refusals(self) -> None:
        """Without a good token, or with another's pin, it ends with what has to be done."""
        gate = self.house
        tries: tuple[tuple[dict[str, Any], str], ...] = (
            ({"token": "wrong"}, "tgctl tokens add --type=node"),
            ({"pin": "sha256:" + "ab" * 32}, "no authority with the pin"),
        )
        for keys, said in tries:
            agent = self.agent(gate, ready=False, may_log=["Traceback"], **keys)
            self.assertEqual(agent.child.wait(CLIENT_SECONDS), 2, agent.child.tail())
            self.assertIn(said, agent.text())

    def test_a_second_agent_of_the_name(self) -> None:
        """Whoever else has a token cannot take a name that is another's (S41)."""
        gate = self.house
        self.agent(gate)
        other = self.agent(gate, ready=False, may_log=["Traceback"])
        self.assertEqual(other.child.wait(CLIENT_SECONDS), 2, other.child.tail())
        self.assertIn("teleport.nodename", other.text())

    def test_a_lock_on_the_agent(self) -> None:
        """Its tunnel ends within a second, and does not come back while the lock is there."""
        gate = self.house
        agent = self.agent(gate, "db2")
        gate.admin("DELETE", "/v1/resources/node/db2")
        agent.child.until(lambda: not self.tunnels(agent), "its tunnel ends", 3)
        agent.child.until(lambda: "no tunnel to" in agent.text(), "it has tried again", 30)
        self.assertEqual(self.tunnels(agent), [])


class CarryCase(AgentCase):
    """A server beside the agent, and clients of it."""

    def setUp(self) -> None:
        super().setUp()
        self.echo = self.serve(Echo())
        self.sshd_addr = f"127.0.0.1:{self.echo.endpoint.rpartition(':')[2]}"

    def node(self, gate: Gate, **more: Any) -> Gate:
        """An agent whose sshd is the echo server."""
        ssh = {"sshd_log": "none", **more.pop("ssh", {})}
        return self.agent(gate, sshd_addr=self.sshd_addr, ssh=ssh, **more)

    def open(self, gate: Gate, who: Holder) -> ssl.SSLSocket:
        """A connection to the node."""
        context = who.context("tlsgate-ssh")
        made = context.wrap_socket(gate.connect(), server_hostname="gw.test")
        self.addCleanup(made.close)
        made.sendall(b"CONNECT db1:22 HTTP/1.1\r\nHost: db1:22\r\n\r\n")
        head = b""
        while b"\r\n\r\n" not in head and (piece := made.recv(1)):
            head += piece
        self.assertTrue(head.startswith(b"HTTP/1.1 200"), head)
        return made

    def echoes(self, connection: ssl.SSLSocket) -> None:
        """It is carried there and back."""
        connection.sendall(b"hello")
        self.assertEqual(receive(connection, 5), b"hello")

    def alice(self, gate: Gate) -> Holder:
        """Somebody who may reach every node."""
        self.add_user(gate, "alice")
        return self.sign(gate, "alice")


class CarryTests(CarryCase):
    """Clients through gateway and agent, to a server beside the agent."""

    def test_the_agent_ends(self) -> None:
        """It waits for who is served, takes nobody new, and then ends by itself."""
        gate = self.cluster()
        agent = self.node(gate)
        connection = self.open(gate, self.alice(gate))
        self.echoes(connection)
        agent.send(signal.SIGTERM)
        agent.child.until(lambda: "draining" in agent.text(), "it drains", CLIENT_SECONDS)
        self.echoes(connection)
        self.assertIsNone(agent.child.code)
        connection.close()
        self.assertEqual(agent.child.wait(CLIENT_SECONDS), 0)

    def test_a_lock_cuts(self) -> None:
        """Within a second the user's connection is over, at the agent too."""
        gate = self.cluster()
        agent = self.node(gate)
        connection = self.open(gate, self.alice(gate))
        self.echoes(connection)
        gate.admin("POST", "/v1/locks", {"target": {"user": "alice"}})
        since = time.monotonic()
        with contextlib.suppress(OSError):
            self.assertEqual(connection.recv(1), b"")
        agent.child.until(lambda: not agent.admin("GET", "/v1/connections"), "it is cut", 5)
        self.assertLess(time.monotonic() - since, 2)

    def test_several_workers(self) -> None:
        """It has a session with each worker, and every worker reaches the node."""
        gate = self.cluster(proxy={"workers": 2})
        agent = self.node(gate)
        agent.child.until(
            lambda: {one["worker"] for one in self.tunnels(agent)} == {"0", "1"},
            "a session with each",
            2 * BACK_SECONDS,
        )
        alice = self.alice(gate)
        for _ in range(6):
            self.echoes(self.open(gate, alice))

    def test_a_port_of_its_own(self) -> None:
        """In v1 it comes by the tunnel listener, as the gateway's document says."""
        port = free_port()
        gate = self.cluster(
            version="v1",
            proxy={
                "listen_addr": "127.0.0.1:0",
                "tunnel_listen_addr": f"127.0.0.1:{port}",
                "tunnel_public_addr": f"localhost:{port}",
            },
        )
        agent = self.node(gate)
        self.assertIn(f"localhost:{port}", agent.text())
        self.echoes(self.open(gate, self.alice(gate)))


class WayTests(CarryCase):
    """Which listener agents come by, by version and mode."""

    def comes_by(self, gate: Gate, agent: Gate, listener: str) -> None:
        """Within a while its newest session, and the gateway's, is by this listener."""

        def there() -> bool:
            items = gate.admin("GET", "/v1/inventory")["items"]
            newest = max(items, key=lambda one: float(one["since"]), default=None)
            held = newest is not None and newest["listener"] == listener and newest["streams"]
            return bool(held and self.tunnels(agent))

        agent.child.until(there, f"by {listener}", 2 * BACK_SECONDS)

    def switch(self, gate: Gate, mode: str) -> None:
        """Change the mode as an operator does; nobody may be left behind by it."""
        body = {
            "kind": "cluster_networking_config",
            "version": "v2",
            "spec": {"proxy_listener_mode": mode},
        }
        path = "/v1/resources/cluster_networking_config/cluster-networking-config"
        gate.admin("PUT", f"{path}?confirm=1", body)

    def test_a_mode_that_changes(self) -> None:
        """The agent goes over to the other port by itself, and who is served stays so."""
        port = free_port()
        own = {"listen_addr": "127.0.0.1:0", "tunnel_listen_addr": f"127.0.0.1:{port}"}
        gate = self.cluster(version="v1", proxy={**own, "tunnel_public_addr": f"localhost:{port}"})
        agent = self.node(gate)
        alice = self.alice(gate)
        kept = []
        for mode, listener in (
            (None, "tunnel"),
            ("multiplex", "web"),
            ("separate", "tunnel"),
        ):
            if mode is not None:
                self.switch(gate, mode)
            self.comes_by(gate, agent, listener)
            kept.append(self.open(gate, alice))
            for one in kept:
                self.echoes(one)

    def test_one_address_for_web_and_tunnel(self) -> None:
        """In separate mode too it comes by the web port, by its token, as it is told."""
        port = free_port()
        gate = self.cluster(
            version="v1",
            proxy={
                "listen_addr": "127.0.0.1:0",
                "web_listen_addr": f"127.0.0.1:{port}",
                "tunnel_listen_addr": f"127.0.0.1:{port}",
                "public_addr": [f"localhost:{port}", "gw.test:443"],
            },
        )
        agent = self.node(gate)
        self.comes_by(gate, agent, "web")
        self.echoes(self.open(gate, self.alice(gate)))

    def test_the_auth_service_s_own_port(self) -> None:
        """An agent that is told of that one alone asks it where gateways are."""
        port = free_port()
        auth = {"enabled": "yes", "cluster_name": "gw.test", "listen_addr": f"127.0.0.1:{port}"}
        gate = self.cluster(auth=auth)
        agent = self.node(gate, server=f"127.0.0.1:{port}")
        self.comes_by(gate, agent, "web")

    def test_no_port_of_its_own(self) -> None:
        """In v2 a separate port for SSH alone is enough: agents go on by the web port."""
        gate = self.cluster(proxy={"listen_addr": "127.0.0.1:0"})
        agent = self.node(gate)
        alice = self.alice(gate)
        kept = self.open(gate, alice)
        self.switch(gate, "separate")
        self.comes_by(gate, agent, "web")
        for one in (kept, self.open(gate, alice)):
            self.echoes(one)


class CompanyProxy:
    """An HTTP proxy that takes CONNECT, and brings everything to one port."""

    def __init__(self, port: int) -> None:
        self.asked: list[bytes] = []
        self._port = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += client.recv(1)
                self.asked.append(head.partition(b"\r\n")[0])
                target = socket.create_connection(("127.0.0.1", self._port))
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                self._open += [client, target]
                for pair in ((client, target), (target, client)):
                    threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End everything."""
        for one in (self._listening, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


class ProxyTests(AgentCase):
    """An agent behind a company's HTTP proxy."""

    def test_all_of_it_goes_through(self) -> None:
        """Joining, the document, control and streams: by CONNECT to the name, never looked up."""
        gate = self.cluster(proxy={"public_addr": ["gw.test:443"]})
        proxy = CompanyProxy(gate.port())
        self.addCleanup(proxy.close)
        env = {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}", "NO_PROXY": "example.com"}
        self.agent(gate, server="gw.test:443", env=env, ssh={"sshd_log": "none"})
        self.assertGreaterEqual(len(proxy.asked), 5)
        self.assertEqual(set(proxy.asked), {b"CONNECT gw.test:443 HTTP/1.1"})
