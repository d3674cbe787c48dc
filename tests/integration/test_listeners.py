"""Listeners beyond a TCP port: systemd's by number, headers on each kind, ports with a route."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.certs import pki
from tests.support.child import program
from tests.support.echo import Echo
from tests.support.harness import (
    CLIENT_SECONDS,
    ROOT,
    Gate,
    GateCase,
    drain,
    receive,
    route,
    secure,
)
from tests.support.ports import free_port, listening, listening_ports
from tests.support.servers import Haproxy, Postgres, Recorder, Sshd

EXAMPLE = ROOT / "etc" / "examples" / "plugin" / "whoami.py"


def said(*command: str | Path) -> str:
    """What a client prints on both channels."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
        text=True,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": "/nonexistent"},
    )
    return done.stdout


class ListenerCase(GateCase):
    """Daemons with one echo behind a token."""

    def echo_gate(self, web: str, *, before: Sequence[str] = (), **proxy: Any) -> Gate:
        echo = self.serve(Echo())
        routes = [route("echo", alpn=["demo-echo"], target=echo.endpoint)]
        proxy = {"web_listen_addr": web, **proxy}
        return self.gate(routes=routes, proxy=proxy, before=before, ready=not before)

    def check_echo(self, raw: socket.socket) -> None:
        with secure(raw, alpn=["demo-echo"], cert="alice") as client:
            client.sendall(b"hello")
            self.assertEqual(receive(client, 5), b"hello")

    def tcp(self, port: int) -> socket.socket:
        return socket.create_connection(("127.0.0.1", port), CLIENT_SECONDS)

    def path(self, path: Path) -> socket.socket:
        raw = socket.socket(socket.AF_UNIX)
        raw.settimeout(CLIENT_SECONDS)
        raw.connect(str(path))
        return raw


class SystemdTests(ListenerCase):
    """`systemd:domain=…:index=…` under `systemd-socket-activate`."""

    def activate(self, *listen: object) -> list[str]:
        """The command that opens these sockets and hands them to what follows."""
        inherited = [f"--setenv={key}" for key in ("PATH", "HOME") if key in os.environ]
        return [
            program("systemd-socket-activate", "systemd"),
            *(f"--listen={one}" for one in listen),
            *inherited,
            "--setenv=PYTHONPATH",
        ]

    def test_a_socket_by_number(self) -> None:
        """`index=0` is the first one: what waits in its queue is served first."""
        port = free_port()
        before = self.activate(f"127.0.0.1:{port}")
        gate = self.echo_gate("systemd:domain=INET:index=0", before=before)
        gate.child.until(lambda: listening(port), "systemd listens")
        self.check_echo(self.tcp(port))
        gate.until_ready()
        self.assertEqual(gate.port(), port)
        self.assertEqual(listening_ports(gate.pid), [port])

    def test_sockets_of_two_kinds(self) -> None:
        """A path and a port, each by its number, and a header demanded on one of them."""
        path, port = self.folder() / "gate.sock", free_port()
        gate = self.echo_gate(
            "systemd:domain=UNIX:index=1",
            before=self.activate(f"127.0.0.1:{port}", path),
            postgres_listen_addr="haproxy:systemd:domain=INET:index=0",
        )
        gate.child.until(path.exists, "systemd listens")
        self.check_echo(self.path(path))
        gate.until_ready()
        self.assertEqual(listening_ports(gate.pid), [port])
        with self.tcp(port) as client:
            client.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.8 7 5432\r\n" + b"\0\0\0\x08\0\3\0\0")
            self.assertIn(b"FATAL", drain(client))
        refused = gate.event(event="connection.refused", listener="postgres")
        self.assertEqual(refused["peer"], "192.0.2.7:7")


class PathTests(ListenerCase):
    """UNIX sockets as listeners."""

    def test_headers_on_a_path(self) -> None:
        """`haproxy:unix:…` demands a header there as it does on a port."""
        path = self.folder() / "gate.sock"
        gate = self.echo_gate(f"haproxy:unix:{path}")
        front = f"listen front\n  bind 127.0.0.1:PORT\n  server gate unix@{path} send-proxy-v2\n"
        raw = self.tcp(self.serve(Haproxy(front)).port)
        mine = "{}:{}".format(*raw.getsockname())
        self.check_echo(raw)
        self.assertEqual(gate.event(route="echo", peer=mine)["identity"], "alice")
        with self.path(path) as bare, self.assertRaises(OSError):
            secure(bare, alpn=["demo-echo"], cert="alice")

    def test_psql_on_a_path(self) -> None:
        """psql speaks no TLS on a path; it still reads why it is not served."""
        folder = self.folder()
        self.gate(proxy={"postgres_listen_addr": f"unix:{folder}/.s.PGSQL.5432"})
        text = said(program("psql", "postgresql-client"), f"host={folder} user=a dbname=b")
        self.assertIn("FATAL:  postgres is not served here", text)


