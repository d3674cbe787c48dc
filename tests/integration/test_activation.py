"""Sockets that systemd has opened, and what it is told."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any

from tests.integration.test_signals import EchoCase
from tests.support.child import program, until
from tests.support.harness import Gate
from tests.support.ports import free_port, listening


class ActivationTests(EchoCase):
    """`systemd:` endpoints."""

    def activated(self, port: int, **proxy: Any) -> Gate:
        """A daemon on a socket that `systemd-socket-activate` has opened."""
        web = {"web_listen_addr": "systemd:domain=INET:name=web"}
        activate = program("systemd-socket-activate", "systemd")
        gate = self.echo_gate(
            proxy={**web, **proxy},
            ready=False,
            before=[
                activate,
                f"--listen=127.0.0.1:{port}",
                "--fdname=web",
                *(f"--setenv={key}" for key in ("PYTHONPATH", "PATH", "HOME") if key in os.environ),
                f"--setenv=PYTHONPATH={Path(__file__).parents[2]}",
            ],
        )
        until(lambda: listening(port), "systemd listens")
        # The first client starts the daemon.
        self.first = socket.create_connection(("127.0.0.1", port), 20)
        self.addCleanup(self.first.close)
        gate.until_ready()
        return gate

    def test_serves_reloads_and_upgrades(self) -> None:
        """The socket is used, survives a reload, and reaches a new process."""
        port = free_port()
        gate = self.activated(port)
        self.assertEqual(gate.address(), f"127.0.0.1:{port}")
        self.talk(gate).close()
        self.assertEqual(gate.reload()["kept"], ["web"])
        old = gate.pid
        gate.admin("POST", "/v1/upgrade")
        self.assertNotEqual(gate.pid, old)
        self.talk(gate).close()
        self.assertEqual(gate.reload()["kept"], ["web"])
        self.talk(gate).close()

    def test_workers(self) -> None:
        """Workers inherit it like any other."""
        gate = self.activated(free_port(), workers=2)
        for _ in range(4):
            self.talk(gate).close()

    def test_missing(self) -> None:
        """Without systemd the endpoint says what is missing."""
        gate = self.echo_gate(proxy={"web_listen_addr": "systemd:domain=INET:index=0"}, ready=False)
        self.assertEqual(gate.child.wait(), 2)
        self.assertIn("LISTEN_FDS", gate.text())


class NotifyTests(EchoCase):
    """What the service manager hears."""

    def test_the_life_of_a_service(self) -> None:
        """READY, RELOADING, another MAINPID and STOPPING come when they are true."""
        path = self.folder() / "notify"
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.bind(str(path))
        manager.settimeout(20)
        heard: list[dict[str, str]] = []

        def listen() -> None:
            # All the time, as systemd does: the queue of such a socket holds ten.
            with contextlib.suppress(OSError):
                while text := manager.recv(4096).decode():
                    heard.append(dict(line.split("=", 1) for line in text.splitlines()))

        def until_told(word: str) -> dict[str, str]:
            until(lambda: any(word in told for told in heard), f"the manager is told {word}")
            while word not in (told := heard.pop(0)):
                pass
            return told

        threading.Thread(target=listen, daemon=True).start()
        gate = self.echo_gate(env={"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "200000"})
        self.assertEqual(until_told("READY")["MAINPID"], str(gate.pid))
        until_told("WATCHDOG")
        gate.reload()
        self.assertIn("MONOTONIC_USEC", until_told("RELOADING"))
        until_told("READY")
        said = gate.admin("POST", "/v1/upgrade")
        self.assertEqual(until_told("MAINPID")["MAINPID"], str(said["pid"]))
        gate.send(signal.SIGTERM)
        until_told("STOPPING")
