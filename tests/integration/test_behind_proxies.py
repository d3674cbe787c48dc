"""What HAProxy and nginx do beyond plain relaying: TLS targets, health checks, HTTP/2, paths."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

from tests.support.certs import pki
from tests.support.child import program, until
from tests.support.echo import Echo, Recorder
from tests.support.harness import CLIENT_SECONDS, Gate, GateCase, drain, receive, secure
from tests.support.ports import free_port
from tests.support.servers import Haproxy, Nginx
from tlsgate.config.settings import KeyPair

#: What a listener behind a balancer on this machine is configured with.
_BEHIND = {"proxy_protocol": {"mode": "on", "trusted": ["127.0.0.0/8", "::1"]}}

_NGINX_PAGE = "location / { return 200 '$proxy_protocol_addr:$proxy_protocol_port $https'; }"
_HAPROXY_PAGE = """\
frontend page
  mode http
  bind 127.0.0.1:PORT accept-proxy ssl crt {pem}
  http-request return status 200 content-type text/plain lf-string \
"%[src]:%[src_port] %[ssl_fc,iif(on,off)]"
"""


def tls_target(port: int, name: str = "target.test", ca: str = "ca.pem") -> str:
    """The endpoint of a server on this machine that shows a certificate for *name*."""
    return rf"tls:{name}:{port}:trustRoots={pki().file(ca)}:endpoint=tcp\:127.0.0.1\:{port}"


def combined(pair: KeyPair, folder: Path) -> Path:
    """Certificate and key in one file, as HAProxy wants them."""
    file = folder / "combined.pem"
    file.write_text(pair.cert_file.read_text() + pair.key_file.read_text())
    return file


class ProxyCase(GateCase):
    """Daemons before or behind other proxies."""

    def page(self, gate: Gate, name: str) -> tuple[str, str]:
        """The body that an HTTP/1.0 request to a name gets, and our own address meanwhile."""
        with gate.dial(name=name, cert="alice") as client:
            mine = "{}:{}".format(*client.getsockname())
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            head, _, body = drain(client).partition(b"\r\n\r\n")
        self.assertIn(b" 200 ", head.partition(b"\r\n")[0])
        return body.decode(), mine

    def echoed(self, raw: socket.socket) -> str:
        """Have a word echoed over *raw*; gives the address that we had meanwhile."""
        mine = raw.getsockname()
        with secure(raw, alpn=["demo-echo"], cert="alice") as client:
            client.sendall(b"hello")
            self.assertEqual(receive(client, 5), b"hello")
        return f"[{mine[0]}]:{mine[1]}" if ":" in mine[0] else f"{mine[0]}:{mine[1]}"


class TlsTargetTests(ProxyCase):
    """Targets that speak TLS themselves; the gateway verifies each."""

    def check_both_headers(self, target: str) -> None:
        """The target of either version says our own address, and that it was spoken to in TLS."""
        routes = [
            {"name": one, "sni": [f"{one}.gw.test"], "target": target, "send_proxy": one}
            for one in ("v1", "v2")
        ]
        gate = self.gate(routes=routes)
        for one in routes:
            page, mine = self.page(gate, f"{one['name']}.gw.test")
            self.assertEqual(page, f"{mine} on", one)

    def test_nginx_reads_the_header_before_tls(self) -> None:
        """With `send_proxy` the header goes out first, in the clear, in both versions."""
        nginx = self.serve(Nginx(_NGINX_PAGE, tls=pki().keypair("target"), proxy_protocol=True))
        self.check_both_headers(tls_target(nginx.port))

    def test_haproxy_reads_the_header_before_tls(self) -> None:
        """HAProxy with `accept-proxy ssl` takes the same."""
        pem = combined(pki().keypair("target"), self.folder())
        haproxy = self.serve(Haproxy(_HAPROXY_PAGE.format(pem=pem)))
        self.check_both_headers(tls_target(haproxy.port))

    def test_an_untrusted_target_gets_nothing(self) -> None:
        """Another authority, another name, an expired certificate: not one byte of the client."""
        targets: dict[str, Recorder] = {}
        routes = []
        for route, certificate, name, ca in (
            ("authority", "target", "target.test", "other-ca.pem"),
            ("name", "target", "else.test", "ca.pem"),
            ("time", "expired", "alice", "ca.pem"),
        ):
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            pair = pki().keypair(certificate)
            context.load_cert_chain(pair.cert_file, pair.key_file)
            target = targets[route] = self.serve(Recorder(context=context))
            where = tls_target(target.port, name, ca)
            routes.append({"name": route, "sni": [f"{route}.gw.test"], "target": where})
        gate = self.gate(routes=routes)
        for route, target in targets.items():
            with gate.dial(name=f"{route}.gw.test", cert="alice") as client:
                client.sendall(b"secret")
                self.assertEqual(drain(client), b"")
            event = gate.event(route=route)
            self.assertEqual((event["cause"], event["fault"]), ("target_untrusted", "target"))
            until(lambda: target.accepted and not target.active, "its end")  # noqa: B023
            self.assertFalse(any(target.received), route)

    def test_passthrough_shows_the_target_s_certificate(self) -> None:
        """The gateway carries TLS untouched; a header before it names the client."""
        nginx = self.serve(Nginx(_NGINX_PAGE, tls=pki().keypair("server-b"), proxy_protocol=True))
        route = {"name": "b", "sni": ["x.b.test"], "passthrough": True, "send_proxy": "v2"}
        gate = self.gate(routes=[{**route, "target": nginx.endpoint}])
        with gate.dial(name="x.b.test") as client:  # our own certificate is not for this name
            mine = "{}:{}".format(*client.getsockname())
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            self.assertEqual(drain(client).rpartition(b"\r\n")[2], f"{mine} on".encode())


class InFrontTests(ProxyCase):
    """The daemon behind HAProxy."""

    def behind(self, diag_addr: str = "", **proxy: Any) -> Gate:
        """A daemon that demands PROXY headers."""
        echo = self.serve(Echo())
        route = {"name": "echo", "alpn": ["demo-echo"], "target": echo.endpoint}
        teleport = {"diag_addr": diag_addr} if diag_addr else {}
        return self.gate(routes=[route], proxy={**_BEHIND, **proxy}, teleport=teleport)

    def test_health_checks_are_not_logged(self) -> None:
        """HAProxy's own checks (LOCAL and UNKNOWN headers) find us up, and fill no log."""
        diag = free_port()
        gate = self.behind(diag_addr=f"127.0.0.1:{diag}")
        for header in ("send-proxy", "send-proxy-v2"):
            server = f"server gate 127.0.0.1:{gate.port()} {header} check check-send-proxy"
            front = f"listen front\n  bind 127.0.0.1:PORT\n  {server} inter 50ms fall 1\n"
            haproxy = self.serve(Haproxy(front))
            logged, counted = len(gate.events()), self.accepted(diag)
            until(lambda: self.accepted(diag) > counted + 5, "checks arrive")  # noqa: B023
            self.assertEqual(gate.events()[logged:], [])
            self.echoed(self.raw("127.0.0.1", haproxy.port))
            self.assertNotIn("DOWN", haproxy.child.text())
            haproxy.stop()

    def accepted(self, diag: int) -> int:
        """How many connections the web listener has accepted, as /metrics says."""
        client = http.client.HTTPConnection("127.0.0.1", diag, timeout=CLIENT_SECONDS)
        client.request("GET", "/metrics")
        text = client.getresponse().read().decode()
        client.close()
        [found] = re.findall(
            r'^tlsgate_accepted_connections_total\{listener="web"\} (\S+)$', text, re.M
        )
        return int(float(found))

    def test_a_path_behind_haproxy(self) -> None:
        """Over a UNIX socket HAProxy's header counts, for who may open the path is trusted."""
        path = self.folder() / "gate.sock"
        gate = self.behind(web_listen_addr=f"unix:{path}")
        for header in ("send-proxy", "send-proxy-v2"):
            front = f"listen front\n  bind 127.0.0.1:PORT\n  server gate unix@{path} {header}\n"
            haproxy = self.serve(Haproxy(front))
            mine = self.echoed(self.raw("127.0.0.1", haproxy.port))
            self.assertEqual(gate.event(route="echo", peer=mine)["identity"], "alice")

    def test_an_ipv6_client(self) -> None:
        """The family of the client is the header's, not the connection's."""
        gate = self.behind()
        for header in ("send-proxy", "send-proxy-v2"):
            front = f"bind :::PORT v6only\n  server gate 127.0.0.1:{gate.port()} {header}"
            haproxy = self.serve(Haproxy(f"listen front\n  {front.replace(':::', '[::1]:')}\n"))
            mine = self.echoed(self.raw("::1", haproxy.port))
            self.assertEqual(gate.event(route="echo", peer=mine)["identity"], "alice")

    def raw(self, host: str, port: int) -> socket.socket:
        return socket.create_connection((host, port), CLIENT_SECONDS)

    def test_haproxy_encrypts_again_and_speaks_h2(self) -> None:
        """An HTTP balancer verifies us and fetches the landing page over HTTP/2."""
        gate = self.gate()
        ca = pki().file("ca.pem")
        to = f"server gate 127.0.0.1:{gate.port()} ssl verify required ca-file {ca} alpn h2"
        haproxy = self.serve(
            Haproxy(
                "listen front\n  mode http\n  bind 127.0.0.1:PORT\n"
                f"  {to} sni str(gw.test) verifyhost gw.test\n"
            )
        )
        done = subprocess.run(
            [
                *(program("curl", "curl"), "-sS", "--max-time", "20"),
                *("-H", "Host: gw.test", f"http://127.0.0.1:{haproxy.port}/"),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
            text=True,
        )
        self.assertIn("<html", done.stdout, done.stderr)
        haproxy.stop()
        self.assertEqual(gate.event(route="web", event="connection.end")["alpn"], "h2")
