"""What signals do to the real daemon: drain, end at once, exit codes, what stays behind."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.child import Child, alive, until
from tests.support.echo import Echo
from tests.support.harness import ROOT, Gate, GateCase, receive, route, settings


class EchoCase(GateCase):
    """Daemons with one route to an echo."""

    def echo_gate(self, **keys: Any) -> Gate:
        """A daemon that relays ALPN `echo` to an echo, for alice; *keys* as for `gate`."""
        self.echo = self.serve(Echo())
        proxy = keys.pop("proxy", {})
        routes = [route("echo", alpn=["echo"], target=self.echo.endpoint)]
        return self.gate(routes=routes, proxy={"timeouts": {"drain_seconds": 20}, **proxy}, **keys)

    def talk(self, gate: Gate, listener: str = "web") -> ssl.SSLSocket:
        """A connection that has been echoed once."""
        connection = gate.dial(listener=listener, alpn=["echo"], cert="alice")
        self.addCleanup(connection.close)
        self.say(connection)
        return connection

    def say(self, connection: ssl.SSLSocket, text: bytes = b"ping") -> None:
        """Have *text* echoed on a connection that is open."""
        connection.sendall(text)
        self.assertEqual(receive(connection, len(text)), text)


class TerminateTests(EchoCase):
    """SIGTERM and SIGINT."""

    def test_drains_and_ends_with_0(self) -> None:
        """SIGTERM closes the port, lets what is open go on, and ends with 0 after it."""
        gate = self.echo_gate()
        connection = self.talk(gate)
        port = gate.port()
        gate.send(signal.SIGTERM)
        until(lambda: not _connects(port), "the port refuses")
        self.assertFalse(gate.admin("GET", "/v1/status")["ready"])
        self.say(connection, b"still here")
        self.assertIsNone(gate.child.code)
        connection.close()
        self.assertEqual(gate.child.wait(), 0)
        self.assertEqual(os.listdir(gate.data_dir), ["log"])

    def test_ends_with_1_at_the_limit(self) -> None:
        """What is open at the end of `drain_seconds` is cut off, and the exit code says so."""
        gate = self.echo_gate(proxy={"timeouts": {"drain_seconds": 0.5}})
        connection = self.talk(gate)
        gate.send(signal.SIGTERM)
        self.assertEqual(gate.child.wait(), 1)
        self.assertEqual(_rest(connection), b"")

    def test_second_signal_ends_at_once(self) -> None:
        """A second SIGTERM does not wait for anybody."""
        gate = self.echo_gate()
        connection = self.talk(gate)
        gate.send(signal.SIGTERM)
        gate.child.until(lambda: "draining" in gate.text(), "it drains")
        gate.send(signal.SIGTERM)
        self.assertEqual(gate.child.wait(5), 1)
        self.assertEqual(_rest(connection), b"")

    def test_interrupt_drains_too(self) -> None:
        """Ctrl-C in a terminal is as good as SIGTERM."""
        gate = self.echo_gate()
        self.talk(gate).close()
        gate.send(signal.SIGINT)
        self.assertEqual(gate.child.wait(), 0)


class HangUpTests(EchoCase):
    """SIGHUP."""

    def test_reloads(self) -> None:
        """SIGHUP takes up the new file; connections and unchanged ports stay."""
        gate = self.echo_gate()
        connection, port = self.talk(gate), gate.port()
        gate.write(
            settings(
                gate.data_dir,
                routes=[route("other", alpn=["other"], target=self.echo.endpoint)],
            )
        )
        gate.send(signal.SIGHUP)
        gate.child.until(lambda: "reloaded" in gate.text(), "it has reloaded")
        self.say(connection)
        self.assertEqual(gate.port(), port)
        self.assertRaises(ssl.SSLError, gate.dial, alpn=["echo"], cert="alice")
        with gate.dial(alpn=["other"], cert="alice") as other:
            self.say(other)

    def test_two_within_50_ms(self) -> None:
        """Two signals at once are two reloads or one, and never a broken one."""
        gate = self.echo_gate()
        pid = gate.pid
        for _ in range(5):
            os.kill(pid, signal.SIGHUP)
        gate.child.until(lambda: "reloaded" in gate.text(), "it has reloaded")
        self.talk(gate)

    def test_ignored_while_draining(self) -> None:
        """SIGHUP during the drain neither reloads nor kills."""
        gate = self.echo_gate()
        connection = self.talk(gate)
        gate.send(signal.SIGTERM)
        gate.child.until(lambda: "draining" in gate.text(), "it drains")
        gate.send(signal.SIGHUP)
        gate.child.until(lambda: "SIGHUP is ignored" in gate.text(), "it says so")
        self.say(connection)
        connection.close()
        self.assertEqual(gate.child.wait(), 0)

    def test_reopens_the_log(self) -> None:
        """After SIGHUP lines go to a new file, so that an old one can be moved away."""
        folder = self.folder()
        log = folder / "tlsgate.log"
        gate = self.echo_gate(teleport={"log": {"output": str(log), "severity": "INFO"}})
        until(lambda: log.exists() and "serves" in log.read_text(), "the log begins")
        log.rename(folder / "old.log")
        (gate.data_dir / "log" / "events.log").rename(folder / "old-events.log")
        gate.send(signal.SIGHUP)
        until(lambda: log.exists() and "reloaded" in log.read_text(), "a new log")
        self.talk(gate).close()
        until(lambda: "connection.end" in log.read_text(), "a line in it")
        events = gate.data_dir / "log" / "events.log"
        until(lambda: "route.end" in events.read_text(), "an event")


class StartTests(EchoCase):
    """Starting: exit codes, and who may run where."""

    def test_a_bad_file_ends_with_2(self) -> None:
        """All problems are on stderr, with their places; nothing has been started."""
        gate = self.gate(text="version: v2\nproxy_service:\n  wbe: 1\n", ready=False)
        self.assertEqual(gate.child.wait(), 2)
        self.assertIn("tlsgate.yaml:3:", gate.text())

    def test_a_taken_port_ends_with_2(self) -> None:
        """A port that is in use is named."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            gate = self.gate(proxy={"web_listen_addr": address}, ready=False)
            self.assertEqual(gate.child.wait(), 2)
            self.assertIn(address, gate.text())
            self.assertEqual(os.listdir(gate.data_dir), ["log"])

    def test_one_daemon_a_data_directory(self) -> None:
        """A second daemon on one data directory is refused, and the first does not notice."""
        gate = self.echo_gate()
        second = Gate(self.folder(), gate.file.read_text())
        self.addCleanup(second.child.end)
        self.assertEqual(second.child.wait(), 2)
        self.assertIn(str(gate.child.pid), second.text())
        self.talk(gate)

    def test_two_daemons_in_one_folder(self) -> None:
        """Two daemons started in one working directory do not fight over a pid file."""
        first = self.echo_gate()
        other = self.folder()
        second = Gate(first.folder, settings(other / "data"))
        second.data_dir = other / "data"
        self.addCleanup(second.stop)
        second.until_ready()
        self.talk(first)
        self.assertNotIn("twistd.pid", os.listdir(first.folder))

    def test_nothing_left_blocks_a_start(self) -> None:
        """After kill -9 a stale socket, pid file and UNIX listener are in nobody's way."""
        path = self.folder() / "web.sock"
        gate = self.echo_gate(proxy={"web_listen_addr": f"unix:{path}"})
        gate.send(signal.SIGKILL)
        gate.child.wait()
        self.assertTrue(path.exists())
        self.assertIn("admin.sock", os.listdir(gate.data_dir))
        again = Gate(gate.folder, gate.file.read_text())
        self.addCleanup(again.stop)
        again.until_ready()
        self.assertEqual(again.pid, again.child.pid)

    def test_check_starts_nothing(self) -> None:
        """`--check` says that a file is fine, and touches neither port nor directory."""
        gate = self.gate(ready=False, arguments=["--check"])
        self.assertEqual(gate.child.wait(), 0)
        self.assertIn("is fine", gate.text())
        self.assertFalse(gate.data_dir.exists())