class PortRouteTests(ListenerCase):
    """Separate ports that a static route takes: `listener:` narrows it to one."""

    def test_ssh_on_its_own_port(self) -> None:
        """`ssh -p` reaches the server behind the SSH port, and not through the web port."""
        sshd = self.serve(Sshd())
        bastion = route(
            "bastion",
            protocol="ssh",
            listener="ssh",
            target=sshd.endpoint,
            client_cert="none",
            unsafe_anyone=True,
        )
        gate = self.gate(routes=[bastion], proxy={"listen_addr": "127.0.0.1:0"})
        for listener, reached in (("ssh", True), ("web", False)):
            client = sshd.client("-p", str(gate.port(listener)), "127.0.0.1", "echo in")
            self.assertEqual(said(*client) == "in\n", reached, listener)

    def test_psql_on_its_own_port(self) -> None:
        """psql reaches the server behind the PostgreSQL port, whatever name it asks for."""
        server = self.serve(Postgres())
        orders = route("orders", protocol="postgres", listener="postgres", target=server.endpoint)
        gate = self.gate(routes=[orders], proxy={"postgres_listen_addr": "127.0.0.1:0"})
        pair = pki().keypair("alice")
        words = f"host=localhost hostaddr=127.0.0.1 port={gate.port('postgres')} user=alice"
        words += f" dbname=app sslmode=verify-full sslrootcert={pki().file('ca.pem')}"
        words += f" sslcert={pair.cert_file} sslkey={pair.key_file}"
        psql = program("psql", "postgresql-client")
        self.assertEqual(said(psql, "-X", words, "-Atc", "select 6*7"), "42\n")

    def test_mysql_on_its_own_port(self) -> None:
        """Where the server speaks first its greeting reaches a client that has said nothing."""
        server = self.serve(Recorder(greeting=b"\x05\0\0\0\xffnope"))
        shop = route(
            "shop",
            protocol="mysql",
            listener="mysql",
            target=server.endpoint,
            client_cert="none",
            unsafe_anyone=True,
            plain=True,
        )
        gate = self.gate(routes=[shop], proxy={"mysql_listen_addr": "127.0.0.1:0"})
        with gate.connect("mysql") as client:
            self.assertEqual(receive(client, 9), b"\x05\0\0\0\xffnope")


class WorkersTests(ListenerCase):
    """A plug-in's listener with several workers."""

    def test_a_plug_in_comes_and_goes_on_all_workers(self) -> None:
        """After one reload every worker serves its port and its token, after another none."""
        trust: dict[str, Any] = {"client_ca_files": [str(pki().file("ca.pem"))], "workers": 2}
        gate = self.gate(proxy=trust)
        text = gate.file.read_text()
        folder = gate.data_dir / "plugins"
        folder.mkdir(mode=0o700, exist_ok=True)
        file = folder / "whoami.py"
        file.write_text(EXAMPLE.read_text())
        file.chmod(0o600)
        port = free_port()
        own = f'"proxy_service": {{"listeners": {{"whoami": "127.0.0.1:{port}"}},'
        reloaded = gate.reload(text.replace('"proxy_service": {', own))
        self.assertEqual((reloaded["opened"], reloaded["warnings"]), (["whoami"], []))
        for _ in range(8):
            for how in ({"alpn": ["whoami"]}, {"listener": "whoami"}):
                with gate.dial(cert="alice", **how) as client:
                    client.sendall(b"who\nquit\n")
                    self.assertEqual(drain(client), b"+ask who\n+alice\n")
        file.unlink()
        shut = text.replace('"proxy_service": {', '"proxy_service": {"refuse_seconds": 0, ')
        self.assertEqual(gate.reload(shut)["closed"], ["whoami"])
        gate.child.until(lambda: not listening(port), "the last worker closes the port")
        for _ in range(8):
            with self.assertRaises(OSError):
                gate.dial(alpn=["whoami"], cert="alice")
