"""Upgrades of the real daemon: another process on the same sockets, or everything as before."""

from __future__ import annotations

import os
import signal
import socket
import ssl

from tests.integration.test_reload import ReloadCase
from tests.support.child import alive, until
from tests.support.harness import ROOT, secure
from tests.support.ports import free_port, listening


class UpgradeTests(ReloadCase):
    """`tgctl upgrade` and SIGUSR2."""

    def test_a_new_process_takes_over(self) -> None:
        """The new one has the port, the names and new clients; the old one its old clients."""
        gate = self.echo_gate()
        old, port, connection = gate.pid, gate.port(), self.talk(gate)
        said = gate.admin("POST", "/v1/upgrade")
        self.assertEqual(said["version"], gate.admin("GET", "/v1/status")["version"])
        self.assertNotEqual(said["pid"], old)
        self.assertEqual(gate.pid, said["pid"])
        self.assertEqual(int((gate.data_dir / "tlsgate.pid").read_text()), said["pid"])
        self.assertEqual(gate.port(), port)
        self.say(connection)
        self.talk(gate)
        self.assertTrue(alive(old))
        connection.close()
        self.assertEqual(gate.child.wait(), 0)
        self.assertTrue((gate.data_dir / "admin.sock").exists())
        self.talk(gate)

    def test_by_signal_and_again(self) -> None:
        """SIGUSR2 does it too, and the new process can be upgraded in its turn."""
        gate = self.echo_gate()
        for _ in range(3):
            old = gate.pid
            os.kill(old, signal.SIGUSR2)
            until(lambda: gate.ready() and gate.pid != old, "another process")  # noqa: B023
            until(lambda: not alive(old), "the old one's end")  # noqa: B023
            self.talk(gate).close()

    def test_reads_the_file_as_a_start_does(self) -> None:
        """What only a new process can change counts after an upgrade, here `workers`."""
        gate = self.echo_gate()
        extra, port = free_port(), gate.port()
        where = f"127.0.0.1:{extra}"
        gate.write(self.text(gate, proxy={"workers": 2, "postgres_listen_addr": where}))
        gate.admin("POST", "/v1/upgrade")
        until(gate.ready, "it serves")
        self.assertEqual(gate.admin("GET", "/v1/status")["workers"], 2)
        self.assertEqual(gate.port(), port)
        self.assertTrue(listening(extra))
        self.talk(gate)

    def test_a_failing_process_changes_nothing(self) -> None:
        """With a broken file the new process gives up, says why, and the old one goes on."""
        gate = self.echo_gate(may_log=("upgrade failed",))
        connection, old = self.talk(gate), gate.pid
        broken = self.text(gate)
        broken["proxy_service"]["nonsense"] = 1
        gate.write(broken)
        said = gate.admin("POST", "/v1/upgrade", status=409)
        self.assertIn("proxy_service.nonsense", said["error"]["message"])
        self.assertEqual(gate.pid, old)
        self.say(connection)
        self.talk(gate)
        gate.write(self.text(gate))
        gate.admin("POST", "/v1/upgrade")
        self.talk(gate)

    def test_a_crashing_process_changes_nothing(self) -> None:
        """One that cannot even be imported leaves the old one with its names and sockets."""
        path, later = self.folder() / "web.sock", self.folder()
        gate = self.echo_gate(
            proxy={"mongo_listen_addr": f"unix:{path}"},
            may_log=("upgrade failed",),
            env={"PYTHONPATH": os.pathsep.join((str(later), str(ROOT)))},
        )
        old = gate.pid
        # The interpreter imports it first of all, from now on.
        (later / "sitecustomize.py").write_text("import os; os._exit(3)\n")
        said = gate.admin("POST", "/v1/upgrade", status=409)
        self.assertIn("3", said["error"]["message"])
        self.assertEqual(gate.pid, old)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        self.talk(gate)

    def test_the_old_process_holds_no_port(self) -> None:
        """While it drains, a port that the new one closes is closed, and can be opened again."""
        port = free_port()
        gate = self.echo_gate(proxy={"postgres_listen_addr": f"127.0.0.1:{port}"})
        connection = self.talk(gate)
        gate.admin("POST", "/v1/upgrade")
        gate.reload(self.text(gate, proxy={"refuse_seconds": 0}))
        self.assertFalse(listening(port))
        gate.reload(self.text(gate, proxy={"postgres_listen_addr": f"127.0.0.1:{port}"}))
        self.assertTrue(listening(port))
        self.say(connection)

    def test_the_diagnostic_port_goes_along(self) -> None:
        """It answers before, during and after, on the same socket, also with workers."""
        for workers in (1, 2):
            gate = self.echo_gate(proxy={"workers": workers}, teleport={"diag_addr": "127.0.0.1:0"})
            connection = self.talk(gate)
            where = gate.admin("GET", "/v1/status")["diag"]
            self.assertIn(b"200", _get(where, "/readyz"))
            gate.admin("POST", "/v1/upgrade")
            self.assertEqual(gate.admin("GET", "/v1/status")["diag"], where)
            self.assertIn(b"200", _get(where, "/readyz"))
            self.assertIn(b"tlsgate", _get(where, "/metrics"))
            self.say(connection)

    def test_unix_sockets_keep_their_names(self) -> None:
        """The old process's end removes no name that the new one serves."""
        path = self.folder() / "web.sock"
        gate = self.echo_gate(proxy={"mongo_listen_addr": f"unix:{path}"})
        gate.admin("POST", "/v1/upgrade")
        self.assertEqual(gate.child.wait(), 0)
        until(gate.ready, "it serves")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))

    def test_no_connection_is_lost(self) -> None:
        """Dials while processes change all succeed."""
        gate = self.echo_gate()
        live = [self.talk(gate) for _ in range(5)]
        port = gate.port()
        done = 0
        for _ in range(3):
            old = gate.pid
            os.kill(old, signal.SIGUSR2)
            while not (gate.ready() and gate.pid != old):
                with _dial(port) as connection:
                    self.say(connection)
                done += 1
        self.assertGreater(done, 20)
        for connection in live:
            self.say(connection)
        self.assertFalse(gate.events(event="connection.refused"))


def _get(where: str, path: str) -> bytes:
    """What a plain HTTP server says."""
    host, _, port = where.rpartition(":")
    with socket.create_connection((host, int(port)), 20) as client:
        client.sendall(f"GET {path} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
        return b"".join(iter(lambda: client.recv(1 << 16), b""))


def _dial(port: int) -> ssl.SSLSocket:
    raw = socket.create_connection(("127.0.0.1", port), 20)
    return secure(raw, alpn=["echo"], cert="alice")
