"""What `tgctl export` prints, taken by the balancers themselves, with connections through them."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from tests.support.child import program
from tests.support.commandline import run
from tests.support.echo import Target
from tests.support.servers import Server

CONFIG = """\
version: v2
teleport: {{data_dir: {folder}}}
proxy_service:
  web_listen_addr: "127.0.0.1:3080"
  public_addr: gw.example.com:443
  proxy_protocol: {proxy}
  routes:
    - {{name: echo, alpn: [demo-echo], passthrough: yes, target: "tcp:h:1"}}
    - {{name: vault, sni: [vault.example.org], passthrough: yes, target: "tcp:h:1"}}
    - {{name: db, protocol: postgres, target: "tcp:h:1", client_cert: none, unsafe_anyone: yes}}
"""

#: Name and ALPN offers of a client, and where it belongs.
CLIENTS: tuple[tuple[str | None, tuple[bytes, ...], str], ...] = (
    ("gw.example.com", (), "gateway"),
    ("GW.example.com", (b"h2", b"http/1.1"), "gateway"),
    ("auth.gw.example.com", (), "gateway"),
    ("db1.db.gw.example.com", (b"x",), "gateway"),
    ("vault.example.org", (b"h2",), "gateway"),
    ("other.example.org", (b"tlsgate-ssh-ping", b"tlsgate-ssh"), "gateway"),
    (None, (b"demo-echo",), "gateway"),
    (None, (b"x", b"demo-echo", b"y"), "gateway"),
    ("www.example.org", (b"h2", b"http/1.1"), "other"),
    ("gw.example.com.evil.org", (), "other"),
    ("xgw.example.com", (), "other"),
    ("www.example.org", (b"xdemo-echo", b"demo-echox", b"demo-ech"), "other"),
    (None, (), "other"),
)
#: PostgreSQL's SSLRequest.
SSL_REQUEST = bytes.fromhex("0000000804d2162f")


class Named(Target):
    """Says its name, and what came first, to everybody."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def serve(self, connection: socket.socket) -> None:
        """Answer the first bytes."""
        head = connection.recv(12)
        connection.sendall(f"{self.name} {head.hex()}".encode())


class Balancer(Server):
    """A balancer with an exported configuration."""

    def __init__(self, kind: str, gateway: str, other: str, proxy: str = "off") -> None:
        super().__init__()
        self.kind = kind
        config = self.write("tlsgate.yaml", CONFIG.format(folder=self.folder, proxy=proxy))
        result = run(
            *("export", kind, "--config", str(config), "--bind", f"127.0.0.1:{self.port}"),
            *("--to", gateway, "--other", other),
        )
        assert result.exit_code == 0, result.output
        self.exported = self.write(f"exported.{kind}", result.stdout, mode=0o644)

    def check(self) -> Sequence[str | Path]:
        """The balancer's own test of the file."""
        if self.kind == "haproxy":
            return (program("haproxy", "haproxy"), "-c", "-f", self.exported)
        return (*self.command(), "-t")

    def command(self) -> Sequence[str | Path]:
        """Run in the foreground."""
        if self.kind == "haproxy":
            return (program("haproxy", "haproxy"), "-db", "-f", self.exported)
        module = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
        load = f"load_module {module};" if module.exists() else ""
        user = "user root;" if os.geteuid() == 0 else ""
        config = self.write(
            "nginx.conf",
            f"{load}\n{user}\ndaemon off;\npid {self.folder}/pid;\nerror_log stderr;\n"
            f"events {{}}\ninclude {self.exported};\n",
        )
        nginx = program("nginx", "nginx-light")
        return (nginx, "-c", config, "-p", self.folder, "-e", "stderr")


def hello(server_name: str | None, alpn: Sequence[bytes]) -> bytes:
    """A ClientHello as OpenSSL writes it."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    if alpn:
        context.set_alpn_protos(list(alpn))
    connection = SSL.Connection(context, None)
    if server_name is not None:
        connection.set_tlsext_host_name(server_name.encode())
    connection.set_connect_state()
    with contextlib.suppress(SSL.WantReadError):
        connection.do_handshake()
    return connection.bio_read(1 << 16)


class ExportTests(SynchronousTestCase):
    """Each balancer with what was exported for it."""

    def start(self, kind: str, proxy: str = "off") -> Balancer:
        addresses = []
        for name in ("gateway", "other"):
            target = Named(name).start()
            self.addCleanup(target.stop)
            addresses.append(f"127.0.0.1:{target.port}")
        balancer = Balancer(kind, addresses[0], addresses[1], proxy)
        self.addCleanup(balancer.stop)
        checked = subprocess.run(
            balancer.check(), capture_output=True, text=True, timeout=30, check=False
        )
        self.assertEqual((checked.returncode, checked.stdout + checked.stderr)[0], 0, checked)
        self.assertNotIn("[WARNING]", checked.stderr)
        balancer.start()
        return balancer

    def ask(self, balancer: Balancer, opening: bytes) -> list[str]:
        with socket.create_connection(("127.0.0.1", balancer.port), timeout=15) as client:
            client.sendall(opening)
            client.settimeout(15)
            return client.recv(1000).decode().split()

    def check_clients(self, balancer: Balancer) -> None:
        for server_name, alpn, want in CLIENTS:
            heard = self.ask(balancer, hello(server_name, alpn))
            self.assertEqual((server_name, alpn, heard[0]), (server_name, alpn, want))
            self.assertTrue(heard[1].startswith("1603"))  # the hello itself, untouched

    def test_haproxy(self) -> None:
        """HAProxy takes the file without a warning and sends each client where it belongs."""
        balancer = self.start("haproxy")
        self.check_clients(balancer)
        self.assertEqual(self.ask(balancer, SSL_REQUEST), ["gateway", SSL_REQUEST.hex()])
        self.assertEqual(self.ask(balancer, b"GET / HTTP/1.1\r\n\r\n")[0], "other")

    def test_nginx(self) -> None:
        """So does nginx."""
        self.check_clients(self.start("nginx"))

    def test_proxy_headers(self) -> None:
        """A gateway that demands PROXY headers gets them before the hello."""
        for kind in ("haproxy", "nginx"):
            heard = self.ask(self.start(kind, proxy="on"), hello("gw.example.com", ()))
            self.assertEqual(heard[0], "gateway")
            first = heard[1][:24]
            # nginx writes version 1 in its stream module.
            self.assertIn(first, ("0d0a0d0a000d0a515549540a", b"PROXY TCP4 1".hex()))