class BackgroundTests(EchoCase):
    """twistd without -n."""

    def test_daemonizes(self) -> None:
        """In the background it serves as well, logs to a file, and drains."""
        echo = self.serve(Echo())
        folder = self.folder()
        text = settings(
            folder / "data", routes=[route("echo", alpn=["echo"], target=echo.endpoint)]
        )
        gate = _in_background(folder, text)
        self.addCleanup(gate.child.end)
        self.assertEqual(gate.child.wait(), 0, gate.text())
        until(gate.ready, "it serves")
        pid = gate.pid
        self.assertNotEqual(pid, gate.child.pid)
        with gate.dial(alpn=["echo"], cert="alice") as connection:
            self.say(connection)
        os.kill(pid, signal.SIGTERM)
        until(lambda: not alive(pid), "it ends")
        self.assertIn("draining", (folder / "data" / "log" / "tlsgate.log").read_text())


def _in_background(folder: Path, text: Mapping[str, object]) -> Gate:
    """A daemon that twistd sends to the background."""
    gate = Gate.__new__(Gate)
    gate.folder, gate.data_dir, gate.file = folder, folder / "data", folder / "tlsgate.yaml"
    gate.write(text)
    gate.child = Child(
        [Path(sys.executable).with_name("twistd"), "tlsgate", "--config", gate.file],
        folder / "log",
        env={"PYTHONPATH": str(ROOT)},
    )
    return gate


def _connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _rest(connection: ssl.SSLSocket) -> bytes:
    """What still comes; a reset is an end as well."""
    try:
        return connection.recv(1)
    except (ssl.SSLError, OSError):
        return b""
