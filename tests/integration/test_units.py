"""The systemd units: what `systemd-analyze` says of them, and their start line as it stands."""

from __future__ import annotations

import configparser
import socket
import subprocess
from pathlib import Path

from tests.support.child import program
from tests.support.echo import Echo
from tests.support.harness import ROOT, GateCase, receive, secure, settings
from tests.support.ports import free_port, listening
from tlsgate.config.read import read_text


def unit(name: str) -> configparser.ConfigParser:
    """A unit file of ours."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(ROOT / "etc" / name)
    return parser


class UnitsTests(GateCase):
    """tlsgate.service, tlsgate.socket and tlsgate-agent.service."""

    def test_systemd_accepts_them(self) -> None:
        """No key is unknown or misspelt, wherever tlsgate is installed."""
        folder = self.folder()
        for name in ("twistd", "tgctl"):
            (folder / name).write_text("#!/bin/sh\n")
            (folder / name).chmod(0o755)
        for name in ("tlsgate.service", "tlsgate.socket", "tlsgate-agent.service"):
            text = (ROOT / "etc" / name).read_text().replace("/opt/tlsgate/bin", str(folder))
            (folder / name).write_text(text)
        analyze = program("systemd-analyze", "systemd")
        done = subprocess.run(
            [
                analyze,
                "verify",
                "--man=no",
                "--recursive-errors=no",
                *sorted(folder.glob("tlsgate*.*")),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
            text=True,
        )
        said = [line for line in done.stdout.splitlines() if "tlsgate" in line]
        self.assertEqual(said, [], done.stdout)

    def test_the_socket_is_the_one_that_its_comment_configures(self) -> None:
        """The name of the descriptor is the name in `web_listen_addr` of the comment."""
        name = unit("tlsgate.socket")["Socket"]["FileDescriptorName"]
        comment = (ROOT / "etc" / "tlsgate.socket").read_text()
        self.assertIn(f'web_listen_addr: "systemd:domain=INET6:name={name}"', comment)

    def test_it_serves_on_the_socket_that_systemd_opened(self) -> None:
        """A connection that waits in systemd's queue is the first one served."""
        activate = program("systemd-socket-activate", "systemd")
        port = free_port()
        words = unit("tlsgate.service")["Service"]["ExecStart"].split()
        self.assertEqual(Path(words[0]).name, "twistd")
        self.assertEqual(words[1:4], ["--nodaemon", "tlsgate", "--config"])
        echo = self.serve(Echo())
        folder = self.folder()
        gate = self.gate(
            text=settings(
                folder / "data",
                routes=[{"name": "echo", "alpn": ["demo-echo"], "target": echo.endpoint}],
                proxy={"web_listen_addr": "systemd:domain=INET:name=web"},
            ),
            ready=False,
            before=(
                activate,
                "--setenv=PYTHONPATH",
                "--fdname=web",
                f"--listen=127.0.0.1:{port}",
            ),
        )
        gate.child.until(lambda: listening(port), "systemd-socket-activate listens")
        with socket.create_connection(("127.0.0.1", port), 20) as raw:  # starts the daemon
            tls = secure(raw, alpn=["demo-echo"], cert="alice")
            tls.sendall(b"hello")
            self.assertEqual(receive(tls, 5), b"hello")
            tls.close()

    def test_systemd_waits_longer_than_a_drain(self) -> None:
        """`systemctl stop` never cuts connections that the daemon still drains."""
        text = "version: v2\nteleport: {data_dir: .}\nproxy_service: {web_listen_addr: ':0'}\n"
        drain = read_text(text).timeouts.drain_seconds
        for name in ("tlsgate.service", "tlsgate-agent.service"):
            self.assertGreater(int(unit(name)["Service"]["TimeoutStopSec"]), drain)

    def test_an_agent_is_root_s(self) -> None:
        """Its folder lets sshd in, as whoever logs in; nobody else writes there."""
        service = unit("tlsgate-agent.service")["Service"]
        self.assertNotIn("User", service)
        self.assertEqual(service["StateDirectoryMode"], "0711")
        self.assertEqual((service["Type"], service["CapabilityBoundingSet"]), ("notify", ""))

    def test_what_is_hardened_and_what_is_not(self) -> None:
        """The hardening that tlsgate cannot live with is left out, and the file says why."""
        service = unit("tlsgate.service")["Service"]
        self.assertNotIn("MemoryDenyWriteExecute", service)
        self.assertEqual(service["Type"], "notify")
        self.assertEqual(service["NotifyAccess"], "all")
        self.assertEqual(service["NoNewPrivileges"], "yes")
